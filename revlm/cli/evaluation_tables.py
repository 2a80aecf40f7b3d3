"""An evaluation as tables in a terminal."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from revlm.cli.terminal.tables import print_table
from revlm.report.units import ABSENT, plural

if TYPE_CHECKING:
    from revlm.evaluation import Evaluation, Score
    from revlm.evaluation.ablations import Ablations
    from revlm.evaluation.context_gain import ContextGain
    from revlm.evaluation.copying import Copying
    from revlm.evaluation.needle import NeedleTest
    from revlm.evaluation.recall import Recall


_DOCUMENTS_SHOWN = 20


def print_tables(evaluation: "Evaluation") -> None:
    """Prints the scores, the losses by position and every answer, each with a line that says what it is."""
    _print_scores(evaluation)
    answers = evaluation.answers
    if answers.context is not None:
        _print_context(answers.context)
    if answers.ablations is not None:
        _print_ablations(answers.ablations)
    if answers.recall is not None:
        _print_recall(answers.recall)
    if answers.copying is not None:
        _print_copying(answers.copying)
    if answers.needle is not None:
        _print_needles(answers.needle)


def _print_scores(evaluation: "Evaluation") -> None:
    documents = _table("document", "tokens", "bytes", "nats/token", "bits/byte")
    more = len(evaluation.documents) - _DOCUMENTS_SHOWN
    for title, score in evaluation.documents[:_DOCUMENTS_SHOWN]:
        documents.add_row(Text(title), *_cells(score))
    documents.add_section()
    documents.add_row("total", *_cells(evaluation.total), style="bold")
    _print(documents)
    if more > 0:
        typer.echo(f"and {plural(more, 'document')} more, each in evaluation.json and with --json; the total is of all")
    rows = (
        (f"{first:,}" if first == last else f"{first:,}-{last:,}", f"{tokens:,}", f"{loss:.4f}")
        for first, last, tokens, loss in evaluation.by_position.bins()
    )
    _print(_table("position in document", "tokens", "nats/token", rows=rows))
    typer.echo(
        "every token was scored once, with the text before it in its document "
        f"within data.seq_len = {evaluation.seq_len:,} tokens"
    )


def _print_context(context: "ContextGain") -> None:
    rows = (
        (
            "all" if each.context is None else f"{each.context:,}",
            f"{each.documents:,}",
            f"{each.targets:,}",
            f"{each.seen:,.0f}",
            f"{each.loss:.4f}",
            f"{each.gain:+.4f}" if place else "",
            ABSENT if each.interval is None else f"± {each.interval[1] - each.gain:.4f}" if place else "",
        )
        for place, each in enumerate(context.lengths)
    )
    names = ("context", "documents", "targets", "seen", "nats/token", "gain", "95%")
    _say("the same targets with the context cut", _table(*names, rows=rows))
    typer.echo(
        "a target sees between the context and 5/4 of it; the gain is that over the smallest context, as a mean over "
        "documents with Student's interval" + _left_out(context.too_short)
    )


def _print_ablations(ablations: "Ablations") -> None:
    table = _table("without the attention of", "nats/token", "increase")
    table.add_row("nothing", f"{ablations.loss:.4f}", "")
    for each in ablations.layers:
        table.add_row(f"layer {each.layers[0]} ({each.kind})", f"{each.loss:.4f}", f"{each.increase:+.4f}")
    table.add_section()
    for each in ablations.kinds:
        table.add_row(f"all {each.kind} layers", f"{each.loss:.4f}", f"{each.increase:+.4f}")
    _say(f"ablations, on {ablations.tokens:,} tokens of {plural(ablations.documents, 'document')}", table)
    if ablations.rounds:
        rows = (
            (f"{each.rounds}{_own(each.rounds, ablations.own_rounds)}", f"{each.loss:.4f}", f"{each.increase:+.4f}")
            for each in ablations.rounds
        )
        _print(_table("rounds of hashing", "nats/token", "increase", rows=rows))


def _print_recall(recall: "Recall") -> None:
    if not recall.layers:
        typer.echo("\nrecall: none was measured, as no text of two tokens went through a hash layer")
        return
    rows = (
        (str(each.layer), f"{each.found:.1%}", f"{each.best:.1%}", f"{each.chance:.2%}", f"{each.keys:.1f}")
        for each in recall.layers
    )
    _say(
        f"recall: the share of exact attention's weight on what the buckets find, of {recall.queries:,} queries",
        _table("hash layer", "found", "best as many keys", "chance", "keys", rows=rows),
    )


def _print_copying(copying: "Copying") -> None:
    lengths = sorted({each.length for each in copying.accuracies})
    accuracy = {(each.rounds, each.length): each.accuracy for each in copying.accuracies}
    table = _table("rounds of hashing", *(f"{length:,} tokens" for length in lengths))
    for rounds in dict.fromkeys(each.rounds for each in copying.accuracies):
        name = "no hash layers" if rounds is None else f"{rounds}{_own(rounds, copying.own_rounds)}"
        table.add_row(name, *(f"{accuracy[rounds, length]:.1%}" for length in lengths))
    table.add_section()
    table.add_row("chance", *(f"{copying.chance:.2%}" for _ in lengths))
    _say("copy: the share of the second of two copies of random tokens that is predicted, by their length", table)


def _print_needles(needle: "NeedleTest") -> None:
    rows = (
        (
            f"{each.distance:,}",
            f"{each.needles:,}",
            f"{each.found.accuracy:.1%} / {each.without.accuracy:.1%}",
            f"{each.found.rank:,.0f} / {each.without.rank:,.0f}",
            f"{each.found.loss:.2f} / {each.without.loss:.2f}",
        )
        for each in needle.distances
    )
    table = _table("distance", "needles", "predicted", "mean rank", "nats/token", rows=rows)
    table.add_section()
    chance = needle.chance
    table.add_row("chance", "", f"{chance.accuracy:.2%}", f"{chance.rank:,.0f}", f"{chance.loss:.2f}")
    _say("needle: random tokens hidden in a text, their second half when the first is repeated; / without them", table)
    if needle.too_short:
        typer.echo(_left_out(needle.too_short).removeprefix("; "))


def _say(what: str, table: Table) -> None:
    typer.echo(f"\n{what}")
    _print(table)


def _print(table: Table) -> None:
    print_table(table)


def _table(first: str, *numbers: str, rows: Iterable[Sequence[str]] = ()) -> Table:
    table = Table()
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _own(rounds: int, own: int) -> str:
    return " (the model's)" if rounds == own else ""


def _left_out(titles: Sequence[str]) -> str:
    return f"; too short: {', '.join(titles)}" if titles else ""


def _cells(score: "Score") -> list[str]:
    return [f"{score.tokens:,}", f"{score.bytes:,}", f"{score.loss:.4f}", f"{score.bits_per_byte:.4f}"]
