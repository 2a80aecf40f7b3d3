"""Makes a chromosome: bases of a Markov model, with planted repeats at known places.

    scripts/make_genome.py -o data/texts/genome
    revlm tokenize data/texts/genome/chromosome.fa -o data/genome

4.6 million bases are the length of the chromosome of *Escherichia coli* K-12 (GenBank U00096.3). A base depends on
the five before it, so that the sequence without repeats has 1.95 bits per base. A repeat is a copy of an earlier
segment, as mobile elements leave them: 300 to 3,000 bases, with a share of its bases substituted. About half of the
bases lie in repeats, as in the human genome (a bacterium has fewer). Distances are drawn log-uniformly, so that
examples of any length hold repeats. `repeats.tsv` lists where each begins and ends, and where its source begins, from
0. The same options and seed give the same bytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import typer

from bench.command import run
from revlm.storage import replace_file, storage_errors

CHROMOSOME, REPEATS = "chromosome.fa", "repeats.tsv"
_BASES = np.frombuffer(b"ACGT", np.uint8)
_ORDER = 5
_CONCENTRATION = 10.0  # of the Dirichlet distribution that each context's probabilities are drawn from
_SHORTEST, _LONGEST = 300, 3_000
_NEAREST = 3_100  # bases between the beginnings of a source and its repeat, at least
_LINE_BASES = 70

Bases = npt.NDArray[np.uint8]
"""0 to 3 for A, C, G and T."""


class PlantedRepeat(NamedTuple):
    """The bases from `start` to `end` are a copy of those from `source` on."""

    start: int
    end: int
    source: int


def markov_bases(generator: np.random.Generator, length: int) -> Bases:
    """Returns bases that each depend on the five before."""
    contexts = 4**_ORDER
    ends = generator.dirichlet([_CONCENTRATION] * 4, contexts).cumsum(axis=1)[:, :3].tolist()
    bases = bytearray(length)
    context = 0
    for place, drawn in enumerate(generator.random(length).tolist()):
        first, second, third = ends[context]
        base = (drawn >= first) + (drawn >= second) + (drawn >= third)
        bases[place] = base
        context = (context * 4 + base) % contexts
    return np.frombuffer(bases, np.uint8).copy()


def plant_repeats(
    generator: np.random.Generator, bases: Bases, share: float, divergence: float, farthest: int
) -> Iterator[PlantedRepeat]:
    """Replaces about `share` of the bases, from left to right, by copies of earlier segments; yields each copy.

    A share `divergence` of a copy's bases is drawn again.
    """
    mean = (_SHORTEST + _LONGEST) / 2
    start = _NEAREST
    while True:
        start += int(generator.exponential(mean * (1 - share) / share)) + 1
        end = start + int(generator.integers(_SHORTEST, _LONGEST, endpoint=True))
        if end > len(bases):
            return
        most = max(min(start, farthest), _NEAREST + 1)
        distance = int(np.exp(generator.uniform(np.log(_NEAREST), np.log(most))))
        source = max(0, start - distance)
        copy = bases[source : source + end - start].copy()
        changed = generator.random(len(copy)) < divergence
        copy[changed] = generator.integers(0, 4, int(changed.sum()), dtype=np.uint8)
        bases[start:end] = copy
        yield PlantedRepeat(start, end, source)
        start = end


def fasta(description: str, bases: Bases) -> bytes:
    """Returns a record in lines of 70 bases, as databases write them."""
    letters = _BASES[bases].tobytes()
    lines = (letters[start : start + _LINE_BASES] for start in range(0, len(letters), _LINE_BASES))
    return b">" + description.encode() + b"\n" + b"\n".join(lines) + b"\n"


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for chromosome.fa and repeats.tsv.")],
    bases: Annotated[int, typer.Option(min=1, help="Length of the chromosome.")] = 4_600_000,
    repeats: Annotated[float, typer.Option(min=0.001, max=0.9, help="Share of the bases that lies in repeats.")] = 0.5,
    divergence: Annotated[float, typer.Option(min=0, max=1, help="Share of a repeat's bases drawn again.")] = 0.01,
    farthest: Annotated[int, typer.Option(min=_NEAREST, help="Bases from a source to its repeat, at most.")] = 500_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bases.")] = 0,
) -> None:
    """Make a chromosome with planted repeats."""
    generator = np.random.default_rng(seed)
    made = markov_bases(generator, bases)
    planted = list(plant_repeats(generator, made, repeats, divergence, farthest))
    table = "start\tend\tsource\n" + "".join(f"{each.start}\t{each.end}\t{each.source}\n" for each in planted)
    with storage_errors(f"writing {output}"):
        output.mkdir(parents=True, exist_ok=True)
        replace_file(output / CHROMOSOME, fasta(f"synthetic chromosome, seed {seed}", made))
        replace_file(output / REPEATS, table.encode())
    copied = sum(each.end - each.start for each in planted)
    print(f"{output}: {bases:,} bases, {len(planted):,} planted repeats with {copied:,} bases")


if __name__ == "__main__":
    run(main)
