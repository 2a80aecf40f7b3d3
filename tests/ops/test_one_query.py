import pytest
import torch

from revlm.ops.attention import bucketed_window_attention
from revlm.ops.attention.one_query import one_query_attention

HEADS, SAMPLES, KEYS, HEAD_DIM = 3, 2, 21, 8


@pytest.mark.parametrize("with_sink", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_it_is_the_last_position_of_the_definition_whatever_the_order(share: float, with_sink: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(HEADS, SAMPLES, HEAD_DIM, generator=generator, dtype=torch.float64)
    k, v = torch.randn(2, HEADS, SAMPLES, KEYS, HEAD_DIM, generator=generator, dtype=torch.float64)
    visible = torch.rand(HEADS, SAMPLES, KEYS, generator=generator) < share
    scale = torch.rand(HEADS, generator=generator, dtype=torch.float64) + 1
    sink = torch.randn(HEADS, generator=generator, dtype=torch.float64) if with_sink else None

    rows = HEADS * SAMPLES
    of_query = torch.zeros(rows, 1, HEAD_DIM, dtype=torch.float64)
    bucket = torch.cat([(~visible).int().flatten(0, 1), torch.zeros(rows, 1, dtype=torch.int32)], dim=1)
    expected = bucketed_window_attention(
        q.flatten(0, 1)[:, None],
        *(torch.cat([each.flatten(0, 1), of_query], dim=1) for each in (k, v)),
        bucket[:, None],
        window=KEYS,
        scale=scale.repeat_interleave(SAMPLES),
        sink=None if sink is None else sink.repeat_interleave(SAMPLES),
        include_self=False,
        backend="reference",
    ).view(HEADS, SAMPLES, HEAD_DIM)

    order = torch.randperm(KEYS, generator=generator)
    found = one_query_attention(q, k[:, :, order], v[:, :, order], visible=visible[:, :, order], scale=scale, sink=sink)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    if share == 1.0:
        every = one_query_attention(q, k, v, scale=scale, sink=sink)
        torch.testing.assert_close(every, expected, rtol=0, atol=1e-12)


def test_half_precision_costs_no_more_than_that_of_the_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(HEADS, SAMPLES, HEAD_DIM, generator=generator).bfloat16()
    k, v = torch.randn(2, HEADS, SAMPLES, KEYS, HEAD_DIM, generator=generator).bfloat16()
    scale = torch.full((HEADS,), 3.0)
    with torch.autocast("cpu", torch.bfloat16):
        found = one_query_attention(q, k, v, scale=scale)
    expected = one_query_attention(q.double(), k.double(), v.double(), scale=scale)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected.bfloat16(), rtol=2.0**-7, atol=1e-6)
