import json
import math
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from revlm.errors import StorageError
from revlm.runs import Journal, read_journal
from tests.journal_records import step_record, validation_record

RECORDS = [step_record(step, skipped_documents=["Été"]) for step in (1, 2, 3)]


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
    journal.append(step_record(1))
    assert list(read_journal(journal.path)) == [step_record(1)]
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
            journal.append(step_record(9))
        assert list(read_journal(path)) == [*RECORDS[:2], step_record(9)]


def test_a_last_line_of_zeros_from_a_power_cut_is_repaired(path):
    with path.open("ab") as file:
        file.write(b"\0" * 20 + b"\n")
    with Journal(path) as journal:
        assert journal.repaired_bytes == 21
    assert list(read_journal(path)) == RECORDS


def test_a_broken_line_before_the_last_is_named(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{]\n" + lines[2])
    with pytest.raises(StorageError, match=r"metrics\.jsonl, line 2 is not the JSON that a run writes"):
        list(read_journal(path))


@given(steps=st.integers(0, 8), resumed_at=st.integers(0, 8))
def test_after_a_resume_no_step_stands_twice(tmp_path_factory, steps, resumed_at):
    path = tmp_path_factory.mktemp("journal") / "metrics.jsonl"
    with Journal(path) as journal:
        for step in range(1, steps + 1):
            journal.append(step_record(step))
            journal.append(validation_record(step))
        journal.truncate_after(resumed_at)
        journal.append(step_record(resumed_at + 1))
    found = [record["step"] for record in read_journal(path) if record["event"] == "step"]
    assert found == [*range(1, min(steps, resumed_at) + 1), resumed_at + 1]
    assert os.listdir(path.parent) == ["metrics.jsonl"]


def test_numbers_that_are_not_finite_are_null_and_every_line_is_strict_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        layer = {"layer": 1, "bucket_fill": -math.inf, "empty_query_share": math.nan, "sink_share": 0.5}
        journal.append(step_record(1, loss=math.nan, grad_norm=math.inf, stream_max=np.float64("nan"), layers=[layer]))

    def refuse(word: str) -> None:
        raise AssertionError(word)

    record = json.loads(path.read_text(), parse_constant=refuse)
    assert [record[key] for key in ("loss", "grad_norm", "stream_max")] == [None] * 3
    assert record["layers"] == [{"layer": 1, "bucket_fill": None, "empty_query_share": None, "sink_share": 0.5}]


def test_scalars_of_numpy_and_torch_are_plain(tmp_path):
    with Journal(tmp_path / "metrics.jsonl") as journal:
        journal.append(step_record(1, tokens=np.int64(3), loss=np.float32(0.5), grad_norm=torch.tensor(2.0)))
    assert list(read_journal(journal.path)) == [step_record(1, tokens=3, loss=0.5, grad_norm=2.0)]


@pytest.mark.parametrize("changes", [{"invented": 1}, {"loss": "4.2"}, {"tokens": -1}, {"event": "sample"}])
def test_what_the_schema_does_not_know_is_not_written(tmp_path, changes):
    with Journal(tmp_path / "metrics.jsonl") as journal:
        with pytest.raises(ValidationError):
            journal.append(step_record(1, **changes))
        assert journal.path.read_bytes() == b""


def test_a_link_in_the_place_of_the_journal_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("a text")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"metrics\.jsonl is a symbolic link"):
        Journal(tmp_path / "metrics.jsonl")
    assert (tmp_path / "elsewhere").read_text() == "a text"


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
            journal.append(step_record(4))
        monkeypatch.setattr(os, "write", real_write)
        journal.append(step_record(5))
    assert list(read_journal(path)) == [*RECORDS, step_record(5)]
