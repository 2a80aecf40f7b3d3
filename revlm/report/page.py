"""The page of one run: its settings, key figures, pictures, samples and environment."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from revlm.evaluation.probes import PROBES
from revlm.evaluation.score_views import position_caption, position_chart, score_tables
from revlm.evaluation.views import Table
from revlm.records import PHASES, Evaluation, peak_key
from revlm.report.history import History, read_origin
from revlm.report.pictures.charts import draw_panels
from revlm.report.pictures.memory import draw_memory
from revlm.report.pictures.overlay import draw_losses
from revlm.report.pictures.picture import Picture
from revlm.report.pictures.steps import draw_buckets, draw_loss, draw_throughput, has_hash_layers
from revlm.report.rendering import page
from revlm.report.summary import summarize
from revlm.text import figure_text, human_bytes

POSITIONS = "positions"
_PLANNED = "Below: what was measured in that step, and what was planned for it, by category, before anything ran."
_MAX_RECIPE = 100_000


class Section(NamedTuple):
    """A section of a page: its heading, its picture with a caption, and collapsible tables."""

    heading: str
    picture: Picture | None
    caption: str
    tables: Sequence[Table] = ()


def run_page(history: History) -> str:
    """The self-contained HTML page of a run."""
    recipe = history.recipe_text
    return page(
        "run.html.j2",
        title=f"{history.name}: a revlm run",
        history=history,
        glance=at_a_glance(history),
        figures=summarize(history),
        sections=[
            Section("Loss", loss_picture(history), _loss_caption(history)),
            *start_sections(history),
            *(evaluation_sections(history.evaluation).values() if history.evaluation else ()),
            Section("Memory", memory_picture(history), _memory_caption(history)),
            _hash_layers(history),
            _throughput(history),
        ],
        recipe=recipe if recipe is None or len(recipe) <= _MAX_RECIPE else recipe[:_MAX_RECIPE] + "…",
    )


def loss_picture(history: History) -> Picture:
    """The loss picture of a run."""
    summary = summarize(history)
    first, last = figure_text(summary.first_loss), figure_text(summary.last_loss)
    words = f"Training loss from {first} to {last} nats a token over {summary.steps:,} steps"
    return Picture(lambda canvas: draw_loss(history, canvas), words)


def memory_picture(history: History) -> Picture:
    """The memory picture of a run."""
    words = f"Memory by phase over the steps, at most {human_bytes(summarize(history).peak_memory_bytes)}"
    return Picture(lambda canvas: draw_memory(history, canvas), words)


def evaluation_sections(evaluation: Evaluation) -> dict[str, Section]:
    """A section for the scores and one for each probe in the evaluation, by picture name."""
    chart = position_chart(evaluation)
    picture = None if chart is None else Picture(partial(draw_panels, [chart]), chart.caption)
    sections = {
        POSITIONS: Section(
            "Loss by position in the document", picture, position_caption(evaluation), score_tables(evaluation)
        )
    }
    for name, probe in PROBES.items():
        found = getattr(evaluation, name)
        if found is not None:
            panels = probe.panels(found)
            caption = probe.caption(found) if panels else ""
            drawn = Picture(partial(draw_panels, panels), caption) if panels else None
            sections[name] = Section(probe.title, drawn, caption, probe.tables(found))
    return sections


def at_a_glance(history: History) -> str:
    """The recipe in one line: model and example sizes, as far as the recipe gives them."""
    layers = history.setting("model.layers")
    parts = (
        ("model.n_layers", f" layers ({layers})" if layers else " layers"),
        ("model.d_model", " wide"),
        ("model.n_heads", " heads"),
        ("model.window", " keys in a window"),
        ("model.n_rounds", " rounds"),
        ("data.seq_len", " tokens an example"),
        ("data.packing", " packing"),
        ("train.precision", ""),
    )
    known = [(history.setting(key), words) for key, words in parts if history.setting(key) is not None]
    # A recipe that was edited by hand may hold a word such as 64k for a number.
    return " · ".join(f"{value:,}{words}" if type(value) is int else f"{value}{words}" for value, words in known)


def start_sections(history: History) -> list[Section]:
    """A section on the run that this one started from, with its curve where its journal is there; empty if none."""
    if history.started_from is None:
        return []
    path, step = history.started_from
    words = f"The weights of step {step:,} of {path} were those of this run before its first step."
    origin = read_origin(history)
    if origin is None:
        return [Section("Start", None, f"{words} Its journal is not there.")]
    picture = Picture(partial(draw_losses, [origin, history]), f"Losses of {origin.name} and of {history.name}")
    return [Section("Start", picture, f"{words} Running means of both, by the tokens and the time of each.")]


def _loss_caption(history: History) -> str:
    width = history.journal.steps.width
    every = "every step" if width == 1 else f"the least and the largest of each {width:,} steps"
    caption = "Below the steps: the tokens seen by then."
    if history.seq_len_changes:
        caption += " Dashed: where the examples change their length, and to how many tokens."
    if len(history.step_numbers) >= 80:
        caption = f"Thin: {every}; thick: running mean over a fortieth of the run. {caption}"
    has_validation = bool(len(history.journal.validations.highs("step")))
    return caption if has_validation else f"{caption} Nothing was held out and evaluated yet."


def _memory_caption(history: History) -> str:
    if not any(np.isfinite(history.peaks(peak_key(phase))).any() for phase in PHASES):
        return "This run did not record its memory by phases, which only Linux and CUDA report."
    if history.on_gpu:
        caption = "Memory that CUDA's allocator had given out, and what it had reserved."
    else:
        caption = "Resident memory of the whole process; grey is what it took before the model was built."
    return f"{caption} {_PLANNED}" if history.plan else caption


def _hash_layers(history: History) -> Section:
    if not has_hash_layers(history):
        return Section("Hash layers", None, "No step recorded how buckets were used: the model has no hash layers.")
    return Section(
        "Hash layers",
        Picture(lambda canvas: draw_buckets(history, canvas), "Use of each hash layer over the steps"),
        "How full the window of a query is, how many queries find no key at all, and how much attention goes "
        "to the sink, which has no value: this shows a layer that the model does not use.",
    )


def _throughput(history: History) -> Section:
    if not np.isfinite(history.series("tokens_per_second")).any():
        return Section("Throughput", None, "No step of this run made an update, so it has no throughput.")
    return Section(
        "Throughput",
        Picture(lambda canvas: draw_throughput(history, canvas), "Tokens a second over the steps"),
        "Tokens of a step divided by its seconds, including the reading of data. Below, the floating-point operations "
        "that the definition of the model needs for them: recomputation to save memory does not count.",
    )
