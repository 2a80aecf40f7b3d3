"""`make_pictures.py`: a tile that repeats, shapes on it, and the bits per dimension of PNG."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from revlm.errors import DataError
from revlm.evaluation import evaluate_run
from revlm.generation import load_model
from revlm.runs import RunFolder
from tests.tiny_pictures import write_picture_run

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "scripts"))
import make_pictures
import picture_bits


def test_a_tile_repeats_and_differs_between_pictures() -> None:
    generator = np.random.default_rng(0)
    pictures = [make_pictures.wallpaper(generator, 32) for _ in range(8)]
    assert all(picture.shape == (32, 32, 1) for picture in pictures)
    assert all((picture[8:] == picture[:-8]).mean() > 0.5 for picture in pictures)
    assert all((one != other).mean() > 0.5 for one, other in pairwise(pictures))


def test_the_seed_decides_the_pixels_and_the_cost_of_png_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_pictures.main(tmp_path / name, pictures=2, size=16, seed=seed)
    pixels = {name: np.asarray(Image.open(tmp_path / name / "00001.png")) for name in "abc"}
    assert np.array_equal(pixels["a"], pixels["b"])
    assert not np.array_equal(pixels["a"], pixels["c"])
    n_bytes = sum(path.stat().st_size for path in (tmp_path / "a").iterdir())
    assert f"as PNG {8 * n_bytes / (2 * 256):.3f} bits per dimension" in capsys.readouterr().out


def test_files_of_the_held_out_pictures_stand_beside_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_picture_run(tmp_path, "evaluate.prompts=[]")
    with pytest.raises(DataError, match="was not evaluated"):
        picture_bits.main([folder])
    found = evaluate_run(load_model(folder, "cpu"))
    RunFolder.open(folder).write_evaluation(found.model_dump(mode="json"))
    capsys.readouterr()
    picture_bits.main([folder])
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("2 held-out pictures, 72 values")
    png, webp, model = (float(row.split()[-1]) for row in rows)
    assert min(png, webp) > 0
    assert model == pytest.approx(found.total.bits_per_dimension, abs=1e-3)
