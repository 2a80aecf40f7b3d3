"""Train a language model on whole long documents, on one device.

The public names are imported on first use: `import revlm` alone loads neither torch nor datasets. It imports nothing at
all, because under `python -m revlm` the working directory is on the search path until `revlm.__main__` runs.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from revlm.corpus import PackedCorpus, Tokenizer
    from revlm.generation import generate
    from revlm.model import RevLM
    from revlm.recipe import Recipe
    from revlm.training import train

__version__ = "0.1.0"

__all__ = ["PackedCorpus", "Recipe", "RevLM", "Tokenizer", "generate", "train"]

_MODULES = {
    "PackedCorpus": "revlm.corpus",
    "Recipe": "revlm.recipe",
    "RevLM": "revlm.model",
    "Tokenizer": "revlm.corpus",
    "generate": "revlm.generation",
    "train": "revlm.training",
}


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
