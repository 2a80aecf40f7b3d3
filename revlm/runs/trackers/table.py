"""The trackers by their names in `logging.backends`. Each is imported only if a recipe names it."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from revlm.errors import UsageError
from revlm.runs.trackers.tracker import Tracker

TRACKIO_REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID")
WANDB_SETTINGS = (Path("wandb", "settings"), Path(".wandb", "settings"))


def require_trackers(backends: Iterable[str]) -> dict[str, type[Tracker]]:
    """The tracker classes among the recipe's `logging.backends`, by name.

    Raises:
        UsageError: a tracker is not installed, or a setting that the user may not know of would send records to another
            machine.
    """
    classes = {}
    for word in backends:
        if word in TRACKERS:
            try:
                classes[word] = TRACKERS[word]()
            except ImportError as error:
                raise UsageError(
                    f"logging.backends has {word}, which cannot be imported ({error}): "
                    f"`pip install 'revlm[{word}]'`, or leave it out"
                ) from error
    return classes


def _tensorboard() -> type[Tracker]:
    from revlm.runs.trackers.tensorboard import TensorBoard

    return TensorBoard


def _trackio() -> type[Tracker]:
    for name in TRACKIO_REMOTE:
        if os.environ.get(name):
            raise UsageError(
                f"logging.backends has trackio, and {name} would send its records to another machine: "
                f"unset {name}, or leave trackio out"
            )
    from revlm.runs.trackers.trackio import Trackio

    return Trackio


def _wandb() -> type[Tracker]:
    for path in WANDB_SETTINGS:
        if path.exists():
            raise UsageError(
                f"logging.backends has wandb, which would take its settings, such as the server, from {path} in the "
                "current folder: remove the file, start in another folder, or leave wandb out"
            )
    from revlm.runs.trackers.wandb import Wandb

    return Wandb


TRACKERS: dict[str, Callable[[], type[Tracker]]] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}
