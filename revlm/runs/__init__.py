"""Run folders: checkpoints, the journal, trackers, the memory meter. Torch is imported only where it is used."""

from revlm.records import read_rows as read_journal
from revlm.records.files import step_of
from revlm.runs.checkpoint import Checkpoint, finish_save, load_checkpoint, require_room, save_checkpoint
from revlm.runs.environment import describe_environment
from revlm.runs.exported import ExportedModel, is_exported, load_exported
from revlm.runs.folder import RunFolder, newest_run
from revlm.runs.inventory import (
    checkpoint_path,
    export_weights,
    is_kept_forever,
    list_checkpoints,
    newest_checkpoint,
    prune_checkpoints,
    prune_to_intact,
    verify_checkpoint,
)
from revlm.runs.journal import Journal
from revlm.runs.machine import MemoryLimit, choose_device, memory_limit, memory_limit_bytes
from revlm.runs.memory import MemoryMeter
from revlm.runs.snapshot import memory_snapshot_on_failure
from revlm.runs.start import Start, read_start
from revlm.runs.trackers import Trackers, require_trackers
from revlm.runs.trained_settings import load_run_recipe, require_matching_checkpoint, trained_settings

__all__ = [
    "Checkpoint",
    "ExportedModel",
    "Journal",
    "MemoryLimit",
    "MemoryMeter",
    "RunFolder",
    "Start",
    "Trackers",
    "checkpoint_path",
    "choose_device",
    "describe_environment",
    "export_weights",
    "finish_save",
    "is_exported",
    "is_kept_forever",
    "list_checkpoints",
    "load_checkpoint",
    "load_exported",
    "load_run_recipe",
    "memory_limit",
    "memory_limit_bytes",
    "memory_snapshot_on_failure",
    "newest_checkpoint",
    "newest_run",
    "prune_checkpoints",
    "prune_to_intact",
    "read_journal",
    "read_start",
    "require_matching_checkpoint",
    "require_room",
    "require_trackers",
    "save_checkpoint",
    "step_of",
    "trained_settings",
    "verify_checkpoint",
]
