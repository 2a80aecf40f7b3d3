"""`make_pictures.py`: a tile that repeats, shapes on it, and the bits per dimension of PNG."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "scripts"))
import make_pictures


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
