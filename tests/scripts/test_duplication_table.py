"""`duplication_table.py`: what `full` means, and that what is counted is the second w."""

import numpy as np
import pytest
import torch

from revlm.corpus import Example
from revlm.model import RevLM
from revlm.model.kinds.lsh import HashAttention
from revlm.recipe import Model
from scripts.duplication_table import accuracy, full_attention

VOCABULARY, TOKENS = 32, 128
PLAIN = torch.autocast("cpu", enabled=False)


@pytest.fixture(scope="module")
def model() -> RevLM:
    recipe = Model(
        d_model=16, n_layers=2, n_heads=2, d_ff=32, layers=("local", "lsh"), window=8, n_rounds=2, n_buckets=16
    )
    made = RevLM(recipe, vocab_size=VOCABULARY, seed=3)
    with torch.no_grad():  # writers start small; here their part in the result is to be seen
        for name, weight in made.named_parameters():
            if ".write." in name:
                weight.mul_(100)
    return made.eval()


@torch.no_grad()
def hidden(model: RevLM) -> torch.Tensor:
    tokens = torch.randint(VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(0))
    return model(tokens)


def test_full_attention_is_one_bucket_and_no_window(model: RevLM, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = hidden(model)
    with full_attention(model):
        full = hidden(model)
    assert not torch.equal(full, hashed)
    assert torch.equal(hidden(model), hashed)
    monkeypatch.setattr(model.attention(1).mix, "window", TOKENS)
    monkeypatch.setattr(HashAttention, "buckets", lambda self, k, *_: k.new_zeros(len(k), 1, TOKENS).int())
    assert torch.equal(full, hidden(model))


class Oracle(torch.nn.Module):
    """Predicts what stood half a text before, but for the last `wrong` symbols."""

    def __init__(self, wrong: int) -> None:
        super().__init__()
        self.wrong = wrong
        self.head_weight = torch.zeros(1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        predicted = inputs.roll(len(inputs) // 2 - 1)
        predicted[len(inputs) - self.wrong :] = 0
        return torch.nn.functional.one_hot(predicted.long(), VOCABULARY).float()

    @staticmethod
    def logits(hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def copied_text(length: int) -> Example:
    half = np.concatenate([[1], np.random.default_rng(0).integers(2, VOCABULARY, length)]).astype(np.int32)
    targets = np.concatenate([half, half])
    inputs = np.concatenate([[0], targets[:-1]]).astype(np.int32)
    return Example(inputs, targets, np.zeros_like(inputs), ("text",), 0, len(targets))


@pytest.mark.parametrize("wrong", [0, 1, 5, 10])
def test_the_symbols_of_the_second_w_are_what_is_counted(wrong: int) -> None:
    assert accuracy(Oracle(wrong), [copied_text(10)], PLAIN) == pytest.approx(1 - wrong / 10)
