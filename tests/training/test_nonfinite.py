import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from revlm.errors import NonFiniteError
from revlm.model import RevLM
from revlm.ops.fixed_point import FixedPoint
from revlm.recipe import Recipe
from revlm.runs import RunFolder, list_checkpoints, load_checkpoint, read_journal
from revlm.training import train
from tests.tiny_run import tiny_recipe, write_tokens

SETTINGS = (
    "train.max_steps=6",
    "train.gradient_accumulation_steps=2",
    "checkpoint.every=2",
    "model.dropout=0.1",
    "data.seq_len=200",
)
Poison = Callable[[set[int]], None]


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """A run's recipe by the name of its folder, with overrides."""
    write_tokens(tmp_path / "tokens")
    return lambda name, *overrides: tiny_recipe(tmp_path / name, *SETTINGS, *overrides)


@pytest.fixture(params=["loss", "gradient", "stream"])
def poison(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Poison:
    """Makes the last micro-batch of the steps that are given go wrong, in the loss, the gradient or a stream."""

    def at(steps: set[int]) -> None:
        forward, loss, add = RevLM.forward, RevLM.loss, FixedPoint.add_
        bad = False

        def watched(self: RevLM, inputs: torch.Tensor, document=None, *, step=None, **options: Any):
            nonlocal bad
            bad = self.training and step is not None and step % 2 == 1 and step // 2 + 1 in steps
            return forward(self, inputs, document, step=step, **options)

        def bad_loss(self: RevLM, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            if bad and request.param == "gradient":
                hidden.register_hook(lambda gradient: gradient * math.inf)
            return loss(self, hidden, targets) * (math.nan if bad and request.param == "loss" else 1)

        def bad_increment(self: FixedPoint, stream: torch.Tensor, increment: torch.Tensor) -> None:
            if bad and request.param == "stream":
                increment = increment.clone()
                increment.view(-1)[0] = math.nan
            add(self, stream, increment)

        monkeypatch.setattr(RevLM, "forward", watched)
        monkeypatch.setattr(RevLM, "loss", bad_loss)
        monkeypatch.setattr(FixedPoint, "add_", bad_increment)

    at.what = {"loss": "the loss", "gradient": "the gradient", "stream": "a stream"}[request.param]
    return at


def weights(recipe: Recipe) -> dict[str, torch.Tensor]:
    return load_checkpoint(list_checkpoints(recipe.output_dir)[-1]).tensors["model"]


def records(recipe: Recipe) -> list[dict]:
    return list(read_journal(RunFolder.open(recipe.output_dir).metrics))


def test_a_step_that_is_not_finite_ends_the_run(recipe: Callable[..., Recipe], poison: Poison) -> None:
    poison({5})
    run = recipe("run")
    with pytest.raises(NonFiniteError, match=rf"{poison.what} of step 5 is not finite on \w+.*train.on_nonfinite=skip"):
        list(train(run))
    assert [record["step"] for record in records(run)] == [1, 2, 3, 4]
    assert load_checkpoint(list_checkpoints(run.output_dir)[-1]).step == 4


def test_a_step_that_is_not_finite_is_passed_over(recipe: Callable[..., Recipe], poison: Poison) -> None:
    """The weights stay, the data go on, and a run that is cut off right after it ends with the same."""
    poison({3, 4})
    whole, parts, messages = recipe("whole", "train.on_nonfinite=skip"), recipe("parts", "train.on_nonfinite=skip"), []
    undisturbed = list(train(whole, messages.append))
    skipped = undisturbed[2]
    assert skipped["skipped"] == f"{poison.what} is not finite"
    assert skipped["skipped_documents"]
    assert math.isnan(skipped["loss"])
    assert [("skipped" in record, record["step"]) for record in records(whole)] == [
        (False, 1), (False, 2), (True, 3), (True, 4), (False, 5), (False, 6)
    ]  # fmt: skip
    assert records(whole)[2]["loss"] is None
    assert sum(f"step 3 was skipped, {poison.what} is not finite on " in message for message in messages) == 1
    states = {path.name: load_checkpoint(path) for path in list_checkpoints(whole.output_dir)}
    before, after = states["step-00000002"], states["step-00000004"]
    for group in ("model", "optimizer"):
        assert all(torch.equal(value, after.tensors[group][name]) for name, value in before.tensors[group].items())
    assert before.state["corpus"] != after.state["corpus"]
    assert after.state["counters"]["skipped_steps"] == 2
    assert states["step-00000006"].state["counters"] == {
        "skipped_steps": 2,
        "trained_tokens": sum(record["tokens"] for record in undisturbed if "skipped" not in record),
    }
    for last in (3, 5):
        cut_off = train(parts)
        while next(cut_off)["step"] != last:
            pass
        cut_off.close()
    list(train(parts))
    assert all(torch.equal(value, weights(parts)[name]) for name, value in weights(whole).items())
    assert [(r["step"], r["loss"]) for r in records(parts)] == [(r["step"], r["loss"]) for r in records(whole)]


def test_only_so_many_steps_are_passed_over(recipe: Callable[..., Recipe], poison: Poison) -> None:
    """Also over starts of the run: earlier skipped steps count."""
    poison({1, 2, 4})
    run = recipe("run", "train.on_nonfinite=skip", "train.max_skipped=2")
    for _ in range(2):
        with pytest.raises(NonFiniteError, match=r"step 4 .*after 2 skipped steps \(train.max_skipped\)"):
            list(train(run))
    list(train(recipe("run", "train.on_nonfinite=skip", "train.max_skipped=3")))
    assert [record["step"] for record in records(run) if "skipped" in record] == [1, 2, 4]


def test_a_stream_beyond_its_range_ends_the_run_in_both_ways(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = FixedPoint.add_
    monkeypatch.setattr(FixedPoint, "add_", lambda self, stream, increment: add(self, stream, increment + 2000.0))
    with pytest.raises(NonFiniteError, match=r"model\.stream_fraction_bits: 20"):
        list(train(recipe("run", "train.on_nonfinite=skip")))
