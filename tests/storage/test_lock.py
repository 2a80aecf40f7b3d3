import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest

from revlm.errors import StorageError
from revlm.runs import RunFolder

HOLDER = """
import sys
from pathlib import Path
from revlm.storage.lock import folder_lock
with folder_lock(Path(sys.argv[1]), "run folder", "give another output_dir"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_by_the_first_ones_number(tmp_path, holder):
    with (
        pytest.raises(StorageError, match=f"in use by process {holder.pid} on ") as raised,
        RunFolder(tmp_path).lock(),
    ):
        pass
    assert raised.value.exit_code == 6


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with RunFolder(tmp_path).lock():
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_a_child_that_holds_the_lock_for_a_moment_longer_is_waited_for(tmp_path, holder):
    """As one that the killed process had started, and that does not run its own program yet."""
    child = os.open(tmp_path / ".lock", os.O_RDWR)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    fcntl.flock(child, fcntl.LOCK_EX)
    timer = threading.Timer(0.3, os.close, [child])
    timer.start()
    with RunFolder(tmp_path).lock():
        timer.join()


def test_the_lock_is_given_back_at_the_end_of_the_block_and_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="inside"), RunFolder(tmp_path).lock():
        raise RuntimeError("inside")
    with RunFolder(tmp_path).lock(), pytest.raises(StorageError), RunFolder(tmp_path).lock():
        pass


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(StorageError, match="locking the run folder"), RunFolder(tmp_path / "none").lock():
        pass


@pytest.mark.parametrize("content", ["keep", "{}", '{"pid', "x" * 5000])
def test_a_link_or_a_file_of_somebody_else_is_no_lock_and_stays(tmp_path, content):
    theirs = tmp_path / "theirs"
    theirs.write_text(content)
    (tmp_path / ".lock").symlink_to(theirs)
    with pytest.raises(StorageError, match="is a symbolic link"), RunFolder(tmp_path).lock():
        pass
    (tmp_path / ".lock").unlink()
    theirs.rename(tmp_path / ".lock")
    if content == '{"pid':  # what a kill leaves of ours
        with RunFolder(tmp_path).lock():
            return
    with pytest.raises(StorageError, match="is not a lock file of revlm"), RunFolder(tmp_path).lock():
        pass
    assert (tmp_path / ".lock").read_text() == content


def test_a_folder_that_is_moved_removed_or_replaced_is_noticed(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with RunFolder(run).lock() as lock:
        lock.require_held()
        run.rename(tmp_path / "moved")
        with pytest.raises(StorageError, match="was moved, removed or replaced"):
            lock.require_held()
        run.mkdir()
        with RunFolder(run).lock(), pytest.raises(StorageError, match="was moved, removed or replaced"):
            lock.require_held()
