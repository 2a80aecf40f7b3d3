"""`revlm tokenize`: documents to tokens on disk."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from revlm.cli.paths import CORPUS, PATH
from revlm.errors import UsageError
from revlm.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from revlm.corpus.reading.sources import Source


def tokenize(
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS",
            **CORPUS,
            help="A folder, a quoted pattern such as 'books/**/*.txt', or one file: "
            ".txt, .md, .markdown, .jsonl, .ndjson (each also with .gz, .zst or .bz2 behind it), .parquet, .epub, "
            ".html, .xhtml; - for standard input, JSON lines where its first line is an object, otherwise a text; or "
            "hf:owner/name, a dataset of the hub.",
        ),
    ],
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            **PATH,
            help="The token store; default data/<name of CORPUS>, for a shard data/<name of CORPUS>-3-of-64.",
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            **CORPUS,
            help="A SentencePiece model, a folder with a tokenizer such as tokens or a run, or `bytes`; "
            "default: train one on the corpus.",
        ),
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Vocabulary of the tokenizer that is trained; default 2048."),
    ] = None,
    character_coverage: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Of the text; the rest, its rarest characters, is stored as bytes; default 0.9995."
        ),
    ] = None,
    errors: Annotated[
        Literal["strict", "skip"],
        typer.Option(help="At a file or text that cannot be used: stop, or list it and go on."),
    ] = "strict",
    text_column: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The column of the text in files of rows; meta.text is the column text within meta."
        ),
    ] = "text",
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Also read what links in the corpus lead to outside of it.")
    ] = False,
    max_expanded_bytes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Most bytes that one compressed file or e-book may expand to.")
    ] = DEFAULT_LIMITS.max_expanded_bytes,
    max_ratio: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many times its size that may be, beyond the first 16 MiB.")
    ] = DEFAULT_LIMITS.max_ratio,
    max_members: Annotated[
        int, typer.Option(metavar="N", min=1, help="Most files inside an e-book.")
    ] = DEFAULT_LIMITS.max_members,
    max_nesting: Annotated[
        int, typer.Option(metavar="N", min=1, help="How deeply elements of markup, or JSON values, contain each other.")
    ] = DEFAULT_LIMITS.max_nesting,
    max_line_bytes: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Longest line of JSON, value of a row, chapter of an e-book or file of HTML; reading one takes about "
            "ten times as much memory.",
        ),
    ] = DEFAULT_LIMITS.max_line_bytes,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Of a dataset of the hub; default train.")] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="NAME", help="Branch, tag or commit of a dataset of the hub.")
    ] = None,
    config: Annotated[str | None, typer.Option(metavar="NAME", help="Configuration of a dataset of the hub.")] = None,
    deduplicate: Annotated[
        bool, typer.Option("--deduplicate", help="Leave out texts that are there already, also as another edition.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that encode; default: one a core.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on where the same work was killed, or begin again.")
    ] = True,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a token store or tokenizer of another corpus that stands there.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="N/COUNT", help="Only one of so many parts of the files, for `revlm data merge`."),
    ] = None,
    only_tokenizer: Annotated[
        bool, typer.Option("--only-tokenizer", help="Only train the tokenizer, which shards then share.")
    ] = False,
    show_removed: Annotated[
        bool, typer.Option("--show-removed", help="Print what cleaning takes from each text, and write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Turns a folder of texts into tokens on disk, without loss, and lists every file that was skipped.

    Of e-books and pages of HTML the text is taken without scripts, tables of contents and readings of ruby. Ctrl-C and
    SIGTERM end it with exit code 75, and a kill loses little: the same command goes on.

    Examples:
      revlm tokenize novels -o data/novels --vocab-size 2048
      revlm tokenize novels --only-tokenizer -o data/novels-tokenizer
      revlm tokenize novels --tokenizer data/novels-tokenizer --shard 3/64
    """
    from revlm.cli.store_summary import print_summary
    from revlm.cli.terminal.signals import StopSignals
    from revlm.cli.terminal.tokenize_progress import TokenizeProgress
    from revlm.corpus import tokenize_corpus
    from revlm.corpus.reading.sources import open_source

    part = None if shard is None else _parsed(shard)
    reading: dict[str, Any] = {
        "errors": errors,
        "text_column": text_column,
        "split": split,
        "revision": revision,
        "config": config,
        "follow_links": follow_links,
        "limits": Limits(
            max_expanded_bytes=max_expanded_bytes,
            max_ratio=max_ratio,
            max_members=max_members,
            max_nesting=max_nesting,
            max_line_bytes=max_line_bytes,
        ),
    }
    training: dict[str, Any] = {"vocab_size": vocab_size, "character_coverage": character_coverage}
    if show_removed:
        if as_json:
            raise UsageError("--show-removed prints texts for people; leave --json out")
        _print_removed(open_source(corpus, **reading, shard=part))
        return
    if only_tokenizer:
        _refuse_with_only_tokenizer({"--tokenizer": tokenizer, "--shard": shard, "--deduplicate": deduplicate})
        folder = output_dir or default_output(corpus, "-tokenizer")
        _write_tokenizer(corpus, folder, as_json, replace=replace, **training, **reading)
        return
    with TokenizeProgress() as bar, StopSignals(bar.message, "stopping after this block") as signals:
        summary = tokenize_corpus(
            corpus,
            output_dir or default_output(corpus, f"-{part[0]}-of-{part[1]}" if part else ""),
            tokenizer=tokenizer,
            **training,
            deduplicate=deduplicate,
            workers=workers,
            resume=resume,
            replace=replace,
            progress=bar.show,
            message=bar.message,
            stop=lambda: signals.name,
            shard=part,
            **reading,
        )
    print_summary(summary, as_json)


def default_output(corpus: str, addition: str = "") -> Path:
    """`data/<name of CORPUS>` and what is added: a folder's name, a file's without its ending, of hf:owner/name the
    name, of a pattern that of the folder before its signs."""
    from revlm.corpus.reading.corpus_files import folder_of_pattern, is_pattern
    from revlm.corpus.reading.standard_input import STANDARD_INPUT

    if corpus == STANDARD_INPUT:
        return Path("data") / f"standard-input{addition}"
    corpus = corpus.replace("\0", "")  # which no file's name has; that there is none is said where it is opened
    if is_pattern(corpus):
        corpus = str(folder_of_pattern(corpus))
    resolved = Path(corpus.removeprefix("hf:")).resolve()
    name = resolved.name if os.path.isdir(resolved) else resolved.stem
    return Path("data") / ((name or "corpus") + addition)


def _parsed(shard: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"(\d+)/(\d+)", shard, re.ASCII)
    if numbers is None:
        raise UsageError(f"--shard {shard} is not a number, a slash and how many shards there are; such as 3/64")
    return int(numbers[1]), int(numbers[2])


def _refuse_with_only_tokenizer(options: dict[str, object]) -> None:
    for name, value in options.items():
        if value:
            raise UsageError(f"--only-tokenizer trains one on the whole corpus and stores no text; leave {name} out")


def _write_tokenizer(corpus: str, output_dir: Path, as_json: bool, **options: Any) -> None:
    """Trains the tokenizer, and says what takes it."""
    from dataclasses import asdict

    from revlm.cli.terminal.signals import StopSignals
    from revlm.cli.terminal.tokenize_progress import TokenizeProgress
    from revlm.corpus import write_tokenizer

    with TokenizeProgress() as bar, StopSignals(bar.message, "stopping after this text") as signals:
        trained = write_tokenizer(
            corpus, output_dir, **options, progress=bar.show, message=bar.message, stop=lambda: signals.name
        )
    if as_json:
        typer.echo(json.dumps(asdict(trained) | {"output_dir": str(output_dir)}, ensure_ascii=False))
        return
    typer.echo(
        f"{output_dir}: {trained.tokenizer} vocabulary {trained.vocab_size:,}, {trained.seconds:.1f} s; "
        f"--tokenizer {output_dir} takes it"
    )


def _print_removed(source: "Source") -> None:
    """Prints, document by document, what stood before and after the text, and how many line ends changed."""
    from revlm.corpus.reading.events import START, Dropped, Ended

    for event in source.events(START):
        if isinstance(event, Dropped):
            typer.echo(f"== {event.skipped.path}: no document, {event.skipped.reason}")
        if isinstance(event, Ended):
            counts = event.cleaning
            typer.echo(
                f"== {event.source}: {counts.removed_bytes:,} bytes removed "
                f"({counts.byte_order_marks} byte order marks, {counts.crlf_line_ends:,} CRLF line ends), "
                f"{counts.lone_carriage_returns:,} lone carriage returns normalised"
            )
            for name, removed in (("front", event.front), ("back", event.back)):
                if removed:
                    typer.echo(f"-- {name}: {len(removed.encode()):,} bytes\n{removed.rstrip()}")
            for warning in event.warnings:
                typer.echo(f"-- {warning}")
