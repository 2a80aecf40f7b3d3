"""Where the built library is kept: whole, private, without what killed builds leave, and of one shape with Python."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from revlm.ops.compiled import library
from revlm.ops.compiled.cache import cache_folder, folder_to_build_in, is_whole, require_private
from revlm.ops.squared_relu import squared_relu

pytestmark = pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A compiler that builds a library of one function at once, with an empty cache; the list of its calls."""
    source, program, calls = tmp_path / "one.cpp", tmp_path / "compiler.py", tmp_path / "calls"
    sizes = " ".join(f'if (!__builtin_strcmp(name, "{name}")) return {size};' for name, size in library.SIZES.items())
    size_of, use_team = f"long size_of(const char* name) {{ {sizes} return 0; }}", "void use_team(void*) {}"
    source.write_text(f'extern "C" {{ {size_of} {use_team} }}')
    real = list(library.compiler() or ())
    program.write_text(
        f"import subprocess, sys\n"
        f"if '-o' in sys.argv: open({str(calls)!r}, 'a').write('built\\n')\n"
        f"source = [{str(source)!r}] if '-o' in sys.argv else []\n"
        f"given = [each for each in sys.argv[1:] if not each.endswith('.cpp')]\n"
        f"sys.exit(subprocess.call([*{real!r}, *given, '-O0', *source]))"
    )
    monkeypatch.setenv("REVLM_COMPILER", shlex.join([sys.executable, str(program)]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield calls
    library.load.cache_clear()


def load() -> None:
    library.load.cache_clear()
    command = library.compiler()
    assert command is not None
    library.load(command)


def kept() -> Path:
    [path] = cache_folder().glob("*.so")
    return path


def builds(calls: Path) -> int:
    return len(calls.read_text().splitlines())


def test_a_library_is_built_once_and_its_folder_is_private(calls: Path) -> None:
    load()
    load()
    assert builds(calls) == 1
    assert cache_folder().stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in cache_folder().iterdir()) == [kept().name, f"{kept().name}.sha256"]


@pytest.mark.parametrize("damage", ["cut", "empty", "a bit", "no digest", "an empty digest", "another digest"])
def test_what_is_not_whole_is_built_again(calls: Path, damage: str) -> None:
    load()
    path, digest = kept(), Path(f"{kept()}.sha256")
    content = path.read_bytes()
    # A new file each time: this process has the old one mapped.
    path.unlink()
    changed = {"cut": content[: len(content) // 2], "empty": b"", "a bit": bytes([content[0] ^ 1]) + content[1:]}
    path.write_bytes(changed.get(damage, content))
    if damage == "no digest":
        digest.unlink()
    elif "digest" in damage:
        digest.write_text("" if "empty" in damage else "0" * 64)
    assert not is_whole(path)
    load()
    assert builds(calls) == 2
    assert is_whole(kept())


def test_a_folder_of_ours_is_made_private_and_what_others_could_write_is_built_again(calls: Path) -> None:
    load()
    cache_folder().chmod(0o755)
    load()
    assert builds(calls) == 1
    assert cache_folder().stat().st_mode & 0o777 == 0o700
    cache_folder().chmod(0o775)
    load()
    assert builds(calls) == 2
    assert cache_folder().stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_another_user_is_not_trusted(calls: Path) -> None:
    load()
    os.chown(cache_folder(), 65534, 65534)
    with pytest.raises(library.BuildError, match=r"another user.*XDG_CACHE_HOME"):
        load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links away")
def test_nor_a_link_of_another_user(calls: Path, tmp_path: Path) -> None:
    cache_folder().parent.mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache_folder().symlink_to(tmp_path / "elsewhere")
    require_private(cache_folder())
    os.chown(cache_folder(), 65534, 65534, follow_symlinks=False)
    with pytest.raises(PermissionError, match="another user"):
        require_private(cache_folder())


def test_what_a_killed_build_left_is_removed_and_a_build_that_runs_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from revlm.ops.compiled.cache import folder_to_build_in\n"
        "with folder_to_build_in(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half.so').write_bytes(b'half'); print(folder, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        left = Path(killed.stdout.readline().strip())
        with folder_to_build_in(tmp_path) as own:
            assert left.is_dir()
        killed.send_signal(signal.SIGKILL)
    assert left.is_dir()
    with folder_to_build_in(tmp_path) as own:
        assert list(tmp_path.iterdir()) == [own]
    assert list(tmp_path.iterdir()) == []


def test_a_structure_of_another_size_is_refused(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(library.SIZES, "Problem", 8)
    with pytest.raises(library.BuildError, match=r"Problem has .* bytes in C.. and 8 in Python"):
        load()


def test_the_real_library_has_every_structure() -> None:
    built = library.load(library.compiler() or ())
    assert {name: built.size_of(name.encode()) for name in library.SIZES} == library.SIZES
    assert built.size_of(b"Anything") == 0
    assert isinstance(built, ctypes.CDLL)


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    torch.linspace(-1, 1, 2**20).sin()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_a_forked_process_computes_though_its_parents_threads_are_gone() -> None:
    x = torch.linspace(-1, 1, 2**20)
    expected = squared_relu(x)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # where it waits for them
        os._exit(0 if squared_relu(x).numpy().tobytes() == expected.numpy().tobytes() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.usefixtures("three_threads")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(torch._C.__file__), "GOMP_parallel"), reason="PyTorch has no OpenMP")
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not list threads")
def test_it_computes_on_the_threads_of_pytorch() -> None:
    def switches() -> dict[str, str]:
        """How often each thread of this process has run."""
        tasks = Path("/proc/self/task").iterdir()
        return {task.name: (task / "schedstat").read_text().split()[2] for task in tasks}

    x, before = torch.linspace(-1, 1, 2**22), switches()
    for _ in range(20):
        squared_relu(x)
    after = switches()
    assert after.keys() == before.keys()
    assert sum(after[name] != before[name] for name in before) >= 3
