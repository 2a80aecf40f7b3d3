"""Arguments of attention that fit are broadcast, and others are named, before any backend reads memory by them."""

import pytest
import torch
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops import bucketed_window_attention
from revlm.ops.attention import attention_with_log_sum_exp
from revlm.ops.attention.one_query import one_query_attention
from revlm.ops.compiled import library
from revlm.ops.triton import availability

ROWS, TOKENS, HEAD_DIM = 3, 20, 8
BACKENDS = [
    "reference",
    "blocked",
    pytest.param("compiled", marks=pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")),
    pytest.param("triton", marks=pytest.mark.skipif(not availability.is_available(), reason="there is no triton")),
]
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # in Triton's interpreter


def arguments(**changed: object) -> dict:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, ROWS, TOKENS, HEAD_DIM, generator=generator)
    bucket = torch.randint(0, 3, (ROWS, 2, TOKENS), generator=generator)
    return {"q": q, "k": k, "v": v, "bucket": bucket, "window": 5, "include_self": False, **changed}


def attention(backend: str, **changed: object) -> Tensor:
    return bucketed_window_attention(**arguments(**changed), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_scale_and_one_sink_are_those_of_all_rows(backend: str, shape: tuple[int, ...]) -> None:
    scale, sink = torch.full(shape, 0.7).requires_grad_(), torch.full(shape, 0.3).requires_grad_()
    rows = [torch.full((ROWS,), float(each.detach()), requires_grad=True) for each in (scale, sink)]
    found, expected = attention(backend, scale=scale, sink=sink), attention(backend, scale=rows[0], sink=rows[1])
    assert torch.equal(found, expected)
    of_one = torch.autograd.grad(found.square().sum(), [scale, sink])
    of_each = torch.autograd.grad(expected.square().sum(), rows)
    for one, each in zip(of_one, of_each, strict=True):
        assert one.shape == shape
        torch.testing.assert_close(one.sum(), each.sum())


@pytest.mark.parametrize("backend", BACKENDS)
def test_buckets_of_one_row_are_those_of_all(backend: str) -> None:
    shared = arguments()["bucket"][:1]
    assert torch.equal(
        attention(backend, bucket=shared), attention(backend, bucket=shared.expand(ROWS, -1, -1).contiguous())
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors_may_lie_in_memory_in_any_way(backend: str) -> None:
    given = arguments()
    laid = {name: given[name].transpose(0, 2).contiguous().transpose(0, 2) for name in ("q", "k", "v", "bucket")}
    laid["scale"] = torch.arange(1.0, 2 * ROWS + 1)[::2]
    expected = attention(backend, scale=laid["scale"].contiguous())
    torch.testing.assert_close(attention(backend, **laid), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rows", "queries", "tokens"), [(0, 4, 4), (2, 0, 0), (2, 0, 5)])
def test_without_rows_or_queries_the_result_is_empty_and_gradients_zero(
    backend: str, rows: int, queries: int, tokens: int
) -> None:
    q, k, v = (torch.randn(rows, each, HEAD_DIM, requires_grad=True) for each in (queries, tokens, tokens))
    sink = torch.zeros(rows, requires_grad=True)
    bucket = torch.zeros(rows, 1, tokens, dtype=torch.int64)
    out = attention(backend, q=q, k=k, v=v, bucket=bucket, sink=sink)
    assert out.shape == (rows, queries, HEAD_DIM)
    assert not any(each.any() for each in torch.autograd.grad(out.sum(), (q, k, v, sink)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sink_of_minus_infinity_is_no_sink(backend: str) -> None:
    sink = torch.full((ROWS,), -torch.inf, requires_grad=True)
    q = arguments()["q"].requires_grad_()
    out, expected = attention(backend, q=q, sink=sink), attention(backend, q=q)
    assert (out[:, 0] == 0).all()
    torch.testing.assert_close(out, expected)
    d_q, d_sink = torch.autograd.grad(out.square().sum(), (q, sink))
    assert (d_sink == 0).all()
    torch.testing.assert_close(d_q, *torch.autograd.grad(expected.square().sum(), q))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("low", "high"), [(torch.bfloat16, torch.float32), (torch.float16, torch.float16)])
def test_dtypes_may_be_mixed_and_half(backend: str, low: torch.dtype, high: torch.dtype) -> None:
    given = arguments()
    mixed = {"q": given["q"].to(low), "k": given["k"].to(high), "v": given["v"].to(low)}
    out = attention(backend, **mixed)
    assert out.dtype == low
    expected = attention("reference", **{name: x.double() for name, x in mixed.items()})
    torch.testing.assert_close(out.double(), expected, rtol=2e-2, atol=2e-2)


WRONG = {
    "q of another width": ("k", {"q": torch.zeros(ROWS, TOKENS, HEAD_DIM + 1)}),
    "q of more rows": ("k", {"q": torch.zeros(ROWS + 1, TOKENS, HEAD_DIM)}),
    "q of two dimensions": ("q", {"q": torch.zeros(TOKENS, HEAD_DIM)}),
    "q of integers": ("q", {"q": torch.zeros(ROWS, TOKENS, HEAD_DIM, dtype=torch.int64)}),
    "q of complex numbers": ("q", {"q": torch.zeros(ROWS, TOKENS, HEAD_DIM, dtype=torch.complex64)}),
    "q is a list": ("q", {"q": [[1.0]]}),
    "more queries than tokens": ("q", {"q": torch.zeros(ROWS, TOKENS + 1, HEAD_DIM)}),
    "a shorter v": ("v", {"v": torch.zeros(ROWS, TOKENS - 1, HEAD_DIM)}),
    "a narrower v": ("v", {"v": torch.zeros(ROWS, TOKENS, HEAD_DIM - 1)}),
    "v of fewer rows": ("v", {"v": torch.zeros(1, TOKENS, HEAD_DIM)}),
    "no width": ("q", {name: torch.zeros(ROWS, TOKENS, 0) for name in ("q", "k", "v")}),
    "scale of two": ("scale", {"scale": torch.ones(2)}),
    "scale a column": ("scale", {"scale": torch.ones(ROWS, 1)}),
    "scale of integers": ("scale", {"scale": torch.ones(ROWS, dtype=torch.int64)}),
    "scale a word": ("scale", {"scale": "large"}),
    "sink of two": ("sink", {"sink": torch.zeros(2)}),
    "sink of more": ("sink", {"sink": torch.zeros(ROWS + 1)}),
    "no round": ("bucket", {"bucket": torch.zeros(ROWS, 0, TOKENS, dtype=torch.int64)}),
    "buckets of two rows": ("bucket", {"bucket": torch.zeros(2, 1, TOKENS, dtype=torch.int64)}),
    "fewer buckets": ("bucket", {"bucket": torch.zeros(ROWS, 1, TOKENS - 1, dtype=torch.int64)}),
    "no rounds' dimension": ("bucket", {"bucket": torch.zeros(ROWS, TOKENS, dtype=torch.int64)}),
    "buckets of floats": ("bucket", {"bucket": torch.zeros(ROWS, 1, TOKENS)}),
    "buckets of bools": ("bucket", {"bucket": torch.zeros(ROWS, 1, TOKENS, dtype=torch.bool)}),
    "a negative bucket": ("bucket", {"bucket": torch.full((ROWS, 1, TOKENS), -1)}),
    "a bucket beyond int32": ("bucket", {"bucket": torch.full((ROWS, 1, TOKENS), 2**31)}),
    "window of nothing": ("window", {"window": 0}),
    "half a window": ("window", {"window": 2.5}),
    "k elsewhere": ("k", {"k": torch.zeros(ROWS, TOKENS, HEAD_DIM, device="meta")}),
    "sink elsewhere": ("sink", {"sink": torch.zeros(ROWS, device="meta")}),
}


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(backend: str, case: str) -> None:
    name, changed = WRONG[case]
    with pytest.raises(UsageError, match=f"^{name} "):
        attention(backend, **changed)


def test_the_block_is_checked_too() -> None:
    with pytest.raises(UsageError, match="block is 0"):
        attention_with_log_sum_exp(*list(arguments().values())[:4], window=5, include_self=False, block=0)


def test_a_window_beyond_every_integer_is_all_tokens() -> None:
    assert torch.equal(attention("auto", window=2**70), attention("auto", window=TOKENS))


ONE_QUERY = {
    "q": torch.zeros(2, 3, HEAD_DIM),
    "k": torch.zeros(2, 3, 5, HEAD_DIM),
    "v": torch.zeros(2, 3, 5, HEAD_DIM),
    "visible": torch.ones(2, 3, 5, dtype=torch.bool),
    "scale": torch.ones(2),
    "sink": torch.zeros(2),
}


@pytest.mark.parametrize("name", ONE_QUERY)
def test_one_query_names_what_does_not_fit(name: str) -> None:
    assert one_query_attention(**ONE_QUERY).shape == (2, 3, HEAD_DIM)
    with pytest.raises(UsageError, match="^k " if name == "q" else f"^{name} "):
        one_query_attention(**{**ONE_QUERY, name: ONE_QUERY[name][:1]})
