"""The benchmark of ranks that share an example runs, and says what each number of them took."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_ranks.py"
SMALL = ("model.d_model=16", "model.d_ff=32", "model.n_layers=2", "model.layers=[local, lsh]", "model.n_buckets=8")


@pytest.mark.slow
def test_a_line_for_each_number_of_ranks() -> None:
    command = [sys.executable, SCRIPT, "demo", *SMALL, "--ranks", "1,2", "--tokens", "512,1024", "--steps", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    head, *lines = [line.split() for line in done.stdout.splitlines()]
    assert head[:3] == ["ranks", "tokens", "seconds"]
    assert [line[:2] for line in lines] == [["1", "512"], ["2", "1,024"]]
    assert all(float(line[2]) > 0 for line in lines)
