"""`python -m revlm`, the same as the console script."""

import os
import sys

if not sys.flags.safe_path:
    # `-m` put the working directory there. What it imports by itself (importlib, with warnings and contextlib) has come
    # from there by now: only the console script and `python -P -m revlm` take nothing at all.
    _working_directory = sys.path.pop(0)
    if _working_directory == os.path.dirname(os.path.dirname(__file__)):
        sys.path.append(_working_directory)  # revlm itself lies there; Python's own modules come first

from revlm.cli import main

sys.exit(main())
