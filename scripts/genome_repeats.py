"""Shows how well a model predicts the planted repeats of a chromosome that `make_genome.py` made, beside the rest.

    scripts/genome_repeats.py runs/genome runs/genome-local --repeats data/texts/genome/repeats.tsv

The last bases of the chromosome are scored in one pass; by default those held out from training. A repeat
counts if its source is within them too, and from its 33rd base on, since its first bases cannot be recognized as a
repeat. Its distance is that from the source. A token of several bases counts if all of them are in a repeat.
"""

import csv
import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from bench.command import run
from make_genome import PlantedRepeat
from revlm.corpus.store.token_store import TokenStore
from revlm.errors import DataError
from revlm.evaluation.scorer import Scorer
from revlm.evaluation.texts import Text
from revlm.generation import load_model
from revlm.model.precision import autocast
from revlm.text import human_count

_LEAD_BASES = 32
_DISTANCES = (16_000, 64_000, 256_000)


def read_repeats(table: Path) -> list[PlantedRepeat]:
    """Returns the planted repeats that a table lists; raises DataError where it cannot be read."""
    try:
        with table.open(newline="") as file:
            rows = csv.DictReader(file, delimiter="\t")
            return [PlantedRepeat(*(int(row[name]) for name in PlantedRepeat._fields)) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{table} is not a table of planted repeats ({error}); run scripts/make_genome.py") from error


def distances_to_sources(repeats: list[PlantedRepeat], start: int, end: int) -> npt.NDArray[np.int64]:
    """Returns how far back the source of each base from `start` to `end` lies, [end - start]; 0 where none does."""
    distances = np.zeros(end - start, dtype=np.int64)
    for repeat in repeats:
        if repeat.source >= start:
            distances[repeat.start + _LEAD_BASES - start : min(repeat.end, end) - start] = repeat.start - repeat.source
    return distances


def bits_by_distance(
    bits: npt.NDArray[np.float64], bases: npt.NDArray[np.int64], distances: npt.NDArray[np.int64]
) -> list[float]:
    """Returns the bits per base of repeats up to each distance of `_DISTANCES` and beyond, of all, and of the rest.

    Tokens have `bits` and a number of `bases`, [tokens]; bases have `distances`, [bases]. NaN where there are none.
    """
    ends = np.cumsum(bases)
    nearest, farthest = (take.reduceat(distances, ends - bases) for take in (np.minimum, np.maximum))
    distance = np.where(nearest > 0, farthest, 0)
    edges = [1, *_DISTANCES, np.iinfo(np.int64).max]
    groups = [(distance >= low) & (distance < high) for low, high in pairwise(edges)]
    groups += [distance > 0, distance == 0]
    return [float(bits[each].sum() / bases[each].sum()) if each.any() else math.nan for each in groups]


def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Runs on the chromosome.")],
    repeats: Annotated[Path, typer.Option(help="The table of the planted repeats.")],
    bases: Annotated[int | None, typer.Option(min=2, help="Bases that are scored; default: those held out.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Show the bits per base of planted repeats by the distance of their sources, and of the other bases."""
    planted = read_repeats(repeats)
    names = [f"to {human_count(each)}" for each in _DISTANCES]
    print("bits per base of planted repeats by distance in bases, of all of them, and of the other bases")
    print(f"{'run':28}", *(f"{name:>9}" for name in ("bases", *names, "beyond", "repeats", "others")))
    for folder in runs:
        trained = load_model(folder, device)
        store = TokenStore(trained.recipe.data.paths[0])
        tokens = np.concatenate([np.asarray(part) for part in store.texts[0].parts]).astype(np.int32)
        lengths = trained.tokenizer.byte_lengths[tokens]
        before = np.cumsum(lengths) - lengths  # bases before each token
        chromosome = int(lengths.sum())
        if bases is None:
            start = len(tokens) - int(len(tokens) * trained.recipe.data.validation)
        else:
            start = int(np.searchsorted(before, chromosome - bases))
        start = max(1, start)
        text = Text(store.titles[0], int(tokens[start - 1]), tokens[start:])
        scorer = Scorer(trained.model, autocast(trained.recipe.train.precision, trained.device))
        bits = scorer.text_losses(text.inputs(len(text)), text.tokens) / np.log(2)
        distances = distances_to_sources(planted, int(before[start]), chromosome)
        found = bits_by_distance(bits, lengths[start:], distances)
        print(f"{folder!s:28} {len(distances):>9,}", *(f"{each:>9.3f}" for each in found))


if __name__ == "__main__":
    run(main)
