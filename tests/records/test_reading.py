import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from revlm.errors import StorageError
from revlm.records import (
    Evaluation,
    Step,
    Validation,
    last_records,
    offset_after,
    read_journal,
    read_record,
    read_rows,
    read_samples,
    reading,
    whole_bytes,
)
from tests.journal_records import step_record, validation_record


def write_journal(folder: Path, *records: object) -> Path:
    journal = folder / "metrics.jsonl"
    journal.write_text("".join(f"{record if isinstance(record, str) else json.dumps(record)}\n" for record in records))
    return journal


RECORDS = [step_record(1), step_record(2), validation_record(2), step_record(3), validation_record(3)]


def test_a_journal_is_read_from_any_step_and_from_its_end(tmp_path: Path) -> None:
    journal = write_journal(tmp_path, *RECORDS)
    assert [type(record) for record in read_journal(journal)] == [Step, Step, Validation, Step, Validation]
    assert list(read_rows(journal)) == RECORDS
    for after in range(5):
        expected = [(record["event"], record["step"]) for record in RECORDS if record["step"] > after]
        assert [(record.event, record.step) for record in read_journal(journal, after)] == expected
        kept = sum(len(json.dumps(record)) + 1 for record in RECORDS if record["step"] <= after)
        assert offset_after(journal, after) == kept
    for count in range(7):
        assert last_records(journal, count) == list(read_journal(journal))[len(RECORDS) - min(count, 5) :]


def test_lines_longer_than_a_block_are_read_backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = write_journal(tmp_path, *RECORDS)
    for block in (1, 7, 500, 501):
        monkeypatch.setattr(reading, "_BLOCK_BYTES", block)
        assert last_records(journal, 9) == list(read_journal(journal))


def test_a_last_line_without_its_end_does_not_count(tmp_path: Path) -> None:
    journal = write_journal(tmp_path, *RECORDS[:2])
    whole = journal.stat().st_size
    with journal.open("a") as file:
        file.write(json.dumps(RECORDS[3])[:100])
    assert [record.step for record in read_journal(journal)] == [1, 2]
    assert [record.step for record in last_records(journal, 1)] == [2]
    assert whole_bytes(journal) == whole


def test_where_there_is_no_journal_there_are_no_records(tmp_path: Path) -> None:
    missing = tmp_path / "metrics.jsonl"
    assert list(read_journal(missing)) == list(read_rows(missing)) == last_records(missing, 3) == []
    assert whole_bytes(missing) == offset_after(missing, 3) == 0
    missing.touch()
    assert list(read_journal(missing)) == last_records(missing, 3) == []


DAMAGED = {
    "a key": json.dumps(step_record(2)).replace('"loss"', '"lost"'),
    "a type": json.dumps(step_record(2, loss="4.2")),
    "a boolean": json.dumps(step_record(2, tokens=True)),
    "no number": json.dumps(step_record(2, loss=float("nan"))),
    "infinity": json.dumps(step_record(2, seconds=float("inf"))),
    "too large": json.dumps(step_record(2, loss=1e308)),
    "too many digits": json.dumps(step_record(2)).replace('"tokens": 512', f'"tokens": {"9" * 5000}'),
    "a list": json.dumps(step_record(2, loss=[1.0])),
    "an empty step": json.dumps(step_record(2) | {"step": []}),
    "a negative step": json.dumps(step_record(2) | {"step": -1}),
    "no object": "[1, 2]",
    "deep nesting": "[" * 100_000,
    "deep nesting inside": json.dumps(step_record(2))[:-1] + ', "more": ' + "[" * 100_000 + "}",
    "another event": json.dumps(step_record(2, event="sample")),
    "no event": json.dumps({"step": 2}),
    "a layer that is none": json.dumps(step_record(2, layers=[3])),
    "too many layers": json.dumps(step_record(2, layers=[{}] * 5000)),
    "half a character": '{"event": "step", "step": 2, "skipped": "\\ud800"}',
    "zeros": "\0" * 100,
    "an empty line": "",
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_one_sentence_that_names_it(tmp_path: Path, line: str) -> None:
    journal = write_journal(tmp_path, step_record(1), line, step_record(3))
    for read in (read_journal, read_rows):
        with pytest.raises(StorageError, match=r"metrics\.jsonl, line 2 is not ") as refused:
            list(read(journal))
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < len(str(journal)) + 400
    for read_end in (lambda: last_records(journal, 3), lambda: offset_after(journal, 0)):
        with pytest.raises(StorageError, match=r"a record near its end is not "):
            read_end()


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(reading, "_BLOCK_BYTES", 300)
    journal = write_journal(tmp_path, "x" * 5000, step_record(1))
    with pytest.raises(StorageError, match="line 1 is longer than"):
        list(read_journal(journal))
    with pytest.raises(StorageError, match="has a line of more than"):
        last_records(journal, 5)


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluation.json", "step-00000001.json"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    os.mkfifo(path)
    read = {
        "metrics.jsonl": lambda: list(read_journal(path)),
        "evaluation.json": lambda: read_record(Evaluation, path),
        "step-00000001.json": lambda: read_samples(path),
    }[name]
    with pytest.raises(StorageError, match="is not a regular file"):
        read()
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match=name):
        read()


def test_a_name_that_is_too_long_or_a_file_that_is_too_large_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="File name too long"):
        read_record(Evaluation, tmp_path / ("x" * 300))
    with pytest.raises(StorageError, match="File name too long"):
        list(read_journal(tmp_path / ("x" * 300)))
    (tmp_path / "evaluation.json").write_bytes(b" " * (reading.MAX_FILE_BYTES + 1))
    with pytest.raises(StorageError, match="is larger than 32,768 KiB"):
        read_record(Evaluation, tmp_path / "evaluation.json")


def test_a_large_file_of_wrong_entries_is_refused_at_the_first(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text('{"documents": [' + "0," * 1_000_000 + "0]}")
    tracemalloc.start()
    with pytest.raises(StorageError, match=r"evaluation\.json is not what a run writes"):
        read_record(Evaluation, path)
    assert tracemalloc.get_traced_memory()[1] < 50 * 10**6
    tracemalloc.stop()


def test_samples_are_named_after_their_step(tmp_path: Path) -> None:
    path = tmp_path / "step-00000007.json"
    path.write_text('[{"prompt": "It", "text": " was"}]')
    assert read_samples(path).step == 7
    other = path.rename(tmp_path / f"step-{'9' * 200}.json")
    with pytest.raises(StorageError, match="is not named after a step"):
        read_samples(other)


def test_the_end_of_a_long_journal_is_read_at_once(tmp_path: Path) -> None:
    """Its time does not grow with the journal: of 200,000 lines only the last ones are read."""
    lines = [json.dumps(step_record(step)) + "\n" for step in (1, 200_001, 200_002)]
    journal = tmp_path / "metrics.jsonl"
    journal.write_text(lines[0] * 200_000 + lines[1] + lines[2])
    start = time.process_time()
    assert [record.step for record in last_records(journal, 2)] == [200_001, 200_002]
    assert [record.step for record in read_journal(journal, after=200_000)] == [200_001, 200_002]
    assert whole_bytes(journal) == journal.stat().st_size
    assert time.process_time() - start < 0.5
