"""A checkpoint or exported model that someone made, digests and all, holds what it likes: each is refused by name."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from revlm.cli import main
from revlm.runs import list_checkpoints
from tests.tiny_run import write_run

Forge = Callable[[Path], None]


def _state(*keys: str, to: Any) -> Forge:
    """Sets a value in state.json."""

    def forge(checkpoint: Path) -> None:
        state = json.loads((checkpoint / "state.json").read_text())
        inner = state
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        (checkpoint / "state.json").write_text(json.dumps(state))

    return forge


def _content(content: bytes) -> Forge:
    return lambda checkpoint: (checkpoint / "state.json").write_bytes(content) and None


def _tensors(group: str, change: Callable[[torch.Tensor], torch.Tensor] | None) -> Forge:
    """Changes the tensors of a group; None removes them."""

    def forge(checkpoint: Path) -> None:
        path = checkpoint / f"{group}.safetensors"
        old = {name: tensor.clone() for name, tensor in load_file(path).items()}
        save_file({} if change is None else {name: change(tensor) for name, tensor in old.items()}, path)

    return forge


FORGED = {
    "a list": _content(b"[1]"),
    "no JSON": _content(b"{"),
    "nested": _content(b"[" * 100_000),
    "digits": _content(b'{"settings": ' + b"9" * 5000 + b"}"),
    "no settings": _state("settings", to=None),
    "settings of a list": _state("settings", to=[1]),
    "corpus": _state("settings", "corpus", to=None),
    "buckets": _state("settings", "model.n_buckets", to=None),
    "rounds": _state("settings", "model.n_rounds", to=10**9),
    "learning rate": _state("settings", "optimizer.lr", to="x"),
    "place": _state("corpus", to=[1]),
    "counters": _state("counters", to=None),
    "count": _state("counters", "trained_tokens", to="x"),
    "small moments": _tensors("optimizer", lambda tensor: torch.tensor(1.0)),
    "whole numbers": _tensors("optimizer", torch.Tensor.long),
    "no random numbers": _tensors("random", None),
    "few random numbers": _tensors("random", lambda tensor: tensor[:3].clone()),
    "no weights": _tensors("model", None),
    "small weights": _tensors("model", lambda tensor: torch.zeros(1)),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("forged") / "run", "train.max_steps=1")


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_a_forged_checkpoint(finished: Path, tmp_path: Path, forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    [checkpoint] = list_checkpoints(run)
    forge(checkpoint)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    for name in manifest["files"]:
        content = (checkpoint / name).read_bytes()
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    assert main(["train", str(run / "recipe.yaml"), "train.max_steps=2", "--allow-change"]) == 6
    assert main(["generate", "--run", str(run), "--prompt", "the", "--max-tokens", "1", "--device", "cpu"]) in {0, 6}
    new = ["train", str(finished.parent / "run.yaml"), f"data.path={finished.parent / 'tokens'}"]
    start = [f"output_dir={tmp_path / 'new'}", f"train.start_from={checkpoint}", "train.max_steps=1"]
    assert main([*new, *start]) in {0, 2, 6}
    assert "unexpected" not in capsys.readouterr().err
