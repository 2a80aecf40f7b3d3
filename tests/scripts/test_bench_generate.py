"""`bench_generate.py` at a tiny size, and what it makes of measurements."""

import json
from pathlib import Path

import pytest

import bench_generate
import check_decoding
from bench.command import pattern, words
from bench.generating.systems import SYSTEMS
from bench.generating.table import Row, ratios, rows, sentences
from bench.generating.worker import Task
from bench.shape import Shape
from revlm.errors import UsageError

TINY = {"contexts": "64,256", "peer_context": 256, "n_layers": 1, "tokens": 2, "stretches": 2, "precisions": "fp32"}


@pytest.mark.parametrize("systems", ["revlm", pytest.param(",".join(SYSTEMS), marks=pytest.mark.slow)])
def test_every_context_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str], systems: str) -> None:
    bench_generate.main(**TINY, systems=systems, output=tmp_path)
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "generate.json").read_text())
    own = [row for row in content["rows"] if row["system"] == "revlm"]
    assert [row["context"] for row in own] == [64, 256]
    for row in own:
        assert row["cache_bytes"] >= row["context"] * 2 * 256 * 4
        assert row["prefill_seconds"] > 0
        assert row["tokens_per_second"] > 0
    assert 0 < content["ratios"]["fp32"]["slowest_of_fastest"] <= 1
    assert "of the tokens/s of the fastest" in printed
    if systems == "revlm":
        return
    if SYSTEMS["transformers"].is_installed:
        assert content["ratios"]["fp32"]["times_the_peer_at_256"] > 0
    else:
        assert "transformers is not installed" in printed


def test_the_context_of_the_peer_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="170 tokens are sampled after it"):
        bench_generate.main(contexts="64", peer_context=64, output=tmp_path)
    with pytest.raises(UsageError, match="give a power of two"):
        bench_generate.main(contexts="64", peer_context=100, output=tmp_path)


def test_a_pattern_of_layers_repeats_kinds_where_a_choice_names_each_once() -> None:
    kinds = ("local", "lsh", "full")
    assert pattern("local,local,lsh", kinds, "--layers") == ("local", "local", "lsh")
    assert words("local,local,lsh", kinds, "--layers") == ("local", "lsh")
    with pytest.raises(UsageError, match="--layers has 'lhs': choose from local,lsh,full"):
        pattern("local,lhs", kinds, "--layers")


def test_ratios_are_within_a_precision() -> None:
    own = [Row("revlm", "fp32", context, 1.0, 1, 1, seconds) for context, seconds in ((16, 0.002), (64, 0.0025))]
    half = [Row("revlm", "bf16", 16, 1.0, 1, 1, 0.001)]
    peer = [Row("transformers", "fp32", 16, 1.0, 1, 1, 0.1)]
    found = ratios([*own, *half, *peer])
    assert found["fp32"] == pytest.approx({"slowest_of_fastest": 0.8, "times_the_peer_at_16": 50.0})
    assert found["bf16"] == {"slowest_of_fastest": 1.0}


def test_what_failed_is_said() -> None:
    task = Task("revlm", "fp32", ("lsh",), Shape(64), (64,), 1, 1, 0)
    measured = [(task, {"status": "out_of_time", "cause": "not done in 1 s"})]
    assert rows(measured) == []
    assert list(sentences([], measured)) == ["revlm, fp32: not done in 1 s"]
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task


def test_decoding_is_checked_against_the_forward_pass(capsys: pytest.CaptureFixture[str]) -> None:
    check_decoding.main(None, None, prompt=64, tokens=8, block=32)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shares = {words[0]: words[2] for words in lines if words and words[0] in ("fp64", "fp32", "bf16")}
    assert shares["fp64"] == "0.0000%"
    assert set(shares) == {"fp64", "fp32", "bf16"}
