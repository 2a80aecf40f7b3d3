"""The stages of a kernel are chosen once, by the times that are measured, and kept for later processes."""

import json
from pathlib import Path

import pytest
import torch

from revlm.ops.triton import availability

if not availability.is_available():
    pytest.skip("there is no triton", allow_module_level=True)

import triton
from triton.runtime.errors import OutOfResources

from revlm.ops.attention.triton.forward import forward_launch
from revlm.ops.attention.triton.order import SortedOrder
from revlm.ops.triton import tuning
from revlm.ops.triton.launch import Launch


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of its own, and a process that has read no choices yet."""
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path / "cache"))
    monkeypatch.setattr(tuning, "_file", lambda kernel, device: tmp_path / "cache" / "choices.json")
    tuning._choices.cache_clear()
    return tmp_path / "cache"


def launch(head_dim: int = 16) -> Launch:
    q, k, v, out = (torch.randn(1, 32, head_dim) for _ in range(4))
    order = SortedOrder(*(torch.zeros(1, 1, 32, dtype=torch.int32) for _ in range(4)))
    options = {"round_": 0, "include_self": True, "block": 16}
    return forward_launch(q, k, v, torch.ones(1), None, out, out, torch.empty(1, 32), order, **options)


class Clock:
    """Stands in for a card, on which some stages do not fit."""

    def __init__(self, *, fastest: int, too_large: tuple[int, ...] = ()) -> None:
        self.fastest, self.too_large, self.measured = fastest, too_large, []

    def __call__(self, launch: Launch) -> float:
        stages = launch.options["num_stages"]
        self.measured.append(stages)
        if stages in self.too_large:
            raise OutOfResources(200_000, 100_000, "shared memory")
        for each in launch.arguments.values():
            if isinstance(each, torch.Tensor) and each.is_floating_point():
                each.fill_(7.0)  # as a kernel that writes over its inputs
        return 1.0 if stages == self.fastest else 2.0


def test_the_fastest_that_fits_is_chosen_once_and_read_by_later_processes(folder: Path) -> None:
    clock, one = Clock(fastest=3, too_large=(4,)), launch()
    before = {name: each.clone() for name, each in one.arguments.items() if isinstance(each, torch.Tensor)}
    with tuning.tuning():
        assert tuning.tuned(one, clock) == {**one.options, "num_stages": 3}
        assert tuning.tuned(one, clock)["num_stages"] == 3
    assert clock.measured == list(tuning.STAGES)
    for name, each in before.items():
        torch.testing.assert_close(one.arguments[name], each, rtol=0, atol=0, equal_nan=True)
    assert list(json.loads((folder / "choices.json").read_bytes()).values()) == [3]
    tuning._choices.cache_clear()  # another process, which does not measure
    assert tuning.tuned(one, Clock(fastest=1))["num_stages"] == 3
    assert tuning.tuned(launch(head_dim=32), Clock(fastest=1)) == launch(head_dim=32).options


def test_without_a_choice_that_fits_it_runs_with_its_own() -> None:
    with tuning.tuning():
        assert tuning.tuned(launch(), Clock(fastest=1, too_large=tuning.STAGES)) == launch().options


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"a": "b"}', b'{"a": [2]}'])
def test_a_damaged_file_is_no_choice(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "choices.json").write_bytes(content)
    assert tuning.tuned(launch(), Clock(fastest=1)) == launch().options


def test_a_folder_that_cannot_be_written_keeps_the_choice_in_the_process(folder: Path) -> None:
    folder.write_bytes(b"")  # a file where the folder would be
    with tuning.tuning():
        assert tuning.tuned(launch(), Clock(fastest=2))["num_stages"] == 2
    assert tuning.tuned(launch(), Clock(fastest=1))["num_stages"] == 2


def test_the_interpreter_and_the_cpu_measure_nothing() -> None:
    with tuning.tuning():
        assert tuning.tuned(launch()) == launch().options
