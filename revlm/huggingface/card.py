"""The model card of an exported model: README.md, as the hub shows it."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from revlm import __version__
from revlm.errors import StorageError, UsageError
from revlm.generation import TrainedModel
from revlm.recipe import Recipe
from revlm.recipe.yaml_text import write_yaml
from revlm.records import Evaluation, Step, Validation, read_file, read_journal, read_record
from revlm.records.files import CHECKPOINTS, STARTED_FROM, step_of
from revlm.runs import RunFolder
from revlm.templates import template_environment
from revlm.text import human_bytes, human_count, visible_text

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
# The sections that decide the weights. Paths of this machine are left out, because a card may become public.
_SECTIONS = ("seed", "model", "data", "optimizer", "lr_scheduler", "train")
_PLACES = {"data": {"path", "stream", "tokenizer", "workers"}, "train": {"device", "start_from"}}


def model_card(trained: TrainedModel, run: str | os.PathLike[str], licence: str) -> str:
    """Returns the model card of a run's checkpoint; `licence` is a licence identifier of the hub, such as apache-2.0.

    Raises:
        UsageError: `licence` does not have the form of such an identifier.
    """
    if not _LICENCE.fullmatch(licence):
        raise UsageError(f"{licence!r} is not a licence identifier of the hub: give one such as apache-2.0, or unknown")
    folder, recipe = RunFolder(Path(run)), trained.recipe
    environment = template_environment("revlm.huggingface", autoescape=False)
    environment.filters["count"] = human_count
    return environment.get_template("card.md.j2").render(
        licence=licence,
        name=_inline(folder.path.resolve().name),
        version=__version__,
        kinds=" and ".join(dict.fromkeys(recipe.model.layers)),
        parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
        seq_len=recipe.data.seq_len,
        facts=[(label, _inline(value)) for label, value in _facts(trained, folder)],
        recipe=_recipe(recipe),
    )


def _facts(trained: TrainedModel, folder: RunFolder) -> Iterator[tuple[str, str]]:
    tokens, peak_bytes = 0, 0
    validation: Validation | None = None
    for record in read_journal(folder.metrics):
        if record.step > trained.step:
            break
        if isinstance(record, Step):
            tokens += record.tokens
            peak_bytes = max(peak_bytes, record.memory_peak_bytes or 0)
        else:
            validation = record
    if (start := _start(folder)) is not None:
        yield "weights at the start", start
    yield "corpus", _corpus(trained.recipe)
    yield "corpus fingerprint", trained.corpus_fingerprint
    yield "steps", f"{trained.step:,}"
    yield "tokens trained", f"{tokens:,}"
    yield "peak memory of a step", human_bytes(peak_bytes or None)
    if validation is not None and validation.bits_per_byte is not None:
        yield "held out in training", f"{validation.bits_per_byte:.4f} bits per byte at step {validation.step:,}"
    try:
        evaluation = read_record(Evaluation, folder.evaluation) if folder.evaluation.exists() else None
    except StorageError:  # the card leaves it out; `revlm report` says what is wrong with the file
        evaluation = None
    own_rounds = trained.model.recipe.n_rounds if trained.model.hash_layers else None
    if evaluation is not None and (evaluation.step, evaluation.rounds) == (trained.step, own_rounds):
        total = evaluation.total
        yield "held out, evaluated", f"{total.bits_per_byte:.4f} bits per byte over {total.tokens:,} tokens"


def _start(folder: RunFolder) -> str | None:
    """The name and step of the run or exported model whose weights the run started from; None if there is none."""
    try:
        start = json.loads(read_file(folder.environment)).get(STARTED_FROM)
        path, step = Path(start["path"]), int(start["step"])
    except (StorageError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    is_checkpoint = step_of(path) is not None and path.parent.name == CHECKPOINTS
    return f"step {step:,} of {(path.parent.parent if is_checkpoint else path).name}"


def _corpus(recipe: Recipe) -> str:
    if recipe.data.stream is not None:
        corpus = recipe.data.stream.corpus
        return corpus if corpus.startswith("hf:") else Path(corpus).name
    return ", ".join(path.name for path in recipe.data.paths)


def _recipe(recipe: Recipe) -> str:
    values = recipe.model_dump(mode="json", include=set(_SECTIONS), exclude=_PLACES)
    return visible_text(write_yaml(values)).strip().replace("```", "'''")


def _inline(text: str) -> str:
    """Returns text escaped for a heading or a table cell, so that Markdown does not interpret it."""
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", visible_text(text).replace("\n", " "))
