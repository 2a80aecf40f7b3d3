"""Samples of a run on pictures: the last rows of given or held-out pictures, in the run folder and on its page."""

import json
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from revlm.errors import DataError, StorageError
from revlm.evaluation import evaluate_run
from revlm.evaluation.score_views import position_caption, score_tables
from revlm.generation import load_model
from revlm.pictures import header_of
from revlm.records import SampledPicture, read_samples
from revlm.report import read_history, write_report
from revlm.report.pictures.sampled import draw_sample
from tests.tiny_pictures import write_picture_run


def samples_of(run: Path) -> Path:
    return run / "samples" / "step-00000001.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose samples are of held-out pictures: two rows of six values each."""
    return write_picture_run(tmp_path_factory.mktemp("run"), "evaluate.every=1", "evaluate.sample_tokens=15")


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))[:, :, None]


def test_held_out_pictures_are_completed(run: Path) -> None:
    samples = read_samples(samples_of(run)).samples
    assert len(samples) == 2  # half of four are held out
    for sample in samples:
        assert sample.picture is not None
        assert (sample.picture.rows, sample.picture.pixels.shape, sample.text) == (4, (6, 6, 1), "")
        whole = pixels(run.parent / "files" / f"{sample.prompt}.png")
        assert np.array_equal(sample.picture.pixels[:4], whole[:4])
        assert not np.array_equal(sample.picture.pixels[4:], whole[4:])


def test_the_pictures_of_the_recipe_are_completed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").symlink_to(run.parent / "tokens")
    file = run.parent / "files" / "2.png"
    other = write_picture_run(tmp_path, "evaluate.every=1", f"evaluate.prompts=[{file}]", "evaluate.sample_tokens=1")
    [sample] = read_samples(samples_of(other)).samples
    assert sample.prompt == str(file)
    assert sample.picture is not None
    assert sample.picture.rows == 5  # a row is the least
    with pytest.raises(DataError, match=r"the picture none\.png cannot be read"):
        write_picture_run(tmp_path, "output_dir=" + str(tmp_path / "b"), "evaluate.prompts=[none.png]")


def test_the_page_shows_them_with_the_given_rows_marked(run: Path) -> None:
    page = write_report(read_history(run)).page.read_text()
    assert page.count('<figure class="sampled">') == 2
    assert page.count("4 rows given (marked)") == 2
    assert 'class="sample"' not in page


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 7},
        {"rows": -1},
        {"document": "x"},
        {"document": "AAYABgE="},
        {"document": "/////wM="},
        {"document": 5},
        {"document": "é" * 8},
    ],
)
def test_what_is_no_picture_is_left_out_of_the_page(run: Path, tmp_path: Path, change: dict[str, object]) -> None:
    samples = json.loads(samples_of(run).read_text())
    samples[0]["picture"] |= change
    changed = tmp_path / "step-00000001.json"
    changed.write_text(json.dumps(samples))
    with pytest.raises(StorageError, match=r"is not|should be|has 6 rows") as raised:
        read_samples(changed)
    assert "\n" not in str(raised.value)


def test_bits_per_dimension_are_all_bits_over_the_pixel_values(run: Path) -> None:
    found = evaluate_run(load_model(run, "cpu"))
    for score in (found.total, *found.documents):
        documents = len(found.documents) if score is found.total else 1
        values = score.bytes - documents * len(header_of(1, 1, 1))
        assert values == documents * 36
        assert score.bits_per_dimension == pytest.approx(score.loss * score.tokens / np.log(2) / values)
    documents_table, _ = score_tables(found)
    assert documents_table.columns[-1] == "bits/dimension"
    assert documents_table.sections[-1][0][-1] == f"{found.total.bits_per_dimension:.4f}"
    assert f"{found.total.bits_per_dimension:.4f} bits per dimension" in position_caption(found)


def test_a_colour_picture_is_drawn_beside_a_bar_as_high_as_what_was_given() -> None:
    document = SampledPicture(document="AAIAAQMKCwwUFRY=", rows=1)
    drawn = draw_sample(document)
    assert drawn.source.startswith("data:image/png;base64,")
    shown = np.asarray(Image.open(BytesIO(b64decode(drawn.source.partition(",")[2]))))
    assert shown.shape == (2, 4, 3)
    assert shown[:, 3].tolist() == [[10, 11, 12], [20, 21, 22]]
    assert shown[0, 0].tolist() != [255, 255, 255] == shown[1, 0].tolist()
    assert drawn.width == 8 * 4
