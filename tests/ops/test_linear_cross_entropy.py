from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from revlm.model import RevLM, resolve_model
from revlm.ops.linear_cross_entropy import linear_cross_entropy, tiled_linear_cross_entropy
from revlm.recipe import Model
from tests.apart import peak_bytes, run_apart

# Logits of 512 MiB in float32; those of one tile are 16 MiB.
TOKENS, VOCABULARY, D_MODEL = 65536, 2048, 16
LOGITS_BYTES = TOKENS * VOCABULARY * 4


@pytest.mark.parametrize("ours", [False, True])
def test_the_loss_and_its_gradients_equal_cross_entropy(ours: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(37, 8, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(11, 8, dtype=torch.float64, generator=generator).requires_grad_()
    targets = torch.randint(0, 11, (37,), generator=generator)
    expected = cross_entropy(hidden @ weight.T, targets, reduction="sum")
    if ours:
        found = tiled_linear_cross_entropy(hidden, weight, targets, 10, torch.float64)
    else:
        found = linear_cross_entropy(hidden, weight, targets, 10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    for one, other in zip(
        torch.autograd.grad(3 * expected, (hidden, weight)),
        torch.autograd.grad(3 * found, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def loss_of_op(tokens: int, half: bool) -> None:
    hidden = torch.randn(tokens, D_MODEL).requires_grad_()
    weight = torch.randn(VOCABULARY, D_MODEL).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        loss = linear_cross_entropy(hidden, weight, torch.arange(tokens) % VOCABULARY)
    loss.backward()


def loss_of_model(tokens: int) -> None:
    recipe = Model(d_model=D_MODEL, n_layers=1, n_heads=1, d_ff=D_MODEL, layers=("local",), window=16)
    model = RevLM(resolve_model(recipe, tokens), vocab_size=VOCABULARY, seed=1)
    inputs = torch.arange(tokens) % VOCABULARY
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(model(inputs), inputs.roll(-1))
    loss.backward()


def whole_logits(tokens: int) -> None:
    linear(torch.randn(tokens, D_MODEL), torch.randn(VOCABULARY, D_MODEL))


WORK = {
    "op in float32": partial(loss_of_op, half=False),
    "op under autocast": partial(loss_of_op, half=True),
    "model under autocast": loss_of_model,
    "whole logits": whole_logits,
}


def peaks() -> dict[str, int]:
    found = {}
    for name, work in WORK.items():
        work(64)  # loads what a first call loads
        found[name] = peak_bytes(partial(work, TOKENS))
    return found


def test_the_logits_are_never_whole_in_memory() -> None:
    found = run_apart(peaks)
    assert found.pop("whole logits") > 0.99 * LOGITS_BYTES
    for name, peak in found.items():
        assert peak < LOGITS_BYTES / 4, f"{name}: {peak / 2**20:.0f} MiB"
