from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from revlm.report.history import History, read_history
from revlm.report.pictures.canvas import RESOLUTION, Canvas, to_png
from revlm.report.pictures.memory import draw_memory
from revlm.report.pictures.overlay import draw_losses, draw_peaks, loss_measure, run_names
from revlm.report.pictures.steps import bits_per_byte_factor, draw_buckets, draw_loss, draw_throughput, has_hash_layers
from revlm.report.pictures.theme import DARK, LIGHT
from tests.journal_records import step_record
from tests.report.builder import append_line, bare_step, build_run

WIDE, NARROW = Canvas(LIGHT, title="novels: $5 a loss"), Canvas(DARK, 3.6)
DRAWINGS = (draw_loss, draw_memory, draw_buckets, draw_throughput)


def texts(figure: Figure) -> list[Text]:
    """The texts of a figure that are drawn: ticks beyond the limits of an axis have texts that are not."""
    figure.canvas.draw()
    undrawn: set[Text] = set()
    for axes in [*figure.axes, *(inner for outer in figure.axes for inner in outer.child_axes)]:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
            undrawn |= {label for tick in ticks for label in (tick.label1, tick.label2)}
    found = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    return [text for text in found if text.get_text() and text.get_visible() and text not in undrawn]


def shown(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in texts(figure))


@pytest.mark.parametrize("n_steps", [1, 30, 700])
@pytest.mark.parametrize("canvas", [WIDE, NARROW])
def test_no_text_is_clipped_at_any_length_and_width(tmp_path: Path, n_steps: int, canvas: Canvas) -> None:
    history = read_history(build_run(tmp_path / "run", n_steps, on_gpu=n_steps == 30))
    for draw in DRAWINGS:
        figure = draw(history, canvas)
        paper = figure.bbox
        for text in texts(figure):
            box = text.get_window_extent()
            assert box.x0 >= paper.x0 - 1, (draw.__name__, text.get_text())
            assert box.x1 <= paper.x1 + 1, (draw.__name__, text.get_text())
            assert box.y0 >= paper.y0 - 1, (draw.__name__, text.get_text())
            assert box.y1 <= paper.y1 + 1, (draw.__name__, text.get_text())


@pytest.mark.parametrize("canvas", [WIDE, NARROW])
def test_no_two_texts_overlap(tmp_path: Path, canvas: Canvas) -> None:
    history = read_history(build_run(tmp_path / "run", 100))
    for draw in DRAWINGS:
        boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in texts(draw(history, canvas))]
        for place, (first, box) in enumerate(boxes):
            for second, other in boxes[place + 1 :]:
                assert not box.overlaps(other), (draw.__name__, first, second)


def test_pictures_have_twice_the_resolution_of_the_screen(tmp_path: Path) -> None:
    history = read_history(build_run(tmp_path / "run", 3))
    picture = Image.open(BytesIO(to_png(draw_loss(history, WIDE))))
    assert picture.width == 860 * RESOLUTION


def test_memory_starts_from_zero_and_names_every_phase(tmp_path: Path) -> None:
    figure = draw_memory(read_history(build_run(tmp_path / "run", 30)), WIDE)
    over_steps, bars, _ = figure.axes
    assert over_steps.get_ylim()[0] == 0
    assert bars.get_xlim()[0] == 0
    words = shown(figure)
    for word in ("resident memory, GB", "forward", "backward", "optimizer", "baseline 310 MB"):
        assert word in words


def test_memory_of_a_gpu_is_named_as_such(tmp_path: Path) -> None:
    words = shown(draw_memory(read_history(build_run(tmp_path / "run", 3, on_gpu=True)), WIDE))
    assert "allocated memory" in words
    assert "reserved" in words


def test_tokens_stand_below_the_steps(tmp_path: Path) -> None:
    history = read_history(build_run(tmp_path / "run", 30))
    axes = draw_loss(history, WIDE).axes[0]
    step, tokens = axes.get_xticklabels()[-1].get_text().split("\n")
    assert step == "30"
    assert tokens == "1.95M"


def test_bits_per_byte_have_a_scale_only_where_one_serves_all_steps(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 5)
    history = read_history(run)
    factor = bits_per_byte_factor(history)
    assert factor is not None
    figure = draw_loss(history, WIDE)
    assert "bits per byte" in shown(figure)
    [left], [right] = figure.axes, figure.axes[0].child_axes
    np.testing.assert_allclose(np.array(left.get_ylim()) * factor, right.get_ylim())

    append_line(run, step_record(6, loss=4.0, bits_per_byte=9.0))
    history = read_history(run)
    assert bits_per_byte_factor(history) is None
    assert "bits per byte" not in shown(draw_loss(history, WIDE))


def test_every_hash_layer_is_labelled_in_a_colour_of_its_own(tmp_path: Path) -> None:
    figure = draw_buckets(read_history(build_run(tmp_path / "run", 30)), WIDE)
    for axes in figure.axes:
        assert {text.get_text() for text in axes.texts} >= {"layer 1", "layer 3"}
        assert len({line.get_color() for line in axes.get_lines()}) == 2


def test_a_run_without_hash_layers_has_none_to_show(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    (run / "metrics.jsonl").unlink()
    append_line(run, step_record(1))
    assert not has_hash_layers(read_history(run))


@pytest.mark.parametrize("draw", DRAWINGS)
def test_a_run_that_recorded_nothing_can_be_drawn(tmp_path: Path, draw: object) -> None:
    assert callable(draw)
    run = build_run(tmp_path / "run", 1)
    (run / "metrics.jsonl").unlink()
    append_line(run, bare_step(1))
    assert to_png(draw(read_history(run), WIDE)).startswith(b"\x89PNG")


def two_runs(tmp_path: Path) -> list[History]:
    return [read_history(build_run(tmp_path / name, steps)) for name, steps in (("a/base", 90), ("b/wide", 1))]


@pytest.mark.parametrize("canvas", [WIDE, NARROW])
def test_runs_are_laid_over_each_other_by_tokens_and_by_time(tmp_path: Path, canvas: Canvas) -> None:
    histories = two_runs(tmp_path)
    figure = draw_losses(histories, canvas)
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 2]
    words = shown(figure)
    for word in ("a/base", "b/wide", "tokens seen", "minutes in steps", "bits per byte"):
        assert word in words
    assert "1.82 GB" in shown(draw_peaks(histories, canvas))


def test_runs_are_compared_in_nats_where_one_has_no_bits_per_byte(tmp_path: Path) -> None:
    histories = two_runs(tmp_path)
    assert loss_measure(histories) == ("bits_per_byte", "bits per byte")
    run = build_run(tmp_path / "old", 1)
    (run / "metrics.jsonl").unlink()
    append_line(run, step_record(1, bits_per_byte=None))
    assert loss_measure([*histories, read_history(run)]) == ("loss", "nats a token")
    assert run_names(histories) == ["a/base", "b/wide"]


def test_a_step_that_was_passed_over_leaves_the_last_loss_in_the_key(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 9)
    append_line(run, bare_step(10))
    history = read_history(run)
    assert f"training, {history.series('loss')[5:9].mean():.5g} at the end" in shown(draw_loss(history, WIDE))


def with_schedule(folder: Path, schedule: str) -> History:
    recipe = build_run(folder, 25) / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("seq_len: 65536", f"seq_len: 65536, seq_len_schedule: {schedule}"))
    return read_history(folder)


def test_the_loss_marks_where_examples_change_their_length(tmp_path: Path) -> None:
    history = with_schedule(tmp_path / "run", "[[0, 4096], [10, 16384], [20, 65536], [400, 131072]]")
    assert history.seq_len_changes == [(11, 16384), (21, 65536)]
    for canvas in (WIDE, NARROW):
        assert {"16,384", "65,536"} <= set(shown(draw_loss(history, canvas)).splitlines())


@pytest.mark.parametrize(
    "word", ["soon", "7", "[]", "[[0, 1], [x, 2]]", "[[[[0]]]]", f"[[0, 1], [{'9' * 30}, 2]]", "{a: 1}"]
)
def test_a_schedule_that_is_none_marks_nothing(tmp_path: Path, word: str) -> None:
    assert with_schedule(tmp_path / "run", word).seq_len_changes == []
