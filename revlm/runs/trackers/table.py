"""The trackers by their words in `logging.backends`. Each is imported when a recipe names it."""

import os
from collections.abc import Callable, Iterable

from revlm.errors import UsageError
from revlm.runs.trackers.tracker import Tracker

TRACKIO_ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID")


def require_trackers(backends: Iterable[str]) -> dict[str, type[Tracker]]:
    """The classes of the trackers among the recipe's `logging.backends`, by their words.

    Raises:
        UsageError: one is not installed, or is set up to send what it is given to another machine.
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
    for name in TRACKIO_ELSEWHERE:
        if os.environ.get(name):
            raise UsageError(
                f"logging.backends has trackio, which {name} sends to another machine: revlm keeps it on this one, "
                f"unset {name} or leave trackio out"
            )
    from revlm.runs.trackers.trackio import Trackio

    return Trackio


TRACKERS: dict[str, Callable[[], type[Tracker]]] = {"tensorboard": _tensorboard, "trackio": _trackio}
