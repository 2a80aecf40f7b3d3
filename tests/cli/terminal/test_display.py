import io
import math
import random
from typing import Any

import pytest

from revlm.cli.terminal.console import Terminal
from revlm.cli.terminal.display import Display
from revlm.text import ABSENT
from tests.report.builder import evaluation_record, step_record


def plain_console() -> Terminal:
    return Terminal(file=io.StringIO(), force_terminal=False, width=80)


def terminal() -> Terminal:
    return Terminal(file=io.StringIO(), force_terminal=True, width=100, height=30, _environ={"TERM": "xterm"})


def written(console: Terminal) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def record(step: int, **changes: Any) -> dict[str, Any]:
    return step_record(step, random.Random(step)) | changes


def test_plain_lines_are_one_each_and_aligned() -> None:
    console = plain_console()
    with Display(200, console) as display:
        display.show(record(9, loss=12.3456, tokens_per_second=4812.2, grad_norm=0.912))
        display.show(record(100, seconds=10.0))
        display.show(evaluation_record(100))
    first, second, evaluation = written(console).splitlines()
    assert "step         9/200  loss 12.346" in first
    assert "4,812 tok/s" in first
    assert "mem 1.2" in first
    for word in ("loss", "bits/byte", "lr", "grad", "tok/s", "mem", "peak", "left"):
        assert first.index(f" {word}" if word != "peak" else word) == second.index(
            f" {word}" if word != "peak" else word
        )
    assert evaluation.index("bits/byte") == first.index("bits/byte")
    assert evaluation.startswith("evaluation 100/200")


def test_flops_are_shown_and_their_share_of_the_peak_where_it_is_known() -> None:
    console = plain_console()
    with Display(9, console) as display:
        display.show(record(1, model_flops_per_second=1.234e11))
        display.show(record(2, model_flops_per_second=3.9e14, mfu=0.394))
        display.show(record(3, model_flops_per_second=None))
    known, with_share, unknown = written(console).splitlines()
    assert "123 GFLOP/s  mem" in known
    assert "390 TFLOP/s  mfu 39%  mem" in with_share
    assert f"{ABSENT}  mem" in unknown


def test_time_left_is_the_median_step_times_the_steps_that_remain() -> None:
    console = plain_console()
    with Display(100, console) as display:
        for step, seconds in ((1, 10.0), (2, 10.0), (3, 500.0)):
            display.show(record(step, seconds=seconds))
    assert written(console).splitlines()[-1].endswith("left 16:10")


def test_the_peak_is_the_largest_so_far() -> None:
    console = plain_console()
    with Display(100, console) as display:
        display.show(record(1, memory_peak_bytes=2_300_000_000))
        display.show(record(2, memory_peak_bytes=1_000_000_000, memory_optimizer_peak_bytes=900_000_000))
    assert "mem  900 MB (peak 2.30 GB)" in written(console).splitlines()[-1]


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4, 5]), (2, [1, 2, 4, 5]), (0, [])])
def test_steps_are_logged_as_often_as_asked(every: int, steps: list[int]) -> None:
    console = plain_console()
    with Display(5, console, logging_every=every) as display:
        for step in range(1, 6):
            display.show(record(step))
    assert [int(line.split()[1].split("/")[0]) for line in written(console).splitlines()] == steps


def test_missing_and_non_finite_values_are_shown_as_such() -> None:
    console = plain_console()
    with Display(5, console) as display:
        display.show({"event": "step", "step": 1, "loss": math.nan, "grad_norm": None})
        display.show({"event": "evaluate", "step": 1})
        display.show({"event": "of a later version"})
    step, evaluation = written(console).splitlines()
    assert "loss    nan" in step
    assert "grad     –" in step  # noqa: RUF001
    assert "loss      –" in evaluation  # noqa: RUF001


def test_samples_and_messages_are_safe_to_print() -> None:
    console = plain_console()
    with Display(5, console) as display:
        display.message("corpus [bold]data/novels[/bold]")
        samples = [{"prompt": "It was", "text": " \x1b[2J late\nand dark"}, {"prompt": "He", "text": "x"}]
        display.show({"event": "evaluate", "step": 1, "samples": samples})
    message, _, sample, other = written(console).splitlines()
    assert message == "corpus [bold]data/novels[/bold]"
    assert sample == "sample     1/5  It was \N{REPLACEMENT CHARACTER}[2J late and dark"
    assert other == "sample     1/5  Hex"


def test_a_terminal_shows_the_last_state_of_everything() -> None:
    console = terminal()
    with Display(200, console) as display:
        display.message("a notice")
        display.show(record(41, loss=5.3124, seconds=1.0))
        display.show({**evaluation_record(40), "samples": [{"prompt": "It was", "text": " late"}]})
        during = console_text(display)
    after = console_text(display)
    for part in ("step 41/200", "left 2:39", "loss 5.312", "held out step 40", "“It was late”"):
        assert part in during
        assert part in after
    assert "a notice" in written(console)


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines() -> None:
    console = Terminal(file=io.StringIO(), force_terminal=True, width=80, _environ={"TERM": "dumb"})
    with Display(200, console) as display:
        display.show(record(1))
    assert written(console).count("\n") == 1


def test_the_display_ends_with_an_error_too() -> None:
    console = terminal()

    def interrupted() -> None:
        with Display(200, console) as display:
            display.show(record(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert written(console).rstrip().endswith("\x1b[?25h")


def console_text(display: Display) -> str:
    """The picture of a live display as text."""
    console = Terminal(file=io.StringIO(), width=100)
    console.print(display._renderable())
    return written(console)
