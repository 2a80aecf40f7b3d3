import json
import math
from pathlib import Path
from typing import Any

import pytest

from revlm.cli import main
from revlm.cli.terminal import evaluation_tables
from revlm.corpus import tokenize_corpus
from revlm.evaluation import score_views
from revlm.report import read_history
from revlm.report.page import evaluation_sections
from tests.tiny_run import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("folder") / "run")


def test_json_holds_documents_total_and_positions(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", str(run), "--json", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["step"] == 3
    assert result["seq_len"] == 512
    total, documents, positions = result["total"], result["documents"], result["positions"]
    told = captured.err.splitlines()
    assert [f"scoring {document['title']}" for document in documents] == told[:-1]
    assert told[-1].startswith(f"wrote {run / 'evaluation.json'}")
    for key in ("tokens", "bytes"):
        assert total[key] == sum(document[key] for document in documents)
    assert total["bits_per_byte"] == pytest.approx(total["loss"] / math.log(2) * total["tokens"] / total["bytes"])
    assert [(bin["first"], bin["last"]) for bin in positions][:3] == [(1, 1), (2, 3), (4, 7)]
    assert sum(bin["tokens"] for bin in positions) == total["tokens"]


def test_the_tables_say_what_a_token_saw(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", str(run), "--data", str(run.parent / "tokens")]) == 0
    out = capsys.readouterr().out
    for words in ("bits/byte", "total", "position in document", "8-15", "within data.seq_len = 512 tokens"):
        assert words in out
    assert all(f"{name}" in out for name in ("one", "two", "three", "four"))


def test_of_many_documents_the_table_shows_the_first_and_says_how_many_more(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["evaluate", "--run", str(run), "--data", str(run.parent / "tokens")]
    assert main(command) == 0
    whole = capsys.readouterr().out
    assert " more" not in whole
    monkeypatch.setattr(score_views, "DOCUMENTS_SHOWN", 1)
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "and 3 documents more, each in evaluation.json" in out
    assert [name for name in ("one", "two", "three", "four") if f" {name} " in out] == ["four"]
    assert [line for line in out.splitlines() if "total" in line][:1] == [
        line for line in whole.splitlines() if "total" in line
    ][:1]
    assert len(json.loads((run / "evaluation.json").read_text())["documents"]) == 4


def test_what_was_found_outlasts_a_reader_that_leaves(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*arguments: object) -> None:
        raise BrokenPipeError

    (run / "evaluation.json").unlink(missing_ok=True)
    monkeypatch.setattr(evaluation_tables, "print_tables", leave)
    assert main(["evaluate", "--run", str(run)]) == 141
    assert json.loads((run / "evaluation.json").read_text())["step"] == 3


def evaluate(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["evaluate", "--json", "--device", "cpu", *arguments]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_everything_can_be_asked_at_once_and_stays_for_the_report(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--context-lengths", "16,64", "--samples", "2", "--tokens", "300")
    assert main(["evaluate", "--run", str(run), "--device", "cpu", "--all", *small]) == 0
    out = capsys.readouterr().out
    for words in (
        "context",
        "what followed a rare context (3 tokens)",
        "layer 1 (lsh)",
        "rounds of hashing",
        "best as many keys",
        "copies",
        "distance",
    ):
        assert words in out
    evaluation = read_history(run).evaluation
    assert evaluation is not None
    sections = evaluation_sections(evaluation)
    assert list(sections) == ["positions", "context", "repeats", "ablations", "recall", "copying", "needle", "answers"]
    assert [name for name, section in sections.items() if section.picture is None] == ["recall", "answers"]


def test_answers_stay_while_model_and_documents_are_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "evaluation.json").unlink(missing_ok=True)
    small = ("--run", str(run), "--samples", "1", "--tokens", "200")
    first = evaluate(*small, "--ablations", capsys=capsys)
    assert "recall" not in first
    second = evaluate(*small, "--recall", capsys=capsys)
    assert second["ablations"] == first["ablations"]
    assert json.loads((run / "evaluation.json").read_text()) == {k: v for k, v in second.items() if k != "run"}
    elsewhere = evaluate(*small, "--data", str(run.parent / "tokens"), capsys=capsys)
    assert not {"ablations", "recall"} & elsewhere.keys()
    (run / "evaluation.json").write_text("{")
    assert "recall" in evaluate(*small, "--recall", capsys=capsys)


def test_the_same_seed_gives_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--run", str(run), "--all", "--context-lengths", "16,64", "--samples", "2", "--tokens", "200")
    once, again, other = (evaluate(*asked, "--seed", seed, capsys=capsys) for seed in ("0", "0", "1"))
    assert once == again
    assert once["context"] != other["context"]


def test_lengths_that_are_none_are_wrong_use(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", str(run), "--context-lengths", "256,many"]) == 2
    assert "give numbers of tokens with commas" in capsys.readouterr().err


def test_a_model_without_hash_layers_has_no_recall(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", "model.layers=[local]")
    assert main(["evaluate", "--run", str(run), "--recall", "--samples", "1", "--tokens", "100"]) == 0
    assert "recall: none was measured" in capsys.readouterr().out


def test_titles_are_told_without_control_characters(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "\x1b[2J.txt").write_text("It was calm.")
    tokenize_corpus(tmp_path, tmp_path / "store", tokenizer="bytes")
    assert main(["evaluate", "--run", str(run), "--data", str(tmp_path / "store"), "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "scoring \N{REPLACEMENT CHARACTER}[2J" in captured.err
    assert "\x1b" not in captured.err + captured.out


def test_rounds_buckets_and_scale_are_those_that_are_asked_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--run", str(run)]
    found = {}
    for rounds in (2, 6):
        assert main([*command, "--rounds", str(rounds), "--json"]) == 0
        found[rounds] = json.loads(capsys.readouterr().out)
        assert found[rounds]["rounds"] == rounds
    assert found[2]["total"]["loss"] != found[6]["total"]["loss"]
    assert main([*command, "--rounds", "6"]) == 0
    assert f"with 6 rounds of hashing and up to {found[6]['buckets']:,} buckets" in capsys.readouterr().out
    evaluation = read_history(run).evaluation
    assert evaluation is not None
    assert "with 6 rounds of hashing" in evaluation_sections(evaluation)["positions"].caption
    assert main([*command, "--rounds", "6", "--buckets", "1024", "--json"]) == 0
    finer = json.loads(capsys.readouterr().out)
    assert (finer["rounds"], finer["buckets"]) == (6, 1024)
    assert finer["total"]["loss"] != found[6]["total"]["loss"]
    assert main([*command, "--rounds", "6", "--attention-scale", "1.5", "--json"]) == 0
    scaled = json.loads(capsys.readouterr().out)
    assert scaled["attention_scale"] == 1.5
    assert scaled["total"]["loss"] != found[6]["total"]["loss"]
    assert main([*command, "--attention-scale", "1.5"]) == 0
    assert " buckets and attention logits times 1.5, on " in capsys.readouterr().out
    assert main([*command, "--attention-scale", "0"]) == 2
    assert main([*command, "--rounds", "0"]) == 2
    assert main([*command, "--buckets", "1000"]) == 2
