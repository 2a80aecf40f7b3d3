import pytest
import torch
from torch import Tensor

from bench.host_reads import HostReads
from revlm.ops.attention import attention_with_log_sum_exp, bucket_statistics, bucketed_window_attention, statistics
from revlm.ops.attention.reference import window_mask
from revlm.ops.compiled import library
from revlm.ops.triton import availability

# tokens, queries, rounds, window, block, include_self, with_sink, buckets
CASES = [
    (100, 100, 1, 8, 16, True, True, 1),
    (131, 131, 3, 7, 16, False, True, 5),
    (131, 50, 3, 7, 16, False, True, 5),
    (97, 97, 4, 200, 32, False, False, 3),
    (64, 64, 2, 5, 64, True, False, 64),
    (33, 1, 2, 5, 8, True, False, 4),
    (40, 40, 3, 6, 100, False, False, 40),
    (1, 1, 2, 5, 8, False, False, 4),
]

needs_compiler = pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
needs_triton = pytest.mark.skipif(not availability.is_available(), reason="there is no triton")


@pytest.fixture(
    params=[
        "blocked",
        pytest.param("compiled", marks=needs_compiler),
        pytest.param("triton", marks=[needs_triton, pytest.mark.slow]),  # minutes in Triton's interpreter
    ]
)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def inputs(tokens: int, queries: int, rounds: int, buckets: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(tokens)
    q, k, v = (
        torch.randn(2, length, 8, dtype=torch.float64, generator=generator) for length in (queries, tokens, tokens)
    )
    return q, k, v, torch.randint(0, buckets, (2, rounds, tokens), generator=generator)


def results(backend: str, q: Tensor, k: Tensor, v: Tensor, bucket: Tensor, with_sink: bool, **options) -> list[Tensor]:
    scale = torch.tensor([0.7, 1.9], dtype=q.dtype).requires_grad_()
    sink = torch.tensor([0.3, -1.1], dtype=q.dtype).requires_grad_() if with_sink else None
    learned = [tensor.clone().requires_grad_() for tensor in (q, k, v)]
    out, log_sum_exp = attention_with_log_sum_exp(*learned, bucket, scale=scale, sink=sink, backend=backend, **options)
    weight = torch.arange(out.numel(), dtype=out.dtype).cos().view_as(out)
    asked = [*learned, scale] + ([] if sink is None else [sink])
    return [out, log_sum_exp, *torch.autograd.grad(out, asked, weight)]


@pytest.mark.parametrize("case", CASES)
def test_every_backend_equals_the_reference_in_values_and_gradients(case: tuple, backend: str) -> None:
    tokens, queries, rounds, window, block, include_self, with_sink, buckets = case
    data = inputs(tokens, queries, rounds, buckets)
    options = {"window": window, "include_self": include_self, "with_sink": with_sink}
    expected = results("reference", *data, **options)
    found = results(backend, *data, block=block, **options)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_no_tokens_have_gradients_of_zero(backend: str) -> None:
    out, _, *found = results(backend, *inputs(0, 0, 2, 1), window=4, include_self=False, with_sink=True)
    assert out.shape == (2, 0, 8)
    assert all(torch.equal(each, torch.zeros_like(each)) for each in found)


@pytest.mark.parametrize("include_self", [True, False])
def test_the_mask_is_the_definition(include_self: bool) -> None:
    tokens, window = 30, 3
    _, _, _, bucket = inputs(tokens, tokens, 2, 4)
    mask = window_mask(bucket, window, include_self)
    for row in range(2):
        for t in range(tokens):
            seen = set()
            for numbers in bucket[row].tolist():
                before = [s for s in range(t) if numbers[s] == numbers[t]]
                room = window - 1 if include_self else window
                seen |= set(before[len(before) - room :] if room < len(before) else before)
            if include_self:
                seen.add(t)
            assert mask[row, t].nonzero()[:, 0].tolist() == sorted(seen)


def gradients(
    q: Tensor, k: Tensor, v: Tensor, bucket: Tensor, weight: Tensor, *, backend: str, **options
) -> list[Tensor]:
    """The output where it has a weight, and the gradients of its weighted sum to q, k, v, scale and sink."""
    scale = torch.tensor([0.75, 1.875], dtype=q.dtype)
    sink = torch.tensor([0.25, -1.125], dtype=q.dtype)
    learned = [tensor.detach().clone().requires_grad_() for tensor in (q, k, v, scale, sink)]
    *qkv, scale, sink = learned
    out = attention_with_log_sum_exp(*qkv, bucket, scale=scale, sink=sink, backend=backend, **options)[0]
    out = out[:, : weight.shape[1]]
    return [out.detach(), *torch.autograd.grad(out, learned, weight)]


def loss_weights(tokens: int) -> Tensor:
    return torch.arange(2 * tokens * 8, dtype=torch.float64).cos().view(2, tokens, 8)


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


BOTH_KINDS = pytest.mark.parametrize(
    "options", [{"window": 9, "include_self": False}, {"window": 6, "include_self": True}]
)


@BOTH_KINDS
def test_nothing_flows_from_later_positions(options: dict, backend: str) -> None:
    options = options | {"backend": backend}
    q, k, v, bucket = inputs(80, 80, 2, 4)
    before = gradients(q, k, v, bucket, loss_weights(41), **options)
    later = slice(41, None)
    changed_bucket = bucket.clone()
    changed_bucket[..., later] = (bucket[..., later] + 1) % 4
    changed = [tensor.clone() for tensor in (q, k, v)]
    for tensor in changed:
        tensor[:, later] = 7.0
    after = gradients(*changed, changed_bucket, loss_weights(41), **options)
    assert_equal(after, before)
    for gradient in (*before[1:4], *after[1:4]):
        assert torch.count_nonzero(gradient[:, :41]) > 0
        assert torch.count_nonzero(gradient[:, later]) == 0


@pytest.mark.parametrize("longer", [81, 96, 200])
@BOTH_KINDS
def test_tokens_behind_change_nothing(options: dict, longer: int, backend: str) -> None:
    options = options | {"backend": backend}
    q, k, v, bucket = inputs(longer, longer, 3, 4)
    alone = gradients(q[:, :80], k[:, :80], v[:, :80], bucket[..., :80], loss_weights(80), block=16, **options)
    padded = gradients(q, k, v, bucket, loss_weights(80), block=16, **options)
    for gradient in padded[1:4]:
        assert torch.count_nonzero(gradient[:, 80:]) == 0
    assert_equal([padded[0], *(gradient[:, :80] for gradient in padded[1:4]), *padded[4:]], alone)


@pytest.mark.parametrize("block", [1, 7, 64, 500])
@BOTH_KINDS
def test_the_size_of_blocks_changes_nothing(options: dict, block: int, backend: str) -> None:
    options = options | {"backend": backend}
    data = inputs(131, 131, 3, 5)
    expected = gradients(*data, loss_weights(131), block=16, **options)
    assert_equal(gradients(*data, loss_weights(131), block=block, **options), expected)


@pytest.mark.parametrize("window", [9, 100])
@pytest.mark.parametrize("include_self", [False, True])
def test_documents_never_meet(include_self: bool, window: int, backend: str) -> None:
    q, k, v, bucket = inputs(90, 90, 3, 3)
    options = {"window": window, "include_self": include_self, "block": 16, "backend": backend}
    bounds = [(0, 25), (25, 26), (26, 90)]
    document = torch.arange(3).repeat_interleave(torch.tensor([stop - start for start, stop in bounds]))
    weight = loss_weights(90)
    together = gradients(q, k, v, bucket + 3 * document, weight, **options)
    alone = [
        gradients(*(x[:, start:stop] for x in (q, k, v)), bucket[..., start:stop], weight[:, start:stop], **options)
        for start, stop in bounds
    ]
    *by_token, d_scale, d_sink = zip(*alone, strict=True)
    assert_equal(together, [*(torch.cat(parts, dim=1) for parts in by_token), sum(d_scale), sum(d_sink)])


@pytest.mark.parametrize("include_self", [False, True])
def test_half_precision_loses_less_than_the_reference_does(include_self: bool, backend: str) -> None:
    q, k, v, bucket = inputs(131, 131, 3, 5)
    half = [tensor.bfloat16() for tensor in (q, k, v)]
    weight = loss_weights(131).bfloat16()
    options = {"window": 7, "include_self": include_self}
    exact = gradients(*(x.double() for x in half), bucket, weight.double(), backend="reference", **options)
    plain = gradients(*half, bucket, weight, backend="reference", **options)
    found = gradients(*half, bucket, weight, backend=backend, **options)
    # Sums in float32 leave the rounding of what comes out; a scale's or sink's gradient is one number a row, and
    # rounding it may be all that either loses.
    for one, other, truth in zip(found, plain, exact, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one - truth).norm() <= (0.5 if one.dim() == 3 else 2.0) * (other - truth).norm()


def test_one_bucket_and_a_wide_window_is_exact_causal_attention(backend: str) -> None:
    q, k, v, bucket = inputs(50, 50, 1, 1)
    exact = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.5)
    found = bucketed_window_attention(q, k, v, bucket, window=64, scale=0.5, include_self=True, backend=backend)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)


def test_one_token_at_a_time_gives_the_same_numbers(backend: str) -> None:
    q, k, v, bucket = inputs(40, 40, 3, 4)
    options = {"window": 5, "include_self": False, "backend": backend}
    whole = bucketed_window_attention(q, k, v, bucket, **options)
    for t in range(40):
        stop = t + 1
        one = bucketed_window_attention(q[:, t:stop], k[:, :stop], v[:, :stop], bucket[..., :stop], **options)
        torch.testing.assert_close(one, whole[:, t:stop], rtol=0, atol=1e-9)


def test_statistics_of_any_rows_and_rounds_read_nothing_where_the_numbers_are_known() -> None:
    with HostReads() as reads:
        bucket_statistics(torch.randint(0, 5, (3, 4, 20)), 4, 5)
    assert not reads.by_operation  # on CUDA, each waits for all work


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("apart", [1, 10**6])
def test_statistics_count_what_the_mask_shows(apart: int, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, _, bucket = inputs(70, 70, 2, 9)
    bucket *= apart  # as the buckets of many documents: most numbers are of no token
    rounds = torch.stack([window_mask(bucket[:, r : r + 1], 4, False) for r in range(2)])
    monkeypatch.setitem(statistics._ELEMENTS, "cpu", together * 70)
    use = bucket_statistics(bucket, 4)
    assert float(use.bucket_fill) == pytest.approx(rounds.sum().item() / (2 * 2 * 70 * 4))
    assert float(use.empty_query_share) == pytest.approx((~rounds.any(0).any(-1)).double().mean().item())
