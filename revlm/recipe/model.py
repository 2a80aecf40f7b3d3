"""The section `model`."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from revlm.recipe.section import Section, Share

LayerKind = Literal["local", "lsh", "full"]
MAX_ROUNDS = 64
NUMBERS_OF_BUCKETS = tuple(2**power for power in range(2, 19))


def _buckets(value: object) -> object:
    numbers = value if isinstance(value, list | tuple) else [value]
    if value != "auto" and not all(type(number) is int and number in NUMBERS_OF_BUCKETS for number in numbers):
        raise ValueError(
            f"should be auto, a power of two from {NUMBERS_OF_BUCKETS[0]} to {NUMBERS_OF_BUCKETS[-1]}, or a list of "
            "them, one for each round"
        )
    return tuple(numbers) if numbers is value else value


class Model(Section):
    """The shape of the network."""

    d_model: Annotated[int, Field(ge=2, le=65536)] = 512
    """width of the hidden states; a multiple of n_heads"""
    n_layers: Annotated[int, Field(ge=1, le=1024)] = 12
    """pairs of one attention and one feed-forward layer"""
    n_heads: Annotated[int, Field(ge=1, le=1024)] = 8
    """attention heads; d_model / n_heads should be even"""
    d_ff: Annotated[int, Field(ge=1, le=2**20)] = 2048
    """inner width of the feed-forward layers"""
    layers: Annotated[tuple[LayerKind, ...], Field(min_length=1, strict=False)] = ("local", "lsh")
    """kinds of attention, a pattern repeated up to n_layers: local (the most recent tokens), lsh (similar earlier
    tokens, found by hashing), full (every earlier token, for comparison)"""
    window: Annotated[int, Field(ge=1, le=2**24)] = 64
    """the most recent tokens that a token attends to: of its bucket (lsh) or of its document (local)"""
    n_rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] = 4
    """independent hashes of an lsh layer; a token attends to the union of their windows"""
    n_buckets: Annotated[int | tuple[int, ...] | Literal["auto"], BeforeValidator(_buckets)] = "auto"
    """buckets of one hash: a power of two from 4 to 262144, a list of them (one for each round), or auto (from 16
    for the first round to seq_len / 8 for the last)"""
    pair_rounds: Annotated[int, Field(ge=0, le=MAX_ROUNDS)] = 0
    """so many of the last rounds of an lsh layer hash pairs: a token and the one before it"""
    successor_values: bool = True
    """lsh and full layers also read the successor of each token that they attend to; false: its own value alone"""
    predecessor_keys: bool = True
    """lsh and full layers find a token by its key and the key of the token before it; false: by its own key alone"""
    reversible: bool = True
    """recompute activations in the backward pass instead of storing them"""
    stream_fraction_bits: Annotated[int, Field(ge=8, le=26)] = 20
    """fraction bits of the fixed-point residual streams"""
    tie_embeddings: bool = True
    """share the weights of the embedding and the output head"""
    dropout: Share = 0.0
    """dropout rate of what each layer adds to its stream"""
    attention_block: Annotated[int, Field(ge=1, le=16384)] = 64
    """queries per attention block: affects memory and speed, not the result"""

    @model_validator(mode="after")
    def _heads_split_the_width(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} should be a multiple of n_heads {self.n_heads}")
        if self.d_model // self.n_heads % 2:
            raise ValueError(f"d_model {self.d_model} / n_heads {self.n_heads} should be even (rotary positions)")
        return self

    @model_validator(mode="after")
    def _a_number_of_buckets_for_each_round(self) -> Self:
        if isinstance(self.n_buckets, tuple) and len(self.n_buckets) != self.n_rounds:
            given, rounds = len(self.n_buckets), self.n_rounds
            raise ValueError(f"n_buckets has {given} numbers for {rounds} rounds: give one for each of the n_rounds")
        return self

    @model_validator(mode="after")
    def _pairs_in_some_of_the_rounds(self) -> Self:
        if self.pair_rounds > self.n_rounds:
            raise ValueError(f"pair_rounds {self.pair_rounds} should be at most n_rounds {self.n_rounds}")
        return self
