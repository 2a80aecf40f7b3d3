"""`python -m revlm`, the same as the console script."""

import os
import sys

if not sys.flags.safe_path:
    # `-m` put the working directory there. Python itself has already imported importlib, warnings and contextlib with
    # it on the path: only the console script and `python -P -m revlm` import nothing from it.
    _working_directory = sys.path.pop(0)
    if _working_directory == os.path.dirname(os.path.dirname(__file__)):
        sys.path.append(_working_directory)  # revlm itself is there; Python's own modules come first

from revlm.cli import main

sys.exit(main())
