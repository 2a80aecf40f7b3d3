"""`revlm generate` with a model of pictures: whole ones, completions and grids, as PNG files."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from revlm.cli import main
from revlm.pictures import png_of
from tests.tiny_pictures import write_picture_run
from tests.tiny_run import write_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on pictures of one size and of their own sizes, and on texts."""
    place = tmp_path_factory.mktemp("pictures")
    for name, options in (("sized", {"size": 6, "grey": True}), ("free", {})):
        (place / name).mkdir()
        write_picture_run(place / name, "evaluate.prompts=[]", **options)
    (place / "text").mkdir()
    write_run(place / "text" / "run", "train.max_steps=1")
    return place


def generated(run: Path, *arguments: object) -> int:
    return main(["generate", "--run", str(run), "--device", "cpu", *map(str, arguments)])


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def test_the_given_rows_stay_and_the_rest_is_sampled(place: Path, tmp_path: Path) -> None:
    whole, output = place / "sized" / "files" / "1.png", tmp_path / "completed.png"
    assert generated(place / "sized" / "run", "--picture", whole, "--rows", 4, "--output", output) == 0
    found = pixels(output)
    assert found.shape == (6, 6)
    assert np.array_equal(found[:4], pixels(whole)[:4])
    assert not np.array_equal(found[4:], pixels(whole)[4:])
    first = output.read_bytes()
    assert generated(place / "sized" / "run", "--picture", whole, "--rows", 4, "--output", output) == 0
    assert output.read_bytes() == first


def test_several_samples_are_a_grid_of_which_the_first_is_that_of_one(place: Path, tmp_path: Path) -> None:
    assert generated(place / "sized" / "run", "--output", tmp_path / "one.png") == 0
    assert generated(place / "sized" / "run", "--samples", 3, "--output", tmp_path / "grid.png") == 0
    grid = pixels(tmp_path / "grid.png")
    assert grid.shape == (14, 14)
    assert np.array_equal(grid[:6, :6], pixels(tmp_path / "one.png"))
    assert (grid[6:8] == 255).all()
    assert (grid[8:, 8:] == 255).all()  # where a fourth would be


def test_a_grid_of_colours() -> None:
    pictures = [np.full((2, 3, 3), number, dtype=np.uint8) for number in range(5)]
    grid = np.asarray(Image.open(BytesIO(png_of(pictures))))
    assert grid.shape == (2 * 4 - 2, 3 * 5 - 2, 3)
    assert (grid[4:6, 5:8] == 4).all()


@pytest.mark.parametrize(
    ("run", "arguments", "code", "words"),
    [
        ("sized", ["--picture", "0.png"], 2, "--picture completes a picture into a PNG file"),
        ("sized", ["--picture", "0.png", "--output", "a.jpg"], 2, "--picture completes a picture into a PNG file"),
        ("sized", ["--output", "a.png", "--rows", "2"], 2, "--rows needs a picture"),
        ("sized", ["--picture", "0.png", "--rows", "6", "--output", "a.png"], 2, "leaves nothing to complete of 0.png"),
        ("sized", ["--picture", "0.png", "--prompt", "x", "--output", "a.png"], 2, "--prompt cannot be combined with"),
        ("sized", ["--picture", "0.png", "--json", "--output", "a.png"], 2, "--json cannot be combined with --picture"),
        ("sized", ["--picture", "none.png", "--output", "a.png"], 3, "the picture none.png cannot be read: no such"),
        ("sized", ["--picture", "bad.png", "--output", "a.png"], 3, "the picture bad.png is not a PNG, JPEG or WebP"),
        ("sized", ["--prompt", "x"], 2, "is a model of pictures: give --output FILE.png"),
        ("free", ["--output", "a.png"], 2, "the model was trained on pictures of several sizes"),
        ("text", ["--picture", "0.png", "--output", "a.png"], 2, "is not a model of pictures: give --prompt TEXT"),
    ],
)
def test_wrong_use_is_one_sentence(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: str,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("0.png").write_bytes((place / "sized" / "files" / "0.png").read_bytes())
    Path("bad.png").write_bytes(b"not a picture")
    assert generated(place / run / "run", *arguments) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert not Path("a.png").exists()
