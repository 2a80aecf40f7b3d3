"""Trackio: its database on this machine (`TRACKIO_DIR`, else trackio's default), displayed by `trackio show`.

This uses trackio's storage, not `trackio.init` and `trackio.log`: those ask the hub for the user's name if there is a
token, write in a thread that hides its failures, and cannot go back a step. Trackio cannot remove steps: to drop the
records after a checkpoint, the run is rewritten without them, with the original times.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from trackio import Markdown
from trackio.sqlite_storage import SQLiteStorage

from revlm.recipe import Recipe
from revlm.runs.folder import RunFolder
from revlm.runs.trackers.tracker import Shown, last_whole_step
from revlm.runs.trackers.values import markdown_block, numbers, texts
from revlm.storage import json_bytes, replace_file

PROJECT = "revlm"


class Trackio:
    """Writes the records of a run to trackio's project `revlm`, under the name of the run folder."""

    def __init__(self, folder: RunFolder, recipe: Recipe, step: int) -> None:
        self._config: dict[str, Any] | None = recipe.model_dump(mode="json")
        if folder.trackio.is_file():
            self._run = json.loads(folder.trackio.read_bytes())
        else:
            # The name is for people and need not be unique; trackio identifies a run by its id.
            self._run = {"project": PROJECT, "run": folder.path.resolve().name, "run_id": uuid.uuid4().hex}
            replace_file(folder.trackio, json_bytes(self._run))
        last_step = SQLiteStorage.get_last_step(**self._run) or 0
        self.held_step = last_whole_step(last_step, step)
        if last_step > self.held_step:
            self._drop_later_steps()

    def write(self, records: Sequence[Shown]) -> None:
        shown = [{**numbers(record), **_markdown(texts(record))} for record in records]
        self._log(shown, [record.step for record in records])

    def close(self) -> None:
        """Nothing to do: every write is complete."""

    def _drop_later_steps(self) -> None:
        """Rewrites the run without its steps after `held_step`."""
        rows = [row for row in SQLiteStorage.get_logs(**self._run) if row["step"] <= self.held_step]
        if not SQLiteStorage.delete_run(**self._run):
            raise OSError("the database does not allow the run to be rewritten")
        shown = [{key: value for key, value in row.items() if key not in {"step", "timestamp"}} for row in rows]
        self._log(shown, [row["step"] for row in rows], [_as_text(row["timestamp"]) for row in rows])

    def _log(self, shown: list[dict[str, Any]], steps: list[int], times: list[str] | None = None) -> None:
        if not shown:
            return
        SQLiteStorage.bulk_log(**self._run, metrics_list=shown, steps=steps, timestamps=times, config=self._config)
        self._config = None  # it is stored now


def _markdown(named: dict[str, str]) -> dict[str, Any]:
    return {name: Markdown(markdown_block(text))._to_dict() for name, text in named.items()}


def _as_text(time: str | datetime) -> str:
    return time if isinstance(time, str) else time.isoformat()
