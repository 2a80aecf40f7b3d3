import json
import math
from pathlib import Path

import pytest

from revlm.cli import main
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
    assert [f"scoring {document['title']}" for document in documents] == captured.err.splitlines()
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
