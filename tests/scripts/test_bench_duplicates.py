import random
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "bench_duplicates.py"


def run(corpus: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), str(corpus), "--remembered", "50"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_duplicates_and_editions_of_a_small_corpus_are_found(tmp_path: Path) -> None:
    for seed, name in enumerate(("harbour", "island", "lighthouse")):
        numbers = random.Random(seed)
        (tmp_path / f"{name}.txt").write_text(" ".join(str(numbers.randrange(10**6)) for _ in range(5000)))
    (tmp_path / "new_harbour.txt").write_text((tmp_path / "harbour.txt").read_text().replace(" ", "\n"))
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "new_harbour.txt is nearly the text of harbour.txt" in done.stdout
    assert "50 documents remembered" in done.stdout
    assert "4 of 4" in done.stdout


def test_a_folder_of_short_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("It was calm.\n")
    done = run(tmp_path)
    assert done.returncode == 3
    assert "name a folder of longer ones" in done.stderr
