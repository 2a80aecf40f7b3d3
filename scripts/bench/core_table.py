"""The measured parts of a step, as numbers and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from bench.parts import Part
from bench.rates import Rates
from revlm.text import ABSENT


@dataclass(frozen=True)
class MeasuredPart:
    """A part and its median seconds, compared with the machine's rates."""

    part: Part
    seconds: float
    product_flops: float
    copy_bytes: float

    @property
    def product_share(self) -> float:
        """The FLOPs per second as a share of the machine's matrix-product rate."""
        return self.part.flops / self.seconds / self.product_flops

    @property
    def copy_share(self) -> float:
        """The bytes per second as a share of the machine's copy rate."""
        return self.part.bytes / self.seconds / self.copy_bytes

    @property
    def step_seconds(self) -> float:
        """The seconds of all calls in one step."""
        return self.part.calls * self.seconds

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers as plain values."""
        counted = {"name": self.part.name, "calls": self.part.calls, "flops": self.part.flops, "bytes": self.part.bytes}
        return {
            **counted,
            "seconds": self.seconds,
            "flops_per_second": self.part.flops / self.seconds,
            "product_share": self.product_share,
            "bytes_per_second": self.part.bytes / self.seconds,
            "copy_share": self.copy_share,
            "step_seconds": self.step_seconds,
        }


def core_table(title: str, parts: Sequence[MeasuredPart], whole_seconds: float) -> Table:
    """Returns a table of the parts, their sum, and the whole step."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("operation", no_wrap=True)
    for name in ("ms", "GFLOP", "GFLOP/s", "of products", "MB", "GB/s", "of copies", "calls", "in the step", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in parts:
        table.add_row(each.part.name, *_rates(each), *_step(each, whole_seconds))
    total = sum(each.step_seconds for each in parts)
    blank = [""] * 8
    table.add_section()
    table.add_row("sum of the parts", *blank, f"{total:,.2f} s", f"{total / whole_seconds:.0%}")
    rest = whole_seconds - total
    table.add_row("everything else", *blank, f"{rest:,.2f} s", f"{rest / whole_seconds:.0%}")
    table.add_row("forward and backward", *blank, f"{whole_seconds:,.2f} s", "100%")
    return table


def rates_sentence(rates: Rates) -> str:
    """Returns a sentence with the machine's rates."""
    products = ", ".join(f"{flops / 1e9:,.0f} GFLOP/s in {name}" for name, flops in rates.product_flops.items())
    return f"this machine: matrix products {products}; copies {rates.copy_bytes / 1e9:,.1f} GB/s read and written"


def _rates(each: MeasuredPart) -> list[str]:
    part, seconds = each.part, each.seconds
    flops = [f"{part.flops / 1e9:,.1f}", f"{part.flops / seconds / 1e9:,.1f}", f"{each.product_share:.0%}"]
    return [
        f"{seconds * 1e3:,.2f}",
        *(flops if part.flops else [ABSENT] * 3),
        f"{part.bytes / 1e6:,.1f}",
        f"{part.bytes / seconds / 1e9:,.2f}",
        f"{each.copy_share:.0%}",
    ]


def _step(each: MeasuredPart, whole_seconds: float) -> list[str]:
    if not each.part.calls:
        return [ABSENT] * 3
    return [str(each.part.calls), f"{each.step_seconds:,.2f} s", f"{each.step_seconds / whole_seconds:.0%}"]
