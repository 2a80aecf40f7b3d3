import os
import signal

import pytest

from revlm.cli.terminal.signals import SIGNALS, StopSignals


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_the_second_acts_as_before(number: signal.Signals) -> None:
    heard = []
    before = signal.signal(number, lambda *_: heard.append("before"))
    try:
        messages: list[str] = []
        with StopSignals(messages.append, "stopping") as signals:
            assert signals.name is None
            os.kill(os.getpid(), number)
            assert signals.name == number.name
            assert not heard
            assert len(messages) == 1
            os.kill(os.getpid(), number)
            # A terminal that closes sends SIGHUP twice: by the kernel and by the shell.
            assert heard == ([] if number == signal.SIGHUP else ["before"])
        heard.clear()
        os.kill(os.getpid(), number)
        assert heard == ["before"]
    finally:
        signal.signal(number, before)
