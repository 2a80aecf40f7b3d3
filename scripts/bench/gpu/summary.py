"""Results as Markdown tables, for docs/cuda.md, and as pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.gpu.plan import Part, Result
from bench.systems import SYSTEMS
from revlm.imports import inside

_ABSENT = "-"
_FEW_KERNELS = 10


def markdown(head: Mapping[str, Any], results: Mapping[Part, Result]) -> str:
    """Returns tables of what was measured, and a sentence for each missing measurement."""
    sections = [
        _about(head),
        _steps(head, {part: result for part, result in results.items() if part.work == "step"}),
        *[_launches(part, result) for part, result in results.items() if part.work == "launches"],
        *[_operations(part, result) for part, result in results.items() if part.work == "operations"],
        "\n".join(f"- {name_of(part)}: {result['cause']}" for part, result in results.items() if "cause" in result),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def name_of(part: Part) -> str:
    """Returns the part in words."""
    words = [
        SYSTEMS[part.system].label,
        *([part.work] if part.work != "step" else []),
        f"{part.tokens:,} tokens",
        *([f"{part.rounds} rounds"] if part.rounds != Part("", "", 0).rounds else []),
        *([f"window {part.window}"] if part.window != Part("", "", 0).window else []),
        *([f"{part.documents} documents"] if part.documents > 1 else []),
    ]
    return ", ".join(words)


def write_pictures(folder: Path, results: Mapping[Part, Result], device_name: str) -> list[Path]:
    """Writes gpu-speed.png and gpu-memory.png. Raises ImportError without matplotlib."""
    with inside(Path(__file__).parent):  # matplotlib obeys a matplotlibrc where it is imported
        from matplotlib.figure import Figure

    plain = {part: result for part, result in results.items() if part.is_plain_step}

    def draw(name: str, title: str, label: str, value: Callable[[Part, Result], float | None]) -> Path:
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        axes = figure.add_subplot(title=f"{title}, {device_name}", xlabel="tokens", ylabel=label)
        for system in dict.fromkeys(part.system for part in plain):
            own = [(part.tokens, value(part, result)) for part, result in plain.items() if part.system == system]
            points = [(tokens, height) for tokens, height in own if height is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=SYSTEMS[system].label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        lengths = sorted({part.tokens for part in plain})
        axes.set_xticks(lengths, [f"{tokens:,}" for tokens in lengths])
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
        figure.savefig(folder / name, dpi=160)
        return folder / name

    return [
        draw("gpu-speed.png", "One step", "tokens per second", _tokens_per_second),
        draw("gpu-memory.png", "Peak of memory allocated", "GB", _gigabytes),
    ]


def _about(head: Mapping[str, Any]) -> str:
    rate, peak = head["product_flops_per_second"], head["peak_flops_per_second"]
    of_sheet = "" if peak is None else f", {peak / 1e12:,.0f} by its data sheet"
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items() if version)
    return (
        f"{head['device']}: large products of bfloat16 at {rate / 1e12:,.1f} TFLOP/s{of_sheet}; {versions}; d_model "
        f"{head['d_model']}, {head['layers']} layers, bf16; {head['checks']} checks of the kernels are right"
    )


def _steps(head: Mapping[str, Any], results: Mapping[Part, Result]) -> str:
    rate, peak = head["product_flops_per_second"], head["peak_flops_per_second"]

    def lines() -> Iterator[Sequence[str]]:
        for part, result in results.items():
            if "seconds" not in result:
                yield (name_of(part), result["status"].replace("_", " "), *[_ABSENT] * 5)
                continue
            flops = result["model_flops"] / result["seconds"]
            yield (
                name_of(part),
                f"{part.tokens / result['seconds']:,.0f}",
                f"{result['seconds']:,.3f}",
                _size(result["peak_allocated_bytes"]),
                _size(result["peak_reserved_bytes"]),
                f"{flops / rate:.1%}",
                _ABSENT if peak is None else f"{flops / peak:.1%}",
            )

    columns = ("step", "tokens/s", "s", "GB allocated", "GB reserved", "of products' rate", "mfu")
    return _table(columns, lines()) if results else ""


def _launches(part: Part, result: Result) -> str:
    if result["status"] != "done":
        return ""
    reads = ", ".join(f"{count} {name}" for name, count in result["host_reads"].items()) or "none"
    sentence = (
        f"A step of {name_of(part._replace(work='step'))}: {result['launches']:,} launches, {result['waits']:,} waits "
        f"of the host, host reads: {reads}; {result['kernel_seconds']:.3f} s in kernels, of them the longest:"
    )
    kernels = (
        (f"`{kernel['name']}`", f"{kernel['calls']:,}", f"{kernel['seconds']:.4f}")
        for kernel in result["kernels"][:_FEW_KERNELS]
    )
    return f"{sentence}\n\n{_table(('kernel', 'calls', 's'), kernels)}"


def _operations(part: Part, result: Result) -> str:
    lines = (
        (each["name"], str(each["calls"]), f"{1e3 * each['seconds']:.2f}", f"{_teraflops(each):.1f}")
        for each in result.get("operations", [])
    )
    table = _table(("operation", "calls a step", "ms", "TFLOP/s"), lines)
    return f"{name_of(part)}:\n\n{table}" if result["status"] == "done" else ""


def _teraflops(operation: Mapping[str, Any]) -> float:
    return float(operation["flops"] / operation["seconds"] / 1e12)


def _table(columns: Sequence[str], lines: Iterator[Sequence[str]]) -> str:
    marks = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (columns, marks, *lines))


def _tokens_per_second(part: Part, result: Result) -> float | None:
    return part.tokens / result["seconds"] if "seconds" in result else None


def _gigabytes(part: Part, result: Result) -> float | None:
    allocated = result.get("peak_allocated_bytes")
    return None if allocated is None else allocated / 1e9


def _size(size_bytes: int | None) -> str:
    return _ABSENT if size_bytes is None else f"{size_bytes / 1e9:,.2f}"
