"""What the operations say they need is what they ask the allocator for."""

import pytest
import torch

from revlm.ops.attention import attention_with_log_sum_exp, workspace_bytes
from revlm.ops.linear_cross_entropy import linear_cross_entropy
from revlm.ops.linear_cross_entropy import workspace_bytes as loss_workspace_bytes
from tests.allocations import MIB, peaks


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("tokens", "head_dim", "rounds", "window"), [(8192, 64, 1, 64), (8192, 32, 2, 32), (4096, 64, 4, 64)]
)
def test_attention_needs_what_it_says(tokens: int, head_dim: int, rounds: int, window: int, dtype: torch.dtype) -> None:
    rows, generator = 3, torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(rows, tokens, head_dim, generator=generator).to(dtype).requires_grad_() for _ in range(3))
    bucket = torch.randint(0, tokens // window, (rows, rounds, tokens), generator=generator, dtype=torch.int32)
    scale, sink = torch.ones(rows, requires_grad=True), torch.zeros(rows, requires_grad=True)

    def attend() -> torch.Tensor:
        options = {"window": window, "scale": scale, "sink": sink, "include_self": False, "backend": "blocked"}
        return attention_with_log_sum_exp(q, k, v, bucket, **options)[0]

    def planned(*, backward: bool) -> int:
        return workspace_bytes(
            rows=rows,
            tokens=tokens,
            head_dim=head_dim,
            rounds=rounds,
            window=window,
            block=64,
            element_bytes=dtype.itemsize,
            backward=backward,
            backend="blocked",
        )

    one = q.numel() * dtype.itemsize
    with torch.no_grad():
        forward = peaks(attend)[""] - one - 4 * rows * tokens
    out = attend()
    d_out = torch.ones_like(out)
    backward = peaks(lambda: torch.autograd.grad(out, (q, k, v, scale, sink), d_out, retain_graph=True))[""] - 3 * one
    assert planned(backward=False) == pytest.approx(forward, rel=0.1, abs=MIB)
    assert planned(backward=True) == pytest.approx(backward, rel=0.1, abs=MIB)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("tokens", [1000, 3000, 9000])
def test_the_loss_needs_what_it_says(tokens: int, half: bool) -> None:
    d_model, vocab_size = 32, 2000
    hidden = torch.randn(tokens, d_model, requires_grad=True)
    weight = torch.randn(vocab_size, d_model, requires_grad=True)
    targets = torch.randint(0, vocab_size, (tokens,))

    def loss() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half, cache_enabled=False):
            return linear_cross_entropy(hidden, weight, targets)

    gradients = 4 * (hidden.numel() + weight.numel())
    planned = loss_workspace_bytes(
        tokens=tokens, vocab_size=vocab_size, d_model=d_model, product_bytes=2 if half else 4
    )
    assert planned == pytest.approx(peaks(loss)[""] - gradients, rel=0.05, abs=MIB)
