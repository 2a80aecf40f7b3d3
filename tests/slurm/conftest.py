"""A real Slurm of one machine, and a folder with the scripts of the project from which jobs are sent to it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
SECONDS = 300.0


@dataclass(frozen=True)
class Cluster:
    """Slurm, and the project's folder there."""

    folder: Path
    environment: dict[str, str]

    def call(self, *command: str, **variables: str) -> str:
        """The standard output of a command in the project's folder."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, *arguments: str, **variables: str) -> str:
        """The number of a job that was sent with sbatch."""
        return self.call("sbatch", "--parsable", *arguments, **variables).strip()

    def job(self, number: str) -> dict[str, str]:
        """What Slurm says of a job."""
        said = self.call("scontrol", "--oneliner", "show", "job", number).split()
        return dict(each.split("=", 1) for each in said if "=" in each)

    def ended(self, number: str) -> dict[str, str]:
        """What Slurm says of a job once it has ended for good."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            job = self.job(number)
            if job["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"):
                return job
            time.sleep(0.2)
        raise AssertionError(f"job {number} has not ended: {self.job(number)}")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a Slurm that takes jobs."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [program for program in PROGRAMS if shutil.which(program, path=path) is None]:
        pytest.skip(f"Slurm is not installed, {', '.join(missing)} is missing: Debian has it in slurm-wlm and munge")
    folder = tmp_path_factory.mktemp("slurm")
    command = [ROOT / "tests" / "slurm" / "private_slurm.sh", folder, *(str(port) for port in _free_ports(2))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PATH": path}
    ) as running:
        assert running.stdout
        assert running.stdin
        assert running.stdout.readline() == "ready\n", "Slurm has not started"
        yield folder / "slurm.conf"
        running.stdin.close()


@pytest.fixture
def cluster(slurm: Path, tmp_path: Path) -> Cluster:
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    revlm = program(folder / "revlm", f'exec {sys.executable} -m revlm "$@"')
    environment |= {"SLURM_CONF": str(slurm), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "REVLM": str(revlm)}
    return Cluster(folder, environment)


def program(path: Path, script: str) -> Path:
    """A shell script that can be called."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _free_ports(count: int) -> list[int]:
    found = [socket.socket() for _ in range(count)]
    for each in found:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in found]
    for each in found:
        each.close()
    return ports
