import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from revlm.cli.terminal.signals import StopSignals
from revlm.runs import list_checkpoints, verify_checkpoint
from tests.faults.training import TRAIN, write_recipe

REVLM = [sys.executable, "-m", "revlm"]


def run_unread(folder: Path, *arguments: str) -> int:
    """The exit code of a command whose standard error nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        return subprocess.run([*REVLM, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=gone).returncode


def test_training_goes_on_where_the_reader_of_its_messages_leaves(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "here")
    assert run_unread(folder, *TRAIN) == 0
    assert verify_checkpoint(list_checkpoints(folder / "run")[-1]) == []


def test_a_signal_saves_the_run_where_the_reader_has_left_too(tmp_path: Path) -> None:
    """As Ctrl-C does with `revlm train ... 2>&1 | tee log`, where both are sent the signal."""
    folder = write_recipe(tmp_path / "here")
    command = [*REVLM, *TRAIN, "train.max_steps=1000000", "checkpoint.keep_every=0"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as training:
        assert training.stdout is not None
        assert any(line.startswith("step ") for line in iter(training.stdout.readline, ""))
        training.stdout.close()
        training.send_signal(signal.SIGINT)
        assert training.wait() == 75
    assert verify_checkpoint(list_checkpoints(folder / "run")[-1]) == []


def test_tokenizing_goes_on_where_the_reader_of_its_messages_leaves(tmp_path: Path) -> None:
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
    assert run_unread(tmp_path, *arguments) == code


def test_a_signal_is_noted_where_it_cannot_be_told() -> None:
    def tell(text: str) -> None:
        raise BrokenPipeError

    with StopSignals(tell, "stopping") as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signals.name == "SIGUSR1"
