"""One token of an attention layer in one compiled call: it is kept, and meets what was kept before it.

A token costs a few dozen of PyTorch's operations otherwise, each of which takes longer to call than to do. What the
calls equal is the step of each cache in `revlm.model.decoding` without them. A sample's result is the same bits alone
and among others, and whatever the number of threads.
"""

import ctypes

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.hashing import HashOfFew
from revlm.ops.normalization import UNIT_EPSILON

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float64: "float64"}
# What a few samples need is done before a second thread has started.
_SAMPLES_OF_A_THREAD = 4


def can_be_compiled(kept: Tensor) -> bool:
    """Returns whether the calls can be used, by the tensor in which a layer keeps its keys and values."""
    return kept.device.type == "cpu" and kept.dtype in _NAMES and library.builds()


def hash_layer_token(
    projected: Float[Tensor, "samples two_d_model"],
    latest_bucket: Int[Tensor, "heads samples rounds"] | None,
    *,
    hash_few: HashOfFew,
    records: Float[Tensor, "slots heads two head_dim"],
    first_slot: int,
    rings: Int[Tensor, "rings window"],
    scale: Float[Tensor, "heads"],
    sink: Float[Tensor, "heads"],
) -> tuple[Float[Tensor, "heads samples head_dim"], Int[Tensor, "heads samples rounds"]]:
    """Returns the attention's output of the next token of each sample, and its buckets.

    `projected` are its keys, of any length, and its values; its record is written to the slots from `first_slot` on.
    Before it looks at the rings of its own buckets, the token before, whose slots and buckets are the latest ones,
    enters those of its (None: there is no token before).
    """
    samples, (_, heads, _, head_dim) = projected.shape[0], records.shape
    projected, sums = projected.contiguous(), _sums(records)
    scale, sink = scale.to(sums), sink.to(sums)
    latest_bucket = None if latest_bucket is None else latest_bucket.contiguous()
    out = torch.empty(heads, samples, head_dim, dtype=records.dtype)
    bucket = torch.empty(heads, samples, hash_few.rounds, dtype=torch.int64)
    n1, n2 = hash_few.factors
    token = _HashToken(
        samples=samples,
        heads=heads,
        head_dim=head_dim,
        rounds=hash_few.rounds,
        window=rings.shape[1],
        first=n1 // 2,
        second=n2 // 2,
        slot=first_slot,
        threads=_threads(samples),
        projected=projected.data_ptr(),
        epsilon=UNIT_EPSILON,
        records=records.data_ptr(),
        rings=rings.data_ptr(),
        directions=hash_few.directions.data_ptr(),
        latest_bucket=None if latest_bucket is None else latest_bucket.data_ptr(),
        bucket=bucket.data_ptr(),
        scale=scale.data_ptr(),
        sink=sink.data_ptr(),
        out=out.data_ptr(),
    )
    library.call(f"hash_token_{_NAMES[records.dtype]}", token, "a token of a hash layer")
    return out, bucket


def local_layer_token(
    projected: Float[Tensor, "samples three_d_model"],
    cosine: Float[Tensor, "one half_head_dim"],
    sine: Float[Tensor, "one half_head_dim"],
    *,
    ring: Float[Tensor, "heads samples window two head_dim"],
    position: int,
    scale: Float[Tensor, "heads"],
    sink: Float[Tensor, "heads"],
) -> Float[Tensor, "heads samples head_dim"]:
    """Returns the attention's output of the next token of each sample.

    `projected` are its queries and keys, of any length and not yet turned by its position, and its values; its record
    is written to the ring, over that of the token that leaves the window.
    """
    heads, samples, window, _, head_dim = ring.shape
    projected, sums = projected.contiguous(), _sums(ring)
    cosine, sine, scale, sink = (each.to(sums) for each in (cosine, sine, scale, sink))
    out = torch.empty(heads, samples, head_dim, dtype=ring.dtype)
    token = _LocalToken(
        samples=samples,
        heads=heads,
        head_dim=head_dim,
        window=window,
        place=position % window,
        held=min(position + 1, window),
        threads=_threads(samples),
        projected=projected.data_ptr(),
        epsilon=UNIT_EPSILON,
        cosine=cosine.data_ptr(),
        sine=sine.data_ptr(),
        ring=ring.data_ptr(),
        scale=scale.data_ptr(),
        sink=sink.data_ptr(),
        out=out.data_ptr(),
    )
    library.call(f"local_token_{_NAMES[ring.dtype]}", token, "a token of a local layer")
    return out


def _sums(kept: Tensor) -> torch.dtype:
    return torch.promote_types(kept.dtype, torch.float32)


def _threads(samples: int) -> int:
    return min(torch.get_num_threads(), -(-samples // _SAMPLES_OF_A_THREAD))


class _HashToken(ctypes.Structure):
    """The fields of `HashToken` in `one_token.hpp`, in the same order."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("samples", "heads", "head_dim", "rounds", "window")),
        *((name, ctypes.c_int64) for name in ("first", "second", "slot", "threads")),
        ("projected", ctypes.c_void_p),
        ("epsilon", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("records", "rings", "directions", "latest_bucket", "bucket")),
        *((name, ctypes.c_void_p) for name in ("scale", "sink", "out")),
    ]


class _LocalToken(ctypes.Structure):
    """The fields of `LocalToken` in `one_token.hpp`, in the same order."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("samples", "heads", "head_dim", "window", "place", "held", "threads")),
        ("projected", ctypes.c_void_p),
        ("epsilon", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("cosine", "sine", "ring", "scale", "sink", "out")),
    ]
