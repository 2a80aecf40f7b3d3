"""Gradients are summed in a few buffers whose layout depends on the parameters alone."""

import os

import pytest
import torch
from torch import nn

from revlm.launch import launch_of
from revlm.training.ranks import gradients, join_ranks
from revlm.training.ranks.gradients import grouped, sum_gradients
from tests.several import on_ranks


def parameters(*sizes: int, dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(size, dtype=dtype)) for size in sizes]


def test_consecutive_parameters_share_a_buffer_up_to_its_size() -> None:
    given = parameters(2, 3, 6, 100, 1, 4)
    groups = list(grouped(given, 4 * 8))
    assert [[each.numel() for each in buffer] for buffer in groups] == [[2, 3], [6], [100], [1, 4]]
    assert [each for buffer in groups for each in buffer] == given
    mixed = [*parameters(1), *parameters(1, 1, dtype=torch.float64)]
    assert [len(buffer) for buffer in grouped(mixed, 4 * 8)] == [1, 2]
    assert list(grouped([], 8)) == []


def test_few_sums_give_each_gradient_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "GRADIENT_BUFFER_BYTES", 4 * 8)
    given, calls = parameters(2, 3, 6, 100, 1, 4), []
    for number, parameter in enumerate(given):
        parameter.grad = None if number == 4 else torch.full_like(parameter, float(number))

    def double(buffer: torch.Tensor) -> None:
        calls.append(buffer.numel())
        buffer.mul_(2)

    sum_gradients(given, double)
    assert calls == [5, 6, 100, 5]
    for number, parameter in enumerate(given):
        assert torch.equal(parameter.grad, torch.full_like(parameter, 0.0 if number == 4 else 2.0 * number))


def summed() -> list[float]:
    """The sum of what each rank has; one has no gradient at all."""
    with join_ranks(launch_of(os.environ)) as ranks:
        given = parameters(1, 2)
        if ranks.rank != 1:
            for parameter in given:
                parameter.grad = torch.full_like(parameter, ranks.rank + 1.0)
        ranks.sum_gradients(given)
        return [float(number) for parameter in given for number in parameter.grad]


def test_ranks_sum_what_they_have() -> None:
    assert on_ranks(3, summed) == [[4.0] * 3] * 3
