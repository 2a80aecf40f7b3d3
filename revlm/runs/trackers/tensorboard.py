"""TensorBoard: event files in the run folder, a new one for each start of the run.

They are numbered, not dated, so that TensorBoard reads them in order even if a clock was set back. A record is one
event, appended atomically before training continues. The first event of a later file tells TensorBoard from which step
on to discard the events of earlier files.
"""

import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from revlm.recipe import Recipe
from revlm.runs.folder import RunFolder
from revlm.runs.trackers.tracker import Shown, last_whole_step
from revlm.runs.trackers.values import markdown_block, numbers, texts
from revlm.storage import Folder, append_whole

_HEADER_BYTES = 12  # length and its checksum
_FOOTER_BYTES = 4  # checksum of the data


class TensorBoard:
    """Writes the records of a run to RUN/tensorboard; `tensorboard --logdir runs` shows all runs."""

    def __init__(self, folder: RunFolder, recipe: Recipe, step: int) -> None:
        place = folder.tensorboard
        with Folder(folder.path) as opened, opened.inside(place.name, create=True):
            pass  # refuses a symbolic link, which could lead out of the run folder
        earlier = _event_files(place)
        self.held_step = last_whole_step(_last_step(earlier), step)
        number = 1 + max((int(path.name.rpartition(".")[2]) for path in earlier), default=0)
        self._file = (place / f"events.out.tfevents.{number:06d}").open("xb", buffering=0)
        self._writer = RecordWriter(_WholeAppends(self._file.fileno()))
        self._write(Event(file_version="brain.Event:2"))
        # In every file: TensorBoard takes the first such event as the start, which discards nothing.
        first_discarded = self.held_step + 1 if self.held_step else 0
        self._write(Event(step=first_discarded, session_log=SessionLog(status=SessionLog.START)))
        if not self.held_step:
            self._write(Event(step=0, summary=text_pb("recipe", markdown_block(recipe.to_yaml()))))

    def write(self, records: Sequence[Shown]) -> None:
        for record in records:
            summary = Summary(
                value=[Summary.Value(tag=name, simple_value=number) for name, number in numbers(record).items()]
            )
            for name, text in texts(record).items():
                summary.MergeFrom(text_pb(name, markdown_block(text)))
            self._write(Event(step=record.step, summary=summary))

    def close(self) -> None:
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())


class _WholeAppends:
    """The file interface that TensorBoard's record writer needs."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, content: bytes) -> None:
        append_whole(self._descriptor, content)


def _event_files(place: Path) -> list[Path]:
    return sorted(place.glob("events.out.tfevents.*"))


def _last_step(files: Sequence[Path]) -> int:
    """The step of the last event that is not discarded; 0 if there is none."""
    last = 0
    for path in files:
        for event in _events(path):
            if event.HasField("session_log"):
                last = min(last, max(event.step - 1, 0))
            elif event.HasField("summary"):
                last = event.step
    return last


def _events(path: Path) -> Iterator[Event]:
    """Yields the events of a file, up to one that a power cut left incomplete."""
    with path.open("rb") as file:
        while len(header := file.read(_HEADER_BYTES)) == _HEADER_BYTES:
            [length] = struct.unpack_from("<Q", header)
            data = file.read(length)
            if len(file.read(_FOOTER_BYTES)) < _FOOTER_BYTES:
                return
            try:
                yield Event.FromString(data)
            except DecodeError:
                return
