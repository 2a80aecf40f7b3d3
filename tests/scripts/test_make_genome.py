"""`make_genome.py` plants repeats where it says, and `genome_repeats.py` scores them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from revlm.corpus import read_documents, tokenize_corpus
from revlm.training import train
from tests.tiny_run import tiny_recipe

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "scripts"))
import genome_repeats
import make_genome


def made(folder: Path, **options: float) -> tuple[str, list[make_genome.PlantedRepeat]]:
    make_genome.main(folder, **{"bases": 60_000, "repeats": 0.3, "divergence": 0.02, "seed": 0, **options})  # type: ignore[arg-type]
    [document] = read_documents(folder / make_genome.CHROMOSOME)
    return document.text, genome_repeats.read_repeats(folder / make_genome.REPEATS)


def test_each_repeat_is_where_the_table_says(tmp_path: Path) -> None:
    bases, repeats = made(tmp_path)
    assert len(bases) == 60_000
    assert set(bases) == set("ACGT")
    assert len(repeats) > 5
    letters = np.frombuffer(bases.encode(), np.uint8)
    for repeat in repeats:
        assert 0 <= repeat.source < repeat.start < repeat.end <= len(bases)
        source = letters[repeat.source : repeat.source + repeat.end - repeat.start]
        assert (source == letters[repeat.start : repeat.end]).mean() > 0.95
    shifted = letters[: len(letters) - 5000] == letters[5000:]
    assert shifted.mean() < 0.4


def test_the_seed_decides_the_bases(tmp_path: Path) -> None:
    assert made(tmp_path / "a") == made(tmp_path / "b")
    assert made(tmp_path / "a")[0] != made(tmp_path / "c", seed=1)[0]


def test_repeats_count_where_their_source_lies_in_the_window_too() -> None:
    repeats = [make_genome.PlantedRepeat(100, 200, 10), make_genome.PlantedRepeat(300, 400, 60)]
    marked = genome_repeats.repeated_places(repeats, 50, 380)
    assert np.flatnonzero(marked).tolist() == list(range(300 + 32 - 50, 380 - 50))


def test_runs_are_scored_on_the_planted_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "texts", bases=12_000, repeats=0.5)
    tokenize_corpus(tmp_path / "texts" / make_genome.CHROMOSOME, tmp_path / "tokens", tokenizer="bytes")
    list(train(tiny_recipe(tmp_path / "run", "train.max_steps=1")))
    capsys.readouterr()
    genome_repeats.main([tmp_path / "run"], tmp_path / "texts" / make_genome.REPEATS, bases=11_000, device="cpu")
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[1] == "11,000"
    assert all(float(each) > 1 for each in row[2:])
    (tmp_path / "bad.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(Exception, match="is not a table of planted repeats"):
        genome_repeats.read_repeats(tmp_path / "bad.tsv")
