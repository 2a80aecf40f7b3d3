"""Compares a planned step with a measured one, within a bound."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table

from bench.plan_cases import Case

MIB = 2**20
BOUND_BYTES = 32 * MIB
BOUND_SHARE = 0.10


@dataclass(frozen=True)
class Checked:
    """The planned and measured peaks of each phase of a case, in bytes beyond the process before it."""

    case: Case
    planned: dict[str, int]
    measured: dict[str, int]

    @property
    def worst_phase(self) -> str:
        """The phase whose error is the largest relative to its bound."""
        return max(self.measured, key=self._of_bound)

    @property
    def is_within_bound(self) -> bool:
        """Whether every phase's plan, and so the step's, is within 10% or 32 MiB of the measurement."""
        return self._of_bound(self.worst_phase) <= 1

    def to_json(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return asdict(self) | {"within_bound": self.is_within_bound}

    def _of_bound(self, phase: str) -> float:
        measured = self.measured[phase]
        return abs(self.planned[phase] - measured) / max(BOUND_BYTES, BOUND_SHARE * measured)


def check_table(checked: Sequence[Checked]) -> Table:
    """Returns a Markdown table of the steps' peaks in MiB, each with its worst phase."""
    table = Table(box=box.MARKDOWN)
    for name in ("recipe", "tokens", "layers", "width", "vocabulary", "precision", "activations"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("tokens", "layers", "width") else "left")
    for name in ("planned MiB", "measured MiB", "off", "worst phase"):
        table.add_column(name, no_wrap=True, justify="right")
    for each in checked:
        case = each.case
        planned, measured = max(each.planned.values()), max(each.measured.values())
        phase = each.worst_phase
        table.add_row(
            case.name,
            f"{case.tokens:,}",
            f"{case.layers}",
            f"{case.d_model}",
            f"{case.vocab_size:,}",
            case.precision,
            "rebuilt" if case.reversible else "stored",
            f"{planned / MIB:,.0f}",
            f"{measured / MIB:,.0f}",
            _off(planned, measured),
            f"{phase} {_off(each.planned[phase], each.measured[phase])}",
        )
    return table


def beyond_bound(checked: Sequence[Checked]) -> Iterator[str]:
    """Yields a sentence for each case beyond its bound."""
    for each in checked:
        if not each.is_within_bound:
            phase = each.worst_phase
            off = _off(each.planned[phase], each.measured[phase])
            yield f"{each.case.name}: the plan of its {phase} phase is off by {off} MiB"


def _off(planned: int, measured: int) -> str:
    return f"{(planned - measured) / MIB:+,.0f} ({planned / measured - 1:+.0%})"
