"""`python -m revlm`, the same as the console script."""

import sys

from revlm.cli import main

sys.exit(main())
