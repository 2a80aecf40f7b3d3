import json
from pathlib import Path

import pytest
from PIL import Image

from revlm.cli import main
from tests.tiny_run import write_tokens

SMALL = ("data.seq_len=4096", "model.d_model=32", "model.n_layers=2", "model.n_heads=2", "train.device=cpu")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    exit_code = main(["plan", "demo", *SMALL, *arguments])
    captured = capsys.readouterr()
    return exit_code, captured.out, captured.err


def test_the_table_has_categories_phases_and_what_fits(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, out, err = run(capsys, "memory.limit=2GB")
    assert exit_code == 0
    for words in ("forward", "backward", "optimizer", "weights", "streams", "freed, not reused", "planned"):
        assert words in out
    assert "fits into the 2.00 GB that memory.limit allows; the longest data.seq_len that fits is " in out
    assert "vocabulary of 2,048 (--vocab-size)" in err


def test_json_is_the_same_plan_in_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, out, _ = run(capsys, "--json", "memory.limit=400MB", "--vocab-size", "300")
    plan = json.loads(out)
    assert exit_code == 0
    assert plan["vocab_size"] == 300
    assert plan["peak_bytes"] == max(sum(peak.values()) for peak in plan["peaks"].values())
    assert plan["total_bytes"] == plan["peak_bytes"] + plan["process_bytes"]
    assert plan["limit_bytes"] == 400 * 10**6
    assert plan["limit_owner"] == "memory.limit allows"
    assert plan["fits"] is False
    assert plan["longest_seq_len"] < 4096
    assert plan["measured"] is None


def test_the_vocabulary_is_that_of_the_tokens(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens")
    _, out, err = run(capsys, f"data.path={tokens}", "--json")
    assert json.loads(out)["vocab_size"] == 257
    assert err == ""
    _, out, _ = run(capsys, f"data.path=[{tokens}, {tmp_path / 'more'}]", "--json")
    assert json.loads(out)["vocab_size"] == 257


def test_a_gpu_is_planned_for_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "train.device=cuda", "--json", "memory.limit=8GB")
    assert json.loads(out)["device"] == "cuda"
    assert json.loads(out)["fits"] is True


def test_a_sweep_has_both_modes_at_each_value_and_a_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "depth.png"
    exit_code, out, _ = run(capsys, "--sweep", "model.n_layers=8,2", "--json", "--output", str(picture))
    assert exit_code == 0
    rows = json.loads(out)["rows"]
    assert [row["value"] for row in rows] == [2, 8]
    reversible, stored = ([row[mode]["peak_bytes"] for row in rows] for mode in ("reversible", "stored"))
    assert stored[1] - stored[0] > 10 * (reversible[1] - reversible[0])
    with Image.open(picture) as image:
        assert image.format == "PNG"
    _, table, _ = run(capsys, "--sweep", "data.seq_len=8192,65536")
    for words in ("reversible,", "stored,", "planned", "fits"):
        assert words in table
    assert "65,536" in table


def test_a_picture_without_a_folder_is_wrong_use_before_anything_is_planned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "missing" / "depth.png"
    exit_code, out, err = run(capsys, "--sweep", "model.n_layers=2", "--output", str(picture))
    assert (exit_code, out) == (2, "")
    assert (
        err
        == f"revlm: the folder of --output {picture} does not exist: create {picture.parent}, or give another path\n"
    )


def test_a_picture_that_cannot_be_written_does_not_cost_the_sweep(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "depth.png").mkdir()
    output = str(tmp_path / "depth.png")
    exit_code, out, _ = run(capsys, "--sweep", "model.n_layers=2", "--json", "--output", output)
    assert exit_code == 6
    assert len(json.loads(out)["rows"]) == 1


def test_measured_steps_stand_beside_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, out, err = run(capsys, "--measure", "--json")
    assert exit_code == 0
    assert "measuring steps of 4,096 tokens" in err
    plan = json.loads(out)
    # A step this small is mostly heap, which varies by tens of MB; check_plan.py holds larger ones to a tenth.
    assert 0.5 < plan["peak_bytes"] / max(plan["measured"].values()) < 1.5
    exit_code, out, err = run(capsys, "--measure", "--json", "memory.limit=1MB")
    assert "not measured: 4,096 tokens do not fit into the 1.00 MB that memory.limit allows" in err
    assert json.loads(out)["measured"] is None


@pytest.mark.parametrize("limit", [(), ("memory.limit=80GB",)])
def test_nothing_is_measured_on_a_device_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, limit: tuple[str, ...]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    exit_code, out, err = run(capsys, "train.device=cuda", "--measure", "--json", *limit)
    assert exit_code == 0
    assert err.splitlines()[-1] == "not measured: this machine has no CUDA device"
    assert json.loads(out)["measured"] is None


@pytest.mark.parametrize(
    "arguments", [("--sweep", "model.n_layers=two"), ("--sweep", "8,16"), ("--output", "depth.png")]
)
def test_a_sweep_that_is_none_is_wrong_use(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    exit_code, _, err = run(capsys, *arguments)
    assert exit_code == 2
    assert "such as model.n_layers=2,8,32" in err or "give --sweep KEY=N,N" in err


def test_the_vocabulary_of_a_stream_is_that_of_its_tokenizer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, out, err = run(capsys, f"data.stream={tmp_path}", "data.tokenizer=bytes", "--json")
    assert json.loads(out)["vocab_size"] == 257
    assert err == ""
