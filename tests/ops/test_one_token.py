"""A token of a sample is the same bits alone and among others, on one thread and on two."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops.attention.one_token import hash_layer_token, local_layer_token
from revlm.ops.compiled import library
from revlm.ops.hashing import HashOfFew, draw_rotations, pair_hashes

SAMPLES, HEADS, HEAD_DIM, WINDOW, SLOTS = 9, 3, 24, 20, 200
BUCKETS = (36, 16, 64)
ROUNDS = len(BUCKETS)

pytestmark = [
    pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler"),
    pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16]),
    pytest.mark.parametrize("threads", [1, 2]),
]


@pytest.fixture(autouse=True)
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    yield
    torch.set_num_threads(before)


def numbers(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).to(dtype)


def of_heads(dtype: torch.dtype) -> dict[str, Tensor]:
    sums = torch.promote_types(dtype, torch.float32)
    return {"scale": torch.full((HEADS,), 5.0, dtype=sums), "sink": torch.zeros(HEADS, dtype=sums)}


def rings_of(of_buckets: Tensor) -> dict[str, Any]:
    """A ring for each bucket, after the one that stays empty, and room for more."""
    none = torch.zeros(1, WINDOW, dtype=torch.int32)
    rings = torch.cat([none, of_buckets.flatten(0, -2), none.expand(SAMPLES * HEADS * ROUNDS, -1)])
    made = 1 + of_buckets[..., 0].numel()
    return {"rings": rings, "ring_of": torch.arange(1, made, dtype=torch.int32), "made": made}


def of_hash_layer(
    projected: Tensor, rings: Tensor, first_slot: int, latest_key: Tensor, latest_hash: Tensor
) -> tuple[Tensor, Tensor]:
    out, bucket, _ = hash_layer_token(
        projected,
        None,
        hash_few=HashOfFew(draw_rotations(0, None, 0, HEADS, HEAD_DIM, BUCKETS), BUCKETS),
        records=numbers(SLOTS, HEADS, 2, HEAD_DIM, dtype=projected.dtype),
        pair_rounds=2,
        latest_hash=latest_hash,
        latest_key=latest_key,
        predecessor_weight=torch.tensor([0.0, 0.5, 1.0]),
        first_slot=first_slot,
        **rings_of(rings),
        **of_heads(projected.dtype),
    )
    return out, bucket


def test_samples_of_a_hash_layer(dtype: torch.dtype) -> None:
    projected = numbers(SAMPLES, 2 * HEADS * HEAD_DIM, dtype=dtype)
    shape, first_slot = (SAMPLES, HEADS, sum(BUCKETS), WINDOW), SLOTS - SAMPLES
    slots = torch.randint(0, first_slot, shape, generator=torch.Generator().manual_seed(1)).int().sort(-1).values
    latest = numbers(HEADS, SAMPLES, HEAD_DIM, dtype=dtype)
    latest_hash = torch.randint(0, min(BUCKETS), (HEADS, SAMPLES, ROUNDS), generator=torch.Generator().manual_seed(2))
    keys, hashes = latest.clone(), latest_hash.clone()
    out, bucket = of_hash_layer(projected, slots, first_slot, keys, hashes)
    run = torch.stack([latest_hash, hashes], dim=-1)[:, :, 1:]
    assert torch.equal(bucket[..., 1:], pair_hashes(run.flatten(0, 1), BUCKETS[1:], 2).view_as(run)[..., 1])
    for sample in range(SAMPLES):
        one = slice(sample, sample + 1)
        key, of_sample = latest[:, one].clone(), latest_hash[:, one].clone()
        alone, bucket_alone = of_hash_layer(projected[one], slots[one], first_slot + sample, key, of_sample)
        assert torch.equal(of_sample[..., 1:], hashes[:, one, 1:])
        assert torch.equal(key, keys[:, one])
        assert torch.equal(alone, out[:, one])
        assert torch.equal(bucket_alone, bucket[:, one])


@pytest.mark.parametrize("position", [3, 47])
def test_samples_of_a_local_layer(dtype: torch.dtype, position: int) -> None:
    projected = numbers(SAMPLES, 3 * HEADS * HEAD_DIM, dtype=dtype)
    cosine, sine = numbers(2, 1, HEAD_DIM // 2, dtype=dtype)
    ring = numbers(HEADS, SAMPLES, WINDOW, 2, HEAD_DIM, dtype=dtype)

    def found(samples: slice) -> Tensor:
        own = ring[:, samples].contiguous()
        return local_layer_token(projected[samples], cosine, sine, ring=own, position=position, **of_heads(dtype))

    out = found(slice(SAMPLES))
    for sample in range(SAMPLES):
        one = slice(sample, sample + 1)
        assert torch.equal(found(one), out[:, one])


def fits(dtype: torch.dtype) -> dict[str, dict[str, object]]:
    return {
        "hash": {
            "projected": numbers(SAMPLES, 2 * HEADS * HEAD_DIM, dtype=dtype),
            "latest_bucket": torch.zeros(HEADS, SAMPLES, ROUNDS, dtype=torch.int64),
            "records": numbers(SLOTS, HEADS, 2, HEAD_DIM, dtype=dtype),
            "pair_rounds": 1,
            "latest_hash": torch.zeros(HEADS, SAMPLES, ROUNDS, dtype=torch.int64),
            "latest_key": torch.zeros(HEADS, SAMPLES, HEAD_DIM, dtype=dtype),
            "predecessor_weight": torch.ones(HEADS),
            "first_slot": SLOTS - SAMPLES,
            **rings_of(torch.zeros(SAMPLES, HEADS, sum(BUCKETS), WINDOW, dtype=torch.int32)),
            **of_heads(dtype),
        },
        "local": {
            "projected": numbers(SAMPLES, 3 * HEADS * HEAD_DIM, dtype=dtype),
            "cosine": torch.ones(1, HEAD_DIM // 2),
            "sine": torch.zeros(1, HEAD_DIM // 2),
            "ring": numbers(HEADS, SAMPLES, WINDOW, 2, HEAD_DIM, dtype=dtype),
            "position": 7,
            **of_heads(dtype),
        },
    }


def call(kind: str, given: dict) -> None:
    positional = {"hash": ("projected", "latest_bucket"), "local": ("projected", "cosine", "sine")}[kind]
    function = {"hash": hash_layer_token, "local": local_layer_token}[kind]
    hash_few = HashOfFew(draw_rotations(0, None, 0, HEADS, HEAD_DIM, BUCKETS), BUCKETS)
    more = {"hash_few": hash_few} if kind == "hash" else {}
    function(*(given[name] for name in positional), **{k: v for k, v in given.items() if k not in positional}, **more)


@pytest.mark.parametrize("kind", ["hash", "local"])
def test_what_does_not_fit_is_named(kind: str, dtype: torch.dtype) -> None:
    given = fits(dtype)[kind]
    call(kind, given)
    for name, value in given.items():
        wrong = value[..., :-1] if isinstance(value, Tensor) else -1
        if name in ("latest_bucket", "latest_hash", "records", "ring"):
            wrong = value.to(torch.int16)
        with pytest.raises(UsageError, match=f"^{name} "):
            call(kind, {**given, name: wrong})
