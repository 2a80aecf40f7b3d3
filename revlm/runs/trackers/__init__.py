"""Trackers: places outside the run folder's own files that show the records of metrics.jsonl, such as TensorBoard.

The journal is the truth and a tracker its picture. A tracker takes the very records of the journal, in their order, so
what it holds is always their beginning: a run that goes on takes back what is beyond its checkpoint and writes again
what is missing, whether it was killed, a tracker had failed, or the recipe names it only now.
"""

from revlm.runs.trackers.open_trackers import Trackers
from revlm.runs.trackers.table import require_trackers
from revlm.runs.trackers.tracker import Shown, Tracker

__all__ = ["Shown", "Tracker", "Trackers", "require_trackers"]
