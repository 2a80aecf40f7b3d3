"""The page of one run: what it is, its key figures, its pictures, what it wrote, and what it was made of."""

from itertools import groupby

import numpy as np

from revlm.report.buckets import draw_buckets, has_hash_layers
from revlm.report.evaluation_section import evaluation_sections
from revlm.report.history import History
from revlm.report.html import document, figure, flat, section, table, text
from revlm.report.loss import draw_loss
from revlm.report.memory import PHASES, draw_memory
from revlm.report.pictures import Picture
from revlm.report.records import Sample
from revlm.report.summary import Summary, summarize
from revlm.report.throughput import draw_throughput
from revlm.report.units import figure_text, human_bytes, human_count, human_duration

_PLANNED = "Below: what was measured in that step, and what was planned for it, by category, before anything ran."


def run_page(history: History) -> str:
    """The HTML page of a run, complete in itself."""
    summary = summarize(history)
    return document(
        f"{history.name}: a revlm run",
        [
            f"<h1>{text(history.name)}</h1>",
            f'<p class="muted">{text(at_a_glance(history))}</p>',
            *(f'<p class="note">{text(note)}</p>' for note in history.notes),
            _key_figures(summary),
            section("Loss", figure(loss_picture(history), _loss_caption(history))),
            *(evaluation_sections(history.evaluated) if history.evaluated else ()),
            section("Memory", figure(memory_picture(history), _memory_caption(history))),
            section("Hash layers", _hash_layers(history)),
            section("Throughput", _throughput(history)),
            section("Samples", *_samples(history)),
            section("Recipe", _recipe(history)),
            section("Environment", _environment(history)),
            "<footer>1 GB is 10<sup>9</sup> bytes. Written by <code>revlm report</code> from "
            f"<code>{text(history.folder)}</code>.</footer>",
        ],
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


def at_a_glance(history: History) -> str:
    """The recipe in one line: what the model and its examples are, as far as the recipe says."""
    layers = history.setting("model.layers")
    pattern = f" ({', '.join(map(str, layers))})" if isinstance(layers, list) else ""
    parts = (
        ("{} layers" + pattern.replace("{", "{{").replace("}", "}}"), "model.n_layers"),
        ("width {}", "model.d_model"),
        ("{} heads", "model.n_heads"),
        ("window {}", "model.window"),
        ("{} rounds", "model.n_rounds"),
        ("{:,} tokens an example", "data.seq_len"),
        ("packing {}", "data.packing"),
        ("{}", "train.precision"),
    )
    known = [(form, value) for form, key in parts if (value := history.setting(key)) is not None]
    # A recipe that was edited by hand may hold a word such as 64k for a number.
    shown = ((form if isinstance(value, int) else form.replace("{:,}", "{}")).format(value) for form, value in known)
    return " · ".join(shown) or "no recipe"


def _key_figures(summary: Summary) -> str:
    unfinished = summary.planned_steps is not None and summary.steps < summary.planned_steps
    best_step = summary.best_bits_per_byte_step
    figures = (
        ("Steps", f"{summary.steps:,}", f"of {summary.planned_steps:,}" if unfinished else ""),
        ("Tokens seen", ("" if summary.tokens_exact else "about ") + human_count(summary.tokens), ""),
        ("First loss", figure_text(summary.first_loss), "nats a token"),
        ("Last loss", figure_text(summary.last_loss), "mean of the last 5 steps"),
        (
            "Best held out",
            figure_text(summary.best_bits_per_byte),
            "not evaluated yet" if best_step is None else f"bits per byte, step {best_step:,}",
        ),
        ("Throughput", figure_text(summary.tokens_per_second, ",.0f"), "tokens a second, median"),
        ("Peak memory", human_bytes(summary.peak_memory_bytes), ""),
        ("Time in steps", human_duration(summary.seconds), ""),
    )
    cells = (
        f"<div><dt>{name}</dt><dd>{text(value)}{f'<small>{text(note)}</small>' if note else ''}</dd></div>"
        for name, value, note in figures
    )
    return '<dl class="figures">' + "".join(cells) + "</dl>"


def _loss_caption(history: History) -> str:
    caption = "Below the steps: the tokens seen by then."
    if len(history.steps) >= 80:
        caption = "Thin: every step; thick: running mean over a fortieth of the run. " + caption
    return caption if history.evaluations else caption + " Nothing was held out and evaluated yet."


def _memory_caption(history: History) -> str:
    if not any(np.isfinite(history.series(phase.key)).any() for phase in PHASES):
        return "This run did not record its memory."
    if history.on_gpu:
        caption = "Memory that CUDA's allocator had given out, and what it had reserved."
    else:
        caption = "Resident memory of the whole process; grey is what it took before the model was built."
    return f"{caption} {_PLANNED}" if history.plan else caption


def _hash_layers(history: History) -> str:
    if not has_hash_layers(history):
        return "<p>No step recorded how buckets were used: the model has no hash layers, or the run is old.</p>"
    return figure(
        Picture(lambda canvas: draw_buckets(history, canvas), "Use of each hash layer over the steps"),
        "How full the window of a query is, how many queries find no key at all, and how much attention goes "
        "to the sink, which has no value: a layer that nobody uses shows here.",
    )


def _throughput(history: History) -> str:
    if not np.isfinite(history.series("tokens_per_second")).any():
        return "<p>This run did not record its throughput.</p>"
    return figure(
        Picture(lambda canvas: draw_throughput(history, canvas), "Tokens a second over the steps"),
        "Tokens of a step by the seconds it took, reading of data included.",
    )


def _samples(history: History) -> list[str]:
    """One fold a step, the newest first and open."""
    if not history.samples:
        return ["<p>No samples were written yet.</p>"]
    by_step = [(step, list(group)) for step, group in groupby(history.samples, key=lambda sample: sample.step)]
    return [
        f"<details{' open' if place == 0 else ''}><summary>Step {step:,}</summary>\n"
        + "\n".join(f'<div class="sample">{_sample(sample)}</div>' for sample in samples)
        + "</details>"
        for place, (step, samples) in enumerate(reversed(by_step))
    ]


def _sample(sample: Sample) -> str:
    continuation = sample.text.removeprefix(sample.prompt)
    return f"<strong>{text(sample.prompt)}</strong>{text(continuation)}"


def _recipe(history: History) -> str:
    if history.recipe_text is None:
        return "<p>The run folder holds no recipe.yaml.</p>"
    return f"<pre>{text(history.recipe_text)}</pre>"


def _environment(history: History) -> str:
    if not history.environment:
        return "<p>The run folder holds no environment.json.</p>"
    return table([], [(text(key), text(value)) for key, value in flat(history.environment).items()])
