"""Nothing that is printed has a way around the filter, and no failure to print ends the work."""

import os
import pty
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from rich.table import Table

from revlm.cli import main
from revlm.cli.terminal.console import Terminal, print_line, print_table
from revlm.cli.terminal.streams import guarded_streams, print_content, print_json, printable
from revlm.runs import list_checkpoints, verify_checkpoint
from tests.faults.points import SignalAt
from tests.faults.training import TRAIN, write_recipe
from tests.several import run_revlm

REVLM = [sys.executable, "-m", "revlm"]
EVIL = "a\x1b]52;c;aGk=\x07b\x9b31mc\x7fd\re\u202ef"
SEEN = "a�]52;c;aGk=�b�31mc�d�e�f"


def everything_prints() -> None:
    """By every way that Python has of printing."""
    import logging

    print(EVIL)
    print(EVIL, file=sys.stderr)
    sys.stdout.write(EVIL + "\n")
    sys.stdout.writelines([EVIL, "\n"])
    sys.stdout.buffer.write(EVIL.encode() + b"\n")
    sys.__stdout__.write(EVIL + "\n")
    sys.stderr.buffer.write(EVIL.encode() + b"\n")
    warnings.warn(EVIL, stacklevel=1)
    logging.getLogger("library").warning(EVIL)
    print_line(EVIL)
    table = Table(EVIL, title=EVIL)
    table.add_row(EVIL)
    print_table(table)
    Terminal(stderr=True).print(EVIL)
    print_content(EVIL)
    print_content(EVIL.encode())
    print_json({EVIL: EVIL})


PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent.parent.parent)!r})
from revlm.cli.terminal.streams import guarded_streams
from tests.cli.terminal.test_streams_guarded import everything_prints
with guarded_streams():
    everything_prints()
"""


def at_a_terminal(command: list[str], **options: str) -> tuple[int, str]:
    """The exit code of a command, and all that its terminal was sent."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(command[0], command, {**os.environ, "TERM": "xterm", "PYTHONWARNINGS": "always", **options})
    said = b""
    try:
        while content := os.read(terminal, 1 << 16):
            said += content
    except OSError:
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.decode()


def without_styles(said: str) -> str:
    """What was said without the line ends of a terminal and the styles that are the console's own."""
    import re

    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", said.replace("\r\n", "\n"))


def test_no_way_of_printing_brings_a_control_character_to_the_terminal() -> None:
    code, said = at_a_terminal([sys.executable, "-c", PROGRAM])
    assert code == 0, said
    seen = without_styles(said)
    assert printable(seen) == seen
    assert seen.count(SEEN) >= 10


def test_a_pipe_gets_the_bytes_of_texts_and_no_control_character_of_messages() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True)
    out, err = ended.stdout.decode(), ended.stderr.decode()
    assert ended.returncode == 0, err
    assert printable(err) == err
    assert out.count(EVIL) == 2  # those of print_content
    assert "\\u001b" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["recipes", f"x{EVIL}"],
        ["plan", "demo", f"model.{EVIL}=1"],
        ["plan", "demo", f"model.layers=[{EVIL!a}]"],
        ["plan", f"{EVIL}.yaml"],
        ["tokenize", EVIL],
        ["data", "show", EVIL],
        ["generate", "--run", EVIL, "--prompt", "x"],
        ["evaluate", "--run", EVIL],
        ["report", EVIL],
        ["checkpoint", "verify", "--run", EVIL],
        ["fetch", EVIL],
        [EVIL],
        ["train", "demo", f"output_dir={EVIL}", f"data.path={EVIL}"],
    ],
)
def test_every_command_filters_what_it_was_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) not in {0, 1}
    out, err = capsys.readouterr()
    assert "�" in err or "\\x1b" in err or "]52" not in err
    assert printable(out + err) == out + err


def test_warnings_are_one_line_without_source(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), guarded_streams():
        warnings.simplefilter("always")
        sys.stderr.write(warnings.formatwarning("a\nb", UserWarning, "file.py", 3, "source"))
    assert capsys.readouterr().err == "revlm: warning: a b\n"


Opened = Callable[[], int]


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def closed_terminal() -> int:
    """A terminal that has hung up, of which every use is EIO."""
    controlling, terminal = pty.openpty()
    os.close(controlling)
    return terminal


def unread_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


BROKEN = [full_disk, closed_terminal, unread_pipe]


def redirect(opened: Opened, *descriptors: int) -> None:
    """Lets the standard streams of this process lead elsewhere."""
    target = opened()
    for descriptor in descriptors:
        os.dup2(target, descriptor)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a recipe, for `TRAIN`."""
    return write_recipe(tmp_path / "here")


@pytest.mark.parametrize("opened", BROKEN)
def test_training_continues_and_saves_where_its_messages_cannot_be_written(folder: Path, opened: Opened) -> None:
    assert run_revlm(folder, *TRAIN, before=partial(redirect, opened, 1, 2)).code == 0
    assert verify_checkpoint(list_checkpoints(folder / "run")[-1]) == []


def test_training_with_closed_streams_writes_nothing_of_its_messages_into_its_files(folder: Path) -> None:
    command = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *REVLM, *TRAIN]
    assert subprocess.run(command, cwd=folder).returncode == 0
    assert verify_checkpoint(list_checkpoints(folder / "run")[-1]) == []
    assert all(line.startswith("{") for line in (folder / "run" / "metrics.jsonl").read_text().splitlines())


UNPRINTABLE = [(full_disk, 6, "No space left"), (closed_terminal, 6, "Input/output error"), (unread_pipe, 141, "")]


@pytest.mark.parametrize(("opened", "code", "said"), UNPRINTABLE)
def test_a_result_that_cannot_be_printed_is_an_error(tmp_path: Path, opened: Opened, code: int, said: str) -> None:
    descriptor = opened()
    ended = subprocess.run([*REVLM, "recipes"], cwd=tmp_path, stdout=descriptor, stderr=subprocess.PIPE, text=True)
    os.close(descriptor)
    assert_one_error(ended.returncode, ended.stderr, code, said)


@pytest.mark.parametrize(("opened", "code", "said"), UNPRINTABLE)
@pytest.mark.parametrize("arguments", [["plan", "demo"], ["environment", "--json"], ["fetch", "--list"]])
def test_so_is_that_of_every_command(
    tmp_path: Path, arguments: list[str], opened: Opened, code: int, said: str
) -> None:
    ended = run_revlm(tmp_path, *arguments, before=partial(redirect, opened, 1))
    assert_one_error(ended.code, ended.stderr, code, said)


def assert_one_error(found_code: int, stderr: str, code: int, said: str) -> None:
    assert found_code == code
    errors = [line for line in stderr.splitlines() if line.startswith("revlm: ")]
    assert len(errors) == (1 if said else 0)
    assert said in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("arguments", "closed"),
    [
        *((("recipes", "demo"), closed) for closed in ("<&-", ">&-", "2>&-")),
        (("plan", "demo"), ">&-"),
        (("environment",), "2>&-"),
    ],
)
def test_a_closed_stream_is_like_one_that_leads_nowhere(
    tmp_path: Path, arguments: tuple[str, ...], closed: str
) -> None:
    command = ["sh", "-c", f'"$@" {closed}', "sh", *REVLM, *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0
    assert "revlm:" not in ended.stderr


def test_a_terminal_that_another_program_made_non_blocking_gets_everything() -> None:
    program = (
        "import os, sys\nos.set_blocking(1, False)\nfrom revlm.cli.terminal.streams import guarded_streams\n"
        "with guarded_streams():\n    print('x' * 1_000_000)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert len(process.stdout.read()) == 1_000_001
    assert process.returncode == 0


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_table_never_cuts_a_number(capsys: pytest.CaptureFixture[str], width: int) -> None:
    table = Table("a document with a long title", title="about")
    for heading in ("tokens", "bytes", "nats/token"):
        table.add_column(heading, justify="right")
    table.add_row("the title of a document " * 3, "1,234,567,890", "98,765,432,100", "± 1.2345")
    print_table(table, Terminal(width=width, file=sys.stdout))
    out = capsys.readouterr().out
    for whole in ("1,234,567,890", "98,765,432,100", "± 1.2345", "nats/token", "document"):
        assert whole in out
    assert "…" not in out


def hang_up(ignored: bool) -> None:
    """Sends this process SIGHUP twice in the midst of its second step, as the kernel and the shell both do."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)  # ignored as nohup does, or never
    for _ in range(2):
        SignalAt("SIGHUP", "backward", 3)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_hangup_saves_the_run_unless_nohup_ignores_it(folder: Path, ignored: bool) -> None:
    ended = run_revlm(folder, *TRAIN, before=partial(hang_up, ignored))
    assert ended.code == (0 if ignored else 75), ended.stderr
    newest = list_checkpoints(folder / "run")[-1]
    assert newest.name == ("step-00000006" if ignored else "step-00000001")
    assert verify_checkpoint(newest) == []


LIMITS = [
    (resource.RLIMIT_NOFILE, 12, {0, 4, 6}),
    pytest.param(resource.RLIMIT_NOFILE, 24, {0, 4, 6}, marks=pytest.mark.slow),
    (resource.RLIMIT_AS, 300_000_000, {4}),
    pytest.param(resource.RLIMIT_AS, 900_000_000, {0, 4}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("limit", "most", "codes"), LIMITS)
def test_a_limit_of_the_process_is_one_sentence(folder: Path, limit: int, most: int, codes: set[int]) -> None:
    ended = subprocess.run(
        [*REVLM, *TRAIN], cwd=folder, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(limit, (most, most)),
    )  # fmt: skip
    assert ended.returncode in codes, ended.stderr
    if ended.returncode:
        assert ended.stderr.splitlines()[-1].startswith("revlm: ")
        assert "Traceback" not in ended.stderr


def test_a_limit_of_the_size_of_files_is_one_sentence(folder: Path) -> None:
    ended = run_revlm(folder, *TRAIN, before=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000)))
    assert ended.code == 6, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("revlm: ")
    assert "Traceback" not in ended.stderr
