import pytest
import torch
from torch import Tensor

from revlm.model.parts import hashed_keys
from revlm.model.parts.hashed_keys import hash_with_previous
from revlm.ops.hashing import draw_rotations, hash_buckets

HEADS, HEAD_DIM, BUCKETS = 2, 8, (16, 64)
ROTATIONS = draw_rotations(1, 0, 0, HEADS, HEAD_DIM, BUCKETS)


def keys(tokens: int) -> Tensor:
    return torch.randn(HEADS, tokens, HEAD_DIM, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tile", [1, 7, 10, 1000])
def test_each_key_is_hashed_with_the_one_before_it_in_its_document(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashed_keys, "TILE", tile)
    k, starts = keys(30), torch.tensor([0, 10, 11, 28])
    sums = k.clone()
    for t in range(30):
        if t not in starts.tolist():
            sums[:, t] = k[:, t] + k[:, t - 1]
    assert torch.equal(hash_with_previous(k, starts, ROTATIONS, BUCKETS), hash_buckets(sums, ROTATIONS, BUCKETS))


def test_documents_are_as_if_each_were_alone() -> None:
    k = keys(20)
    together = hash_with_previous(k, torch.tensor([0, 12]), ROTATIONS, BUCKETS)
    alone = [hash_with_previous(part, torch.tensor([0]), ROTATIONS, BUCKETS) for part in k.split([12, 8], dim=1)]
    assert torch.equal(together, torch.cat(alone, dim=-1))
    assert not torch.equal(together, hash_with_previous(k, torch.tensor([0]), ROTATIONS, BUCKETS))


def test_the_keys_stay_as_they_are() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        k = keys(20).to(dtype)
        before = k.clone()
        hash_with_previous(k, torch.tensor([0]), ROTATIONS, BUCKETS)
        assert torch.equal(k, before)
