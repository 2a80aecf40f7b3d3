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
    distances = genome_repeats.distances_to_sources(repeats, 50, 380)
    assert np.flatnonzero(distances).tolist() == list(range(300 + 32 - 50, 380 - 50))
    assert set(distances[300 + 32 - 50 :].tolist()) == {300 - 60}


def test_a_token_counts_where_all_its_bases_are_repeated() -> None:
    bits, bases = np.array([2.0, 6.0, 1.0, 8.0]), np.array([1, 3, 2, 2])
    distances = np.array([0, 0, 20_000, 20_000, 20_000, 20_000, 300_000, 300_000])
    found = genome_repeats.bits_by_distance(bits, bases, distances)
    assert np.isnan(found[0])
    assert found[1:4:2] == [0.5, 4.0]
    assert found[4:] == [9 / 4, 8 / 4]


@pytest.mark.parametrize("options", [{"tokenizer": "bytes"}, {"vocab_size": 300}])
def test_runs_are_scored_on_the_planted_repeats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, object]
) -> None:
    made(tmp_path / "texts", bases=12_000, repeats=0.5)
    tokenize_corpus(tmp_path / "texts" / make_genome.CHROMOSOME, tmp_path / "tokens", **options)  # type: ignore[arg-type]
    list(train(tiny_recipe(tmp_path / "run", "train.max_steps=1")))
    capsys.readouterr()
    genome_repeats.main([tmp_path / "run"], tmp_path / "texts" / make_genome.REPEATS, bases=11_000, device="cpu")
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert 11_000 - 8 <= int(row[1].replace(",", "")) <= 11_000
    assert all(float(each) > 1 for each in row[2:] if each != "nan")
    assert "nan" not in row[-2:]
    (tmp_path / "bad.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(Exception, match="is not a table of planted repeats"):
        genome_repeats.read_repeats(tmp_path / "bad.tsv")
