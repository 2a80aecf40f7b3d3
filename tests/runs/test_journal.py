import json
import math
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revlm.errors import StorageError
from revlm.runs import Journal, read_journal

RECORDS = [{"event": "step", "step": step, "loss": 1 / step, "title": "Été"} for step in (1, 2, 3)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        for record in RECORDS:
            journal.append(record)
    return path


def test_records_come_back_in_order(path):
    assert list(read_journal(path)) == RECORDS
    assert list(read_journal(path.with_name("none"))) == []


def test_a_record_can_be_read_while_the_journal_is_open(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.append({"step": 1})
    assert list(read_journal(journal.path)) == [{"step": 1}]
    journal.sync()
    journal.close()


def test_a_line_torn_at_any_byte_is_repaired_to_the_records_before_it(path):
    whole = path.read_bytes()
    last_line_bytes = len(whole.splitlines(keepends=True)[-1])
    for kept in range(len(whole) - last_line_bytes, len(whole)):
        path.write_bytes(whole[:kept])
        assert list(read_journal(path)) == RECORDS[:2]
        with Journal(path) as journal:
            assert journal.repaired_bytes == kept - (len(whole) - last_line_bytes)
            journal.append({"step": 9})
        assert list(read_journal(path)) == [*RECORDS[:2], {"step": 9}]


def test_a_last_line_of_zeros_from_a_power_cut_is_repaired(path):
    with path.open("ab") as file:
        file.write(b"\0" * 20 + b"\n")
    with Journal(path) as journal:
        assert journal.repaired_bytes == 21
    assert list(read_journal(path)) == RECORDS


def test_a_broken_line_before_the_last_is_named(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{]\n" + lines[2])
    with pytest.raises(StorageError, match=r"metrics\.jsonl:2 is not a JSON object"):
        list(read_journal(path))


@given(steps=st.integers(0, 8), resumed_at=st.integers(0, 8))
def test_after_a_resume_no_step_stands_twice(tmp_path_factory, steps, resumed_at):
    path = tmp_path_factory.mktemp("journal") / "metrics.jsonl"
    with Journal(path) as journal:
        for step in range(1, steps + 1):
            journal.append({"event": "step", "step": step})
            journal.append({"event": "evaluate", "step": step})
        assert journal.truncate_after(resumed_at) == 2 * max(steps - resumed_at, 0)
        journal.append({"event": "step", "step": resumed_at + 1})
    found = [record["step"] for record in read_journal(path) if record["event"] == "step"]
    assert found == [*range(1, min(steps, resumed_at) + 1), resumed_at + 1]
    assert os.listdir(path.parent) == ["metrics.jsonl"]


def test_numbers_that_are_not_finite_are_null_and_every_line_is_strict_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        journal.append({"nan": math.nan, "inf": [math.inf, {"deep": -math.inf}], "numpy": np.float64("nan")})

    def refuse(word: str) -> None:
        raise AssertionError(word)

    record = json.loads(path.read_text(), parse_constant=refuse)
    assert record == {"nan": None, "inf": [None, {"deep": None}], "numpy": None}


def test_scalars_of_numpy_and_torch_and_paths_are_plain(tmp_path):
    with Journal(tmp_path / "metrics.jsonl") as journal:
        journal.append({"a": np.int64(3), "b": np.float32(0.5), "c": torch.tensor(2.0), "d": tmp_path, "e": (1, True)})
    (record,) = read_journal(journal.path)
    assert record == {"a": 3, "b": 0.5, "c": 2.0, "d": str(tmp_path), "e": [1, True]}


def test_a_full_disk_leaves_no_part_of_a_line(path, monkeypatch):
    real_write = os.write

    def fill_after_five_bytes(descriptor: int, content: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return real_write(descriptor, content[:5])

    def full(descriptor: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with Journal(path) as journal:
        monkeypatch.setattr(os, "write", fill_after_five_bytes)
        with pytest.raises(StorageError, match="disk full while writing the journal"):
            journal.append({"step": 4})
        monkeypatch.setattr(os, "write", real_write)
        journal.append({"step": 5})
    assert list(read_journal(path)) == [*RECORDS, {"step": 5}]
