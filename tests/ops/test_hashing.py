from itertools import islice
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from revlm.errors import UsageError
from revlm.ops.compiled import library
from revlm.ops.hashing import HashOfFew, bucket_factors, draw_rotations, hash_buckets, pair_hashes, reference


def test_factors_multiply_to_the_number_of_buckets() -> None:
    assert [bucket_factors(n) for n in (2, 4, 16, 1024, 2048)] == [(2, 1), (2, 2), (4, 4), (32, 32), (32, 64)]


def test_rotations_replay_and_more_rounds_extend_the_first() -> None:
    few = draw_rotations(1, 7, 3, 2, 16, [64, 16])
    many = draw_rotations(1, 7, 3, 2, 16, [64, 16, 64, 256, 2])
    assert torch.equal(many[..., : few.shape[-1]], few)
    assert not torch.equal(draw_rotations(1, 8, 3, 2, 16, [64, 16]), few)
    assert not torch.equal(draw_rotations(1, None, 3, 2, 16, [64, 16]), few)


@pytest.mark.parametrize("n_buckets", [(64, 64, 64), (16, 16, 256, 2, 64)])
def test_the_hash_is_the_argmax_over_both_signs_of_each_factor(n_buckets: tuple[int, ...]) -> None:
    x = torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(0))
    rotations = draw_rotations(1, 0, 0, 2, 16, n_buckets)
    found = hash_buckets(x, rotations, n_buckets)
    for head in range(2):
        parts = iter((x[head] @ rotations[head]).split([f // 2 for n in n_buckets for f in bucket_factors(n)], dim=-1))
        for of_round, number in zip(found[head].long(), n_buckets, strict=True):
            h1, h2 = (torch.cat([p, -p], dim=-1).argmax(-1) if p.shape[-1] else 0 for p in islice(parts, 2))
            assert torch.equal(of_round, h1 * bucket_factors(number)[1] + h2)


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
@pytest.mark.parametrize(
    ("tokens", "head_dim", "n_buckets"),
    [(1000, 64, 3 * [1024]), (97, 20, 3 * [6]), (1, 8, [2, 2, 4]), (300, 48, [48, 64, 16]), (300, 32, [64, 512, 4096])],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_compiled_hash_is_the_plain_one(
    tokens: int, head_dim: int, n_buckets: list[int], dtype: torch.dtype
) -> None:
    x = torch.randn(tokens, 3, head_dim, generator=torch.Generator().manual_seed(0)).to(dtype).transpose(0, 1)
    rotations = draw_rotations(1, 0, 0, 3, head_dim, n_buckets)
    found, plain = hash_buckets(x, rotations, n_buckets), reference.hash_buckets(x, rotations, n_buckets)
    # Where two directions are equally near to rounding, either may win.
    assert found.shape == plain.shape == (3, 3, tokens)
    assert (found == plain).float().mean() >= 1 - 1e-3


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
def test_a_hash_does_not_depend_on_the_tokens_beside_it() -> None:
    x = torch.randn(2, 1000, 32, generator=torch.Generator().manual_seed(0))
    rotations = draw_rotations(1, 0, 0, 2, 32, [256, 64])
    whole = hash_buckets(x, rotations, [256, 64])
    parts = [hash_buckets(x[:, start : start + 77], rotations, [256, 64]) for start in range(0, 1000, 77)]
    assert torch.equal(whole, torch.cat(parts, dim=-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_hash_of_a_few_tokens_is_of_full_precision_whatever_is_set_for_other_products(dtype: torch.dtype) -> None:
    class Watch(TorchFunctionMode):
        seen: ClassVar[set[str]] = set()

        def __torch_function__(self, function, types, given=(), options=None):
            if function in (Tensor.matmul, Tensor.__matmul__, torch.matmul):
                backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
                self.seen.update(backend.fp32_precision for backend in backends)
                assert not torch.is_autocast_enabled("cpu")
            return function(*given, **(options or {}))

    hash_few = HashOfFew(draw_rotations(1, 0, 0, 2, 32, [256, 64]), [256, 64])
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected, before = hash_few(x), torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with Watch(), torch.autocast("cpu", torch.bfloat16):
            found = hash_few(x)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert Watch.seen == {"ieee"}
    assert torch.equal(found, expected)


def test_rotations_of_other_buckets_are_refused() -> None:
    rotations = draw_rotations(1, 0, 0, 2, 32, [256, 64])
    with pytest.raises(UsageError, match="rotations has 24 directions and not 32, those of"):
        hash_buckets(torch.zeros(2, 5, 32), rotations, [256, 256])


@pytest.mark.parametrize("pair_rounds", [0, 1, 3])
def test_a_pair_is_half_of_a_hash_and_half_of_that_of_the_token_before(pair_rounds: int) -> None:
    n_buckets, lengths = (64, 128, 4), (5, 1, 20, 14)
    generator = torch.Generator().manual_seed(0)
    hashes = torch.stack([torch.randint(number, (2, 40), generator=generator) for number in n_buckets], dim=1).int()
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0)[:-1]])
    found = pair_hashes(hashes.clone(), n_buckets, pair_rounds, starts)
    for round_, (n1, n2) in enumerate(map(bucket_factors, n_buckets)):
        own = hashes[:, round_]
        first, second = own // n2, own % n2
        assert int(first.max()) < n1
        of_one_before = torch.cat([torch.zeros(2, 1, dtype=torch.int32), second[:, :-1]], dim=1)
        of_one_before[:, starts] = 0
        paired = n2 * first + of_one_before
        assert torch.equal(found[:, round_], paired if round_ >= 3 - pair_rounds else own)
    alone = [pair_hashes(of_document.clone(), n_buckets, pair_rounds) for of_document in hashes.split(lengths, dim=-1)]
    assert torch.equal(torch.cat(alone, dim=-1), found)
