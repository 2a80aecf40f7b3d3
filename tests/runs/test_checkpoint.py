import errno
import os
import pickle
import shutil
from collections import namedtuple

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError

from revlm.errors import StorageError
from revlm.runs import (
    checkpoint_path,
    export_weights,
    finish_save,
    list_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    prune_to_intact,
    save_checkpoint,
    verify_checkpoint,
)
from revlm.storage import staging_name

STATE = {"step": 3, "place": {"epoch": 1, "rate": 0.1 + 0.2}, "names": ["a", "é"], "large": 2**63}


def names(run) -> list[str]:
    return [path.name for path in list_checkpoints(run)]


def flip_bit(path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def never(message: str) -> None:
    raise AssertionError(message)


def test_what_is_saved_is_loaded_to_the_bit(tmp_path, tensors):
    path = save_checkpoint(tmp_path, 3, tensors, STATE, keep_last=1)
    assert path == tmp_path / "checkpoints" / "step-00000003"
    assert verify_checkpoint(path) == []
    loaded = load_checkpoint(path)
    assert (loaded.path, loaded.step, loaded.state) == (path, 3, STATE)
    assert loaded.tensors.keys() == tensors.keys()
    for group, named in tensors.items():
        assert loaded.tensors[group].keys() == named.keys()
        for name, tensor in named.items():
            assert loaded.tensors[group][name].dtype == tensor.dtype
            assert torch.equal(loaded.tensors[group][name], tensor)


def test_one_group_can_be_loaded_where_another_is_damaged(tmp_path, tensors):
    path = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=1)
    flip_bit(path / "optimizer.safetensors")
    loaded = load_checkpoint(path, groups=["model"])
    assert loaded.tensors.keys() == {"model"}
    with pytest.raises(StorageError, match=r"optimizer\.safetensors does not have the sha256"):
        load_checkpoint(path)
    with pytest.raises(StorageError, match=r"other\.safetensors is not in the manifest"):
        load_checkpoint(path, groups=["other"])


def test_a_state_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path, tensors):
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, 1, tensors, {"best": float("nan")}, keep_last=1)
    assert names(tmp_path) == []


def test_the_newest_are_kept(tmp_path, tensors):
    for step in (1, 2, 3, 10):
        save_checkpoint(tmp_path, step, tensors, STATE, keep_last=2)
    assert names(tmp_path) == ["step-00000003", "step-00000010"]
    assert newest_checkpoint(tmp_path, report=never) == tmp_path / "checkpoints" / "step-00000010"


def test_those_of_every_few_steps_are_kept_for_ever(tmp_path, tensors):
    for step in range(1, 12):
        save_checkpoint(tmp_path, step, tensors, STATE, keep_last=2, keep_every=4)
    kept = ["step-00000004", "step-00000008", "step-00000010", "step-00000011"]
    assert names(tmp_path) == kept
    assert [path.name for path in prune_to_intact(tmp_path, keep_last=1, keep_every=8)] == [kept[0], kept[2]]


def test_what_a_kill_between_a_save_and_its_pruning_left_is_ended(tmp_path, tensors):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, tensors, STATE, keep_last=3)
    (tmp_path / "checkpoints" / staging_name("step-00000004")).mkdir()
    finish_save(tmp_path, 2, keep_last=1)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_flipped_bit_is_named_and_passed_over(tmp_path, tensors, file, place):
    good = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=3)
    bad = save_checkpoint(tmp_path, 2, tensors, STATE, keep_last=3)
    flip_bit(bad / file, place)
    said = []
    assert newest_checkpoint(tmp_path, report=said.append) == good
    assert len(said) == 1
    assert str(bad) in said[0]
    assert f"{file} does not have the sha256" in said[0]
    with pytest.raises(StorageError, match=file):
        load_checkpoint(bad)


def test_every_flipped_bit_of_a_manifest_that_matters_is_found(tmp_path, tensors):
    path = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=3)
    manifest = path / "manifest.json"
    whole = manifest.read_bytes()
    for place in range(len(whole)):
        flip_bit(manifest, place)
        if not verify_checkpoint(path):  # white space for white space, at most
            assert load_checkpoint(path).state == STATE
        manifest.write_bytes(whole)
    assert verify_checkpoint(path) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b'{"format": 1, "step": 1, "files": {}}'])
def test_a_damaged_manifest_is_named(tmp_path, tensors, content):
    path = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=3)
    (path / "manifest.json").write_bytes(content)
    assert verify_checkpoint(path) == ["manifest.json is damaged"]


def test_truncated_and_missing_files_are_named(tmp_path, tensors):
    path = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=3)
    os.truncate(path / "model.safetensors", 5)
    (path / "state.json").unlink()
    problems = "; ".join(verify_checkpoint(path))
    assert "model.safetensors has 5 of" in problems
    assert "state.json is missing" in problems
    (path / "manifest.json").unlink()
    assert verify_checkpoint(path) == ["manifest.json is missing"]
    assert verify_checkpoint(tmp_path / "nothing") == ["there is no such folder"]


def test_a_checkpoint_under_another_step_is_not_whole(tmp_path, tensors):
    path = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=3)
    moved = path.rename(path.with_name("step-00000002"))
    assert verify_checkpoint(moved) == ["manifest.json is of step 1"]


def test_a_manifest_cannot_name_files_elsewhere(tmp_path, tensors):
    path = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=3)
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace("model.safe", "../model.safe"))
    assert verify_checkpoint(path) == ["manifest.json is damaged"]


def test_a_planted_pickle_is_never_read(tmp_path, tensors):
    path = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=3)

    class Planted:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for name in ("state.pkl", "optimizer.pt"):
        (path / name).write_bytes(pickle.dumps(Planted()))
    assert load_checkpoint(path).state == STATE
    (path / "model.safetensors").write_bytes(pickle.dumps(Planted()))
    with pytest.raises(StorageError):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_no_checkpoint_is_not_an_error_and_none_whole_is(tmp_path, tensors):
    assert newest_checkpoint(tmp_path, report=never) is None
    flip_bit(save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=3) / "state.json")
    with pytest.raises(StorageError, match="none of the 1 checkpoints"):
        newest_checkpoint(tmp_path, report=lambda message: None)


def test_a_broken_later_checkpoint_neither_counts_nor_stays_in_the_way(tmp_path, tensors):
    save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=1)
    broken = save_checkpoint(tmp_path, 4, tensors, STATE, keep_last=2)
    flip_bit(broken / "state.json")
    save_checkpoint(tmp_path, 2, tensors, STATE, keep_last=1)
    assert names(tmp_path) == ["step-00000002", "step-00000004"]
    save_checkpoint(tmp_path, 4, tensors, STATE | {"step": 4}, keep_last=1)
    assert names(tmp_path) == ["step-00000004"]
    assert load_checkpoint(broken).state["step"] == 4
    assert os.listdir(tmp_path / "checkpoints") == ["step-00000004"]


@pytest.mark.parametrize("name", ["fsync", "rename", "unlink", "rmdir"])
def test_a_kill_during_a_save_leaves_whole_checkpoints_alone(tmp_path, tensors, run_and_kill, name):
    """A kill at every sync, rename and removal: a whole checkpoint stands, and the next save cleans up."""
    first = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=1)
    template = shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-template"))

    def save() -> None:
        save_checkpoint(tmp_path, 2, tensors, STATE | {"step": 2}, keep_last=1)

    call = 1
    while run_and_kill(save, name, call):
        for path in list_checkpoints(tmp_path):
            assert verify_checkpoint(path) in ([], ["manifest.json is missing"])
        newest = newest_checkpoint(tmp_path, report=never_of_the_newest(first))
        assert newest is not None
        assert load_checkpoint(newest).state["step"] == (3 if newest == first else 2)
        save()
        assert os.listdir(tmp_path / "checkpoints") == ["step-00000002"]
        shutil.rmtree(tmp_path)
        shutil.copytree(template, tmp_path)
        call += 1
    assert call > 1  # it was killed at least once
    assert os.listdir(tmp_path / "checkpoints") == ["step-00000002"]


def never_of_the_newest(first):
    """Only the older checkpoint, being removed, may be skipped, and then there is a newer one."""

    def report(message: str) -> None:
        assert str(first) in message

    return report


def test_too_little_space_is_found_before_anything_is_written(tmp_path, tensors, monkeypatch):
    good = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=1)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 1000))
    with pytest.raises(StorageError, match=r"disk full: .* needs 1\.\d MB") as raised:
        save_checkpoint(tmp_path, 2, tensors, STATE, keep_last=1)
    assert raised.value.exit_code == 6
    assert os.listdir(tmp_path / "checkpoints") == [good.name]


def full_disk(*arguments, **keywords):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_disk_of_safetensors(*arguments, **keywords):
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def too_large_of_safetensors(*args, **kwargs):
    raise SafetensorError("Error while serializing: I/O error: File too large (os error 27)")


FULL, TOO_LARGE = "disk full while saving the checkpoint", r"the size of a file \(`ulimit -f`\) is reached while saving"


@pytest.mark.parametrize(
    ("module", "name", "failure", "message"),
    [
        (os, "fsync", full_disk, FULL),
        (safetensors.torch, "save_file", full_disk_of_safetensors, FULL),
        (safetensors.torch, "save_file", too_large_of_safetensors, TOO_LARGE),
    ],
)
def test_a_disk_that_fills_leaves_nothing_that_looks_whole(
    tmp_path, tensors, monkeypatch, module, name, failure, message
):
    good = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=1)
    with monkeypatch.context() as patched:
        patched.setattr(module, name, failure)
        with pytest.raises(StorageError, match=message):
            save_checkpoint(tmp_path, 2, tensors, STATE, keep_last=1)
    assert os.listdir(tmp_path / "checkpoints") == [good.name]
    assert newest_checkpoint(tmp_path, report=never) == good


def test_a_run_folder_that_is_a_file_is_one_sentence(tmp_path, tensors):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="give a folder that can be read and written"):
        save_checkpoint(tmp_path / "file", 1, tensors, STATE, keep_last=1)


def test_what_only_begins_like_a_checkpoint_is_none(tmp_path, tensors):
    good = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=9)
    checkpoints = good.parent
    (checkpoints / "step-00000009.tmp").mkdir()
    (checkpoints / "step-00000008.tar").write_text("")
    (checkpoints / "step-00000007").write_text("")
    (checkpoints / "step-7").mkdir()
    assert list_checkpoints(tmp_path) == [good]
    assert prune_to_intact(tmp_path, keep_last=1) == []


def test_pruning_by_hand_keeps_whole_ones(tmp_path, tensors):
    for step in (1, 2, 3, 4):
        save_checkpoint(tmp_path, step, tensors, STATE, keep_last=9)
    flip_bit(checkpoint_path(tmp_path, 4) / "state.json")
    removed = prune_to_intact(tmp_path, keep_last=2)
    assert names(tmp_path) == ["step-00000002", "step-00000003"]
    assert [path.name for path in removed] == ["step-00000001", "step-00000004"]
    for path in list_checkpoints(tmp_path):
        flip_bit(path / "state.json")
    with pytest.raises(StorageError, match="none of the 2"):
        prune_to_intact(tmp_path, keep_last=1)
    assert len(names(tmp_path)) == 2


def test_exported_weights_are_a_safetensors_file(tmp_path, tensors):
    path = save_checkpoint(tmp_path, 1, tensors, STATE, keep_last=1)
    target = export_weights(path, tmp_path / "weights.safetensors")
    exported = safetensors.torch.load_file(target)
    assert all(torch.equal(exported[name], tensor) for name, tensor in tensors["model"].items())
    with pytest.raises(StorageError, match="exists"):
        export_weights(path, target)
    flip_bit(path / "model.safetensors")
    with pytest.raises(StorageError, match="is damaged"):
        export_weights(path, tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()


def test_a_missing_step_is_answered_with_those_there_are(tmp_path, tensors):
    save_checkpoint(tmp_path, 7, tensors, STATE, keep_last=1)
    with pytest.raises(StorageError, match=r"no checkpoint of step 8 .* it has 7"):
        checkpoint_path(tmp_path, 8)
