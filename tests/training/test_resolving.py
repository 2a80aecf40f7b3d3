"""What a recipe leaves open is decided once, by the first start of a run, and stored with it."""

import json
from pathlib import Path

import pytest
import torch

from revlm.cli.plan import _describe
from revlm.generation import load_model
from revlm.model import precision
from revlm.recipe import load_recipe
from revlm.training import resolving, train
from tests.tiny_run import tiny_recipe, write_tokens


@pytest.mark.parametrize(("natively", "expected"), [(True, "bf16"), (False, "fp32")])
def test_the_precision_is_said_once_and_stays_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, natively: bool, expected: str
) -> None:
    write_tokens(tmp_path / "tokens")

    def on_machine(has_bf16: bool) -> None:
        for module in (precision, resolving):
            monkeypatch.setattr(module, "multiplies_bf16", lambda device: has_bf16)

    said: list[str] = []
    run = tmp_path / "run"
    on_machine(natively)
    auto = tiny_recipe(run, "train.precision=auto")
    assert _describe(auto, 258, measure=False)["precision"] == expected
    list(train(auto, said.append))
    assert [text.split(",")[0].split(":")[0] for text in said if "train.precision" in text] == [
        f"train.precision is {expected}" if natively else "train.precision is fp32"
    ]
    on_machine(not natively)
    said.clear()
    list(train(tiny_recipe(run, "train.precision=auto", "train.max_steps=4"), said.append, allow_change=True))
    # Said again only where the stored one is slow.
    assert [text.partition(", so")[0] for text in said if "train.precision" in text] == (
        ["train.precision is bf16, which this CPU does not multiply natively"] if natively else []
    )
    assert load_recipe(run / "recipe.yaml").train.precision == expected
    assert load_model(run).recipe.train.precision == expected
    state = json.loads((run / "checkpoints" / "step-00000004" / "state.json").read_text())
    assert state["settings"]["train.precision"] == expected


def test_what_auto_stands_for_trains_as_if_it_were_given(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    given = precision.resolve_precision("auto", torch.device("cpu"))
    auto, named = (
        list(train(tiny_recipe(tmp_path / name, f"train.precision={word}", "train.max_steps=1")))
        for name, word in (("auto", "auto"), ("named", given))
    )
    assert auto[0]["loss"] == named[0]["loss"]
