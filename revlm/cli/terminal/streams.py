"""Standard output and error whose reader, such as `head` or `tee`, may leave before a command ends."""

import os
import sys
from typing import TextIO

from rich.console import Console


def forget(stream: TextIO) -> None:
    """Lets what is written to a stream go nowhere from now on, what it still holds when the interpreter ends too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class StandardError(Console):
    """A console on standard error that falls silent where its reader has left: the work goes on, and can be saved."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(stderr=True, quiet=quiet)

    def on_broken_pipe(self) -> None:
        """Falls silent; rich's own ends the process."""
        self.quiet = True
        forget(sys.stderr)
