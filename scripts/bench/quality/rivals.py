"""The rivals by name, each with the settings among which the best are searched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bench.quality.texts import Texts
from bench.quality.training import Learner

Settings = Mapping[str, Any]
"""`learning_rate`, and options of the learner."""


@dataclass(frozen=True)
class Rival:
    """A kind of model.

    Attributes:
        label: what tables call it.
        module: of `bench.quality`, which has a `Learner`.
        requires: the package that it needs.
        options: of the learner, always.
        searched: settings of which the best is searched; where there is one, nothing is.
    """

    label: str
    module: str
    requires: str
    options: Settings
    searched: Sequence[Settings]

    @property
    def is_installed(self) -> bool:
        """Whether the package that it needs can be imported."""
        return find_spec(self.requires) is not None

    def learner(self, texts: Texts, seed: int, settings: Settings) -> Learner:
        """Imports the module and returns a new model."""
        chosen = {key: value for key, value in settings.items() if key != "learning_rate"}
        learner: Learner = import_module(f"bench.quality.{self.module}").Learner(texts, seed, **self.options, **chosen)
        return learner


def _revlm(label: str, *changes: str) -> Rival:
    """The learning rate is that of the recipe, which docs/experiments.md found for local and hash layers."""
    return Rival(label, "bucketed", "revlm", {"changes": changes}, [{"learning_rate": 1.2e-2}])


def _plain(context: int, *batches_and_rates: tuple[int, float]) -> Rival:
    searched = [{"batch": batch, "learning_rate": rate} for batch, rate in batches_and_rates]
    return Rival(f"plain, {context:,} tokens", "plain", "torch", {"context": context}, searched)


RIVALS = {
    "lsh": _revlm("revlm, lsh"),
    "local": _revlm("revlm, local", "model.layers=[local]"),
    "full": _revlm("revlm, full", "model.layers=[local, local, full, local]"),
    "full-plain": _revlm(
        "revlm, full without successors", "model.layers=[local, local, full, local]", "model.successor_values=false"
    ),
    "plain-256": _plain(256, (8, 6e-3), (8, 1.2e-2), (8, 2.4e-2), (32, 1.2e-2)),
    "plain-1024": _plain(1024, (2, 6e-3), (2, 1.2e-2), (2, 2.4e-2), (8, 1.2e-2)),
    "mblm": Rival(
        "mblm, 8,192 bytes",
        "multiscale",
        "mblm",
        {"batch": 1, "widths": (192, 128), "layers": (3, 2), "places": (1024, 8)},
        [
            {"learning_rate": 3e-3, "optimizer": "adamw"},
            {"learning_rate": 6e-3, "optimizer": "muon"},
            {"learning_rate": 1.2e-2, "optimizer": "muon"},
            {"learning_rate": 2.4e-2, "optimizer": "muon"},
        ],
    ),
}
