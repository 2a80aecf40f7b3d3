import psutil
import pytest

from revlm.errors import UsageError
from revlm.runs import choose_device, describe_environment, memory_limit, memory_limit_bytes
from revlm.runs import machine as machine_module
from revlm.runs.machine import control_group_limits

GIB = 2**30


@pytest.fixture
def groups(tmp_path):
    """Writes a membership file and limits; returns the limits that are found."""

    def find(membership: str, limits: dict[str, str]) -> list[int]:
        (tmp_path / "cgroup").write_text(membership)
        for name, text in limits.items():
            path = tmp_path / "mount" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return control_group_limits(tmp_path / "cgroup", tmp_path / "mount")

    return find


def test_version_2_counts_the_groups_around_too(groups):
    limits = {"a/b/memory.max": "max", "a/memory.max": str(2 * GIB), "memory.max": str(8 * GIB)}
    assert groups("0::/a/b\n", limits) == [2 * GIB, 8 * GIB]


def test_version_1(groups):
    membership = "9:name=systemd:/a\n4:cpu,memory:/a/b\n0::/\n"
    limits = {"memory/a/b/memory.limit_in_bytes": str(3 * GIB), "cpu/a/b/memory.limit_in_bytes": "1"}
    assert groups(membership, limits) == [3 * GIB]


def test_a_container_that_shows_only_its_own_group(groups):
    assert groups("4:memory:/docker/abc\n", {"memory/memory.limit_in_bytes": str(GIB)}) == [GIB]
    assert groups("0::/docker/abc\n", {}) == []


def test_no_control_groups(tmp_path):
    assert control_group_limits(tmp_path / "none", tmp_path) == []


@pytest.fixture
def grouped(monkeypatch, tmp_path):
    """Puts this process into control groups of version 2, as /proc and /sys show them."""

    def put(membership: str, limits: dict[str, str]) -> None:
        (tmp_path / "proc").write_text(membership)
        for name, text in limits.items():
            (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "sys" / name).write_text(text)
        monkeypatch.setattr(machine_module, "_MEMBERSHIP", tmp_path / "proc")
        monkeypatch.setattr(machine_module, "_MOUNT", tmp_path / "sys")

    return put


def test_the_least_limit_on_the_path_counts_and_says_whose_it_is(grouped):
    grouped("0::/slice/job\n", {"slice/job/memory.max": "max", "slice/memory.max": str(GIB // 4)})
    assert memory_limit("cpu") == (GIB // 4, "the control group of this process allows")
    assert memory_limit_bytes() == GIB // 4


def test_a_control_group_without_limits_leaves_the_machine(grouped):
    total = psutil.virtual_memory().total
    grouped("2:memory:/job\n", {"memory/job/memory.limit_in_bytes": str(2**63 - 4096)})
    assert memory_limit("cpu") == (total, "this machine has")


def test_the_environment_names_versions_and_the_machine():
    environment = describe_environment("cpu")
    assert environment["device"] == "cpu"
    assert environment["packages"]["torch"]
    assert environment["memory_limit_bytes"] <= environment["memory_bytes"]
    assert environment["threads"] >= 1


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    for available, kind in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr("torch.cuda.is_available", lambda available=available: available)
        assert choose_device("auto").type == kind
        assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("word", ["cuda", "cuda:1", "gpu", "cuda:x"])
def test_a_device_that_is_not_there_is_refused_by_the_name_of_its_option(monkeypatch, word):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="--device is"):
        choose_device(word, "--device")
