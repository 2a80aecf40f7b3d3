"""The numbers and texts of a record as a tracker displays them; the part of a name before the slash is its group."""

from typing import Any

from revlm.records import LayerUse, Samples, Step, Validation
from revlm.runs.trackers.tracker import Shown

_GROUPS = {
    "speed": ("tokens_per_second", "seconds", "data_seconds", "model_flops_per_second", "mfu"),
    "data": ("epoch", "tokens", "documents"),
    "attention": tuple(key for key in LayerUse.model_fields if key in Step.model_fields),
}
_GROUP_OF = {key: group for group, keys in _GROUPS.items() for key in keys}


def numbers(record: Shown) -> dict[str, float]:
    """The numbers of a record by name, such as `train/loss`, `memory/peak_bytes`, `bucket_fill/layer_03`."""
    if isinstance(record, Samples):
        return {}
    if isinstance(record, Validation):
        return {f"evaluate/{key}": value for key, value in _numbers(record).items()}
    named = {_name(key): value for key, value in _numbers(record).items()}
    for use in record.layers:
        for key, value in _numbers(use).items():
            named[f"{key}/layer_{use.layer:02d}"] = value
    return named


def texts(record: Shown) -> dict[str, str]:
    """The samples of a record by name, prompt and continuation as one text; only the report shows pictures."""
    if not isinstance(record, Samples):
        return {}
    numbered = enumerate(record.samples, start=1)
    return {f"samples/{place}": each.prompt + each.text for place, each in numbered if each.picture is None}


def markdown_block(text: str) -> str:
    """The text as a Markdown code block, line by line."""
    return "\n".join(f"    {line}" for line in text.split("\n"))


def _name(key: str) -> str:
    if key.startswith("memory_"):
        return f"memory/{key.removeprefix('memory_')}"
    return f"{_GROUP_OF.get(key, 'train')}/{key}"


def _numbers(record: Step | Validation | LayerUse) -> dict[str, float]:
    values: dict[str, Any] = vars(record)
    return {
        key: float(value)
        for key, value in values.items()
        if key not in {"step", "layer"} and isinstance(value, int | float)
    }
