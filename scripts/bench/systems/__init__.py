"""The systems by name: revlm, its peers, and exact attention; each has its own module."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from torch import Tensor, nn

from bench.shape import Shape

Loss = Callable[[Tensor, Tensor], Tensor]
"""Returns the mean cross-entropy of one example from its inputs and targets [tokens]."""


class System(NamedTuple):
    """How a system is built: `module` has `build(shape, **options)`; `requires` is the required package.

    `caches_casts` says whether autocast caches cast weights: PyTorch's default, which revlm disables. `on_cpu` is false
    for what needs a GPU to be fast.
    """

    label: str
    module: str
    requires: str
    options: dict[str, Any]
    caches_casts: bool = True
    on_cpu: bool = True

    def load(self) -> Callable[[Shape], tuple[nn.Module, Loss]]:
        """Imports the system's module; returns the function that builds it."""
        build = import_module(f"bench.systems.{self.module}").build
        return lambda shape: build(shape, **self.options)

    @property
    def is_installed(self) -> bool:
        """Whether the required package can be imported."""
        return find_spec(self.requires) is not None


_REVERSIBLE, _STORED = {"reversible": True}, {"reversible": False}
SYSTEMS = {
    "revlm": System("revlm", "reversible", "revlm", _REVERSIBLE, caches_casts=False),
    "revlm-stored": System("revlm, activations stored", "reversible", "revlm", _STORED, caches_casts=False),
    "transformers": System("Reformer of transformers", "transformers_reformer", "transformers", {}),
    "reformer-pytorch": System("reformer-pytorch", "reformer_pytorch_lm", "reformer_pytorch", {}),
    "mblm": System("mblm", "mblm_lm", "mblm", {}),
    "exact": System("exact attention, checkpointed", "exact", "torch", {}),
    "flex": System("flex_attention, checkpointed", "exact", "torch", {"document_mask": True}, on_cpu=False),
}
