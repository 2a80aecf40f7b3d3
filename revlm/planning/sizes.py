"""The numbers of a recipe that decide how large its tensors are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from revlm.launch import ALONE, Launch
from revlm.model import resolve_model
from revlm.model.attention import ATTENTION_LAYERS
from revlm.model.feed_forward import FeedForward
from revlm.model.shape import tile_tokens
from revlm.ops import backends
from revlm.ops.attention import triton
from revlm.ops.hashing import bucket_factors
from revlm.ops.linear_cross_entropy import TILE as LOSS_TILE
from revlm.recipe import LayerKind, Recipe
from revlm.recipe import Model as ModelRecipe

FULL_BYTES = 4
"""An element of the weights, the streams and everything that is summed: float32 or int32."""


class Weights(NamedTuple):
    """Elements of the weights of one sublayer: all of them, and the matrices of its two token-wise stages."""

    total: int
    read_matrices: int
    write_matrices: int


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run: counts of tokens, elements and layers, and `product_bytes`, an element of a matrix product.

    `kinds` are the attention layers in their order; `tile` is the tokens of one tile; `directions` are those that a
    vector is compared with in one round of hashing; `examples_ahead` are prepared on the device beside those of a step;
    `device_kind` is "cpu" or "cuda". `processes` train together, of whose optimizer's state this one keeps a part of
    `optimizer_elements`.
    """

    tokens: int
    d_model: int
    d_ff: int
    n_heads: int
    n_rounds: int
    directions: int
    window: int
    block: int
    tile: int
    vocab_size: int
    kinds: tuple[LayerKind, ...]
    attention_weights: dict[LayerKind, Weights]
    feed_forward_weights: Weights
    other_weights: int
    muon: bool
    product_bytes: int
    micro_batches: int
    processes: int
    sharded: bool
    examples_ahead: int
    reversible: bool
    dropout: bool
    successor_values: bool
    device_kind: str

    @property
    def head_dim(self) -> int:
        """The width of a head."""
        return self.d_model // self.n_heads

    @property
    def compiled(self) -> bool:
        """Whether the operations are those compiled for the CPU."""
        return backends.planned(self.device_kind) == "compiled"

    @property
    def in_triton(self) -> bool:
        """Whether attention and hashing are Triton's kernels."""
        return backends.planned(self.device_kind) == "triton" and triton.takes_head_dim(self.head_dim)

    @property
    def parameters(self) -> int:
        """Elements of all weights."""
        of_layers = sum(self.attention_weights[kind].total + self.feed_forward_weights.total for kind in self.kinds)
        return of_layers + self.other_weights

    @property
    def optimizer_elements(self) -> int:
        """Elements of the state that this process keeps: AdamW has two for a weight, Muon one for those of a matrix."""
        matrices = sum(
            weights.read_matrices + weights.write_matrices
            for kind in self.kinds
            for weights in (self.attention_weights[kind], self.feed_forward_weights)
        )
        moments = 2 * self.parameters - (matrices if self.muon else 0)
        return -(-moments // self.processes) if self.sharded else moments

    @property
    def largest_matrix(self) -> int:
        """Elements of the largest matrix of a layer."""
        return self.d_model * max(self.d_ff, 3 * self.d_model)

    @property
    def rotations(self) -> int:
        """Elements of the random directions of all hash layers, for all heads and rounds."""
        return self.kinds.count("lsh") * self.n_rounds * self.d_model * self.directions

    @property
    def hidden_bytes(self) -> int:
        """A whole [tokens, d_model] in full precision."""
        return FULL_BYTES * self.tokens * self.d_model

    @property
    def product_hidden_bytes(self) -> int:
        """A whole [tokens, d_model] in the precision of the products."""
        return self.product_bytes * self.tokens * self.d_model

    @property
    def tile_tokens(self) -> int:
        """Tokens of the largest tile."""
        return min(self.tile, self.tokens)

    @property
    def loss_tile(self) -> int:
        """Tokens whose logits exist at one time."""
        return min(LOSS_TILE, self.tokens)

    @property
    def tiles(self) -> int:
        """How many tiles an example has."""
        return -(-self.tokens // self.tile)


def sizes_of(recipe: Recipe, vocab_size: int, device_kind: str, launch: Launch = ALONE) -> Sizes:
    """Returns the sizes of a run on "cpu" or "cuda" with a vocabulary, for an example of the full `data.seq_len`.

    They are those of one process; as one of several it has its share of a step's examples.
    """
    model = resolve_model(recipe.model, recipe.data.seq_len)
    assert isinstance(model.n_buckets, int)
    kinds = tuple(model.layers[layer % len(model.layers)] for layer in range(model.n_layers))
    heads = 1 if model.tie_embeddings else 2
    return Sizes(
        tokens=recipe.data.seq_len,
        d_model=model.d_model,
        d_ff=model.d_ff,
        n_heads=model.n_heads,
        n_rounds=model.n_rounds,
        directions=sum(factor // 2 for factor in bucket_factors(model.n_buckets)),
        window=model.window,
        block=model.attention_block,
        tile=tile_tokens(model, recipe.train.tile, device_kind),
        vocab_size=vocab_size,
        kinds=kinds,
        attention_weights={kind: _attention_weights(model, kind) for kind in set(kinds)},
        feed_forward_weights=_feed_forward_weights(model),
        other_weights=heads * vocab_size * model.d_model + model.d_model,
        muon=recipe.optimizer.name == "muon",
        product_bytes=2 if recipe.train.precision == "bf16" else FULL_BYTES,
        micro_batches=-(-recipe.train.gradient_accumulation_steps // launch.count),
        processes=launch.count,
        sharded=recipe.optimizer.sharded,
        examples_ahead=recipe.data.workers if device_kind == "cpu" else 0,
        reversible=model.reversible,
        dropout=model.dropout > 0,
        successor_values=model.successor_values,
        device_kind=device_kind,
    )


def _attention_weights(model: ModelRecipe, kind: LayerKind) -> Weights:
    with torch.device("meta"):  # the layer itself, with shapes and without memory
        sublayer = ATTENTION_LAYERS[kind](model, 0)
    assert sublayer.read is not None
    return Weights(
        _elements(sublayer.parameters()),
        _elements(_matrices(sublayer.read)),
        _elements(_matrices(sublayer.write)),
    )


def _feed_forward_weights(model: ModelRecipe) -> Weights:
    with torch.device("meta"):
        write = FeedForward(model.d_model, model.d_ff, model.dropout)
    return Weights(_elements(write.parameters()), 0, _elements(_matrices(write)))


def _matrices(module: nn.Module) -> Iterable[nn.Parameter]:
    return (parameter for parameter in module.parameters() if parameter.dim() == 2)


def _elements(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
