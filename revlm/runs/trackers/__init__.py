"""Trackers, such as TensorBoard: they display the records of metrics.jsonl.

The journal is the source of truth. A tracker receives the journal's records in their order, so it always holds a prefix
of them. A resumed run removes the records after its checkpoint from the tracker and writes those that are missing,
whether the run was killed, the tracker had failed, or the recipe names it for the first time.
"""

from revlm.runs.trackers.open_trackers import Trackers
from revlm.runs.trackers.table import require_trackers
from revlm.runs.trackers.tracker import Shown, Tracker

__all__ = ["Shown", "Tracker", "Trackers", "require_trackers"]
