"""`bench_peers.py` at a tiny size: every system that is installed does the work, and what it leaves is whole."""

import json
from contextlib import redirect_stdout
from io import StringIO
from math import log
from pathlib import Path
from typing import Any

import pytest

import bench_peers
from bench.pictures import write_pictures
from bench.schedule import Suite
from bench.summary import rows
from bench.systems import SYSTEMS
from revlm.errors import UsageError
from revlm.model.precision import resolve_precision
from tests.scripts.bench.test_summary import measured

OWN = ("revlm", "revlm-stored")
PEERS = [name for name, system in SYSTEMS.items() if system.on_cpu and name not in OWN]
TINY = {
    "precisions": resolve_precision("auto", "cpu"),  # the one in which the machine is fast
    "lengths": "256",
    "depth_tokens": 256,
    "repeats": 1,
    "full_step": True,
}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="module")
def printed(output: Path) -> str:
    with redirect_stdout(StringIO()) as printed:
        bench_peers.main(**TINY, systems=",".join(OWN), layers="1", output=output)
    return printed.getvalue()


@pytest.fixture(scope="module")
def content(printed: str, output: Path) -> dict[str, Any]:
    return json.loads((output / "peers.json").read_text())


def assert_done(measurements: list[dict[str, Any]]) -> None:
    assert {each["shape"]["tokens"] for each in measurements} == {256}
    for each in measurements:
        assert each["status"] == "done", each["cause"]
        assert each["loss"] == pytest.approx(log(2048), rel=0.1)
        assert each["gradients_are_finite"]
        # Some peers hold a few weights that a step does not use.
        assert 0.99 * each["weight_bytes"] <= each["gradient_bytes"] <= each["weight_bytes"]
        assert each["optimizer_bytes"] >= 2 * each["gradient_bytes"]
        assert each["memory_baseline_bytes"] < each["built_bytes"] < each["memory_peak_bytes"]
        assert min(each[f"{phase}_seconds"] for phase in ("forward", "backward", "optimizer")) > 0


def test_revlm_does_the_work(content: dict[str, Any]) -> None:
    assert_done(content["measurements"])


@pytest.mark.slow
@pytest.mark.parametrize("system", PEERS)
def test_every_peer_does_the_work(tmp_path: Path, system: str) -> None:
    if not SYSTEMS[system].is_installed:
        pytest.skip(f"{SYSTEMS[system].requires} is not installed")
    bench_peers.main(**TINY, systems=system, layers="1", output=tmp_path)
    assert_done(json.loads((tmp_path / "peers.json").read_text())["measurements"])


def test_stored_and_reversible_are_one_model(content: dict[str, Any]) -> None:
    losses = {system: [each["loss"] for each in content["measurements"] if each["system"] == system] for system in OWN}
    assert len(losses["revlm"]) == 1
    assert losses["revlm"] == losses["revlm-stored"]


def test_results_describe_the_machine_and_each_repetition(content: dict[str, Any]) -> None:
    assert content["machine"]["threads"] >= 1
    assert {"torch", "transformers", "reformer-pytorch"} <= set(content["machine"]["packages"])
    assert len(content["rows"]) == len(content["measurements"]) == len(OWN)


def test_the_table_names_each_system(printed: str) -> None:
    for system in OWN:
        assert SYSTEMS[system].label in printed


@pytest.mark.parametrize(
    ("lengths", "layers", "names"),
    [((1024, 2048), (6,), ["time.png", "memory.png"]), ((1024,), (6, 12), ["depth.png"])],
)
def test_lengths_and_depths_are_compared_in_pictures(
    tmp_path: Path, lengths: tuple[int, ...], layers: tuple[int, ...], names: list[str]
) -> None:
    found = rows(
        measured(system, "bf16", seconds=tokens / 1024, tokens=tokens, layers=depth)
        for system in SYSTEMS
        for tokens in lengths
        for depth in layers
    )
    suite = Suite(
        systems=tuple(SYSTEMS), precisions=("bf16",), lengths=lengths, layers=layers, depth_tokens=1024, repeats=1,
        once_beyond_seconds=1.0, seconds_limit=1.0, memory_limit_bytes=1, seed=0, full_step=False, threads=None,
    )  # fmt: skip
    assert [picture.name for picture in write_pictures(tmp_path, found, suite)] == names
    for name in names:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"systems": "revlm,other"}, "--systems has 'other'"),
        ({"precisions": "fp8"}, "--precisions has 'fp8'"),
        ({"layers": "6,many"}, "--layers has 'many'"),
        ({"lengths": "1000"}, "a length of 1000"),
    ],
)
def test_wrong_use_is_told_before_anything_is_written(arguments: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        bench_peers.main(**arguments, output=tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
