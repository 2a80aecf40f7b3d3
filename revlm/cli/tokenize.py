"""`revlm tokenize`: tokenizes texts into a token store."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from revlm.cli.options import CORPUS, PATH, AsJson, Deduplicate
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
            help="Folder, quoted pattern such as 'books/**/*.txt', or file: "
            ".txt, .md, .markdown, .jsonl, .ndjson, .fa, .fasta, .fna, .faa (each also followed by .gz, .zst or .bz2), "
            ".parquet, .epub, .html, .xhtml; - for standard input: JSON lines if its first line is an object, else "
            "text; or hf:owner/name, a hub dataset.",
        ),
    ],
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            **PATH,
            help="Token store; default: data/<name of CORPUS>, for a shard data/<name of CORPUS>-3-of-64.",
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            **CORPUS,
            help="SentencePiece model, folder with a tokenizer, such as a token store or a run, bytes, or pixels for "
            "PNG, JPEG and WebP pictures; default: train one on the corpus.",
        ),
    ] = None,
    binary: Annotated[
        bool,
        typer.Option("--binary", help="With --tokenizer bytes: a document is a file of any format, byte for byte."),
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="With --tokenizer pixels: scale and crop pictures to N x N pixels."),
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="With --tokenizer pixels: turn colours to grey.")] = False,
    vocab_size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Vocabulary size of the trained tokenizer; default: 2048."),
    ] = None,
    character_coverage: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the text's characters in the vocabulary; rarer ones are encoded as bytes; default: 0.9995.",
        ),
    ] = None,
    errors: Annotated[
        Literal["strict", "skip"],
        typer.Option(help="On a file or text that cannot be used: stop, or list it and continue."),
    ] = "strict",
    text_column: Annotated[
        str,
        typer.Option(metavar="NAME", help="Text column of files with rows; meta.text is the column text within meta."),
    ] = "text",
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow symbolic links that lead out of the corpus.")
    ] = False,
    max_expanded_bytes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Maximum expanded bytes of one compressed file or e-book.")
    ] = DEFAULT_LIMITS.max_expanded_bytes,
    max_ratio: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Maximum expanded bytes per compressed byte, beyond the first 16 MiB."),
    ] = DEFAULT_LIMITS.max_ratio,
    max_members: Annotated[
        int, typer.Option(metavar="N", min=1, help="Maximum number of files in an e-book.")
    ] = DEFAULT_LIMITS.max_members,
    max_nesting: Annotated[
        int, typer.Option(metavar="N", min=1, help="Maximum nesting depth of markup elements or JSON values.")
    ] = DEFAULT_LIMITS.max_nesting,
    max_line_bytes: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Maximum bytes of a JSON line, a value of a row, a chapter of an e-book or an HTML file; reading one "
            "takes about ten times as much memory.",
        ),
    ] = DEFAULT_LIMITS.max_line_bytes,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Split of a hub dataset; default: train.")] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="NAME", help="Branch, tag or commit of a hub dataset.")
    ] = None,
    config: Annotated[str | None, typer.Option(metavar="NAME", help="Configuration of a hub dataset.")] = None,
    deduplicate: Deduplicate = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that encode; default: one per core.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Resume interrupted work, or start again.")
    ] = True,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an existing token store or tokenizer of another corpus.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="N/COUNT",
            help="Tokenize only the N-th of COUNT parts of the files, to merge with `revlm data merge`.",
        ),
    ] = None,
    only_tokenizer: Annotated[
        bool, typer.Option("--only-tokenizer", help="Only train the tokenizer, for shards to share.")
    ] = False,
    show_removed: Annotated[
        bool, typer.Option("--show-removed", help="Print what cleaning removes from each text; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tokenize texts losslessly into a token store, and list every file that was skipped.

    The text of e-books and HTML leaves out scripts, tables of contents and ruby annotations. Ctrl-C and SIGTERM stop it
    with exit code 75; after that, or after a kill, the same command resumes.

    Examples:
      revlm tokenize novels -o data/novels --vocab-size 2048
      revlm tokenize novels --only-tokenizer -o data/novels-tokenizer
      revlm tokenize novels --tokenizer data/novels-tokenizer --shard 3/64
      revlm tokenize firmware --tokenizer bytes --binary
    """
    from revlm.cli.terminal.progress import TokenizeProgress
    from revlm.cli.terminal.signals import StopSignals
    from revlm.cli.terminal.store_tables import print_summary
    from revlm.corpus import tokenize_corpus
    from revlm.corpus.reading.sources import open_source

    part = None if shard is None else _parse_shard(shard)
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
    not_for_text = {"--binary": binary, "--size": size, "--grey": grey}
    training: dict[str, Any] = {"vocab_size": vocab_size, "character_coverage": character_coverage}
    if show_removed:
        if as_json:
            raise UsageError("--show-removed prints text, not JSON: leave --json out")
        _refuse(
            {**not_for_text, "--tokenizer pixels": tokenizer == "pixels"},
            "--show-removed shows the cleaning of texts; bytes and pictures are not cleaned",
        )
        _print_removed(open_source(corpus, **reading, shard=part))
        return
    if only_tokenizer:
        _refuse(
            {"--tokenizer": tokenizer, **not_for_text, "--shard": shard, "--deduplicate": deduplicate},
            "--only-tokenizer trains a tokenizer on the whole corpus and stores no tokens",
        )
        folder = output_dir or default_output(corpus, "-tokenizer")
        _write_tokenizer(corpus, folder, as_json, replace=replace, **training, **reading)
        return
    with TokenizeProgress() as bar, StopSignals(bar.message, "stopping after this block") as signals:
        summary = tokenize_corpus(
            corpus,
            output_dir or default_output(corpus, f"-{part[0]}-of-{part[1]}" if part else ""),
            tokenizer=tokenizer,
            binary=binary,
            size=size,
            grey=grey,
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


def default_output(corpus: str, suffix: str = "") -> Path:
    """`data/<name of CORPUS>` plus a suffix. The name is that of a folder, of a file without its extension, of a hub
    dataset without its owner, or of the folder that a pattern starts in."""
    from revlm.corpus.reading.corpus_files import folder_of_pattern, is_pattern
    from revlm.corpus.reading.standard_input import STANDARD_INPUT

    if corpus == STANDARD_INPUT:
        return Path("data") / f"standard-input{suffix}"
    corpus = corpus.replace("\0", "")  # no file name has a NUL; opening the corpus reports it
    if is_pattern(corpus):
        corpus = str(folder_of_pattern(corpus))
    resolved = Path(corpus.removeprefix("hf:")).resolve()
    name = resolved.name if os.path.isdir(resolved) else resolved.stem
    return Path("data") / ((name or "corpus") + suffix)


def _parse_shard(shard: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"(\d+)/(\d+)", shard, re.ASCII)
    if numbers is None:
        raise UsageError(
            f"--shard {shard} should be the number of the shard, a slash and the number of shards, such as 3/64"
        )
    return int(numbers[1]), int(numbers[2])


def _refuse(options: dict[str, object], why: str) -> None:
    for name, value in options.items():
        if value:
            raise UsageError(f"{why}: leave {name} out")


def _write_tokenizer(corpus: str, output_dir: Path, as_json: bool, **options: Any) -> None:
    """Trains the tokenizer, and prints the option that uses it."""
    from dataclasses import asdict

    from revlm.cli.terminal.progress import TokenizeProgress
    from revlm.cli.terminal.signals import StopSignals
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
        f"use it with --tokenizer {output_dir}"
    )


def _print_removed(source: "Source") -> None:
    """Prints, for each document, what was removed before and after its text, and how many line ends changed."""
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
