"""Tables of `revlm plan`: one plan, and a sweep over values of a key."""

from typing import Any

from rich import box
from rich.table import Table

from revlm.cli.terminal.console import print_line, print_table
from revlm.text import human_bytes

MODES = ("reversible", "stored")


def print_plan(described: dict[str, Any]) -> None:
    """Prints the plan that `revlm plan` describes: categories by phase, the peak, and whether it fits."""
    from revlm.planning import CATEGORIES

    mode = "reversible" if described["reversible"] else "stored"
    table = Table(
        title=f"{described['seq_len']:,} tokens{_shared(described['sequence_parallel'])}, {described['n_layers']} "
        f"layers, {mode}, {described['precision']}, {described['device']}",
        title_justify="left",
    )
    table.add_column("at the peak of")
    peaks = described["peaks"]
    for phase in peaks:
        table.add_column(phase, justify="right")
    for category, name in CATEGORIES.items():
        row = [peaks[phase][category] for phase in peaks]
        if any(row):
            table.add_row(name, *(human_bytes(size) if size else "" for size in row))
    table.add_section()
    table.add_row("planned", *(human_bytes(sum(peak.values())) for peak in peaks.values()), style="bold")
    if described["measured"]:
        table.add_row("measured", *(human_bytes(described["measured"][phase]) for phase in peaks), style="bold")
    print_table(table)
    if start := described["started_from"]:
        print_line(f"starts from the weights of {start['path']}, step {start['step']:,}")
    print_line(
        f"peak {human_bytes(described['peak_bytes'])}; including the process before the model "
        f"{human_bytes(described['total_bytes'])}"
    )
    if (ranks := described["sequence_parallel"]) > 1:
        print_line(f"each of {ranks} ranks sends {human_bytes(described['sent_bytes'])} in a step")
    print_line(_verdict(described))


def _shared(ranks: int) -> str:
    return f" shared by {ranks} ranks" if ranks > 1 else ""


def _verdict(described: dict[str, Any]) -> str:
    if described["fits"] is None:
        return "whether it fits is unknown: give memory.limit"
    fits = "fits into" if described["fits"] else "does not fit into"
    verdict = f"{fits} the {human_bytes(described['limit_bytes'])} that {described['limit_owner']}"
    longest = described["longest_seq_len"]
    return f"{verdict}; " + (f"the longest data.seq_len that fits is {longest:,}" if longest else "1,024 tokens do not")


def print_sweep(key: str, rows: list[dict[str, Any]]) -> None:
    """Prints a row a value: planned and measured peaks, or whether each plan fits."""
    with_measured = any(row[mode]["measured_peak_bytes"] for row in rows for mode in MODES)
    table = Table(
        title="peak memory of a step, without the process before the model",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(key, justify="right")
    for mode in MODES:
        table.add_column(f"{mode},\nplanned", justify="right", no_wrap=True)
        if with_measured:
            table.add_column("measured", justify="right", no_wrap=True)
            table.add_column("off", justify="right", no_wrap=True)
        else:
            table.add_column("fits")
    for row in rows:
        cells = [f"{row['value']:,}"]
        for mode in MODES:
            entry = row[mode]
            cells.append(human_bytes(entry["peak_bytes"]))
            if with_measured:
                measured = entry["measured_peak_bytes"]
                cells.append(human_bytes(measured))
                cells.append(f"{entry['peak_bytes'] / measured - 1:+.0%}" if measured else "")
            else:
                cells.append({True: "yes", False: "no", None: "?"}[entry["fits"]])
        table.add_row(*cells)
    print_table(table)
