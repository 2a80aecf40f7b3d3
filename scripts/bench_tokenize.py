"""Compares the speed and memory of `revlm tokenize` with plain SentencePiece, on a corpus of edited copies of novels.

Both use the same tokenizer in separate processes; repetitions alternate, and medians are shown. It also checks that the
ids are the same, how time grows with the corpus, and a file of a gigabyte without line ends:

    scripts/bench_tokenize.py --novels data/texts/novels

The corpora are made by `make_corpus.py`; name those that it made earlier with --corpus and --one-line.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.command import numbers, run
from bench.files import machine, make_folder, write_json
from bench.tokenizing.schedule import Measurement, Suite, measurements
from bench.tokenizing.summary import growth, rows
from bench.tokenizing.table import CAPTION, name_of, sentences, table
from bench.tokenizing.texts import Wanted, make_texts, make_tokenizer
from revlm.errors import UsageError
from revlm.runs.machine import memory_limit_bytes
from revlm.text import human_bytes

# Share of the machine's memory; the rest is for the system and this process.
_MEMORY_SHARE = 0.9


def main(
    novels: Annotated[Path, typer.Option(help="A folder of .txt files in UTF-8.")] = Path("data/texts/novels"),
    megabytes: Annotated[float, typer.Option(min=0.001, help="Size of the corpus in millions of bytes.")] = 300.0,
    one_line_megabytes: Annotated[
        float, typer.Option(min=0, help="Size of the file without line ends; 0 skips it.")
    ] = 1000.0,
    corpus: Annotated[Path | None, typer.Option(metavar="DIR", help="A folder of .txt files instead.")] = None,
    one_line: Annotated[Path | None, typer.Option(metavar="FILE", help="A .txt file instead.")] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A SentencePiece model; by default trained on the novels.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(min=257, help="Vocabulary size of the trained tokenizer.")] = 2048,
    workers: Annotated[
        str, typer.Option(help="Worker counts, comma-separated; the last also for half the corpus and the line.")
    ] = "1,2",
    repeats: Annotated[int, typer.Option(min=1, help="Timed repetitions; medians are shown.")] = 3,
    seconds_limit: Annotated[float, typer.Option(help="Seconds that one measurement may take.")] = 3600.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the edits.")] = 0,
    scratch: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for temporary corpora and stores; default: the system's."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for tokenize.json.")] = Path("bench"),
) -> None:
    """Compare revlm tokenize with plain SentencePiece; write JSON, print a table."""
    wanted = Wanted(novels, megabytes, one_line_megabytes, corpus, one_line, seed)
    chosen_workers = numbers(workers, "--workers")
    if scratch is not None and not scratch.is_dir():
        raise UsageError(f"--scratch {scratch} is not a folder: give an existing one")
    make_folder(output)
    console, messages = Console(width=160, highlight=False), Console(stderr=True, highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="revlm-bench-") as folder:
        messages.print("corpora and tokenizer")
        suite = Suite(
            tokenizer=make_tokenizer(tokenizer, novels, vocab_size, Path(folder)),
            texts=make_texts(wanted, Path(folder)),
            workers=chosen_workers,
            repeats=repeats,
            seconds_limit=seconds_limit,
            memory_limit_bytes=round(_MEMORY_SHARE * memory_limit_bytes()),
            scratch=Path(folder),
        )
        measured = _measure(suite, output / "tokenize.json", messages)
    results = rows(measured, suite.texts)
    console.print(table(results))
    for sentence in [*sentences(results), CAPTION, str(output / "tokenize.json")]:
        console.print(sentence, soft_wrap=True)


def _measure(suite: Suite, file: Path, messages: Console) -> list[Measurement]:
    """Returns all measurements; the file is rewritten after each, so an interruption loses at most one."""
    head = {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine(), "plan": suite.to_json()}
    measured: list[Measurement] = []
    for event in measurements(suite):
        if not isinstance(event, Measurement):
            messages.print(name_of(event), end=": ")
            continue
        measured.append(event)
        messages.print(_outcome(event))
        results = rows(measured, suite.texts)
        figures = {
            "rows": [row.to_json() for row in results],
            "growth": growth(results),
            "measurements": [each.to_json() for each in measured],
        }
        write_json(file, head | figures)
    return measured


def _outcome(measurement: Measurement) -> str:
    result = measurement.result
    if result["status"] != "done":
        return str(result["cause"])
    time_taken = f"{result['seconds']:,.1f} s" if "seconds" in result else "not timed"
    return f"{time_taken}, peak {human_bytes(result['seen_peak_bytes'])}" if "seen_peak_bytes" in result else time_taken


if __name__ == "__main__":
    run(main)
