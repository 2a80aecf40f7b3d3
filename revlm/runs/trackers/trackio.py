"""Trackio: its database on this machine (`TRACKIO_DIR`, else trackio's own place), shown by `trackio show`.

What is used is trackio's storage, not `trackio.init` and `trackio.log`: those ask the hub for the user's name where
there is a token, write in a thread that keeps its failures to itself, and cannot take a step back. Trackio has no way
to remove steps: records beyond the checkpoint are taken back by writing the run again without them, with their times.
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
            # The name is for people and may stand twice; the id is what trackio tells runs apart by.
            self._run = {"project": PROJECT, "run": folder.path.resolve().name, "run_id": uuid.uuid4().hex}
            replace_file(folder.trackio, json_bytes(self._run))
        last_step = SQLiteStorage.get_last_step(**self._run) or 0
        self.held_step = last_whole_step(last_step, step)
        if last_step > self.held_step:
            self._take_back()

    def write(self, records: Sequence[Shown]) -> None:
        shown = [{**numbers(record), **_markdown(texts(record))} for record in records]
        self._log(shown, [record.step for record in records])

    def close(self) -> None:
        """Every write was whole: nothing is left to do."""

    def _take_back(self) -> None:
        """Writes the run again without its steps after `held_step`."""
        rows = [row for row in SQLiteStorage.get_logs(**self._run) if row["step"] <= self.held_step]
        if not SQLiteStorage.delete_run(**self._run):
            raise OSError("the database does not let the run be written again")
        shown = [{key: value for key, value in row.items() if key not in {"step", "timestamp"}} for row in rows]
        self._log(shown, [row["step"] for row in rows], [_as_text(row["timestamp"]) for row in rows])

    def _log(self, shown: list[dict[str, Any]], steps: list[int], times: list[str] | None = None) -> None:
        if not shown:
            return
        SQLiteStorage.bulk_log(**self._run, metrics_list=shown, steps=steps, timestamps=times, config=self._config)
        self._config = None  # it stands there now


def _markdown(named: dict[str, str]) -> dict[str, Any]:
    return {name: Markdown(markdown_block(text))._to_dict() for name, text in named.items()}


def _as_text(time: str | datetime) -> str:
    return time if isinstance(time, str) else time.isoformat()
