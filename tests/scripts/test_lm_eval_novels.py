"""The tasks that lm-evaluation-harness reads; the script itself runs where it is installed."""

import json
from pathlib import Path

from lm_eval_novels import last_words, results_of, write_tasks

TEXT = " ".join(f"word{number}" for number in range(1000))


def test_passages_end_with_a_word_and_are_spread() -> None:
    found = last_words([TEXT, "short"], 4)
    assert [each["word"] for each in found] == ["word99", "word399", "word699"]
    assert all(f"{each['context']} {each['word']}" in TEXT for each in found)


def test_tasks_name_their_examples(tmp_path: Path) -> None:
    write_tasks(tmp_path, [TEXT], 4)
    for name in ("novels_rolling", "novels_last_word"):
        task = json.loads((tmp_path / f"{name}.yaml").read_text())
        lines = Path(task["dataset_kwargs"]["data_files"]["test"]).read_text().splitlines()
        assert task["task"] == name
        assert set(json.loads(lines[0])) == ({"text"} if name == "novels_rolling" else {"context", "word"})


def test_the_results_are_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "results_2026.json").write_text(json.dumps({"results": {"a": {"b": 1}}}))
    assert results_of(tmp_path) == {"a": {"b": 1}}
