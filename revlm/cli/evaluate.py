"""`revlm evaluate`: bits per byte of held-out documents, loss by position, and the probes."""

import inspect
from pathlib import Path
from typing import Annotated

import typer

from revlm.cli.options import PATH, AsJson, AttentionScale, Buckets, Device, Rounds, Run, open_run
from revlm.cli.terminal.streams import print_json, print_message
from revlm.evaluation.probes import PROBES


def evaluate(
    run: Run = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", **PATH, help="Score all documents of this token store instead.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run all probes.")] = False,
    lengths: Annotated[
        str,
        typer.Option("--context-lengths", metavar="N,N,...", help="Context lengths and needle distances in tokens."),
    ] = "256,1024,4096,16384,65536",
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of documents for the probes, and of samples in each.")
    ] = 8,
    tokens: Annotated[
        int, typer.Option(metavar="N", min=2, help="Tokens of these documents for --ablations and --recall.")
    ] = 65536,
    repeat_context: Annotated[
        int, typer.Option(metavar="N", min=1, max=1024, help="Tokens of a context that --repeats looks for.")
    ] = 3,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Random seed of the samples and random tokens.")] = 0,
    rounds: Rounds = None,
    buckets: Buckets = None,
    attention_scale: AttentionScale = None,
    device: Device = "auto",
    as_json: AsJson = False,
    **probes: bool,
) -> None:
    """Score a trained model on the documents that its run held out: nats per token and bits per byte.

    Every token is scored once, given the text before it in its document; a document longer than data.seq_len is scored
    in pieces of that length. The table shows the first documents; RUN/evaluation.json has all of them, and `revlm
    report` draws it. It also keeps the results of probes that ran earlier on the same model and documents.

    Example: revlm evaluate --run runs/novels --all
    """
    from revlm.cli.terminal.evaluation_tables import print_tables
    from revlm.errors import StorageError, UsageError
    from revlm.evaluation import ProbeOptions, evaluate_run
    from revlm.evaluation.score_views import reading_text
    from revlm.generation import load_model
    from revlm.records import Evaluation, read_record
    from revlm.runs import RunFolder, is_exported

    asked = [name for name in PROBES if everything or probes[name]]
    options = ProbeOptions(frozenset(asked), _lengths(lengths), samples, tokens, seed, repeat_context)
    if run is not None and is_exported(run):
        if data is None:
            raise UsageError(f"{run} is an exported model, which names no held-out documents: give --data DIR")
        folder = RunFolder(run)
    else:
        folder = open_run(run)
    trained = load_model(
        folder, device, None, print_message, rounds=rounds, buckets=buckets, attention_scale=attention_scale
    )
    earlier = None
    try:
        earlier = read_record(Evaluation, folder.evaluation) if folder.evaluation.exists() else None
    except StorageError as error:
        print_message(f"{error}; this evaluation replaces it")
    evaluation = evaluate_run(trained, data, print_message, options, earlier)
    record = evaluation.model_dump(mode="json", exclude_unset=True)
    try:
        if as_json:
            print_json({"run": str(folder), **record}, indent=2)
        else:
            typer.echo(f"{folder}, step {trained.step:,}{reading_text(evaluation)}, on {evaluation.data}")
            print_tables(evaluation, asked)
    finally:  # also if the reader of the output has left, such as `head`
        folder.write_evaluation(record)
    print_message(f"wrote {folder.evaluation}: `revlm report {folder}` draws it")


def _with_probe_options() -> inspect.Signature:
    """The signature of the command: an option for each probe of the table, in place of `**probes`."""
    *parameters, _ = inspect.signature(evaluate).parameters.values()
    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option(probe.option, help=probe.help)],
        )
        for name, probe in PROBES.items()
    ]
    evaluate.__annotations__ |= {flag.name: flag.annotation for flag in flags}
    as_keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    return inspect.Signature([*as_keywords[:2], *flags, *as_keywords[2:]])


evaluate.__signature__ = _with_probe_options()  # type: ignore[attr-defined]


def _lengths(text: str) -> tuple[int, ...]:
    from revlm.errors import UsageError

    parts = [part.strip().replace("_", "") for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            f"--context-lengths is {text!r}: give numbers of tokens with commas between them, such as 256,4096"
        )
    return tuple(sorted({int(part) for part in parts}))
