"""Estimates a training step on a card that is not there: of revlm, and of exact flash attention with checkpointing.

A step is the sum of its parts, as if none overlapped: operations over the card's peak, and bytes over its bandwidth,
each times a share that is assumed and not measured.
"""

from typing import Annotated, NamedTuple

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench.command import numbers, run, words
from count_passes import counted_rows

# Operations in dense bf16 and bytes of memory a second: NVIDIA A100 Tensor Core GPU data sheet (80GB SXM), and NVIDIA
# H100 Tensor Core GPU data sheet (SXM), which states twice as many operations, with sparsity.
_CARDS = {"a100": (312e12, 2.039e12), "h100": (989e12, 3.35e12)}
# Assumed shares of the peak: of large products; of exact attention (FlashAttention-2 has 50% to 73% on an A100, arXiv
# 2307.08691, and 35% on an H100, where FlashAttention-3 has up to 75%, arXiv 2407.08608); of window attention, whose
# products are of 64 rows and wait for gathered vectors.
_PRODUCTS, _EXACT, _WINDOWS, _BANDWIDTH = 0.6, 0.55, 0.1, 0.8
_WINDOW, _ROUNDS, _BLOCK, _VOCABULARY = 64, 4, 64, 2048


class Microseconds(NamedTuple):
    """The time of a token: in products with weights, in attention, and in token-wise passes."""

    products: float
    attention: float
    passes: float


def main(
    lengths: Annotated[str, typer.Option(help="Tokens of an example, comma-separated.")] = "65536,262144,1048576",
    cards: Annotated[str, typer.Option(help="Cards, comma-separated.")] = "a100,h100",
    d_model: Annotated[int, typer.Option(help="Width of the model.")] = 512,
    layers: Annotated[int, typer.Option(help="Layers, half of them local, half with hashes.")] = 12,
) -> None:
    """Print the estimated times, part by part, and how many times as fast revlm would be."""
    heads = d_model // 64
    rows, tile = counted_rows(d_model, heads, layers, 0.0)
    bytes_per_token = sum(row.in_model * row.bytes_per_token(tile) for row in rows)
    table = Table(title="microseconds a token: estimates, not measured", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("card", "tokens", "revlm: products", "attention", "passes", "exact: products", "attention", "passes"):
        table.add_column(name, justify="right")
    table.add_column("times as fast", justify="right")
    for card in words(cards, tuple(_CARDS), "--cards"):
        for tokens in numbers(lengths, "--lengths"):
            own = of_windows(card, d_model, layers, bytes_per_token)
            exact = of_exact(card, d_model, layers, tokens, bytes_per_token)
            table.add_row(
                card, f"{tokens:,}", *(f"{each:.2f}" for each in (*own, *exact)), f"{sum(exact) / sum(own):.1f}"
            )
    Console(width=140).print(table)


def of_windows(card: str, d_model: int, layers: int, bytes_per_token: float) -> Microseconds:
    """Returns the time of revlm, whose layers are half local, with one round, and half with several rounds."""
    peak, bandwidth = _CARDS[card]
    rounds = layers // 2 * (1 + _ROUNDS)
    # Products a pair: two forward, again when rebuilt, three for gradients of queries, four for those of keys.
    of_pairs = (2 + 2 + 3 + 4) * 2 * d_model * (_WINDOW + _BLOCK) * rounds
    # Vectors in bf16 a token and round: queries, and of keys and values (window + block) / block; in four launches,
    # of which two read the gradient too, and sums in float32 that are read and written.
    reach = (_WINDOW + _BLOCK) / _BLOCK
    vectors = 2 * (1 + 2 * reach) + (2 + 2 * reach) + (2 + 2 * reach)
    gathered = (2 * vectors + 4 * 2 * 5) * d_model * rounds
    # Keys with predecessors in bf16: read and written forward, and again when rebuilt; backwards keys and gradients are
    # read, gradients copied before they are written over, and written.
    gathered += 2 * (2 + 2 + 1 + 1 + 2 + 1) * d_model * (layers // 2)
    attention = of_pairs / (_WINDOWS * peak) + gathered / (_BANDWIDTH * bandwidth)
    return Microseconds(
        1e6 * 8 * _weights(d_model, layers, keys=4) / (_PRODUCTS * peak),
        1e6 * attention,
        1e6 * bytes_per_token / (_BANDWIDTH * bandwidth),
    )


def of_exact(card: str, d_model: int, layers: int, tokens: int, bytes_per_token: float) -> Microseconds:
    """Returns the time of exact attention with checkpointing, whose token-wise passes are taken for as many bytes."""
    peak, bandwidth = _CARDS[card]
    # Products a pair: two forward, again when recomputed, five backward; a query has half of the tokens.
    of_pairs = (2 + 2 + 5) * 2 * d_model * tokens / 2 * layers
    return Microseconds(
        1e6 * 8 * _weights(d_model, layers, keys=4) / (_PRODUCTS * peak),
        1e6 * of_pairs / (_EXACT * peak),
        1e6 * bytes_per_token / (_BANDWIDTH * bandwidth),
    )


def _weights(d_model: int, layers: int, *, keys: float) -> float:
    """Returns the weights a token is multiplied by; 8 operations each: forward, again, and two backward."""
    return layers * (keys + 8) * d_model**2 + _VOCABULARY * d_model


if __name__ == "__main__":
    run(main)
