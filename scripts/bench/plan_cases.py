"""The recipes whose planned memory `check_plan.py` compares with a measured step.

They differ in what determines memory: length, depth, width, vocabulary, precision, kind of attention, activations
rebuilt or stored. All fit in 5 GB and take less than a minute on two cores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from revlm.recipe import Recipe


@dataclass(frozen=True)
class Case:
    """A recipe, given by its changes to a common one; the name says what it covers."""

    name: str
    tokens: int
    layers: int
    d_model: int
    vocab_size: int
    precision: str
    reversible: bool = True
    model: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe on a CPU; heads are 32 wide, the feed-forward layers four times the model."""
        shape = {
            "d_model": self.d_model,
            "n_layers": self.layers,
            "n_heads": max(1, self.d_model // 32),
            "d_ff": 4 * self.d_model,
            "window": 32,
            "n_rounds": 2,
            "reversible": self.reversible,
        }
        return Recipe.model_validate(
            {
                "output_dir": "unused",
                "model": shape | dict(self.model),
                "data": {"path": "unused", "seq_len": self.tokens},
                "train": {"precision": self.precision, "device": "cpu"} | dict(self.train),
            }
        )


CASES = (
    Case("deep", 8192, 48, 96, 2048, "bf16"),
    Case("deep-stored", 8192, 48, 64, 2048, "bf16", reversible=False),
    Case("deep-fp32", 16384, 24, 64, 1024, "fp32", model={"layers": ["local"]}),
    Case("wide", 8192, 2, 768, 8192, "fp32"),
    Case("wide-bf16", 8192, 4, 512, 16384, "bf16", train={"gradient_accumulation_steps": 2}),
    Case("wide-stored", 16384, 4, 256, 2048, "fp32", reversible=False),
    Case("vocabulary", 8192, 2, 128, 65536, "bf16"),
    Case("untied", 8192, 2, 256, 32768, "fp32", model={"tie_embeddings": False}),
    Case("hashed", 32768, 2, 256, 2048, "bf16", model={"layers": ["lsh"], "window": 64, "n_rounds": 4}),
    Case("dropout-stored", 32768, 4, 96, 4096, "bf16", reversible=False, model={"dropout": 0.1}),
    Case("demo", 65536, 2, 128, 2048, "fp32"),
    Case("64k-stored", 65536, 3, 64, 257, "fp32", reversible=False),
    Case("128k", 131072, 3, 64, 512, "bf16"),
    Case("128k-stored", 131072, 2, 64, 512, "bf16", reversible=False),
    Case("256k", 262144, 2, 64, 257, "fp32"),
    Case("256k-bf16", 262144, 2, 32, 2048, "bf16"),
)
