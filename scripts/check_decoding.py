"""Compares cached decoding with the forward pass on the same tokens: hashes, loss and logits.

Uses random weights and tokens, or a run and a text:

    scripts/check_decoding.py --run runs/novels --text data/texts/novels/moby-dick.txt
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bench.command import run
from bench.shape import Shape, random_example
from bench.systems.reversible import recipe_of
from revlm.errors import UsageError
from revlm.generation import load_model
from revlm.generation.agreement import compare_with_forward
from revlm.model import RevLM

_COLUMNS = (
    "tokens",
    "other hashes",
    "nats per token,\nforward",
    "nats per token,\ndecoding",
    "change",
    "largest logit\ndifference",
)


def main(
    run_folder: Annotated[Path | None, typer.Option("--run", help="A run folder; default: random weights.")] = None,
    text: Annotated[Path | None, typer.Option(help="A UTF-8 text file, for a run.")] = None,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens to prefill, in blocks.")] = 2048,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens to decode after them, one at a time.")] = 256,
    block: Annotated[int, typer.Option(min=1, help="Tokens per block.")] = 512,
) -> None:
    """Compare cached decoding with the forward pass; print a table."""
    model, sequence = _model_and_tokens(run_folder, text, prompt + tokens)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("precision")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for precision in ("fp64", "fp32", "bf16"):
        of_model = model.double() if precision == "fp64" else model.float()
        found = compare_with_forward(
            of_model, sequence, prompt=prompt, precision="bf16" if precision == "bf16" else "fp32", block=block
        )
        table.add_row(
            precision,
            f"{found.tokens:,}",
            f"{found.other_hash_share:.4%}",
            f"{found.forward_loss:.6f}",
            f"{found.decoding_loss:.6f}",
            f"{found.loss_change:+.1e}",
            f"{found.largest_logit_difference:.1e}",
        )
    Console(width=120, highlight=False).print(table)


def _model_and_tokens(run_folder: Path | None, text: Path | None, number: int) -> tuple[RevLM, Tensor]:
    if run_folder is None:
        shape = Shape(number)
        return RevLM(recipe_of(shape), vocab_size=shape.vocabulary, seed=0).eval(), random_example(shape, 0)[0]
    if text is None:
        raise UsageError("--run without --text: name a text file for it to read")
    trained = load_model(run_folder, "cpu")
    encoded = trained.tokenizer.encode(text.read_text(encoding="utf-8"))[: number - 1]
    if len(encoded) < number - 1:
        raise UsageError(
            f"{text} has {len(encoded):,} tokens: give a text of {number:,}, or lower --prompt and --tokens"
        )
    return trained.model, torch.tensor([trained.tokenizer.begin_id, *encoded.tolist()])


if __name__ == "__main__":
    run(main)
