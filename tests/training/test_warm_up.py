"""The kernels are compiled before the first step, all that a step uses, and none again for another length."""

import pytest
import torch

from revlm.model import RevLM, resolve_model
from revlm.ops.triton import availability
from revlm.recipe import Model

if not availability.is_available():
    pytest.skip("there is no triton", allow_module_level=True)

from revlm.model.precision import autocast
from revlm.ops import backends
from revlm.ops.triton.launch import Launch
from revlm.training.warm_up import warm_up
from tests.head_groups import take_heads_in


def network(**options: object) -> RevLM:
    shape = {"d_model": 64, "n_heads": 4, "d_ff": 128, "n_layers": 2, "layers": ("local", "lsh"), "window": 16}
    recipe = Model.model_validate(shape | {"n_rounds": 2, "n_buckets": 8, "attention_block": 16} | options)
    return RevLM(resolve_model(recipe, 256), vocab_size=20, seed=0, tile=96)


def without_alignment(variant: tuple[object, ...]) -> tuple[object, ...]:
    """A variant but for what it says of multiples of 16: names, constants and types."""
    return tuple(each[0] if isinstance(each, tuple) and not isinstance(each[0], str) else each for each in variant)


@pytest.fixture
def specialized(monkeypatch: pytest.MonkeyPatch) -> set[tuple[object, ...]]:
    """The variants of kernels that would be compiled; they are not run."""
    found: set[tuple[object, ...]] = set()
    monkeypatch.setattr(backends, "chosen", lambda device: "triton")
    monkeypatch.setattr(Launch, "run", lambda launch: found.add(launch.specialized()))
    # Nothing is computed, so neither streams nor buckets are as they should be.
    monkeypatch.setattr("revlm.model.reversible._require_reversal", lambda *streams: None)
    zero = torch.zeros((), dtype=torch.float64)
    monkeypatch.setattr("revlm.model.kinds.lsh.bucket_statistics", lambda *arguments: (zero, zero))
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "options", [{}, {"predecessor_keys": False, "n_buckets": [4, 16]}, {"reversible": False, "dropout": 0.1}]
)
def test_what_it_compiles_is_all_that_the_steps_use(
    specialized: set[tuple[object, ...]], options: dict[str, object], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, messages = network(**options), []
    weights = [each.clone() for each in model.parameters()]
    warm_up(model, precision, messages.append)
    compiled = set(specialized)
    names = {each[0] for each in compiled}
    assert {"_forward", "_query_gradients", "_key_gradients", "_hash", "_normalize", "_split"} < names
    assert messages[0].startswith("compiling kernels")
    assert messages[1].startswith("the kernels are ready after ")
    assert all(torch.equal(*pair) for pair in zip(weights, model.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    for lengths, groups in (([301], 1), ([97, 160, 1], 1), ([64] * 5, 1), ([301], 8)):
        take_heads_in(groups, monkeypatch)
        inputs = torch.zeros(sum(lengths), dtype=torch.int32)
        ids = torch.arange(len(lengths), dtype=torch.int32).repeat_interleave(torch.tensor(lengths))
        with autocast(precision, "cpu"):
            model.loss(model(inputs, ids, step=3), inputs).backward()
    assert specialized - compiled == set()
    # None is compiled twice because a pointer or a number is a multiple of 16 in one place and not in another.
    assert len(set(map(without_alignment, compiled))) == len(compiled)


def test_a_step_without_kernels_has_nothing_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "chosen", lambda device: "pytorch")
    messages: list[str] = []
    warm_up(network(), "fp32", messages.append)
    assert messages == []
