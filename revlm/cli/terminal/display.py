"""Displays training: live in a terminal, as plain aligned lines elsewhere.

Everything goes to standard error. The records are those of `train(...)` and `metrics.jsonl`.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from revlm.cli.terminal.console import Terminal
from revlm.storage import Closing
from revlm.text import ABSENT, clock, human_bytes, human_flops_per_second, is_finite

STEPS_FOR_TIME_LEFT = 20
REFRESHES_PER_SECOND = 4


class Display(Closing):
    """Displays the records of a training run; as a context manager, it starts and ends the live display.

    `logging_every` applies to plain lines: the first step, the last and every logging_every-th step are printed, or
    none with 0. Evaluations are always printed.
    """

    def __init__(self, total_steps: int, console: Console | None = None, logging_every: int = 1) -> None:
        self.total_steps = total_steps
        self.console = console or Terminal(stderr=True)
        self.logging_every = logging_every
        self._is_live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._step: Mapping[str, Any] = {}
        self._evaluation: Mapping[str, Any] = {}
        self._sample: Mapping[str, Any] = {}
        self._peak_bytes: int | None = None
        self._step_seconds: deque[float] = deque(maxlen=STEPS_FOR_TIME_LEFT)
        self._seconds_left: float | None = None
        # Standard output is not redirected: another program may read it.
        self._live = Live(
            console=self.console,
            get_renderable=self._renderable,
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def close(self) -> None:
        """Ends the live display."""
        if self._is_live:
            self._live.stop()

    def show(self, record: Mapping[str, Any]) -> None:
        """Displays the record of a step, or of an evaluation with its samples; missing values are shown as absent."""
        match record.get("event"):
            case "step":
                is_first = not self._step
                self._add_step(record)
                line = self._step_line() if self._is_logged(record["step"], is_first) else None
            case "evaluate":
                self._evaluation, samples = record, record.get("samples", ())
                self._sample = samples[0] if samples else self._sample
                drawn = [f"sample     {self._step_of_total(record)}  {_snippet(each, 160)}" for each in samples]
                line = "\n".join([self._evaluation_line(), *drawn])
            case _:
                return
        if self._is_live:
            self._live.refresh()
        elif line:
            self._print(line)

    def message(self, text: str) -> None:
        """Prints a notice; in a terminal it stays above the display."""
        self._print(text)

    def _add_step(self, record: Mapping[str, Any]) -> None:
        seconds, peak = record.get("seconds"), record.get("memory_peak_bytes")
        if is_finite(seconds):
            self._step_seconds.append(seconds)
            # The median, so that one slow step does not change it.
            self._seconds_left = median(self._step_seconds) * max(0, self.total_steps - record["step"])
        if peak is not None:
            self._peak_bytes = max(peak, self._peak_bytes or 0)
        self._step = record

    def _is_logged(self, step: int, is_first: bool) -> bool:
        if self.logging_every == 0:
            return False
        return is_first or step == self.total_steps or step % self.logging_every == 0

    def _step_of_total(self, record: Mapping[str, Any]) -> str:
        return f"{record['step']:>{len(str(self.total_steps))}}/{self.total_steps}"

    def _step_line(self) -> str:
        step = self._step
        return self._line(
            "step",
            step,
            f"lr {_number(step, 'learning_rate', '.1e', 7)}",
            f"grad {_number(step, 'grad_norm', '.2f', 5)}",
            f"{_number(step, 'tokens_per_second', ',.0f', 7)} tok/s",
            f"{human_flops_per_second(step.get('model_flops_per_second')):>12}",
            *([f"mfu {_number(step, 'mfu', '.0%', 3)}"] if "mfu" in step else []),
            f"mem {self._memory_now():>7} (peak {human_bytes(self._peak_bytes):>7})",
            f"left {clock(self._seconds_left)}",
        )

    def _evaluation_line(self) -> str:
        tokens = _number(self._evaluation, "tokens", ",.0f")
        return self._line("evaluation", self._evaluation, f"{tokens} tokens held out")

    def _line(self, kind: str, record: Mapping[str, Any], *others: str) -> str:
        """One plain line: kind and step of a record, its losses, and other figures."""
        loss, bits_per_byte = (_number(record, key, ".3f", 6) for key in ("loss", "bits_per_byte"))
        beginning = f"{kind:<10} {self._step_of_total(record)}"
        return "  ".join([beginning, f"loss {loss}", f"bits/byte {bits_per_byte}", *others])

    def _memory_now(self) -> str:
        """Memory at the end of the step: the peak of the optimizer phase."""
        return human_bytes(self._step.get("memory_optimizer_peak_bytes"))

    def _print(self, line: str) -> None:
        # Soft wrap: a line stays one line in a log file, whatever the width.
        self.console.print(Text(line), soft_wrap=not self._is_live)

    def _renderable(self) -> RenderableType:
        """Also called from the refresh thread: reads each attribute once and changes none."""
        done = self._step.get("step", 0)
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        bar.add_row(
            Text(f"step {done:,}/{self.total_steps:,}", style="bold"),
            ProgressBar(total=self.total_steps, completed=done, complete_style="green"),
            Text(f"left {clock(self._seconds_left)}"),
        )
        lines: list[RenderableType] = [bar]
        if self._step:
            lines += [self._loss_text(), self._speed_text()]
        if self._evaluation:
            lines.append(self._evaluation_text())
        if self._sample:
            width = max(20, self.console.width - 20)
            lines.append(_facts(("sample", f"“{_snippet(self._sample, width)}”")))
        return Group(*lines)

    def _loss_text(self) -> Text:
        step = self._step
        return _facts(
            ("loss", _number(step, "loss", ".3f")),
            ("bits/byte", _number(step, "bits_per_byte", ".3f")),
            ("learning rate", _number(step, "learning_rate", ".1e")),
            ("gradient", _number(step, "grad_norm", ".2f")),
        )

    def _speed_text(self) -> Text:
        return _facts(
            ("tokens/s", _number(self._step, "tokens_per_second", ",.0f")),
            ("model", human_flops_per_second(self._step.get("model_flops_per_second"))),
            *([("mfu", _number(self._step, "mfu", ".0%"))] if "mfu" in self._step else []),
            ("memory", self._memory_now()),
            ("peak", human_bytes(self._peak_bytes)),
        )

    def _evaluation_text(self) -> Text:
        evaluation = self._evaluation
        return _facts(
            ("held out", f"step {evaluation['step']:,}"),
            ("loss", _number(evaluation, "loss", ".3f")),
            ("bits/byte", _number(evaluation, "bits_per_byte", ".3f")),
        )


def _facts(*facts: tuple[str, str]) -> Text:
    """One line of values, each after its name in dim style."""
    line = Text()
    for index, (name, value) in enumerate(facts):
        line.append("   " if index else "").append(f"{name} ", style="dim").append(value)
    return line


def _number(record: Mapping[str, Any], key: str, form: str, width: int = 0) -> str:
    """A formatted value of a record, right-aligned to `width`; one that is not finite is shown as nan or inf."""
    value = record.get(key)
    return f"{ABSENT if value is None else format(value, form):>{width}}"


def _snippet(record: Mapping[str, Any], width: int) -> str:
    """The start of a sample on one line, prompt first; for a picture, what it completes."""
    prompt, text = record.get("prompt", ""), record.get("text", "")
    if picture := record.get("picture"):
        return f"picture {prompt}, rows from {picture['rows'] + 1}: `revlm report` shows it"
    line = " ".join((prompt + text.removeprefix(prompt)).split())
    return line if len(line) <= width else line[: width - 1] + "…"
