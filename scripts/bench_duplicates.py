"""Measures the cost and the results of duplicate search, on a folder of texts and on editions with changed words.

An edition has different line breaks, and a share of its words replaced by new ones.
"""

import random
import textwrap
import time
import tracemalloc
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench.command import run
from revlm.corpus import read_documents
from revlm.corpus.store.duplicates import Duplicates, sampled_shingles, similarities, sketch_of
from revlm.errors import DataError

CHUNK_CHARACTERS = 1 << 20
CHANGED_SHARES = (0.0, 0.01, 0.02, 0.03, 0.04)


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of texts.")],
    remembered: Annotated[
        int, typer.Option(min=1, help="Documents to remember, to measure the memory of one.")
    ] = 10_000,
) -> None:
    """Measure duplicate search on a folder of texts; print its cost and results."""
    console = Console(width=120, highlight=False)
    texts = {each.source: each.text for each in read_documents(corpus, errors="skip")}
    sketches = {source: sketch for source, text in texts.items() if (sketch := sketch_of_text(text)) is not None}
    if not sketches:
        raise DataError(f"{corpus} has only texts of less than about 8,000 letters: name a folder of longer ones")
    console.print(speed(texts))
    console.print(memory(remembered))
    duplicates = Duplicates()
    for source, text in texts.items():
        if found := duplicates.find(source, digest(text), sketches.get(source)):
            console.print(f"{source} is {found}")
    console.print(editions({source: texts[source] for source in sketches}, sketches))


def speed(texts: Mapping[str, str]) -> str:
    """Returns a sentence with the megabytes per second of `sampled_shingles` and the milliseconds of `sketch_of`."""
    sampling_seconds = sketching_seconds = 0.0
    text_bytes = passages = 0
    for text in texts.values():
        chunks = chunks_of(text)
        start = time.perf_counter()
        shingles = [sampled_shingles(chunk) for chunk in chunks]
        sampled = time.perf_counter()
        sketch_of(shingles)
        sketching_seconds += time.perf_counter() - sampled
        sampling_seconds += sampled - start
        text_bytes += sum(map(len, chunks))
        passages += sum(map(len, shingles))
    return (
        f"{len(texts)} texts, {text_bytes / 1e6:.1f} MB: sampled at {text_bytes / 1e6 / sampling_seconds:.0f} MB/s, "
        f"a sketch of 5,000 passages in {sketching_seconds / passages * 5e6:.1f} ms"
    )


def memory(remembered: int) -> str:
    """Returns a sentence with the bytes of a remembered document and the time of a look-up."""
    generator = np.random.default_rng(0)
    sketches = [sketch_of([generator.integers(1 << 63, size=200, dtype=np.uint64)]) for _ in range(remembered)]
    duplicates = Duplicates()
    tracemalloc.start()
    for place, sketch in enumerate(sketches):
        duplicates.find(f"library/text_{place:06d}.txt", f"{place:064x}", sketch)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    start = time.perf_counter()
    for place, sketch in enumerate(sketches):
        duplicates.find("again", f"{remembered + place:064x}", sketch)
    seconds = time.perf_counter() - start
    return (
        f"{remembered:,} documents remembered: {grown / remembered:,.0f} bytes each, "
        f"{seconds / remembered * 1e6:.0f} microseconds to look one up"
    )


def editions(texts: Mapping[str, str], sketches: Mapping[str, bytes]) -> Table:
    """Returns the table of the similarities of all texts to their editions, by the share of words changed."""
    table = Table("words changed", "lowest similarity", "mean", "highest", "found", box=box.SIMPLE_HEAD)
    pairs = [similarities(sketch, list(sketches.values())) for sketch in sketches.values()]
    different = np.array(pairs)[~np.eye(len(pairs), dtype=bool)]
    if len(different):
        table.add_row("all (two texts)", *(f"{of(different):.2f}" for of in (min, fmean, max)), "")
    for share in CHANGED_SHARES:
        duplicates = Duplicates()
        for source, text in texts.items():
            duplicates.find(source, digest(text), sketches[source])
        found, similarity = 0, []
        for source, text in texts.items():
            other = edition(text, share)
            changed = sketch_of_text(other)
            similarity.append(float(similarities(sketches[source], [changed])[0]) if changed else 0.0)
            duplicate = duplicates.find(f"edition of {source}", digest(other), changed)
            found += duplicate is not None
        table.add_row(
            f"{share:.0%}", *(f"{of(similarity):.2f}" for of in (min, fmean, max)), f"{found} of {len(texts)}"
        )
    return table


def edition(text: str, share: float) -> str:
    """Returns the text with different line breaks and about `share` of its words replaced."""
    chance = random.Random(0)
    words = [f"other{chance.randrange(10**6)}" if chance.random() < share else word for word in text.split()]
    return textwrap.fill(" ".join(words), 61, break_long_words=False, break_on_hyphens=False)


def sketch_of_text(text: str) -> bytes | None:
    """Returns the sketch of a text, from its chunks."""
    return sketch_of([sampled_shingles(chunk) for chunk in chunks_of(text)])


def chunks_of(text: str) -> list[bytes]:
    """Returns the text in chunks of a million characters."""
    return [text[start : start + CHUNK_CHARACTERS].encode() for start in range(0, len(text), CHUNK_CHARACTERS)]


def digest(text: str) -> str:
    """Returns the SHA-256 of the text, in hexadecimal."""
    return sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    run(main)
