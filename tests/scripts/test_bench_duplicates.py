import random
from pathlib import Path

import pytest

import bench_duplicates
from revlm.errors import DataError


def test_duplicates_and_editions_of_a_small_corpus_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("harbour", "island", "lighthouse")):
        numbers = random.Random(seed)
        (tmp_path / f"{name}.txt").write_text(" ".join(str(numbers.randrange(10**6)) for _ in range(5000)))
    (tmp_path / "new_harbour.txt").write_text((tmp_path / "harbour.txt").read_text().replace(" ", "\n"))
    bench_duplicates.main(tmp_path, remembered=50)
    printed = capsys.readouterr().out
    assert "new_harbour.txt is nearly the text of harbour.txt" in printed
    assert "50 documents remembered" in printed
    assert "4 of 4" in printed


def test_a_folder_of_short_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("It was calm.\n")
    with pytest.raises(DataError, match="name a folder of longer ones"):
        bench_duplicates.main(tmp_path)
