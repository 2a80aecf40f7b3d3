"""The shell scripts in a project of their own, with a revlm on PATH that only pretends."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"

# Notes its arguments, and leaves the files that the real command would leave. PRETEND is an object:
# `exits` holds, for an argument that a call may have, the exit codes of the first, second, ... such call
# (the last one from then on); `losses` holds those of a training.
PRETENDER = """#!{python}
import json, os, pathlib, sys

arguments = sys.argv[1:]
log = pathlib.Path(os.environ["PRETEND_LOG"])
calls = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
with log.open("a") as file:
    file.write(json.dumps(arguments) + "\\n")
pretend = json.loads(os.environ["PRETEND"])
for argument, statuses in pretend["exits"].items():
    if argument in arguments:
        earlier = sum(argument in call for call in calls)
        status = statuses[min(earlier, len(statuses) - 1)]
        if status:
            print(f"pretending to fail at {argument}", file=sys.stderr)
            sys.exit(status)

def leave(folder, name, content):
    path = pathlib.Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)

match arguments:
    case ["fetch", name, "-o", folder]:
        leave(folder, f"{name}.txt", "It was calm.\\n")
    case ["tokenize", corpus, "-o", folder, *_]:
        leave(folder, "manifest.json", "{}")
    case ["train", recipe, *overrides]:
        folder = dict(each.split("=", 1) for each in overrides).get("output_dir", f"runs/{recipe}")
        step = {"event": "step", "tokens": 65536, "memory_peak_bytes": 2**30}
        lines = [json.dumps({**step, "loss": loss}) for loss in pretend["losses"]]
        leave(folder, "metrics.jsonl", "\\n".join([*lines, '{"event": "evaluate", "bits_per_byte": 2.0}']) + "\\n")
    case ["report", run]:
        for name in ("report.html", "loss.png", "memory.png"):
            leave(run, name, name)
    case ["generate", *_]:
        print("It was calm at sea.", end="")
"""


@dataclass
class Project:
    folder: Path
    environment: dict[str, str]
    exits: dict[str, list[int]] = field(default_factory=dict)
    losses: list[float] = field(default_factory=lambda: [4.0, 3.9, 3.0, 3.0, 3.0, 3.0, 3.0])

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        pretend = json.dumps({"exits": self.exits, "losses": self.losses})
        return subprocess.run(
            [self.folder / "scripts" / script, *arguments],
            cwd=self.folder,
            env={**self.environment, "PRETEND": pretend, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> list[list[str]]:
        log = Path(self.environment["PRETEND_LOG"])
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    shutil.copytree(SCRIPTS, folder / "scripts", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    programs = tmp_path / "programs"
    programs.mkdir()
    pretender = programs / "revlm"
    pretender.write_text(PRETENDER.replace("{python}", sys.executable, 1))
    pretender.chmod(0o755)
    ours = ("REVLM", "TRIES", "SLURM_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PRETEND_LOG": str(tmp_path / "calls"),
        "PYTHON": sys.executable,
    }
    return Project(folder, environment)
