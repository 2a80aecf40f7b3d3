"""The works of a part at a tiny size on the CPU, and the rival that needs a card to be fast."""

import torch
from torch import Tensor

from bench.gpu.flops import model_flops
from bench.gpu.worker import WORKS
from bench.shape import Shape, random_example
from bench.systems import SYSTEMS
from bench.systems.exact import build

SHAPE = Shape(128, layers=1, d_model=32, heads=1, d_ff=64, vocabulary=50, rounds=1, window=16, documents=2)
CPU = torch.device("cpu")


def test_a_step_of_several_documents() -> None:
    result = WORKS["step"]("revlm", SHAPE, CPU)
    assert result["seconds"] > 0
    assert 3 < result["loss"] < 5
    assert result["model_flops"] > 6 * SHAPE.tokens * SHAPE.d_model * SHAPE.vocabulary


def test_launches_count_what_the_host_reads() -> None:
    result = WORKS["launches"]("revlm", SHAPE, CPU)
    assert result["launches"] == result["waits"] == 0  # on a CPU
    assert result["host_reads"]["equal"] == 1  # the check that the streams were restored
    assert result["kernels"] == []


def test_operations_are_those_of_a_step() -> None:
    found = WORKS["operations"]("revlm", SHAPE, CPU)["operations"]
    assert {"hash", "attention, lsh, backward", "loss and its gradients"} <= {each["name"] for each in found}
    assert all(each["seconds"] > 0 for each in found)


@torch.no_grad()  # on a CPU it has no backward pass
def test_flex_attention_sees_its_document_only() -> None:
    torch.manual_seed(0)
    model = build(SHAPE, **SYSTEMS["flex"].options)[0]
    alone = build(SHAPE)[0]
    alone.load_state_dict(model.state_dict())
    inputs, targets = random_example(SHAPE, 0)

    def loss(of: torch.nn.Module, span: slice) -> Tensor:
        result: Tensor = of(inputs[span], targets[span])
        return result

    halves = (loss(alone, slice(64)) + loss(alone, slice(64, 128))) / 2
    torch.testing.assert_close(loss(model, slice(128)), halves)
    assert (loss(alone, slice(128)) - halves).abs() > 1e-6


def test_flops_of_exact_attention_are_those_of_weights_and_of_pairs_in_documents() -> None:
    shape = Shape(100, layers=2, d_model=8, heads=1, d_ff=32, vocabulary=10, documents=2)
    weights = 2 * (4 * 64 + 2 * 8 * 32) + 80
    one, two = sum(range(1, 101)), 2 * sum(range(1, 51))
    model = torch.nn.Identity()
    assert model_flops(shape, "exact", model) == 6 * 100 * weights + 12 * 8 * 2 * one
    assert model_flops(shape, "flex", model) == 6 * 100 * weights + 12 * 8 * 2 * two
