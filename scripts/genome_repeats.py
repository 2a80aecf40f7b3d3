"""Shows how well a model predicts the planted repeats of a chromosome that `make_genome.py` made, beside the rest.

    scripts/genome_repeats.py runs/genome runs/genome-local --repeats data/texts/genome/repeats.tsv

The last bases of the chromosome are scored in one pass; by default those held out from training. A repeat
counts where its source lies within them too, from its 33rd base on: before that nobody can know that it is one.
"""

import csv
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

_LEAD_BASES = 32


def read_repeats(table: Path) -> list[PlantedRepeat]:
    """Returns the planted repeats that a table lists; raises DataError where it cannot be read."""
    try:
        with table.open(newline="") as file:
            rows = csv.DictReader(file, delimiter="\t")
            return [PlantedRepeat(*(int(row[name]) for name in PlantedRepeat._fields)) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{table} is not a table of planted repeats ({error}); run scripts/make_genome.py") from error


def repeated_places(repeats: list[PlantedRepeat], start: int, end: int) -> npt.NDArray[np.bool_]:
    """Returns which bases from `start` to `end` lie in a repeat whose source lies there too, [end - start]."""
    marked = np.zeros(end - start, dtype=bool)
    for repeat in repeats:
        if repeat.source >= start:
            marked[repeat.start + _LEAD_BASES - start : min(repeat.end, end) - start] = True
    return marked


def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Runs on the chromosome.")],
    repeats: Annotated[Path, typer.Option(help="The table of the planted repeats.")],
    bases: Annotated[int | None, typer.Option(min=2, help="Bases that are scored; default: those held out.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Show the bits per base of planted repeats, and of the other bases."""
    planted = read_repeats(repeats)
    print(f"{'run':40} {'bases':>9} {'repeats, bits/base':>19} {'others, bits/base':>18}")
    for folder in runs:
        trained = load_model(folder, device)
        store = TokenStore(trained.recipe.data.paths[0])
        tokens = np.concatenate([np.asarray(part) for part in store.texts[0].parts]).astype(np.int32)
        start = max(1, len(tokens) - (bases or int(len(tokens) * trained.recipe.data.validation)))
        text = Text(store.titles[0], int(tokens[start - 1]), tokens[start:])
        scorer = Scorer(trained.model, autocast(trained.recipe.train.precision, trained.device))
        bits = scorer.text_losses(text.inputs(len(text)), text.tokens) / np.log(2)
        marked = repeated_places(planted, start, len(tokens))
        inside = f"{bits[marked].mean():.3f}" if marked.any() else "none"
        print(f"{folder!s:40} {len(bits):>9,} {inside:>19} {bits[~marked].mean():>18.3f}")


if __name__ == "__main__":
    run(main)
