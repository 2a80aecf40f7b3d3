"""Measures how well a model predicts text that it was not trained on, and what each part of it contributes.

    held_out     the score of an example, as validation during training computes it
    documents    the score of a document, and losses by the position in it
    run          scores a run on its held-out documents, and runs the probes
    probes       one file a probe, all in the table `PROBES`: its option, measurement, tables and charts
    views        tables and charts as plain data, which `cli` prints and `report` draws; torch is not needed for these

Names are resolved when they are first used, so that the table of probes can be imported without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revlm.evaluation.documents import PositionLosses, score_document
    from revlm.evaluation.held_out import Score, score_example, token_losses
    from revlm.evaluation.probes import PROBES, ProbeOptions
    from revlm.evaluation.run import evaluate_run

__all__ = [
    "PROBES",
    "PositionLosses",
    "ProbeOptions",
    "Score",
    "evaluate_run",
    "score_document",
    "score_example",
    "token_losses",
]

_MODULES = {
    "documents": ("PositionLosses", "score_document"),
    "held_out": ("Score", "score_example", "token_losses"),
    "probes": ("PROBES", "ProbeOptions"),
    "run": ("evaluate_run",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"revlm.evaluation.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
