"""Exact attention is bucketed window attention with one bucket and a window of all tokens."""

import math

import pytest
import torch
from torch import Tensor

from revlm.ops.attention import bucketed_window_attention
from revlm.ops.attention.exact import exact_attention
from tests.allocations import peaks

ROWS, TOKENS, HEAD_DIM = 3, 37, 6


def given() -> list[Tensor]:
    """q, k, v, scale and sink."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(ROWS, TOKENS, HEAD_DIM, generator=generator, dtype=torch.float64) for _ in range(3)]
    drawn += [torch.rand(ROWS, generator=generator, dtype=torch.float64) + 0.5]
    drawn += [torch.randn(ROWS, generator=generator, dtype=torch.float64)]
    return [each.requires_grad_() for each in drawn]


def plain(q: Tensor, k: Tensor, v: Tensor, scale: Tensor, sink: Tensor | None) -> Tensor:
    """The definition, in the precision of the inputs."""
    return bucketed_window_attention(
        q,
        k,
        v,
        torch.zeros(1, 1, k.shape[1], dtype=torch.int32),
        window=k.shape[1],
        scale=scale,
        sink=sink,
        include_self=sink is None,
        backend="reference",
    )


@pytest.mark.parametrize("queries", [TOKENS, TOKENS - 1, 5, 1])
@pytest.mark.parametrize("with_sink", [True, False])
def test_outputs_and_gradients_are_those_of_the_definition(with_sink: bool, queries: int) -> None:
    q, k, v, scale, sink = given()
    q, sink = q[:, -queries:], sink if with_sink else None
    found, expected = exact_attention(q, k, v, scale=scale, sink=sink), plain(q, k, v, scale, sink)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    if queries < TOKENS:  # prefilling, without gradients
        return
    inputs = [each for each in (q, k, v, scale, sink) if each is not None]
    for one, other in zip(
        *(torch.autograd.grad(out.cos().sum(), inputs) for out in (found, expected)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_the_first_token_attends_to_nothing() -> None:
    q, k, v, scale, sink = given()
    assert not exact_attention(q, k, v, scale=scale, sink=sink)[:, 0].any()
    assert not exact_attention(q[:, :1], k[:, :1], v[:, :1], scale=scale, sink=sink).any()


def test_in_half_precision_the_sink_is_not_rounded() -> None:
    """In bfloat16 20.06 is 20, which would halve the weight of one key."""
    k = torch.zeros(1, TOKENS, HEAD_DIM, dtype=torch.bfloat16)
    k[..., 0] = 1
    out = exact_attention(k, k, torch.ones_like(k), scale=torch.tensor([20.0]), sink=torch.tensor([20.06]))
    assert float(out[0, 1, 0]) == pytest.approx(1 / (1 + math.exp(0.06)), rel=0.005)


@pytest.mark.parametrize("with_sink", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_is_linear_in_the_tokens(with_sink: bool, dtype: torch.dtype) -> None:
    def bytes_of(tokens: int, queries: int) -> float:
        x = torch.randn(2, tokens, 16, dtype=dtype).requires_grad_(queries == tokens)
        scale, sink = torch.ones(2), torch.zeros(2) if with_sink else None

        def step() -> None:
            out = exact_attention(x[:, -queries:], x, x, scale=scale, sink=sink)
            if x.requires_grad:
                out.float().sum().backward()

        return peaks(step)[""]

    assert bytes_of(4096, 4096) < 2.3 * bytes_of(2048, 2048)
    assert bytes_of(65536, 2048) < 2**27
