"""The settings that a checkpoint was trained with, and whether a run's recipe and tokenizer still match them."""

import functools
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter

from revlm.errors import StorageError
from revlm.recipe import Recipe, load_recipe
from revlm.recipe.section import Section
from revlm.runs.checkpoint import Checkpoint
from revlm.runs.folder import RunFolder
from revlm.storage import Folder, is_sealed, storage_errors

# Keys that do not decide the weights, in sections that do: they affect only memory and speed, how a run ends, or where
# something is stored. Tokens, texts and tokenizer are compared by their content.
_FREE = {
    "model": {"reversible", "attention_block"},
    "data": {"path", "stream", "tokenizer", "workers"},
    "optimizer": {"sharded"},
    "lr_scheduler": set[str](),
    "train": {"start_from", "device", "tile", "sequence_parallel", "on_nonfinite", "max_skipped"},
}
_FINGERPRINTS = ("corpus", "tokenizer")
_REQUIRED = (*_FINGERPRINTS, "model.n_buckets", "model.n_rounds")
# Keys that checkpoints of earlier versions lack, with the value that their runs had.
_ADDED = {"model.pair_rounds": 0}


def settings_of_recipe(recipe: Recipe) -> dict[str, Any]:
    """Returns the settings of a recipe that decide the trained weights, by key, as JSON values."""
    sections = (settings_of_section(name, getattr(recipe, name)) for name in _FREE)
    return {key: value for settings in sections for key, value in settings.items()} | {"seed": recipe.seed}


def settings_of_section(name: str, section: Section) -> dict[str, Any]:
    """Returns the settings of one section, as `settings_of_recipe` does."""
    return {f"{name}.{key}": value for key, value in section.model_dump(mode="json", exclude=_FREE[name]).items()}


def load_run_recipe(folder: RunFolder) -> Recipe:
    """Returns the recipe of a run; raises StorageError if it differs in any byte from what the run wrote."""
    with storage_errors(f"reading {folder.recipe}"), Folder(folder.path) as opened:
        content = opened.read(folder.recipe.name)
    if not is_sealed(content):
        raise StorageError(
            f"{folder.recipe} changed after the run wrote it (its sha256 is not the one in its last line): restore it "
            f"from a copy; if you changed it yourself, resume with `revlm train {folder.recipe} --allow-change`"
        )
    return load_recipe(folder.recipe)


def trained_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the settings that a checkpoint of any version was trained with, by key, as JSON values.

    Raises:
        StorageError: the checkpoint has no settings, or one of them is not a valid value of its key.
    """
    settings = checkpoint.state.get("settings")
    if not isinstance(settings, dict):
        raise StorageError(f"{checkpoint.path} is not a checkpoint of a training run: use another one")
    for key, kind in _kinds_of_settings().items():
        try:
            if key in settings or key in _REQUIRED:
                kind.validate_json(json.dumps(settings.get(key)))
        except (ValueError, RecursionError) as error:
            raise StorageError(f"{checkpoint.path} has no valid value of {key}: use another checkpoint") from error
    return _ADDED | settings


@functools.cache
def _kinds_of_settings() -> dict[str, TypeAdapter[Any]]:
    """Returns the type of each setting, as the recipe declares it."""
    kinds: dict[str, Any] = dict.fromkeys(_FINGERPRINTS, TypeAdapter(str))
    for name in _FREE:
        section = Recipe.model_fields[name].annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        for key, field in section.model_fields.items():
            kind: Any = Annotated[(field.annotation, field, *field.metadata)]
            kinds[f"{name}.{key}"] = TypeAdapter(kind)
    return kinds


def differing_settings(recipe: Recipe, tokenizer_sha256: str, settings: Mapping[str, Any]) -> list[str]:
    """Returns a phrase for the tokenizer and each model key that differ from a checkpoint's settings."""
    own = {key: value for key, value in settings_of_recipe(recipe).items() if key.startswith("model.") or key == "seed"}
    own["tokenizer"] = tokenizer_sha256
    return [f"another {key}" for key, value in own.items() if settings.get(key) != value]


def require_matching_checkpoint(
    folder: RunFolder, recipe: Recipe, tokenizer_sha256: str, checkpoint: Checkpoint
) -> None:
    """Raises StorageError if a run's recipe or tokenizer differs from what its checkpoint was trained with."""
    if foreign := differing_settings(recipe, tokenizer_sha256, trained_settings(checkpoint)):
        raise StorageError(
            f"recipe and tokenizer in {folder} are not those that its checkpoint of step {checkpoint.step} was trained "
            f"with ({', '.join(foreign)}): restore the run's own {folder.recipe.name} and tokenizer"
        )
