from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from revlm.errors import UsageError
from revlm.model import RevLM, resolve_model
from revlm.ops.compiled import library
from revlm.ops.linear_cross_entropy import compiled, linear_cross_entropy, reference
from revlm.recipe import Model
from tests import allocations
from tests.apart import peak_bytes, run_apart

# Logits of 256 MiB in float32; those of one tile are 16 MiB.
TOKENS, VOCABULARY, D_MODEL = 32768, 2048, 16
LOGITS_BYTES = TOKENS * VOCABULARY * 4


def test_the_loss_and_its_gradients_equal_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(37, 8, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(11, 8, dtype=torch.float64, generator=generator).requires_grad_()
    targets = torch.randint(0, 11, (37,), generator=generator)
    expected = cross_entropy(hidden @ weight.T, targets, reduction="sum")
    found = linear_cross_entropy(hidden, weight, targets, 10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    for one, other in zip(
        torch.autograd.grad(3 * expected, (hidden, weight)),
        torch.autograd.grad(3 * found, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-8)])
@pytest.mark.parametrize("classes", [1, 16, 37, 2048])
def test_the_compiled_softmax_is_the_plain_one(dtype: torch.dtype, tolerance: float, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (20 * torch.randn(150, classes, generator=generator)).to(dtype)
    targets = torch.randint(0, classes, (150,), generator=generator)
    plain, found = logits.clone(), logits.clone()
    expected = reference.softmax_gradient_(plain, targets)
    torch.testing.assert_close(compiled.softmax_gradient_(found, targets), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, plain, rtol=tolerance, atol=1e-5)


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_logit_that_is_not_finite_makes_the_loss_say_so(dtype: torch.dtype) -> None:
    logits = torch.zeros(4, 40, dtype=dtype)
    logits[0, 3], logits[1, 3], logits[2, 3] = torch.nan, torch.inf, -torch.inf
    losses = compiled.softmax_gradient_(logits, torch.tensor([0, 0, 0, 0]))
    assert not losses[:2].isfinite().any()
    assert losses[2:].isfinite().all()


@pytest.mark.parametrize("target", [-1, 11])
def test_a_target_beyond_the_vocabulary_is_refused(target: int) -> None:
    with pytest.raises(UsageError, match="vocabulary of 11"):
        linear_cross_entropy(torch.randn(3, 8), torch.randn(11, 8), torch.tensor([0, target, 2]))


def test_a_second_backward_pass_is_refused() -> None:
    hidden = torch.randn(5, 8).requires_grad_()
    loss = linear_cross_entropy(hidden, torch.randn(11, 8), torch.arange(5), 2)
    (2 * loss).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


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


@pytest.mark.parametrize("half", [False, True])
def test_without_gradients_none_are_computed(half: bool) -> None:
    """That of the weight would be as large as the weight itself."""
    hidden, weight = torch.randn(64, 256, requires_grad=True), torch.randn(4096, 256, requires_grad=True)
    targets = torch.zeros(64, dtype=torch.int64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        evaluated = allocations.peaks(lambda: linear_cross_entropy(hidden, weight, targets))[""]
    logits, casts = 64 * 4096 * 4, (4096 + 64) * 256 * 2 if half else 0
    assert evaluated < 3 * logits + casts
