"""Draws the picture of the README: time and memory against length and depth, revlm beside its peers.

    scripts/draw_overview.py

It reads what `bench_peers.py` measured: `peers.json` (all systems) and `long.json` (revlm at longer examples).
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.command import run
from revlm.imports import inside
from revlm.report.pictures.theme import LIGHT

_PROJECT = Path(__file__).parent.parent
_MEASURED = _PROJECT / "data" / "measured"


def main(
    peers: Annotated[Path, typer.Option(help="What bench_peers.py measured of all systems.")] = _MEASURED
    / "peers.json",
    long: Annotated[Path, typer.Option(help="What it measured of revlm at longer examples.")] = _MEASURED / "long.json",
    output: Annotated[Path, typer.Option(help="The PNG to write.")] = _PROJECT / "docs" / "pictures" / "overview.png",
) -> None:
    """Draw seconds and memory against tokens, and memory against layers."""
    with inside(Path(__file__).parent):  # matplotlib obeys a matplotlibrc where it is imported
        from bench.overview import overview

    overview(_rows(peers), _rows(long)).savefig(output, dpi=200, facecolor=LIGHT.paper)
    typer.echo(output)


def _rows(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return rows


if __name__ == "__main__":
    run(main)
