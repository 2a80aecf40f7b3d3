"""Whether recipe and tokenizer in a run folder are those that its checkpoints were trained with."""

from collections.abc import Mapping
from typing import Any

from revlm.errors import StorageError
from revlm.recipe import Recipe, load_recipe
from revlm.runs.folder import RunFolder
from revlm.storage import Folder, is_sealed, storage_errors

# Of each section that decides the weights, what decides only memory and speed, how a run ends, or where something lies:
# tokens, texts and tokenizer are told by their content.
_FREE = {
    "model": {"reversible", "attention_block"},
    "data": {"path", "stream", "tokenizer", "workers"},
    "optimizer": {"sharded"},
    "lr_scheduler": set[str](),
    "train": {"device", "tile", "on_nonfinite", "max_skipped"},
}


def settings_of_recipe(recipe: Recipe) -> dict[str, Any]:
    """Returns what in a recipe decides which weights come out, by key, as JSON gives it back."""
    settings = {
        f"{section}.{key}": value
        for section, free in _FREE.items()
        for key, value in getattr(recipe, section).model_dump(mode="json", exclude=free).items()
    }
    return settings | {"seed": recipe.seed}


def load_own_recipe(folder: RunFolder) -> Recipe:
    """Returns the recipe of a run; raises StorageError where it is not, to the bit, what the run wrote."""
    with storage_errors(f"reading {folder.recipe}"), Folder(folder.path) as opened:
        content = opened.read(folder.recipe.name)
    if not is_sealed(content):
        raise StorageError(
            f"{folder.recipe} is not as the run wrote it (its last line is not the sha256 of the others): restore it "
            f"from a copy; if you changed it, `revlm train {folder.recipe} --allow-change` resumes with it"
        )
    return load_recipe(folder.recipe)


def foreign_settings(recipe: Recipe, tokenizer_sha256: str, state: Mapping[str, Any]) -> list[str]:
    """Returns a phrase for the tokenizer and each key of the model that differ from those of a checkpoint's state."""
    settings = state.get("settings")
    if not isinstance(settings, dict):
        return ["it tells no settings"]
    own = {key: value for key, value in settings_of_recipe(recipe).items() if key.startswith("model.") or key == "seed"}
    own["tokenizer"] = tokenizer_sha256
    return [f"another {key}" for key, value in own.items() if settings.get(key) != value]


def require_own(folder: RunFolder, recipe: Recipe, tokenizer_sha256: str, step: int, state: Mapping[str, Any]) -> None:
    """Raises StorageError where a run's recipe or tokenizer are not those of its checkpoint of a step."""
    if foreign := foreign_settings(recipe, tokenizer_sha256, state):
        raise StorageError(
            f"recipe and tokenizer in {folder} are not those that its checkpoint of step {step} was trained with "
            f"({', '.join(foreign)}): put the run's own {folder.recipe.name} and tokenizer back"
        )
