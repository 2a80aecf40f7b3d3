import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from revlm.cli.terminal.signals import StopSignals
from revlm.runs import list_checkpoints, verify_checkpoint
from tests.faults.points import SignalAt
from tests.faults.training import TRAIN, write_recipe
from tests.several import run_revlm


def no_reader(*descriptors: int, interrupt: bool = False) -> None:
    """Lets standard streams of this process be pipes that nobody reads, and sends SIGINT in the midst of a step."""
    reading, writing = os.pipe()
    os.close(reading)
    for descriptor in descriptors:
        os.dup2(writing, descriptor)
    if interrupt:
        SignalAt("SIGINT", "backward", 3)


def test_training_continues_where_the_reader_of_its_messages_leaves(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "here")
    assert run_revlm(folder, *TRAIN, before=partial(no_reader, 2)).code == 0
    assert verify_checkpoint(list_checkpoints(folder / "run")[-1]) == []


def test_a_signal_saves_the_run_where_the_reader_has_left_too(tmp_path: Path) -> None:
    """As Ctrl-C does with `revlm train ... 2>&1 | tee log`, where both are sent the signal."""
    folder = write_recipe(tmp_path / "here")
    assert run_revlm(folder, *TRAIN, before=partial(no_reader, 1, 2, interrupt=True)).code == 75
    [newest] = list_checkpoints(folder / "run")
    assert newest.name == "step-00000001"
    assert verify_checkpoint(newest) == []


def test_tokenizing_continues_where_the_reader_of_its_messages_leaves(tmp_path: Path) -> None:
    program = (
        "from revlm.cli.terminal.streams import guarded_streams\n"
        "from revlm.cli.terminal.progress import TokenizeProgress\n"
        "with guarded_streams():\n"
        "    with TokenizeProgress() as progress:\n        progress.message('a')\n        progress.message('b')\n"
        "    print('done')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=gone, text=True)
    assert (ended.returncode, ended.stdout) == (0, "done\n")


@pytest.mark.parametrize(
    ("arguments", "code"), [(("data", "show", "nope"), 3), (("recipes", "--nope"), 2), (("checkpoint", "list"), 6)]
)
def test_an_error_that_nobody_reads_keeps_its_exit_code(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    assert run_revlm(tmp_path, *arguments, before=partial(no_reader, 2)).code == code


def test_a_signal_is_noted_where_it_cannot_be_told() -> None:
    def tell(text: str) -> None:
        raise BrokenPipeError

    with StopSignals(tell, "stopping") as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signals.name == "SIGUSR1"
