"""Compares the cost of a token in `revlm generate` and in `generate()` of the same model, exported.

    scripts/bench_huggingface.py --recipe novel-64k --context 16384
    scripts/bench_huggingface.py --run runs/novels --text data/texts/novels/moby-dick.txt

The model is that of a recipe with random weights, or of a run. Both decode greedily after the same context, in turn,
one token at a time. Processor time on one thread is measured, on which other work on the machine has little effect.
"""

import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from transformers.generation import BaseStreamer

from bench.command import run
from bench.shape import Shape, random_example
from revlm.corpus import open_tokenizer
from revlm.errors import UsageError
from revlm.generation import Sampling, TextGenerator, TrainedModel, load_model
from revlm.huggingface import RevlmForCausalLM, export_model
from revlm.model import RevLM, resolve_model
from revlm.recipe import load_recipe

TARGET = 1.3


def main(
    recipe: Annotated[str, typer.Option(help="A recipe whose model gets random weights.")] = "demo",
    run_folder: Annotated[Path | None, typer.Option("--run", help="A run, in place of --recipe.")] = None,
    tokenizer: Annotated[str, typer.Option(help="The tokenizer of --recipe: bytes, or a file.")] = "bytes",
    text: Annotated[Path | None, typer.Option(help="A UTF-8 text; default: random tokens.")] = None,
    context: Annotated[int, typer.Option(min=2, help="Tokens before the first one that is timed.")] = 16384,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens decoded in one stretch.")] = 50,
    stretches: Annotated[int, typer.Option(min=1, help="Stretches of each, in turn.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="PyTorch's threads.")] = 1,
) -> None:
    """Print the median processor time of a token in both, and the ratio; exit code 1 beyond the target."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        trained = load_model(run_folder, "cpu") if run_folder else _fresh(recipe, tokenizer)
        exported = export_model(trained, run_folder or folder, Path(folder, "exported"), "unknown")
        model = RevlmForCausalLM.from_pretrained(exported)
    ids = _context(trained, text, context)
    own, other = _revlm(trained, ids, tokens), _transformers(model, ids, tokens)
    timed: dict[str, list[float]] = {"revlm generate": [], "generate() of the exported model": []}
    drawn: dict[str, list[int]] = {name: [] for name in timed}
    for stretch in range(1 + stretches):
        for (name, seconds), decoding in zip(timed.items(), (own, other), strict=True):
            new, of_each = next(decoding)
            drawn[name] += new
            seconds += of_each if stretch else []  # the first one is to warm up
    first, second = map(median, timed.values())
    for name, seconds in timed.items():
        print(f"{name}: {1000 * median(seconds):.3f} ms a token after {context:,} (median of {len(seconds)})")
    are_equal = len({tuple(each) for each in drawn.values()}) == 1
    print(f"ratio {second / first:.3f}, target at most {TARGET}; {'the same' if are_equal else 'OTHER'} tokens")
    if second > TARGET * first or not are_equal:
        raise typer.Exit(1)


def _fresh(name: str, tokenizer: str) -> TrainedModel:
    recipe = load_recipe(name, ["data.path=tokens"])
    resolved = resolve_model(recipe.model, recipe.data.seq_len)
    recipe = recipe.model_copy(update={"model": resolved})
    opened = open_tokenizer(tokenizer)
    model = RevLM(resolved, vocab_size=opened.vocab_size, seed=recipe.seed).eval()
    return TrainedModel(model, opened, recipe, 0, "", Path(tokenizer))


def _context(trained: TrainedModel, text: Path | None, context: int) -> Tensor:
    """The ids of the context, behind the begin token."""
    if text is None:
        shape = Shape(context - 1, vocabulary=min(trained.tokenizer.vocab_size, trained.tokenizer.begin_id))
        ids = random_example(shape, 0)[0]
    else:
        ids = torch.from_numpy(trained.tokenizer.encode(text.read_text(encoding="utf-8"))[: context - 1]).long()
    if len(ids) < context - 1:
        raise UsageError(f"{text} has {len(ids):,} tokens: give a text of {context - 1:,}, or lower --context")
    return torch.cat([torch.tensor([trained.tokenizer.begin_id]), ids])


def _revlm(trained: TrainedModel, ids: Tensor, tokens: int) -> Iterator[tuple[list[int], list[float]]]:
    """Yields the tokens of a stretch and the seconds of each but the first, as `revlm generate` decodes them."""
    generator = TextGenerator(trained.model, trained.tokenizer, Sampling(temperature=0))
    generator.append(ids[1:].numpy())
    while True:
        new, clock = [], [time.process_time()]
        for [sampled] in generator.continue_tokens(tokens):
            assert sampled is not None
            new.append(sampled.token)
            clock.append(time.process_time())
        yield new, [after - before for before, after in pairwise(clock[1:])]


class _Clock(BaseStreamer):
    """Notes the time of each token."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Tensor) -> None:
        self.times.append(time.process_time())

    def end(self) -> None:
        pass


def _transformers(model: RevlmForCausalLM, ids: Tensor, tokens: int) -> Iterator[tuple[list[int], list[float]]]:
    """Yields the same of `generate()`, which continues its cache from stretch to stretch."""
    so_far: Any = ids[None]
    cache = None
    while True:
        clock = _Clock()
        out = model.generate(
            so_far,
            attention_mask=torch.ones_like(so_far),
            max_new_tokens=tokens,
            do_sample=False,
            streamer=clock,
            return_dict_in_generate=True,
            **({} if cache is None else {"cache": cache}),
        )
        new = out.sequences[0, so_far.shape[1] :].tolist()
        so_far, cache = out.sequences, out.cache
        # The first time is that of the tokens given, the second that of the first new token.
        yield new, [after - before for before, after in pairwise(clock.times[1:])]


if __name__ == "__main__":
    run(main)
