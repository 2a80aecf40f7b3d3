"""Measures held-out loss by the initial scale of the feed-forward layers' first matrix; see docs/experiments.md.

    python scripts/initial_gain.py data/novels

trains a model of four layers (d_model 128) on pieces of 4,096 tokens of a token store, with each gain and two seeds,
and prints the loss of the store's last document in nats per token. A gain of 1 is a standard deviation of
`d_model ** -0.5`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from datasets import load_from_disk
from torch import Tensor

from revlm.model import RevLM, resolve_model
from revlm.ops.heap import keep_large_blocks_apart
from revlm.recipe import LayerKind, Model

TOKENS, HELD_OUT_PIECES = 4096, 8
LEARNING_RATE, WARMUP_STEPS = 3e-3, 20


def pieces_of(store: Path) -> tuple[Tensor, Tensor]:
    """Returns training pieces [pieces, TOKENS + 1], and those of the store's last document."""
    documents = [np.asarray(row["tokens"]) for row in load_from_disk(str(store)).with_format("numpy")]
    both = (np.concatenate(documents[:-1]), documents[-1])
    trained, held_out = (
        torch.from_numpy(np.lib.stride_tricks.sliding_window_view(each, TOKENS + 1)[::TOKENS].astype(np.int64))
        for each in both
    )
    return trained, held_out[:HELD_OUT_PIECES]


def held_out_loss(trained: Tensor, held_out: Tensor, vocabulary: int, *, gain: float, seed: int, steps: int) -> float:
    """Returns the mean loss of the held-out pieces, after `steps` steps of one piece each."""
    layers: tuple[LayerKind, ...] = ("local", "local", "lsh", "local")
    recipe = Model(d_model=128, n_layers=4, n_heads=4, d_ff=512, layers=layers, window=64, n_rounds=4)
    model = RevLM(resolve_model(recipe, TOKENS), vocab_size=vocabulary, seed=seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("widen.weight"):
                weight.mul_(gain)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    order = torch.randperm(len(trained), generator=torch.Generator().manual_seed(seed))
    for step in range(1, steps + 1):
        piece = trained[order[step % len(order)]]
        optimizer.zero_grad()
        (model.loss(model(piece[:-1], step=step), piece[1:]) / TOKENS).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        # Linear warm-up, constant, then linear decay over the second half.
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, step / WARMUP_STEPS, 2 * (1 - (step - 1) / steps))
        optimizer.step()
    model.eval()
    with torch.no_grad():
        losses = [float(model.loss(model(piece[:-1]), piece[1:])) / TOKENS for piece in held_out]
    return sum(losses) / len(losses)


def main() -> None:
    """Prints a row per gain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="a token store of `revlm tokenize`")
    parser.add_argument("--gains", type=float, nargs="+", default=[0.25, 0.45, 1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=120)
    options = parser.parse_args()
    keep_large_blocks_apart()
    torch.set_num_threads(1)
    trained, held_out = pieces_of(options.store)
    vocabulary = int(max(trained.max(), held_out.max())) + 1
    print("gain", *(f"seed {seed}" for seed in options.seeds), sep="\t")
    for gain in options.gains:
        losses = []
        for seed in options.seeds:
            losses.append(held_out_loss(trained, held_out, vocabulary, gain=gain, seed=seed, steps=options.steps))
            print(f"gain {gain} seed {seed}: {losses[-1]:.4f}", file=sys.stderr, flush=True)
        print(gain, *(f"{loss:.3f}" for loss in losses), sep="\t", flush=True)


if __name__ == "__main__":
    main()
