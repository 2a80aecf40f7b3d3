"""`revlm generate`: continues a prompt: streaming, in several samples, or interactively."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from revlm.cli.options import PATH, AttentionScale, Buckets, Device, Rounds, Run, Step
from revlm.cli.terminal.streams import print_json, print_message
from revlm.errors import ResourceError, UsageError, is_out_of_memory

if TYPE_CHECKING:
    from revlm.cli.terminal.prompt import Prompt
    from revlm.generation import Sample, TextGenerator, Throughput, TrainedModel


def generate(
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Text to continue, or - for standard input; empty: start a new document."),
    ] = None,
    prompt_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", **PATH, help="File with the text to continue, or - for standard input."),
    ] = None,
    run: Run = None,
    step: Step = None,
    max_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of tokens to generate.")] = 256,
    temperature: Annotated[
        float, typer.Option(metavar="X", help="Divides the logits; 0: always the likeliest token.")
    ] = 0.8,
    top_k: Annotated[int, typer.Option(metavar="N", help="Sample from the N likeliest tokens; 0: all.")] = 0,
    top_p: Annotated[
        float,
        typer.Option(metavar="X", help="Sample from the fewest likeliest tokens with total probability X; 1: all."),
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(metavar="X", help="Sample from tokens at least X times as likely as the likeliest; 0: all."),
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option(metavar="X", help="Above 1: tokens of the text so far become less likely.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**64 - 1, help="Random seed: the same seed gives the same text.")
    ] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Stop before this text; may be given several times.")
    ] = None,
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of continuations, sampled in one batch.")
    ] = 1,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", **PATH, help="With a model of pictures: the picture to complete."),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of rows of --picture to keep; default: the upper half."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", **PATH, help="File to write instead of standard output."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Take turns: type a line, the model continues it, and so on.")
    ] = False,
    rounds: Rounds = None,
    buckets: Buckets = None,
    attention_scale: AttentionScale = None,
    device: Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end instead of streaming.")
    ] = False,
) -> None:
    """Continue a prompt with a trained model and stream the text; tokens/s go to standard error.

    Without --prompt and --prompt-file, the prompt is read from standard input. A prompt from a file or standard input
    is cleaned like a corpus, loses a newline at its end, and is not printed before its continuation. A model of binary
    files continues the bytes of any file, and writes bytes. A model of pictures writes a PNG: a whole picture, or
    --picture with its lower rows sampled; several samples form a grid.

    Repetition penalty, temperature, top-k, top-p and min-p apply in this order. Each sample has its own random numbers;
    the first sample is the same as with --samples 1, and is streamed.

    The JSON object holds each sample's token ids and log-probabilities (natural logarithms), as the model itself gives
    them, before penalty, temperature and filters.

    Examples:
      revlm generate --prompt "It was" --max-tokens 100
      revlm generate --prompt-file chapter.txt --min-p 0.1 --stop "CHAPTER" > next.txt
      revlm generate --run runs/firmware --prompt-file start.bin --output next.bin
      revlm generate --run runs/pictures --picture half.png --rows 32 --samples 9 --output completed.png
      revlm generate --interactive --run runs/demo --step 40
    """
    from revlm.cli.terminal.prompt import STANDARD_INPUT, read_prompt
    from revlm.generation import Sampling, TextGenerator, TextStream, load_model
    from revlm.runs import newest_run

    stop = stop or []
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    TextStream(stop)  # rejects an invalid stop text before anything is read
    if interactive:
        _refuse_with_interactive(
            {
                "--samples": samples > 1,
                "--json": as_json,
                "--output": output is not None,
                f"--prompt {STANDARD_INPUT}": prompt == STANDARD_INPUT,
                f"--prompt-file {STANDARD_INPUT}": str(prompt_file) == STANDARD_INPUT,
            }
        )
    text_options = {"--prompt": prompt is not None, "--prompt-file": prompt_file is not None, "--stop": bool(stop)}
    as_picture = picture is not None or (
        output is not None and output.suffix.lower() == ".png" and not any(text_options.values())
    )
    _require_picture_use(picture, rows, output, {**text_options, "--interactive": interactive, "--json": as_json})
    if output is not None:
        if as_json:
            raise UsageError("--json writes to standard output and --output to a file: leave one of them out")
        _require_file(output)
    if samples > 1 and temperature == 0:
        print_message(f"at temperature 0 all {samples} samples are the same")
    is_without = as_picture or (interactive and prompt is None and prompt_file is None)
    source = None if is_without else read_prompt(prompt, prompt_file)
    folder = newest_run().path if run is None else run
    trained = load_model(
        folder, device, step, print_message, rounds=rounds, buckets=buckets, attention_scale=attention_scale
    )
    kind = trained.tokenizer.document_kind
    if as_picture != (kind == "picture"):
        raise UsageError(
            f"{folder} is a model of pictures: give --output FILE.png, and --picture FILE to complete one"
            if kind == "picture"
            else f"{folder} is not a model of pictures: give --prompt TEXT or --prompt-file FILE, and no --picture"
        )
    is_text = kind == "text"
    if samples > 1 and not as_picture and (output is not None or not (is_text or as_json or interactive)):
        raise UsageError("several samples cannot be separated in one file or as bytes: give --json, or --samples 1")
    given = source and source.prompt(trained.tokenizer, print_message)
    generator = TextGenerator(trained.model, trained.tokenizer, sampling, seed, range(samples))
    with _out_of_memory_explained(samples):
        if as_picture:
            from revlm.generation import picture_prompt, sample_pictures
            from revlm.pictures import document_bytes, png_of

            beginning = picture_prompt(trained.tokenizer, picture, rows)
            print_message(f"sampling {document_bytes(beginning) - len(beginning):,} values of each picture")
            _write(png_of(sample_pictures(generator, trained.tokenizer, beginning)), output)
        elif given is None or interactive:
            from revlm.cli.terminal.interactive import write_in_turns
            from revlm.generation import long_prompt_notice

            n_given = len(given.tokens(trained.tokenizer)) if given is not None else 0
            if notice := long_prompt_notice(n_given, trained.recipe):
                print_message(notice)
            write_in_turns(generator, trained.tokenizer, given, stop, max_tokens)
        elif output is not None or not (is_text or as_json):
            [sample] = _sample(generator, trained, given, stop, max_tokens, is_printed=False)
            before = given.as_bytes if given.is_printed else b""
            _write(before + (sample.text.encode() if is_text else sample.content()), output)
        elif as_json:
            sampled = _sample(generator, trained, given, stop, max_tokens, is_printed=False)
            described = {
                "run": str(folder),
                "step": trained.step,
                "prompt": given.text,
                "prompt_tokens": _prompt_tokens(generator),
                "seed": seed,
                "sampling": asdict(sampling),
                "samples": [sample.described() for sample in sampled],
                "prefill": _described(generator.prefill),
                "decoding": _described(generator.decoding),
            }
            print_json(described)
        else:
            _sample(generator, trained, given, stop, max_tokens, is_printed=True)
    if generator.decoding.tokens:
        prompt_text = _throughput_text(generator.prefill, _prompt_tokens(generator))
        print_message(f"prompt: {prompt_text}; generated: {_throughput_text(generator.decoding)}")


def _sample(
    generator: "TextGenerator",
    trained: "TrainedModel",
    prompt: "Prompt",
    stop: list[str],
    max_tokens: int,
    *,
    is_printed: bool,
) -> list["Sample"]:
    """Samples and returns the continuations; prints the first while it is sampled, then the others under headings."""
    from revlm.cli.terminal.progress import PrefillProgress
    from revlm.cli.terminal.streams import print_content
    from revlm.generation import Sample, draw_samples, long_prompt_notice

    tokens = prompt.tokens(trained.tokenizer)
    if notice := long_prompt_notice(len(tokens), trained.recipe):
        print_message(notice)
    with PrefillProgress() as progress:
        generator.append(tokens, progress.show)
    samples = [Sample(trained.tokenizer, stop) for _ in range(generator.samples)]
    if not is_printed:
        draw_samples(generator, samples, max_tokens)
        return samples
    beginning = prompt.text if prompt.is_printed else ""
    _print_heading(1, len(samples))
    print_content(beginning)
    try:
        draw_samples(generator, samples, max_tokens, print_content)
    finally:
        typer.echo()
    for number, sample in enumerate(samples[1:], 2):
        typer.echo()
        _print_heading(number, len(samples))
        print_content(beginning + sample.text)
        typer.echo()
    return samples


def _require_picture_use(picture: Path | None, rows: int | None, output: Path | None, others: dict[str, bool]) -> None:
    """Raises UsageError for options that do not go with --picture, or that it needs."""
    if rows is not None and picture is None:
        raise UsageError("--rows needs a picture: give one with --picture FILE")
    if picture is None:
        return
    if output is None or output.suffix.lower() != ".png":
        raise UsageError("--picture completes a picture into a PNG file: give its name with --output FILE.png")
    for option, is_given in others.items():
        if is_given:
            raise UsageError(f"{option} cannot be combined with --picture: leave one out")


def _require_file(output: Path) -> None:
    """Raises UsageError where no file can be written, before the model is loaded."""
    if output.exists() and not output.is_file():
        raise UsageError(f"--output {output} is not a regular file: give the path of a file")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output} is in a folder that does not exist: make it first")


def _write(content: bytes, output: Path | None) -> None:
    """Writes the bytes to a file, replacing it atomically, or to standard output: unchanged unless it is a terminal."""
    from revlm.cli.terminal.streams import print_content
    from revlm.storage import replace_file, storage_errors

    if output is None:
        print_content(content)
        return
    with storage_errors(f"writing {output}"):
        replace_file(Path(os.path.realpath(output)), content)
    print_message(f"{output}: {len(content):,} bytes")


def _print_heading(number: int, samples: int) -> None:
    if samples > 1:
        typer.echo(f"--- sample {number} of {samples} ---")


def _refuse_with_interactive(given: dict[str, bool]) -> None:
    for option, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{option} cannot be combined with --interactive, which continues a single text: leave one out"
            )


@contextmanager
def _out_of_memory_explained(samples: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        fewer = "fewer --samples or " if samples > 1 else ""
        remedy = f"give {fewer}a shorter prompt, or --device cpu if it has more memory"
        raise ResourceError(f"out of memory: {remedy}") from error


def _described(throughput: "Throughput") -> dict[str, Any]:
    return {
        "tokens": throughput.tokens,
        "seconds": throughput.seconds,
        "tokens_per_second": throughput.tokens_per_second,
    }


def _prompt_tokens(generator: "TextGenerator") -> int:
    """The number of prompt tokens, without the begin token."""
    return max(generator.prefill.tokens - 1, 0)


def _throughput_text(throughput: "Throughput", tokens: int | None = None) -> str:
    from revlm.text import plural

    counted = plural(throughput.tokens if tokens is None else tokens, "token")
    return f"{counted} in {throughput.seconds:.2f} s, {throughput.tokens_per_second or 0:,.1f} tokens/s"
