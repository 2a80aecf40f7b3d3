"""Under pytest, the axes in the signatures of the ops and the model are checked; see `axes`."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import axes

# Tensors of tests are small: threads would spend most of their time on waiting for each other. Read by PyTorch when it
# is imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Triton's kernels are interpreted on the CPU; read by Triton when it is imported.
os.environ.setdefault("TRITON_INTERPRET", "1")
axes.install("revlm.ops", "revlm.model")
# An example may take long beside other work on the machine; that is no defect.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages and files of reports without the drawing, which takes seconds."""
    from revlm.report import files, rendering

    monkeypatch.setattr(rendering, "sources", lambda picture: [("", "data:image/png;base64,")])
    monkeypatch.setattr(files, "standalone_png", lambda picture, title: b"\x89PNG")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    # Lazily: a test that failed may hold a file open there.
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def remount(small_disk: Path) -> Callable[[str], None]:
    """Gives the small disk another option of mount, such as size=20m or ro."""

    def change(option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(small_disk)], check=True)

    return change
