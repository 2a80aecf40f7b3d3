import threading
from collections import Counter

import pytest
import torch
from torch import Tensor

from revlm.model import RevLM
from revlm.model.parts.rotations import RotationsAhead
from revlm.recipe import Model

CPU = torch.device("cpu")


def test_each_layer_is_drawn_once_and_in_another_thread() -> None:
    drawn: Counter[int] = Counter()
    threads = set()

    def draw(layer: int) -> Tensor:
        drawn[layer] += 1
        threads.add(threading.current_thread())
        return torch.full((1, 2, 3), float(layer))

    rotations = RotationsAhead(draw, [1, 3, 5], CPU)
    for layer in (1, 3, 5, 5, 3, 1):
        assert rotations(layer).eq(layer).all()
    assert drawn == {1: 1, 3: 1, 5: 1}
    assert threading.current_thread() not in threads


def test_an_error_in_drawing_reaches_the_layer() -> None:
    def draw(layer: int) -> Tensor:
        raise ValueError(f"layer {layer}")

    with pytest.raises(ValueError, match="layer 3"):
        RotationsAhead(draw, [3], CPU)(3)


def test_a_step_with_rotations_drawn_ahead_has_the_bits_of_one_that_draws_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = {"d_model": 16, "n_heads": 2, "d_ff": 32, "window": 8, "n_rounds": 2, "n_buckets": 8, "n_layers": 4}
    recipe = Model.model_validate(shape | {"layers": ("lsh",)})
    inputs = torch.arange(128) % 20

    def gradients() -> list[Tensor]:
        network = RevLM(recipe, vocab_size=20, seed=3, tile=64)
        network.loss(network(inputs, step=7), inputs).backward()
        return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]

    expected = gradients()
    monkeypatch.setattr(
        RevLM,
        "_rotations_of_pass",
        lambda self, step: RotationsAhead(lambda layer: self._drawn(layer, step), self.hash_layers, CPU),
    )
    found = gradients()
    assert len(found) == len(expected) > 0
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
