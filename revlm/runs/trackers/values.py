"""What a tracker shows of a record: numbers and texts, each under a name whose part before the slash is its group."""

import math
from typing import Any

from revlm.runs.trackers.tracker import Record

_GROUPS = {
    "speed": ("tokens_per_second", "seconds", "data_seconds"),
    "data": ("epoch", "tokens", "documents"),
    "attention": ("bucket_fill", "empty_query_share", "sink_share"),
}
_GROUP_OF = {key: group for group, keys in _GROUPS.items() for key in keys}


def numbers(record: Record) -> dict[str, float]:
    """The finite numbers of a record by name, such as `train/loss`, `memory/peak_bytes`, `bucket_fill/layer_03`.

    A number that a later version adds to the records is shown too: of a step under `train`.
    """
    if record["event"] == "evaluate":
        return {f"evaluate/{key}": value for key, value in _numbers(record).items()}
    if record["event"] != "step":
        return {}
    named = {_name(key): value for key, value in _numbers(record).items()}
    for layer in record.get("layers", ()):
        for key, value in _numbers(layer).items():
            named[f"{key}/layer_{layer['layer']:02d}"] = value
    return named


def texts(record: Record) -> dict[str, str]:
    """The samples of a record by name, prompt and continuation as one text."""
    if record["event"] != "samples":
        return {}
    return {
        f"samples/{place}": sample["prompt"] + sample["text"] for place, sample in enumerate(record["samples"], start=1)
    }


def markdown_block(text: str) -> str:
    """Markdown that shows the text as it is, line by line."""
    return "\n".join(f"    {line}" for line in text.split("\n"))


def _name(key: str) -> str:
    if key.startswith("memory_"):
        return f"memory/{key.removeprefix('memory_')}"
    return f"{_GROUP_OF.get(key, 'train')}/{key}"


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in values.items()
        if key not in {"step", "layer"} and type(value) in {int, float} and math.isfinite(value)
    }
