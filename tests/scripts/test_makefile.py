"""What the Makefile promises without being asked to install anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT_FOLDER = Path(__file__).parent.parent.parent
TARGETS = ("setup", "demo", "test", "test-slow", "lint", "types", "check", "bench", "bench-gpu", "clean", "help")


def make(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-f", str(PROJECT_FOLDER / "Makefile"), *arguments]
    # A make that runs these tests must not pass its own options on.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A project folder in which nothing has been set up."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    return tmp_path


def test_make_alone_lists_every_target(fresh: Path) -> None:
    done = make(folder=fresh)
    assert done.returncode == 0
    assert {line.split()[1] for line in done.stdout.splitlines()} == set(TARGETS)


@pytest.mark.parametrize("target", [target for target in TARGETS if target not in ("clean", "help")])
def test_each_target_does_its_own_set_up(fresh: Path, target: str) -> None:
    done = make("--dry-run", target, folder=fresh)
    assert done.returncode == 0
    assert "-m venv .venv" in done.stdout


def test_set_up_is_done_once(fresh: Path) -> None:
    (fresh / ".venv").mkdir()
    (fresh / ".venv" / ".installed").touch()
    assert "venv" not in make("--dry-run", "setup", folder=fresh).stdout


def test_an_old_or_missing_python_is_refused_in_one_sentence(fresh: Path) -> None:
    old = fresh / "python3.9"
    pretend = "import sys; sys.version_info = (3, 9); sys.version = '3.9.1 '; exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    for python, words in ((str(old), "is 3.9.1"), ("python-nowhere", "there is no python-nowhere")):
        done = make("setup", f"PYTHON={python}", folder=fresh)
        assert done.returncode != 0
        assert "revlm needs Python 3.11 or newer" in done.stderr
        assert words in done.stderr
        assert not (fresh / ".venv").exists()


@pytest.mark.parametrize(("corpus", "command"), [("", "scripts/demo.sh"), ("my texts", 'scripts/demo.sh "my texts"')])
def test_the_demo_is_given_the_corpus(fresh: Path, corpus: str, command: str) -> None:
    done = make("--dry-run", "demo", f"CORPUS={corpus}", folder=fresh)
    assert done.stdout.splitlines()[-1].strip() == command
