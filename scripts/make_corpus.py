"""Makes a corpus of any size from a folder of novels: copies with seeded edits, all different.

    scripts/make_corpus.py --megabytes 300 --output /tmp/corpus
    scripts/make_corpus.py --megabytes 1000 --one-line --output /tmp/line

The same novels, size and seed give the same bytes.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from bench.command import run
from bench.tokenizing.corpora import write_corpus, write_one_line
from revlm.text import human_bytes, plural


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to create.")],
    novels: Annotated[Path, typer.Option(help="A folder of .txt files in UTF-8.")] = Path("data/texts/novels"),
    megabytes: Annotated[float, typer.Option(min=0.001, help="Size in millions of bytes.")] = 300.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the edits.")] = 0,
    one_line: Annotated[
        bool, typer.Option("--one-line", help="One file without line ends, instead of one file per copy.")
    ] = False,
) -> None:
    """Make a big corpus of edited copies of novels."""
    began = time.perf_counter()
    write = write_one_line if one_line else write_corpus
    copies = write(novels, output, size_bytes=round(megabytes * 10**6), seed=seed)
    written = sum(path.stat().st_size for path in output.iterdir())
    seconds = time.perf_counter() - began
    print(f"{output}: {plural(copies, 'edited book')}, {human_bytes(written)}, {seconds:.1f} s")


if __name__ == "__main__":
    run(main)
