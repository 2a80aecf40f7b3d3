"""Pictures and pages from run folders and plain numbers alone.

Names are resolved when they are first used: who only wants `revlm.report.units` does not load matplotlib.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revlm.imports import inside

if TYPE_CHECKING:
    from revlm.report.files import Comparison, RunReport, write_comparison, write_report, write_sweep
    from revlm.report.history import History, read_history
    from revlm.report.summary import Summary, summarize
    from revlm.report.sweep import Curve

__all__ = [
    "Comparison",
    "Curve",
    "History",
    "RunReport",
    "Summary",
    "read_history",
    "summarize",
    "write_comparison",
    "write_report",
    "write_sweep",
]

_MODULES = {
    "files": ("Comparison", "RunReport", "write_comparison", "write_report", "write_sweep"),
    "history": ("History", "read_history"),
    "summary": ("Summary", "summarize"),
    "sweep": ("Curve",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            with inside(Path(__file__).parent):  # matplotlib obeys a matplotlibrc where it is imported
                return getattr(import_module(f"revlm.report.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
