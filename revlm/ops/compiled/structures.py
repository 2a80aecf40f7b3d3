"""The structures of calls from Python to C++, and the constants that both use.

Each structure has the fields of its C++ counterpart, in the same order. `library.load` compares their sizes with those
in the built library.
"""

import ctypes

from torch import Tensor

CONSTANTS = {"tile_rows": 8, "segment": 2048, "field_bytes": 64, "place_bytes": 8}
"""Constants of the C++ code that Python also uses, passed to the compiler as macros (`REVLM_TILE_ROWS` and so on).

`tile_rows`: matrices in tiled products are padded to a multiple of this many rows. `segment`: the least number of
places of the sorted order in one task of attention. `field_bytes`: a record's field is padded to a multiple of it.
`place_bytes`: the size of a token's place in the order of one round.
"""


def _numbers(*names: str) -> list[tuple[str, type]]:
    return [(name, ctypes.c_int64) for name in names]


def _addresses(*names: str) -> list[tuple[str, type]]:
    return [(name, ctypes.c_void_p) for name in names]


class StridedTensor(ctypes.Structure):
    """`Tensor` in problem.hpp: the address of a tensor with three dimensions, and its strides in elements."""

    _fields_ = [("data", ctypes.c_void_p), ("strides", 3 * ctypes.c_int64)]

    @classmethod
    def of(cls, tensor: Tensor) -> "StridedTensor":
        """Returns the structure for a tensor, which must outlive it."""
        return cls(tensor.data_ptr(), tensor.stride())


def _tensors(*names: str) -> list[tuple[str, type]]:
    return [(name, StridedTensor) for name in names]


class Problem(ctypes.Structure):
    """Attention, in problem.hpp."""

    _fields_ = [
        *_numbers("rows", "queries", "tokens", "rounds", "head_dim", "window", "block", "include_self", "threads"),
        *_tensors("q", "k", "v", "bucket"),
        *_addresses("scale", "sink"),
        *_tensors("out"),
        *_addresses("log_sum_exp"),
        *_tensors("d_out", "d_q", "d_k", "d_v"),
        *_addresses("d_scale", "d_sink", "delta"),
    ]


class Hash(ctypes.Structure):
    """Hashing, in hashing.hpp."""

    _fields_ = [
        *_numbers("rows", "tokens", "head_dim", "rounds", "directions_of_all", "threads"),
        *_addresses("factors"),
        *_tensors("x"),
        *_addresses("directions", "bucket"),
    ]


class Heads(ctypes.Structure):
    """The heads of projections, or their gradients, in heads.hpp."""

    _fields_ = [
        *_numbers("parts", "units", "tokens", "heads", "head_dim", "threads"),
        *_addresses("x", "y", "d_x", "cosine", "sine"),
        ("epsilon", ctypes.c_double),
    ]


class Normalization(ctypes.Structure):
    """A norm, in normalization.hpp."""

    _fields_ = [
        *_numbers("tokens", "groups", "width", "threads"),
        *_tensors("x", "y", "d_y", "d_x"),
        *_addresses("weight", "d_weight"),
        *((name, ctypes.c_double) for name in ("divisor", "epsilon", "step")),
        *_numbers("add"),
    ]


class CrossEntropy(ctypes.Structure):
    """The loss of some rows of logits, in cross_entropy.hpp."""

    _fields_ = [*_numbers("rows", "classes", "threads"), *_addresses("logits", "targets", "loss")]


class Addition(ctypes.Structure):
    """The addition of an increment to a stream, in fixed_point.hpp."""

    _fields_ = [
        *_numbers("elements", "threads"),
        *_addresses("stream", "increment", "largest_increment", "largest_stream"),
        ("factor", ctypes.c_double),
    ]


class Conversion(ctypes.Structure):
    """A stream as floating-point numbers, in fixed_point.hpp."""

    _fields_ = [*_numbers("elements", "threads"), *_addresses("stream", "out"), ("step", ctypes.c_double)]


class SquaredReLU(ctypes.Structure):
    """The squared ReLU, or its gradient, in squared_relu.hpp."""

    _fields_ = [*_numbers("elements", "threads"), *_addresses("x", "d_out", "out")]


class OutputGradient(ctypes.Structure):
    """The gradient of attention's output, written over it, in output_gradient.hpp."""

    _fields_ = [*_numbers("rows", "tokens", "head_dim", "threads"), *_tensors("out", "d_out", "delta")]


class PredecessorKeys(ctypes.Structure):
    """Keys of tokens and their predecessors, or their gradients, in predecessor_keys.hpp."""

    _fields_ = [
        *_numbers("rows", "tokens", "head_dim", "documents", "threads"),
        *_tensors("k", "out", "d_k"),
        *_addresses("starts", "weight", "d_weight"),
        ("epsilon", ctypes.c_double),
    ]


class HashToken(ctypes.Structure):
    """One token of a hash layer, in one_token.hpp."""

    _fields_ = [
        *_numbers("samples", "heads", "head_dim", "rounds", "pair_rounds", "window"),
        *_numbers("directions_of_all", "buckets_of_all"),
        *_numbers("slot", "threads"),
        *_addresses("factors", "projected"),
        ("epsilon", ctypes.c_double),
        *_addresses("latest_key", "predecessor_weight"),
        *_addresses("records", "rings", "ring_of", "made", "directions", "latest_bucket", "latest_hash", "bucket"),
        *_addresses("scale", "sink", "out"),
    ]


class LocalToken(ctypes.Structure):
    """One token of a local layer, in one_token.hpp."""

    _fields_ = [
        *_numbers("samples", "heads", "head_dim", "window", "place", "held", "threads"),
        *_addresses("projected"),
        ("epsilon", ctypes.c_double),
        *_addresses("cosine", "sine", "ring", "scale", "sink", "out"),
    ]


SIZES = {
    "Tensor": ctypes.sizeof(StridedTensor),
    **{
        structure.__name__: ctypes.sizeof(structure)
        for structure in (
            *(Problem, Hash, Heads, Normalization, CrossEntropy, Addition, Conversion, SquaredReLU),
            *(OutputGradient, PredecessorKeys, HashToken, LocalToken),
        )
    },
}
"""The size of each structure in bytes, by its name in C++."""
