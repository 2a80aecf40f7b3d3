"""Heads of projections: unit vectors, rotated, cast and written in one pass."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from revlm.ops import backends
from revlm.ops.compiled import library
from revlm.ops.heads import split_heads
from revlm.ops.rotary_table import rotary_table
from revlm.ops.triton import availability

HEADS = 3
BACKENDS = [
    pytest.param("compiled", marks=pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")),
    pytest.param("triton", marks=pytest.mark.skipif(not availability.is_available(), reason="there is no triton")),
]


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def plain(projected: Tensor, head_dim: int, units: int, rotary: tuple[Tensor, Tensor] | None) -> list[Tensor]:
    """The definition, differentiated by PyTorch."""
    out = []
    for number, part in enumerate(projected.split(HEADS * head_dim, dim=-1)):
        heads = part.unflatten(-1, (HEADS, -1)).transpose(0, 1)
        if number < units:
            heads = normalize(heads, dim=-1, eps=1e-30)
            if rotary is not None:
                first, second = heads.chunk(2, dim=-1)
                cosine, sine = rotary
                heads = torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
        out.append(heads)
    return out


def results(projected: Tensor, d_out: list[Tensor], units: int, rotary: tuple[Tensor, Tensor] | None) -> list[Tensor]:
    """All results and the gradient, the results also written into a larger tensor and rebuilt for gradients alone."""
    width = projected.shape[1] // len(d_out)
    leaf = projected.clone().requires_grad_()
    out = split_heads([leaf], HEADS, width, units=units, rotary=rotary)
    (gradient,) = torch.autograd.grad(out, leaf, d_out)
    with torch.no_grad():
        whole = [each.new_zeros(HEADS, each.shape[1] + 4, each.shape[2]) for each in out]
        split_heads([projected], HEADS, width, units=units, rotary=rotary, into=[each[:, 2:-2] for each in whole])
    for each, written in zip(out, whole, strict=True):
        assert torch.equal(each, written[:, 2:-2])
        assert not written[:, :2].any()
        assert not written[:, -2:].any()
    again = [torch.empty_like(each) for each in out]
    for options in ({"only_graph": True}, {"into": again}):
        rebuilt = split_heads([leaf], HEADS, width, units=units, rotary=rotary, **options)
        assert all(each.shape == of.shape for each, of in zip(rebuilt, out, strict=True))
        assert {each.untyped_storage().nbytes() for each in rebuilt} == {projected.element_size()}
        assert torch.equal(torch.autograd.grad(rebuilt, leaf, d_out)[0], gradient)
    assert all(torch.equal(one, other) for one, other in zip(again, out, strict=True))
    return [*(each.detach() for each in out), gradient]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("parts", "units"), [(2, 1), (3, 2)])
def test_they_are_the_definition_in_values_and_gradients(parts: int, units: int, turned: bool) -> None:
    projected = randn(37, parts * HEADS * 6)
    rotary = rotary_table(torch.arange(37) * 1000, 6, torch.float64) if turned else None
    d_out = [randn(HEADS, 37, 6) for _ in range(parts)]
    leaf = projected.clone().requires_grad_()
    exact = plain(leaf, 6, units, rotary)
    exact.extend(torch.autograd.grad(exact, leaf, d_out))
    for one, other in zip(exact, results(projected, d_out, units, rotary), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("head_dim", [6, 16])
def test_every_backend_is_the_definition_to_rounding(
    backend: str, turned: bool, head_dim: int, dtype: torch.dtype
) -> None:
    projected = randn(37, 3 * HEADS * head_dim).to(dtype)
    tables = rotary_table(torch.arange(37) + 1_000_000, head_dim, torch.float64) if turned else None
    # Not contiguous, as a span of a whole tensor is.
    d_out = [randn(HEADS, 41, head_dim)[:, 2:-2].to(dtype) for _ in range(3)]
    leaf = projected.double().requires_grad_()
    exact = plain(leaf, head_dim, 2, tables)
    exact.extend(torch.autograd.grad(exact, leaf, [each.double() for each in d_out]))
    with backends.using(backend):
        rotary = rotary_table(torch.arange(37) + 1_000_000, head_dim, torch.float32) if turned else None
        found = results(projected, d_out, 2, rotary)
    for one, other in zip(exact, found, strict=True):
        assert other.dtype == dtype
        error = (one - other.double()).norm() / one.norm()
        assert error < (1e-6 if dtype == torch.float32 else 4e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_separate_projections_and_short_vectors_go_the_same_way(backend: str) -> None:
    """A key and a value from different tensors, as hash layers give them; a zero vector stays zero."""
    k, v = (randn(9, 24)[:, :18].float() for _ in range(2))
    k[3] = 0
    found = []
    for name in (backend, "pytorch"):
        leaves = [each.clone().requires_grad_() for each in (k, v)]
        with backends.using(name):
            out = split_heads([each * 1 for each in leaves], HEADS, 18, units=1)
        found.append([*out, *torch.autograd.grad(out, leaves, [each.detach().flip(1) for each in out])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert not found[0][0][:, 3].any()


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    projected, rotary = randn(500, 3 * HEADS * 16).bfloat16(), rotary_table(torch.arange(500), 16, torch.float32)
    d_out = [randn(HEADS, 500, 16).bfloat16() for _ in range(3)]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with backends.using("compiled"):
                found.append(results(projected, d_out, 2, rotary))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
@pytest.mark.parametrize(("dtype", "out"), [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)])
def test_compiled_heads_may_be_written_in_another_precision(dtype: torch.dtype, out: torch.dtype) -> None:
    projected, whole = randn(70, 2 * HEADS * 16).to(dtype), [torch.zeros(HEADS, 70, 16, dtype=out) for _ in range(2)]
    with torch.no_grad(), backends.using("compiled"):
        split_heads([projected], HEADS, 16 * HEADS, units=1, into=whole)
        exact = split_heads([projected.float()], HEADS, 16 * HEADS, units=1)
    assert all(torch.equal(one.to(out), other) for one, other in zip(exact, whole, strict=True))


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
def test_compiled_heads_take_what_they_were_made_for() -> None:
    from revlm.ops.heads.compiled import takes

    part, tables = torch.ones(4, 8), (torch.ones(4, 2), torch.ones(4, 2))
    assert takes([part, part], tables)
    assert takes([part[:0]], None)
    for refused in ([part.double()], [part, part.bfloat16()], [part.T], [torch.ones(()).expand(4, 8)]):
        assert not takes(refused, None)
    assert not takes([part], tuple(each.double() for each in tables))


@pytest.mark.skipif(not availability.is_available(), reason="there is no triton")
def test_positions_of_a_million_tokens_are_turned_as_exactly_by_the_kernel() -> None:
    position = torch.tensor([0, 1, 999, 65_536, 1_048_575])
    exact = rotary_table(position, 64, torch.float64)
    with backends.using("triton"):
        found = rotary_table(position, 64, torch.float32)
    for one, other in zip(exact, found, strict=True):
        torch.testing.assert_close(one, other.double(), rtol=0, atol=3e-7)
