"""What the operations say they need is what they ask the allocator for."""

import pytest
import torch

from revlm.ops.attention import Delta, attention_with_log_sum_exp, workspace_bytes
from revlm.ops.compiled import library
from revlm.ops.linear_cross_entropy import linear_cross_entropy
from revlm.ops.linear_cross_entropy import workspace_bytes as loss_workspace_bytes
from tests.allocations import MIB, peaks
from tests.apart import peak_bytes, run_apart


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("tokens", "head_dim", "rounds", "window"), [(8192, 64, 1, 64), (8192, 32, 2, 32), (4096, 64, 4, 64)]
)
def test_attention_needs_what_it_says(tokens: int, head_dim: int, rounds: int, window: int, dtype: torch.dtype) -> None:
    rows, generator = 3, torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(rows, tokens, head_dim, generator=generator).to(dtype).requires_grad_() for _ in range(3))
    bucket = torch.randint(0, tokens // window, (rows, rounds, tokens), generator=generator, dtype=torch.int32)
    scale, sink = torch.ones(rows, requires_grad=True), torch.zeros(rows, requires_grad=True)
    delta = Delta(torch.zeros(rows, tokens))

    def attend() -> torch.Tensor:
        options = {
            "window": window,
            "scale": scale,
            "sink": sink,
            "include_self": False,
            "backend": "blocked",
            "delta": delta,
        }
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
            device_kind="cpu",
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


# rows, tokens, rounds, whether queries are keys, type
COMPILED_CASES = [
    (*shape, dtype)
    for shape in ((2, 65536, 1, False), (2, 65536, 4, False), (2, 65536, 4, True), (16, 8192, 4, False))
    for dtype in (torch.float32, torch.bfloat16)
]


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
@pytest.mark.parametrize(
    "cases",
    [COMPILED_CASES[0::4] + COMPILED_CASES[3::4], pytest.param(COMPILED_CASES, marks=pytest.mark.slow)],
    ids=["each shape in one type", "all"],
)
def test_compiled_attention_needs_what_it_says(cases: list[tuple]) -> None:
    found = run_apart(_resident_memories, cases)
    for (rows, tokens, rounds, shared, dtype), measured in zip(cases, found, strict=True):
        planned = [
            workspace_bytes(
                rows=rows,
                tokens=tokens,
                head_dim=64,
                rounds=rounds,
                window=64,
                block=64,
                element_bytes=dtype.itemsize,
                backward=backward,
                device_kind="cpu",
                queries_are_keys=shared,
                backend="compiled",
            )
            for backward in (False, True)
        ]
        case = (rows, tokens, rounds, shared, dtype)
        assert planned == pytest.approx(measured, rel=0.1, abs=4 * MIB), case


def _resident_memories(cases: list[tuple]) -> list[list[int]]:
    return [_resident_memory(*case) for case in cases]


def _resident_memory(rows: int, tokens: int, rounds: int, shared: bool, dtype: torch.dtype) -> list[int]:
    """What the passes of the compiled attention hold beyond their results, by the system's account."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(rows, tokens, 64, generator=generator).to(dtype).requires_grad_() for _ in range(3))
    bucket = torch.randint(0, tokens // 64, (rows, rounds, tokens), generator=generator, dtype=torch.int32)

    def attend() -> torch.Tensor:
        options = {"window": 64, "include_self": False, "backend": "compiled"}
        return attention_with_log_sum_exp(k if shared else q, k, v, bucket, **options)[0]

    def differentiate() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(out, (k, v) if shared else (q, k, v), d_out, retain_graph=True)

    one = q.numel() * dtype.itemsize
    out = attend()
    d_out = torch.ones_like(out)
    differentiate()  # from here on all code is loaded
    with torch.no_grad():
        forward = peak_bytes(attend) - one - 4 * rows * tokens
    return [forward, peak_bytes(differentiate) - (2 if shared else 3) * one]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("tokens", "d_model"), [(1000, 32), (2100, 256), (9000, 32)])
def test_the_loss_needs_what_it_says(tokens: int, d_model: int, half: bool) -> None:
    vocab_size = 2000
    hidden = torch.randn(tokens, d_model, requires_grad=True)
    weight = torch.randn(vocab_size, d_model, requires_grad=True)
    targets = torch.randint(0, vocab_size, (tokens,))

    def loss() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half, cache_enabled=False):
            return linear_cross_entropy(hidden, weight, targets)

    gradients = 4 * (hidden.numel() + weight.numel())
    planned = loss_workspace_bytes(
        tokens=tokens, vocab_size=vocab_size, d_model=d_model, product_bytes=2 if half else 4, device_kind="cpu"
    )
    assert planned == pytest.approx(peaks(loss)[""] - gradients, rel=0.05, abs=MIB)
