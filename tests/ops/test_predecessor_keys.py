"""Keys with predecessors: the definition in values and gradients, on every backend."""

import pytest
import torch
from torch import Tensor

from revlm.ops import backends
from revlm.ops.compiled import library
from revlm.ops.predecessor_keys import keys_after, keys_with_predecessors, reference
from revlm.ops.triton import availability

HEADS, HEAD_DIM = 3, 18
STARTS = [0, 1, 40, 63, 64, 2048, 2100, 4095, 4096]  # around the bounds of blocks, and documents of one token
TOKENS = 4100
BACKENDS = [
    "pytorch",
    pytest.param("compiled", marks=pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")),
    pytest.param("triton", marks=pytest.mark.skipif(not availability.is_available(), reason="there is no triton")),
]


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def plain(k: Tensor, starts: Tensor, weight: Tensor) -> Tensor:
    """The definition, differentiated by PyTorch."""
    is_first = torch.isin(torch.arange(k.shape[1]), starts)[:, None]
    previous = torch.where(is_first, 0, k.roll(1, dims=1))
    return torch.nn.functional.normalize(k + weight[:, None, None] * previous, dim=-1)


def results(k: Tensor, starts: Tensor, weight: Tensor, d_out: Tensor, *, over: bool = False) -> list[Tensor]:
    learned = [k.clone().requires_grad_(), weight.clone().requires_grad_()]
    before = learned[0].detach().clone()
    out = keys_with_predecessors(learned[0], starts, learned[1], may_overwrite=over)
    d_out = d_out.clone()
    found = [out.detach(), *torch.autograd.grad(out, learned, d_out)]
    torch.testing.assert_close(learned[0].detach(), before, rtol=0, atol=0, equal_nan=True)
    assert (found[1].data_ptr() == d_out.data_ptr()) == over
    return found


def test_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "TILE", 4)
    k, weight, starts = randn(2, 11, 5).requires_grad_(), randn(2).requires_grad_(), torch.tensor([0, 4, 5])
    assert torch.autograd.gradcheck(lambda k, weight: keys_with_predecessors(k, starts, weight), (k, weight))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 4e-3)])
@pytest.mark.parametrize("tokens", [TOKENS, 4096, 64, 1])
def test_every_backend_is_the_definition_to_rounding(
    backend: str, dtype: torch.dtype, bound: float, tokens: int
) -> None:
    if backend == "triton":  # the interpreter takes a millisecond a token
        tokens = min(tokens, 70)
    k, d_out = (randn(HEADS, tokens + more, HEAD_DIM).to(dtype)[:, more:] for more in (4, 2))
    starts, weight = torch.tensor([start for start in STARTS if start < tokens]), torch.tensor([0.0, 0.5, 1.0])
    leaves = [k.double().requires_grad_(), weight.double().requires_grad_()]
    exact = plain(leaves[0], starts, leaves[1])
    exact = [exact.detach(), *torch.autograd.grad(exact, leaves, d_out.double())]
    with backends.using(backend):
        found = results(k, starts, weight, d_out)
        over = results(k, starts, weight, d_out, over=True)
    assert all(torch.equal(*pair) for pair in zip(found, over, strict=True))
    assert found[0].dtype == found[1].dtype == dtype
    assert found[2].dtype == torch.float32
    for one, other in zip(exact, found, strict=True):
        assert (one - other.double()).norm() <= max(bound, 1e-6 if one.dim() == 1 else 0) * (one.norm() + 1e-30)


@pytest.mark.parametrize("backend", BACKENDS)
def test_documents_and_heads_are_as_if_each_were_alone(backend: str) -> None:
    """Also beside a document with a vector that is no number."""
    k, d_out = (randn(HEADS, 30 + more, HEAD_DIM)[:, more:].float() for more in (1, 2))
    k[:, 10] = torch.nan
    weight, starts, lengths = torch.tensor([0.3, 0.6, 0.9]), torch.tensor([0, 10, 11]), [10, 1, 19]
    with backends.using(backend):
        out, d_k, _ = results(k, starts, weight, d_out)
        parts = zip(*(each.split(lengths, dim=1) for each in (k, d_out)), strict=True)
        alone = [results(of_k, starts[:1], weight, of_d) for of_k, of_d in parts]
        one_head = results(k[1:2, 11:], starts[:1], weight[1:2], d_out[1:2, 11:])
    for number, whole in enumerate((out, d_k)):
        documents = torch.cat([each[number] for each in alone], dim=1)
        torch.testing.assert_close(whole, documents, rtol=0, atol=0, equal_nan=True)
        assert not whole[:, [*range(10), *range(11, 30)]].isnan().any()
        assert torch.equal(whole[1:2, 11:], one_head[number])


@pytest.mark.parametrize("backend", BACKENDS[:2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bits_do_not_depend_on_the_number_of_threads(backend: str, dtype: torch.dtype) -> None:
    k, d_out = (randn(1, TOKENS, HEAD_DIM + more).to(dtype)[..., more:] for more in (4, 2))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with backends.using(backend):
                found.append(results(k, torch.tensor(STARTS), torch.tensor([0.7]), d_out, over=True))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


def test_a_gradient_whose_elements_share_memory_is_not_written_over() -> None:
    k, weight, starts = randn(HEADS, 9, HEAD_DIM), randn(HEADS), torch.tensor([0, 4])
    one = randn(HEAD_DIM)
    learned = [k.clone().requires_grad_(), weight.clone().requires_grad_()]
    out = keys_with_predecessors(learned[0], starts, learned[1], may_overwrite=True)
    found = torch.autograd.grad(out, learned, one.expand(HEADS, 9, HEAD_DIM))
    expected = results(k, starts, weight, one.expand(HEADS, 9, HEAD_DIM).contiguous())[1:]
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert torch.equal(one, randn(HEAD_DIM))


def test_keys_one_at_a_time_are_those_of_a_run() -> None:
    k, weight = randn(HEADS, 9, HEAD_DIM), randn(HEADS)
    whole = keys_with_predecessors(k, torch.tensor([0]), weight)
    previous = torch.cat([torch.zeros_like(k[:, :1]), k[:, :-1]], dim=1)
    for t in range(9):
        one = keys_after(k[:, t : t + 1], previous[:, t : t + 1], weight)
        torch.testing.assert_close(one, whole[:, t : t + 1], rtol=0, atol=1e-15)
