"""The gradient of attention's output written over it, tile by tile: gradients are those of attention that keeps it."""

import pytest
import torch
from torch import Tensor

from revlm.ops import backends
from revlm.ops.attention import Delta, attention_with_log_sum_exp
from revlm.ops.compiled import library
from revlm.ops.output_gradient import write_gradient
from revlm.ops.triton import availability

_TOKENS = 70
NEEDS = {
    "compiled": pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler"),
    "triton": pytest.mark.skipif(not availability.is_available(), reason="there is no triton"),
}
BACKENDS = [
    pytest.param(attention, general, marks=NEEDS.get(attention, ()), id=attention)
    for attention, general in (
        *(("reference", "pytorch"), ("blocked", "pytorch"), ("compiled", "compiled"), ("triton", "triton")),
    )
]


def gradients(
    attention: str, general: str, qkv: list[Tensor], rounds: int, d_out: Tensor, *, over: bool
) -> list[Tensor]:
    bucket = torch.randint(0, 4, (2, rounds, _TOKENS), generator=torch.Generator().manual_seed(1))
    learned = [each.clone().requires_grad_() for each in (*qkv, torch.tensor([0.5, 2.0]), torch.tensor([-1.0, 0.5]))]
    *vectors, scale, sink = learned
    delta = Delta() if over else None
    out, _ = attention_with_log_sum_exp(
        *([vectors[0], *vectors] if len(vectors) == 2 else vectors),
        bucket,
        window=9,
        scale=scale,
        sink=sink,
        include_self=len(vectors) == 3,
        backend=attention,
        block=16,
        may_overwrite=True,
        delta=delta,
    )
    if delta is not None:
        delta.of_queries = torch.full((2, _TOKENS), torch.nan)
        with backends.using(general):
            for span in (slice(0, 32), slice(32, 64), slice(64, _TOKENS)):
                write_gradient(out.data[:, span], d_out[:, span], delta.of_queries[:, span])
        assert torch.equal(out.data, d_out)
        d_out = out.data
    return list(torch.autograd.grad([torch.autograd.graph.get_gradient_edge(out)], learned, [d_out]))


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(("attention", "general"), BACKENDS)
@pytest.mark.parametrize(
    ("dtype", "rounds", "queries_are_keys"),
    [(torch.float32, 1, False), (torch.bfloat16, 1, False), (torch.bfloat16, 2, True)],
)
def test_gradients_are_the_same_bits(
    attention: str, general: str, dtype: torch.dtype, rounds: int, queries_are_keys: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    count = 2 if queries_are_keys else 3
    qkv = [torch.randn(2, _TOKENS, 16, generator=generator).div(4).to(dtype) for _ in range(count)]
    d_out = torch.randn(_TOKENS, 2, 16, generator=generator).to(dtype).transpose(0, 1)
    kept, over = (gradients(attention, general, qkv, rounds, d_out, over=each) for each in (False, True))
    assert all(torch.equal(*pair) for pair in zip(kept, over, strict=True))


def test_delta_that_was_not_filled_in_is_an_error() -> None:
    x = torch.randn(1, 20, 16, requires_grad=True)
    bucket = torch.zeros(1, 1, 20, dtype=torch.int32)
    out, _ = attention_with_log_sum_exp(x, x, x, bucket, window=4, include_self=True, backend="blocked", delta=Delta())
    with pytest.raises(RuntimeError, match=r"set Delta\.of_queries"):
        out.sum().backward()
