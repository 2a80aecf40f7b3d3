"""Counts, without a card, what the token-wise layers cost on CUDA: launches a tile, and bytes a token of passes.

A pass is any operation but a matrix product; see `bench.passes` for how it counts. Attention is not counted.
"""

import json
from typing import Annotated, NamedTuple

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench.command import run
from bench.passes import OfTile, of_tile
from revlm.errors import UsageError
from revlm.model import RevLM
from revlm.model.parts.sublayer import Sublayer
from revlm.model.shape import tile_tokens
from revlm.ops.hashing import directions_of
from revlm.recipe import Model

_BUCKETS = 1024


class Row(NamedTuple):
    """A sublayer of a model, how many of it a model has, and the cost of a tile in each direction."""

    sublayer: str
    in_model: int
    forward: OfTile
    backward: OfTile

    def bytes_per_token(self, tile: int) -> float:
        """Returns the bytes a token in a step."""
        return sum(each.bytes_per_token + each.bytes_per_tile / tile for each in (self.forward, self.backward))


def main(
    d_model: Annotated[int, typer.Option(help="Width of the model.")] = 512,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = 8,
    layers: Annotated[int, typer.Option(help="Layers, half of them local, half with hashes.")] = 12,
    dropout: Annotated[float, typer.Option(help="model.dropout.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the launches and the memory traffic of the token-wise layers in a training step in bf16."""
    if layers % 2 or layers < 2:
        raise UsageError(f"--layers is {layers}: give an even number, half of them local and half with hashes")
    rows, tile = counted_rows(d_model, heads, layers, dropout)
    launches = sum(row.in_model * (row.forward.launches + row.backward.launches) for row in rows)
    total = sum(row.in_model * row.bytes_per_token(tile) for row in rows)
    if as_json:
        sublayers = [
            row._asdict() | {"forward": row.forward._asdict(), "backward": row.backward._asdict()} for row in rows
        ]
        print(json.dumps({"tile": tile, "launches": launches, "bytes_per_token": total, "sublayers": sublayers}))
        return
    console = Console(width=120)
    console.print(_table(rows, tile))
    console.print(
        f"{layers} layers of d_model {d_model}, tiles of {tile:,} tokens: {total / 1e6:.2f} MB a token of token-wise "
        f"passes, {launches:,} launches a tile of all sublayers"
    )


def counted_rows(d_model: int, heads: int, layers: int, dropout: float) -> tuple[list[Row], int]:
    """Returns the costs of the sublayers of a model, and the tokens of a tile."""
    recipe = Model(
        d_model=d_model,
        n_layers=2,
        n_heads=heads,
        d_ff=4 * d_model,
        layers=("local", "lsh"),
        n_buckets=_BUCKETS,
        dropout=dropout,
    )
    stack = RevLM(recipe, vocab_size=2, seed=0).stack.sublayers
    rotations = torch.zeros(heads, d_model // heads, directions_of([_BUCKETS] * recipe.n_rounds))
    rows = []
    for name, number, count in (("local", 0, layers // 2), ("lsh", 2, layers // 2), ("feed-forward", 1, layers)):
        sublayer = stack[number]
        assert isinstance(sublayer, Sublayer)
        forward, backward = (
            of_tile(sublayer, rotations, backward=backward, dropout=dropout > 0) for backward in (False, True)
        )
        rows.append(Row(name, count, forward, backward))
    return rows, tile_tokens(recipe, "auto", "cuda")


def _table(rows: list[Row], tile: int) -> Table:
    table = Table(title="token-wise layers, in bf16", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("sublayer", no_wrap=True)
    for name in ("in the model", "launches forward", "backward", "KB a token forward", "backward"):
        table.add_column(name, justify="right")
    for row in rows:
        ways = row.forward, row.backward
        table.add_row(
            row.sublayer,
            str(row.in_model),
            *(str(each.launches) for each in ways),
            *(f"{(each.bytes_per_token + each.bytes_per_tile / tile) / 1e3:.1f}" for each in ways),
        )
    return table


if __name__ == "__main__":
    run(main)
