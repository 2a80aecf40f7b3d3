"""`revlm generate --interactive` at a terminal: Ctrl-C while the model writes and while the user does, Ctrl-D."""

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

import revlm
from tests.tiny_run import write_run

ROOT = Path(revlm.__file__).parent.parent
MAX_SECONDS = 120.0
ASKED = "\r\n> "


class Session:
    """The command line at a pseudo-terminal of its own."""

    def __init__(self, *arguments: object) -> None:
        self.said = ""
        self._child, self._terminal = pty.fork()
        if self._child == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background hands on that it is ignored
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "TERM": "dumb"}
            os.execve(sys.executable, [sys.executable, "-m", "revlm", *map(str, arguments)], environment)

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wait_for(self, words: str, more: int = 0) -> str:
        """Returns what was said since the last call, up to these words; waits for `more` characters after them."""
        assert self._comes(words, more, MAX_SECONDS), f"{words!r} did not come in {self.said!r}"
        place = self.said.find(words)
        before, self.said = self.said[: place + len(words)], self.said[place + len(words) :]
        return before

    def interrupt(self) -> None:
        """Presses Ctrl-C until the next line is asked for.

        One that comes just before the editor waits for a key is seen at the next one only; and Ctrl-C drops keys that
        are not read yet, for which the editor then waits and sees no signal. So a key comes, and is seen, in between.
        """
        for _ in range(40):
            self.type("\x03")
            if self._comes(ASKED, 0, MAX_SECONDS / 40):
                break
            self.type(" ")
            self._comes("", len(self.said) + 1, MAX_SECONDS / 40)
        self.wait_for(ASKED)

    def _comes(self, words: str, more: int, seconds: float) -> bool:
        """Returns whether these words are said in time, and so many characters after them."""
        end = time.monotonic() + seconds
        while (place := self.said.find(words)) < 0 or len(self.said) < place + len(words) + more:
            if time.monotonic() > end:
                return False
            if select.select([self._terminal], [], [], 1.0)[0]:
                self.said += os.read(self._terminal, 1 << 16).decode(errors="replace")
        return True

    def end(self) -> tuple[int, str]:
        """Returns the exit code, and what was said last."""
        try:
            while content := os.read(self._terminal, 1 << 16):
                self.said += content.decode(errors="replace")
        except OSError:  # the other side has closed it
            pass
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1]), self.said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("folder") / "run")


def test_a_session(folder: Path) -> None:
    session = Session("generate", "--interactive", "--run", folder, "--max-tokens", 10**6, "--top-k", 2)
    assert "Ctrl-C ends a continuation, Ctrl-D ends the text." in session.wait_for(ASKED)
    for line in ("the old", ""):
        session.type(f"{line}\n")
        session.wait_for(f"{line}\r\n", more=40)  # the model is writing
        session.interrupt()
    session.type("not this")
    session.interrupt()
    session.type("\x04")
    code, last = session.end()
    assert code == 0
    assert "tokens/s" in last
    assert "revlm:" not in last
