"""Pictures and pages from run folders and plain numbers alone.

    history    what a run folder holds: the journal in bins, samples, plan, evaluation, recipe, environment
    summary    the few numbers of a run that a reader compares first
    page       the page of one run
    compare    the page of several
    rendering  templates/*.html.j2 as HTML, every value escaped
    pictures   what is drawn
    files      what is written into the folder

Names are resolved when they are first used: who only wants `revlm.text` does not load matplotlib.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revlm.imports import inside

if TYPE_CHECKING:
    from revlm.report.files import Comparison, RunReport, write_comparison, write_report, write_sweep
    from revlm.report.history import History, read_history
    from revlm.report.pictures.plan import Curve
    from revlm.report.summary import Summary, summarize

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
    "pictures.plan": ("Curve",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            with inside(Path(__file__).parent):  # matplotlib obeys a matplotlibrc where it is imported
                return getattr(import_module(f"revlm.report.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
