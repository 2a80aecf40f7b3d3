"""A small corpus and a model that was trained on it for a few steps."""

import random
from pathlib import Path

from revlm.corpus import tokenize_corpus
from revlm.recipe import Recipe, load_recipe
from revlm.training import train

WORDS = ("the", "old", "clerk", "walked", "slowly", "home", "along", "a", "frozen", "river", "at", "night")
RECIPE = """
model: {d_model: 16, n_layers: 2, n_heads: 2, d_ff: 32, window: 8, n_rounds: 2}
data: {seq_len: 512, packing: whole, validation: 0.5}
optimizer: {lr: 1e-2}
lr_scheduler: {warmup_steps: 0}
train: {max_steps: 3, precision: fp32, device: cpu}
evaluate: {every: 0}
"""


def write_texts(folder: Path, seed: int = 0) -> Path:
    """Four texts of some hundred words each, in a new folder."""
    folder.mkdir()
    words = random.Random(seed)
    for name, length in (("one", 60), ("two", 200), ("three", 90), ("four", 150)):
        (folder / f"{name}.txt").write_text(" ".join(words.choices(WORDS, k=length)))
    return folder


def write_tokens(folder: Path, seed: int = 0) -> Path:
    """The token store of such texts, by bytes."""
    tokenize_corpus(write_texts(folder.parent / f"{folder.name}-texts", seed), folder, tokenizer="bytes")
    return folder


def tiny_recipe(folder: Path, *overrides: str) -> Recipe:
    """The recipe of a run in `folder` on the tokens beside it."""
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(RECIPE)
    return load_recipe(path, [f"data.path={folder.parent / 'tokens'}", f"output_dir={folder}", *overrides])


def write_run(folder: Path, *overrides: str) -> Path:
    """A finished run in `folder`, on tokens that are written beside it where they are not there yet."""
    if not (folder.parent / "tokens").exists():
        write_tokens(folder.parent / "tokens")
    list(train(tiny_recipe(folder, *overrides)))
    return folder
