"""`revlm evaluate`: bits per byte of held-out documents, loss by position, and what else is asked of the model."""

import json
from pathlib import Path
from typing import Annotated

import typer

from revlm.cli.paths import PATH


def evaluate(
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", **PATH, help="run folder; by default the newest under ./runs")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", **PATH, help="score all documents of this token folder instead")
    ] = None,
    context: Annotated[bool, typer.Option("--context", help="the same targets with the context cut")] = False,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="without each layer's attention; by rounds of hashing")
    ] = False,
    recall: Annotated[
        bool, typer.Option("--recall", help="share of exact attention's weight that the buckets find")
    ] = False,
    copy: Annotated[bool, typer.Option("--copy", help="random tokens that come twice, by rounds of hashing")] = False,
    needle: Annotated[bool, typer.Option("--needle", help="random tokens hidden in a text, by distance")] = False,
    everything: Annotated[bool, typer.Option("--all", help="all of these")] = False,
    lengths: Annotated[
        str, typer.Option("--context-lengths", help="contexts, and distances of needles, in tokens")
    ] = "256,1024,4096,16384,65536",
    samples: Annotated[
        int, typer.Option(min=1, help="documents that are drawn for these, and samples of the context in them")
    ] = 8,
    tokens: Annotated[int, typer.Option(min=2, help="tokens of them for --ablations and --recall")] = 65536,
    seed: Annotated[int, typer.Option(min=0, help="of the samples and of random tokens")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Score a trained model on the documents that its run held out: nats a token and bits per byte.

    Every token is scored once, with the text before it in its document, as far as data.seq_len reaches: a longer
    document is scored in pieces of that length. What is found stays in RUN/evaluation.json, for `revlm report`, with
    every document, of which the table shows the first; answers of before to what is not asked again stay with it while
    the model and the documents are the same.

    Example: revlm evaluate --run runs/novels --all
    """
    from revlm.cli.evaluation_tables import print_tables
    from revlm.evaluation import QUESTIONS, Questions, evaluate_run, evaluation_record
    from revlm.generation import load_model
    from revlm.runs import RunFolder, newest_run

    wanted = dict(zip(QUESTIONS, (context, ablations, recall, copy, needle), strict=True))
    asked = frozenset(question for question, is_wanted in wanted.items() if is_wanted or everything)
    questions = Questions(asked, _lengths(lengths), samples, tokens, seed)
    folder = newest_run() if run is None else RunFolder.open(run)
    trained = load_model(folder, device)
    evaluation = evaluate_run(trained, data, lambda message: typer.echo(message, err=True), questions)
    record = evaluation_record(evaluation, trained.step, folder.read_evaluation())
    try:
        if as_json:
            typer.echo(json.dumps({"run": str(folder), **record}, indent=2, ensure_ascii=False))
        else:
            typer.echo(f"{folder}, step {trained.step:,}, on {evaluation.data}")
            print_tables(evaluation)
    finally:  # what took minutes outlasts a reader that leaves, such as `head`
        folder.write_evaluation(record)
    typer.echo(f"wrote {folder.evaluation}: `revlm report {folder}` draws it", err=True)


def _lengths(text: str) -> tuple[int, ...]:
    from revlm.errors import UsageError

    parts = [part.strip().replace("_", "") for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            f"--context-lengths is {text!r}: give numbers of tokens with commas between them, such as 256,4096"
        )
    return tuple(sorted({int(part) for part in parts}))
