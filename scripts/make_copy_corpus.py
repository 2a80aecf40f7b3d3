"""Makes the corpus of the duplication task: texts 0w0w of 1,024 symbols, with random w over 127 symbols.

    scripts/make_copy_corpus.py -o data/texts/copy
    revlm tokenize data/texts/copy -o data/copy --vocab-size 388

The task is that of Kitaev, Kaiser and Levskaya, arXiv 2001.04451, section 2, "Analysis on a synthetic task". Symbol i
is the character U+0100 + i: cleaning does not change it, and a vocabulary of 388 has, besides the tokens that every
vocabulary has, one for each of these characters and no longer ones. The same options and seed give the same bytes.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench.command import run
from revlm.storage import replace_file, storage_errors

SYMBOLS = 127
_FIRST_CHARACTER = 0x100


def duplicated(generator: np.random.Generator, length: int) -> str:
    """Returns a text 0w0w with a new w of `length` symbols."""
    once = "".join(chr(_FIRST_CHARACTER + symbol) for symbol in (0, *generator.integers(1, SYMBOLS + 1, length)))
    return once * 2


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the corpus, one .jsonl file.")],
    documents: Annotated[int, typer.Option(min=1, help="Texts.")] = 6000,
    length: Annotated[int, typer.Option(min=1, help="Symbols of w.")] = 511,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the symbols.")] = 0,
) -> None:
    """Make texts of random symbols, each repeated once."""
    generator = np.random.default_rng(seed)
    lines = (json.dumps({"title": f"{n}", "text": duplicated(generator, length)}) + "\n" for n in range(documents))
    with storage_errors(f"writing {output}"):
        output.mkdir(parents=True, exist_ok=True)
        replace_file(output / "copy.jsonl", "".join(lines).encode())
    print(f"{output}: {documents:,} texts of {2 * (length + 1):,} symbols")


if __name__ == "__main__":
    run(main)
