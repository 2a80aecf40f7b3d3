"""The Triton attention in Triton's interpreter, on a CPU: small, since each program runs step by step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops import backends
from revlm.ops.attention import attention_with_log_sum_exp, bucketed_window_attention, triton, workspace_bytes
from revlm.ops.attention.arguments import checked_arguments
from revlm.ops.attention.triton import workspace
from revlm.ops.attention.triton.order import SortedOrder, order_launch
from revlm.ops.triton import availability
from tests.allocations import peaks
from tests.ops.test_attention import gradients, results

pytestmark = [
    pytest.mark.skipif(not availability.is_available(), reason="there is no triton"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),  # log2(0) where nothing is seen
]

ROWS = 2


def inputs(tokens: int, queries: int, rounds: int, buckets: int, head_dim: int = 16, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = (queries, tokens, tokens)
    qkv = [torch.randn(ROWS, each, head_dim, dtype=torch.float64, generator=generator) for each in lengths]
    return [*qkv, torch.randint(0, buckets, (ROWS, rounds, tokens), generator=generator)]


def assert_equals_the_reference(data: list[Tensor], block: int = 16, tolerance: float = 1e-9, **options) -> None:
    exact = results("reference", *(x.double() if x.is_floating_point() else x for x in data), **options)
    found = results("triton", *data, block=block, **options)
    for one, truth in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), truth, rtol=tolerance, atol=tolerance)


# tokens, queries, rounds, window, block, include_self, with_sink, buckets
CASES = [
    pytest.param(37, 37, 2, 7, 16, False, True, 3, id="rounds"),
    pytest.param(37, 20, 2, 7, 16, True, False, 3, id="fewer queries, itself, no sink"),
    pytest.param(33, 33, 3, 200, 32, False, False, 2, id="a window beyond the tokens"),
    pytest.param(32, 32, 2, 5, 16, False, False, 32, id="mostly empty windows"),
    pytest.param(40, 40, 1, 6, 16, True, True, 1, id="one bucket"),
    pytest.param(1, 1, 2, 5, 64, False, False, 4, id="one token, nothing to see"),
]


@pytest.mark.parametrize(
    ("tokens", "queries", "rounds", "window", "block", "include_self", "with_sink", "buckets"), CASES
)
def test_it_equals_the_reference_in_values_and_gradients(
    tokens: int, queries: int, rounds: int, window: int, block: int, include_self: bool, with_sink: bool, buckets: int
) -> None:
    data = inputs(tokens, queries, rounds, buckets)
    assert_equals_the_reference(data, block, window=window, include_self=include_self, with_sink=with_sink)


@st.composite
def problems(draw: st.DrawFn) -> dict:
    tokens = draw(st.integers(1, 50))
    return {
        "data": inputs(
            tokens,
            draw(st.integers(1, tokens)),
            draw(st.integers(1, 3)),
            draw(st.integers(1, 2 * tokens)),
            seed=draw(st.integers(0, 2**16)),
        ),
        "window": draw(st.integers(1, tokens + 5)),
        "block": draw(st.sampled_from([1, 16, 40, 64])),
        "include_self": draw(st.booleans()),
        "with_sink": draw(st.booleans()),
    }


@pytest.mark.slow
@settings(max_examples=60)
@given(problems())
def test_it_equals_the_reference_whatever_the_shape(problem: dict) -> None:
    assert_equals_the_reference(**problem)


@pytest.mark.parametrize("head_dim", [20, 32, 64, 128])
def test_single_precision_is_exact_to_its_rounding(head_dim: int) -> None:
    data = [x.float() if x.is_floating_point() else x for x in inputs(21, 21, 2, 3, head_dim)]
    assert_equals_the_reference(data, tolerance=1e-4, window=5, include_self=False, with_sink=True)


@pytest.mark.parametrize("include_self", [False, True])
def test_half_precision_loses_less_than_the_reference_does(include_self: bool) -> None:
    *qkv, bucket = inputs(50, 50, 2, 3, head_dim=32)
    half = [x.bfloat16() for x in qkv]
    weight = torch.arange(ROWS * 50 * 32, dtype=torch.float64).cos().view(ROWS, 50, 32).bfloat16()
    options = {"window": 7, "include_self": include_self}
    exact = gradients(*(x.double() for x in half), bucket, weight.double(), backend="reference", **options)
    plain = gradients(*half, bucket, weight, backend="reference", **options)
    found = gradients(*half, bucket, weight, backend="triton", **options)
    for one, other, truth in zip(found, plain, exact, strict=True):
        assert (one - truth).norm() <= (0.5 if one.dim() == 3 else 2.0) * (other - truth).norm()


def test_rounds_beyond_those_whose_windows_stay_in_registers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from revlm.ops.attention.triton import windows

    monkeypatch.setattr(windows, "_UNROLLED", windows.tl.constexpr(1))
    assert_equals_the_reference(inputs(20, 20, 3, 3), 16, window=3, include_self=False, with_sink=True)


@pytest.mark.parametrize("may_overwrite", [False, True])
@pytest.mark.parametrize(("dtype", "rounds"), [(torch.float64, 2), (torch.bfloat16, 1), (torch.bfloat16, 2)])
def test_queries_that_are_keys_have_one_gradient(dtype: torch.dtype, rounds: int, may_overwrite: bool) -> None:
    _, k, v, bucket = inputs(30, 30, rounds, 3)
    k, v = k.to(dtype), v.to(dtype)
    options = {"window": 5, "include_self": False, "backend": "triton"}

    def both(k: Tensor, v: Tensor, **more) -> tuple[Tensor, ...]:
        learned = k.clone().requires_grad_(), v.clone().requires_grad_()
        out = attention_with_log_sum_exp(learned[0] if more else learned[0] * 1, *learned, bucket, **options, **more)[0]
        return torch.autograd.grad(out, learned, out.detach().square())

    apart, together = both(k, v), both(k, v, may_overwrite=may_overwrite)
    for one, other in zip(together, apart, strict=True):
        assert (one - other).norm() <= (0.02 if dtype == torch.bfloat16 else 1e-9) * other.norm()


def test_gradients_may_lie_over_what_was_read_once() -> None:
    q, k, v, bucket = (x.float() if x.is_floating_point() else x for x in inputs(24, 24, 2, 2))
    learned = [x.requires_grad_() for x in (q, k, v)]
    out = attention_with_log_sum_exp(
        *(x * 1 for x in learned), bucket, window=5, include_self=True, may_overwrite=True, backend="triton"
    )[0]
    out.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("shared", [False, True])
def test_rows_in_groups_are_the_rows_together(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, 20, 16, generator=generator) for _ in range(3))
    bucket = torch.randint(0, 3, (1 if shared else 3, 2, 20), generator=generator).expand(3, -1, -1)

    def found() -> list[Tensor]:
        learned = [x.clone().requires_grad_() for x in (q, k, v)]
        scale = torch.tensor([0.5, 1.0, 2.0]).requires_grad_()
        sink = torch.tensor([0.5, -1.0, 0.0]).requires_grad_()
        out, log_sum_exp = attention_with_log_sum_exp(
            *learned, bucket, scale=scale, sink=sink, window=5, include_self=False, backend="triton"
        )
        return [out, log_sum_exp, *torch.autograd.grad(out.square().sum(), [*learned, scale, sink])]

    together = found()
    monkeypatch.setattr(workspace, "_GROUP_TOKENS", 40)
    assert workspace.rows_together(3, 20) == 2
    assert all(torch.equal(one, other) for one, other in zip(found(), together, strict=True))


def test_tensors_of_any_strides() -> None:
    q, k, v, bucket = inputs(20, 20, 2, 2)
    options = {"window": 5, "include_self": True, "with_sink": True}
    strided = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in (q, k)]
    last_apart = v.transpose(1, 2).contiguous().transpose(1, 2)
    for one, other in zip(
        results("triton", *strided, last_apart, bucket.transpose(0, 1).contiguous().transpose(0, 1), **options),
        results("triton", q, k, v, bucket, **options),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_nothing_flows_from_later_positions() -> None:
    q, k, v, bucket = inputs(34, 34, 2, 2)
    changed = [x.clone() for x in (q, k, v, bucket)]
    for x in changed[:3]:
        x[:, 18:] = 7.0
    changed[3][..., 18:] = 1
    options = {"window": 5, "include_self": False, "backend": "triton"}
    before, after = (bucketed_window_attention(*data, **options) for data in ((q, k, v, bucket), changed))
    torch.testing.assert_close(after[:, :18], before[:, :18], rtol=0, atol=1e-9)
    assert not torch.allclose(after[:, 18:], before[:, 18:])


def test_documents_never_meet() -> None:
    q, k, v, bucket = inputs(30, 30, 2, 2)
    document = torch.arange(2).repeat_interleave(torch.tensor([13, 17]))
    options = {"window": 9, "include_self": False, "backend": "triton"}
    together = bucketed_window_attention(q, k, v, bucket + 2 * document, **options)
    for span in (slice(0, 13), slice(13, 30)):
        alone = bucketed_window_attention(*(x[:, span] for x in (q, k, v)), bucket[..., span], **options)
        torch.testing.assert_close(together[:, span], alone, rtol=0, atol=1e-9)


def test_it_is_the_same_to_the_bit_each_time() -> None:
    data = [x.float() if x.is_floating_point() else x for x in inputs(40, 40, 2, 3)]
    options = {"window": 7, "include_self": False, "with_sink": True}
    first, second = (results("triton", *data, **options) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_wrong_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, bucket = inputs(4, 4, 1, 2, head_dim=130)
    with pytest.raises(UsageError, match="head_dim of 130"):
        bucketed_window_attention(q, k, v, bucket, window=2, include_self=True, backend="triton")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(UsageError, match="is for CUDA and the tensors are on cpu"):
        bucketed_window_attention(q, k, v, bucket, window=2, include_self=True, backend="triton")


def test_auto_on_cuda_needs_triton_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    cuda = torch.device("cuda")
    assert availability.runs_on(cuda)
    assert not availability.runs_on(torch.device("cpu"))
    monkeypatch.setattr(availability, "_failure", lambda: "it is not there")
    availability._warn_of_absence.cache_clear()
    with pytest.warns(RuntimeWarning, match="triton cannot be imported"):
        assert not availability.runs_on(cuda)
    with pytest.raises(UsageError, match="it is not there"):
        backends.require("triton", cuda)


@pytest.mark.parametrize("backward", [False, True])
def test_it_needs_what_it_says(backward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, head_dim, rounds = 160, 64, 2
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, tokens, head_dim, generator=generator).bfloat16() for _ in range(3))
    bucket = torch.randint(0, 20, (3, rounds, tokens), generator=generator, dtype=torch.int32)
    monkeypatch.setattr(workspace, "_GROUP_TOKENS", 160)
    planned = workspace_bytes(
        rows=3,
        tokens=tokens,
        head_dim=head_dim,
        rounds=rounds,
        window=8,
        block=64,
        element_bytes=2,
        backward=backward,
        device_kind="cuda",
        backend="triton",
    )
    read = [x.requires_grad_(backward) * 1 for x in (q, k, v)]  # no leaves: gradients may lie over them

    def attend() -> Tensor:
        options = {"window": 8, "include_self": False, "may_overwrite": True, "backend": "triton"}
        return attention_with_log_sum_exp(*read, bucket, **options)[0]

    out = attend()
    d_out = torch.ones_like(out)
    work = (lambda: torch.autograd.grad(out, read, d_out)) if backward else attend
    result = 0 if backward else out.nbytes + 4 * 3 * tokens
    assert planned == pytest.approx(peaks(work)[""] - result, rel=0.1)


def test_a_launch_is_within_the_limits_of_cuda() -> None:
    for rows, rounds, tokens in ((workspace.rows_together(2**16, 8), 4, 8), (1, 4, 2**24)):
        like = torch.empty(rows, rounds, tokens, device="meta")
        [programs, *others] = order_launch(like, like, SortedOrder(like, like, like, like), 8).grid
        assert programs < 2**31
        assert all(each < 2**16 for each in others)


def test_it_takes_what_it_was_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")

    def takes(head_dim: int, dtype: torch.dtype) -> bool:
        x, bucket = torch.empty(1, 1, head_dim, dtype=dtype), torch.zeros(1, 1, 1, dtype=torch.int32)
        options = {"window": 1, "scale": 1.0, "sink": None, "include_self": True, "block": 16}
        return triton.takes(checked_arguments(x, x, x, bucket, **options))

    assert takes(128, torch.bfloat16)
    assert takes(128, torch.float32)
    assert not takes(136, torch.float32)
    assert not takes(128, torch.float64)
