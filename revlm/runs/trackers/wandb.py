"""Weights & Biases: a file in the run folder that `wandb sync` uploads, or its server with `WANDB_MODE=online`.

Wandb cannot remove steps, and a kill may take the end of its file. So each start of a run writes the whole run again
from the journal, under the same id: on the server it replaces the earlier data, and in the run folder the earlier file.
"""

import os
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else wandb reports its own errors; read by the import

import wandb
from pydantic import BaseModel, ConfigDict, Field

from revlm.recipe import Recipe
from revlm.runs.folder import RunFolder
from revlm.runs.trackers.tracker import Shown
from revlm.runs.trackers.values import numbers, texts
from revlm.storage import Folder, json_bytes, replace_file

PROJECT = "revlm"
_WAIT_SECONDS = 60.0  # for the server, when a run starts and when it ends


class _Written(BaseModel):
    """What wandb.json holds: the id of the run."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{32}$")


class Wandb:
    """Writes the records of a run to wandb's project `revlm` (or `WANDB_PROJECT`), under the name of the run folder."""

    held_step = 0

    def __init__(self, folder: RunFolder, recipe: Recipe, step: int) -> None:
        with Folder(folder.path) as opened, opened.inside(folder.wandb.name, create=True) as place:
            run_id = uuid.uuid4().hex
            if opened.kind(folder.wandb_run.name) is not None:
                run_id = _Written.model_validate_json(opened.read(folder.wandb_run.name)).id
            self._folder, self._earlier = folder.wandb, _folders_of(run_id, place)
            settings = _settings(folder.path)
            wandb.setup(settings)  # our settings first: else it reads those of the current folder
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=folder.path.resolve().name,
                id=run_id,
                config=recipe.model_dump(mode="json"),
                settings=settings,
            )
            replace_file(folder.wandb_run, json_bytes(_Written(id=run_id).model_dump()))
        self._remove_earlier()

    def write(self, records: Sequence[Shown]) -> None:
        for record in records:
            self._run.log({**numbers(record), **texts(record)}, step=record.step)

    def close(self) -> None:
        self._run.finish()
        self._remove_earlier()

    def _remove_earlier(self) -> None:
        """Removes the earlier files of this run.

        The wandb service of a killed process may still be writing and create its folder again, so this runs again at
        the end.
        """
        with Folder(self._folder, through_links=False) as place:
            for name in self._earlier:
                if place.kind(name) is not None:
                    place.remove(name)


def _folders_of(run_id: str, place: Folder) -> list[str]:
    return [name for name in place.names() if re.fullmatch(rf"(offline-)?run-[0-9_]+-{run_id}(-[0-9]+)?", name)]


def _settings(root: Path) -> wandb.Settings:
    """Returns settings with which wandb logs only the records, and nothing else of the process or the machine."""
    mode: Any = os.environ.get("WANDB_MODE", "offline")  # wandb itself refuses an invalid mode
    return wandb.Settings(
        root_dir=str(root.absolute()),
        mode=mode,
        reinit="create_new",
        console="off",
        silent=True,  # nor does it ask for a key
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
        init_timeout=_WAIT_SECONDS,
        finish_timeout=_WAIT_SECONDS,
    )
