"""The page that compares runs: losses in one picture, peaks, figures, and how the recipes differ."""

from collections.abc import Sequence

from revlm.report.by_context import draw_by_context
from revlm.report.by_position import draw_by_position
from revlm.report.evaluation_section import HEADINGS
from revlm.report.history import History
from revlm.report.html import document, flat, section, table, text
from revlm.report.overlay import draw_losses, draw_peaks, run_names
from revlm.report.pictures import Picture, picture_html
from revlm.report.summary import summarize
from revlm.report.theme import LIGHT
from revlm.report.units import ABSENT, figure_text, human_bytes, human_count, human_duration

FIGURES = (
    "steps",
    "tokens",
    "first loss",
    "last loss",
    "held-out bits per byte",
    "tokens/s",
    "peak memory",
    "time",
)


def comparison_page(histories: Sequence[History]) -> str:
    """The HTML page that compares runs, complete in itself."""
    names = run_names(histories)
    content = [
        f"<h1>{len(histories)} runs compared</h1>",
        section("Loss", f"<figure>{picture_html(comparison_picture(histories))}</figure>"),
        *(
            section(HEADINGS[name], f"<figure>{picture_html(picture)}</figure>")
            for name, picture in compared_evaluations(histories).items()
        ),
        section("Peak memory", f"<figure>{picture_html(_peaks_picture(histories))}</figure>"),
        section("Key figures", _figures_table(histories, names)),
        section("What differs in the recipes", _differences(histories, names)),
        "<footer>Runs with different tokenizers compare in bits per byte, not in nats a token. "
        "1 GB is 10<sup>9</sup> bytes. Written by <code>revlm report</code>.</footer>",
    ]
    return document(f"{len(histories)} revlm runs compared", content)


def comparison_picture(histories: Sequence[History]) -> Picture:
    """The losses of all runs in one picture."""
    words = f"Training losses of {', '.join(run_names(histories))} over each other"
    return Picture(lambda canvas: draw_losses(histories, canvas), words)


def compared_evaluations(histories: Sequence[History]) -> dict[str, Picture]:
    """Pictures of what was found of two runs or more, by the keys of `HEADINGS`; a run keeps its colour in all."""
    names = run_names(histories)
    evaluated = {name: run.evaluated for name, run in zip(names, histories, strict=True)}
    contexts = {
        name: run.context if run and run.context and run.context.lengths else None for name, run in evaluated.items()
    }
    pictures = {}
    if sum(run is not None for run in evaluated.values()) > 1:
        words = f"Loss by position in the document of {', '.join(names)}"
        pictures["positions"] = Picture(lambda canvas: draw_by_position(evaluated, canvas), words)
    if sum(context is not None for context in contexts.values()) > 1:
        words = f"Gain by context length of {', '.join(names)}"
        pictures["context"] = Picture(lambda canvas: draw_by_context(contexts, canvas), words)
    return pictures


def _peaks_picture(histories: Sequence[History]) -> Picture:
    return Picture(lambda canvas: draw_peaks(histories, canvas), "Peak memory of each run")


def _figures_table(histories: Sequence[History], names: Sequence[str]) -> str:
    rows = []
    for place, (history, name) in enumerate(zip(histories, names, strict=True)):
        summary = summarize(history)
        color = f"var(--run-{place % len(LIGHT.runs)})"
        swatch = f'<span class="swatch" style="background: {color}"></span>'
        rows.append(
            [
                f"{swatch}{text(name)}",
                f"{summary.steps:,}",
                human_count(summary.tokens),
                figure_text(summary.first_loss),
                figure_text(summary.last_loss),
                figure_text(summary.best_bits_per_byte),
                figure_text(summary.tokens_per_second, ",.0f"),
                human_bytes(summary.peak_memory_bytes),
                human_duration(summary.seconds),
            ]
        )
    return table(["run", *FIGURES], rows, numbers=True)


def _differences(histories: Sequence[History], names: Sequence[str]) -> str:
    recipes = [flat(history.recipe) for history in histories]
    keys = [key for key in dict.fromkeys(key for recipe in recipes for key in recipe) if key != "output_dir"]
    rows = []
    for key in keys:
        values = [recipe.get(key, ABSENT) for recipe in recipes]
        if len(set(values)) > 1:
            rows.append([text(key), *map(text, values)])
    if not rows:
        return "<p>The recipes are the same but for the folder.</p>"
    return table(["", *map(text, names)], rows)
