"""Keeps Python and its libraries from importing anything from the working directory, which anyone may have written.

`python -m` and `python -c`, which also start the workers of `multiprocessing`, put the working directory first on the
search path: a file `signal.py` there would run in place of Python's own module.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SAFE_PATH = "PYTHONSAFEPATH"


@contextmanager
def safe_path_in_children() -> Iterator[None]:
    """Makes every Python process started during the block leave the working directory out of its search path."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


def python_module(module: str, *arguments: object) -> list[str]:
    """Returns the command that runs a module with this interpreter without importing from the working directory."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


@contextmanager
def inside(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Changes to a folder for the block, then back to the previous one, even if that was removed.

    For the import of libraries that read their configuration from the working directory and have no switch for it.
    """
    before = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)
