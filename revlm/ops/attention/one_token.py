"""Decodes one token of an attention layer in one compiled call, which caches it and attends to the cached tokens.

Otherwise a token takes a few dozen PyTorch operations, whose call overhead exceeds their work. The calls compute the
same as the `step` of each layer's cache without them. A sample's result has the same bits alone and in a batch, for any
number of threads.
"""

import ctypes

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops import backends
from revlm.ops.attention.arguments import checks_its_arguments, require_axes, require_shape, require_tensor
from revlm.ops.compiled import library
from revlm.ops.compiled.structures import HashToken, LocalToken
from revlm.ops.hashing import HashOfFew, directions_of
from revlm.ops.hashing.compiled import factors_of_rounds
from revlm.ops.normalization import UNIT_EPSILON

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float64: "float64"}
# Fewer samples finish before a second thread has started.
_SAMPLES_OF_A_THREAD = 4


def can_be_compiled(kept: Tensor) -> bool:
    """Returns whether the calls support the tensor of a layer's cached keys and values."""
    return kept.dtype in _NAMES and backends.chosen(kept.device) == "compiled"


@checks_its_arguments
def hash_layer_token(
    projected: Float[Tensor, "samples two_d_model"],
    latest_bucket: Int[Tensor, "heads samples rounds"] | None,
    *,
    hash_few: HashOfFew,
    records: Float[Tensor, "slots heads two head_dim"],
    first_slot: int,
    rings: Int[Tensor, "rings window"],
    ring_of: Int[Tensor, "rows"],
    made: int,
    scale: Float[Tensor, "heads"],
    sink: Float[Tensor, "heads"],
    pair_rounds: int = 0,
    latest_hash: Int[Tensor, "heads samples rounds"] | None = None,
    latest_key: Float[Tensor, "heads samples head_dim"] | None = None,
    predecessor_weight: Float[Tensor, "heads"] | None = None,
) -> tuple[Float[Tensor, "heads samples head_dim"], Int[Tensor, "heads samples rounds"], int]:
    """Returns the attention's output for each sample's next token, the token's buckets, and the rings made so far.

    `projected` holds its keys, not normalized, and values; its records are written to the slots from `first_slot` on.
    First the previous token, in the slots just before and with `latest_bucket` (None: there is none), is pushed into
    its rings; then the token attends to the rings of its own buckets. `ring_of` has the ring of each bucket, by sample,
    head, round and bucket: 0, the ring that stays empty, until its first token. Of `rings`, `made` are in use, and the
    others are for buckets that have none yet.

    The last `pair_rounds` rounds are those of `revlm.ops.hashing.pair_hashes`; the token's own hash replaces that of
    the previous token in `latest_hash`, which is zero where there is none. With a `predecessor_weight` the record's key
    is that of `revlm.ops.predecessor_keys`, and the token's own replaces that of the previous token in `latest_key`,
    which is zero where there is none.

    Raises:
        UsageError: an argument's shape or dtype does not fit; the message names it.
    """
    _require_kept("records", records, "slots heads two head_dim")
    samples, (slots, heads, _, head_dim) = _samples_of(projected, records, parts=2), records.shape
    rounds, buckets = len(hash_few.n_buckets), sum(hash_few.n_buckets)
    require_tensor("rings", rings, (torch.int32,))
    require_axes("rings", rings, "rings window")
    _require_contiguous("rings", rings)
    require_tensor("ring_of", ring_of, (torch.int32,))
    require_shape("ring_of", ring_of, (samples * heads * buckets,), "a ring for each bucket")
    _require_contiguous("ring_of", ring_of)
    most_made = len(rings) - (samples * heads * rounds if latest_bucket is not None else 0)
    if not 1 <= made <= most_made:
        raise UsageError(
            f"made is {made}: give 1 to {most_made}, so that each bucket may make one of the {len(rings)} rings"
        )
    directions = directions_of(hash_few.n_buckets)
    require_shape("the rotations", hash_few.directions, (heads, head_dim, directions), "one model's")
    if latest_bucket is not None:
        require_tensor("latest_bucket", latest_bucket, (torch.int64,))
        require_shape("latest_bucket", latest_bucket, (heads, samples, rounds), "[heads, samples, rounds]")
    if not 0 <= pair_rounds <= rounds:
        raise UsageError(f"pair_rounds is {pair_rounds}: give 0 to {rounds}, the number of rounds")
    if pair_rounds:
        if latest_hash is None:
            raise UsageError("latest_hash is missing: give the previous token's hashes, or zeros")
        require_tensor("latest_hash", latest_hash, (torch.int64,))
        require_shape("latest_hash", latest_hash, (heads, samples, rounds), "[heads, samples, rounds]")
        _require_contiguous("latest_hash", latest_hash)
    first_of_all = samples if latest_bucket is not None else 0
    if not first_of_all <= first_slot <= slots - samples:
        raise UsageError(f"first_slot is {first_slot}: give {first_of_all} to {slots - samples}, the slots of records")
    require_shape("scale", scale, (heads,), "[heads]")
    require_shape("sink", sink, (heads,), "[heads]")
    projected, sums = projected.contiguous(), _sums(records)
    scale, sink = scale.to(sums), sink.to(sums)
    if predecessor_weight is not None:
        require_shape("predecessor_weight", predecessor_weight, (heads,), "[heads]")
        predecessor_weight = predecessor_weight.to(sums)
        if latest_key is None:
            raise UsageError("latest_key is missing: give the previous token's key, or zeros")
        require_tensor("latest_key", latest_key, (records.dtype,))
        require_shape("latest_key", latest_key, (heads, samples, head_dim), "[heads, samples, head_dim]")
        _require_contiguous("latest_key", latest_key)
    latest_bucket = None if latest_bucket is None else latest_bucket.contiguous()
    out = torch.empty(heads, samples, head_dim, dtype=records.dtype)
    bucket = torch.empty(heads, samples, rounds, dtype=torch.int64)
    factors, rings_made = factors_of_rounds(hash_few.n_buckets), ctypes.c_int64(made)
    token = HashToken(
        samples=samples,
        heads=heads,
        head_dim=head_dim,
        rounds=rounds,
        pair_rounds=pair_rounds,
        window=rings.shape[1],
        directions_of_all=directions,
        buckets_of_all=buckets,
        slot=first_slot,
        threads=_threads(samples),
        factors=factors.data_ptr(),
        projected=projected.data_ptr(),
        epsilon=UNIT_EPSILON,
        latest_key=None if predecessor_weight is None or latest_key is None else latest_key.data_ptr(),
        predecessor_weight=None if predecessor_weight is None else predecessor_weight.data_ptr(),
        records=records.data_ptr(),
        rings=rings.data_ptr(),
        ring_of=ring_of.data_ptr(),
        made=ctypes.addressof(rings_made),
        directions=hash_few.directions.data_ptr(),
        latest_bucket=None if latest_bucket is None else latest_bucket.data_ptr(),
        latest_hash=None if latest_hash is None else latest_hash.data_ptr(),
        bucket=bucket.data_ptr(),
        scale=scale.data_ptr(),
        sink=sink.data_ptr(),
        out=out.data_ptr(),
    )
    library.call(f"hash_token_{_NAMES[records.dtype]}", token, "a token of a hash layer")
    return out, bucket, rings_made.value


@checks_its_arguments
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
    """Returns the attention's output for each sample's next token.

    `projected` holds its queries and keys, neither normalized nor rotated, and values; its record replaces that of the
    token that leaves the window in the ring.

    Raises:
        UsageError: an argument's shape or dtype does not fit; the message names it.
    """
    _require_kept("ring", ring, "heads samples window two head_dim")
    heads, samples, window, _, head_dim = ring.shape
    require_shape(
        "ring", ring, (heads, _samples_of(projected, ring, parts=3), window, 2, head_dim), "a ring per sample"
    )
    for name, turn in (("cosine", cosine), ("sine", sine)):
        require_shape(name, turn, (1, head_dim // 2), "[one, half_head_dim]")
    require_shape("scale", scale, (heads,), "[heads]")
    require_shape("sink", sink, (heads,), "[heads]")
    if position < 0 or window < 1:
        raise UsageError(f"position is {position} in a window of {window}: give 0 or more, in a window of 1 or more")
    projected, sums = projected.contiguous(), _sums(ring)
    cosine, sine, scale, sink = (each.to(sums) for each in (cosine, sine, scale, sink))
    out = torch.empty(heads, samples, head_dim, dtype=ring.dtype)
    token = LocalToken(
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


def _require_kept(name: str, kept: Tensor, axes: str) -> None:
    """Checks that a tensor can hold records of keys and values for the compiled calls.

    Raises:
        UsageError: it cannot; the message names it.
    """
    require_tensor(name, kept, tuple(_NAMES))
    require_axes(name, kept, axes)
    _require_contiguous(name, kept)
    if kept.shape[-2] != 2:
        raise UsageError(f"{name} has shape {list(kept.shape)}: give [{axes.replace(' ', ', ')}], a key and a value")


def _samples_of(projected: Tensor, kept: Tensor, *, parts: int) -> int:
    """Returns the number of samples in `projected`, which has `parts` projections each."""
    heads, head_dim = kept.shape[1 if parts == 2 else 0], kept.shape[-1]
    require_tensor("projected", projected, (kept.dtype,))
    require_axes("projected", projected, "samples projections")
    require_shape(
        "projected", projected, (projected.shape[0], parts * heads * head_dim), f"{parts} * d_model per sample"
    )
    return projected.shape[0]


def _require_contiguous(name: str, x: Tensor) -> None:
    if not x.is_contiguous():
        raise UsageError(f"{name} is not contiguous: give x.contiguous()")


def _sums(kept: Tensor) -> torch.dtype:
    return torch.promote_types(kept.dtype, torch.float32)


def _threads(samples: int) -> int:
    return min(torch.get_num_threads(), -(-samples // _SAMPLES_OF_A_THREAD))
