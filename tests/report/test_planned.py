import json
from pathlib import Path

import pytest

from revlm.report.history import read_history
from revlm.report.page import run_page
from revlm.report.pictures.canvas import Canvas
from revlm.report.pictures.memory import draw_memory
from revlm.report.pictures.theme import LIGHT
from tests.report.builder import MEGABYTE, PLAN, build_run
from tests.report.test_pictures import shown


def test_the_parts_of_a_planned_bar_add_up_and_stand_below_the_measured_one(tmp_path: Path) -> None:
    axes = draw_memory(read_history(build_run(tmp_path / "run", 3)), Canvas(LIGHT)).axes[2]
    upper = [bar for bar in axes.patches if bar.get_y() + bar.get_height() / 2 < round(bar.get_y() + 0.17)]
    lower = [bar for bar in axes.patches if bar not in upper]
    assert len(upper) == 3
    backward = [bar for bar in lower if round(bar.get_y()) == 1]
    assert sum(bar.get_width() for bar in backward) == sum(PLAN["peaks"]["backward"].values())
    assert 1480 * MEGABYTE <= upper[1].get_width() < 1510 * MEGABYTE


def test_small_categories_are_one_part(tmp_path: Path) -> None:
    words = shown(draw_memory(read_history(build_run(tmp_path / "run", 3)), Canvas(LIGHT)))
    for word in ("the attention workspace", "the kept", "other", "1.49 GB planned", "measured"):
        assert word in words
    assert "the weights" not in words


def test_a_run_without_a_plan_is_drawn_without_it(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 3)
    (run / "plan.json").unlink()
    assert len(draw_memory(read_history(run), Canvas(LIGHT)).axes) == 2


@pytest.mark.parametrize("content", [{"peaks": 3}, PLAN | {"categories": {}, "peaks": {"forward": {"loss": "much"}}}])
def test_a_plan_that_is_none_is_left_out_and_named(tmp_path: Path, content: object) -> None:
    run = build_run(tmp_path / "run", 3)
    (run / "plan.json").write_text(json.dumps(content))
    history = read_history(run)
    assert history.plan is None
    [note] = history.notes
    assert note.startswith("plan.json is left out: it is not what a run writes (")


def test_a_real_run_is_drawn_with_its_plan(tmp_path: Path) -> None:
    from revlm.planning import CATEGORIES
    from tests.tiny_run import write_run

    history = read_history(write_run(tmp_path / "run", "train.max_steps=1"))
    assert history.plan is not None
    assert history.plan.categories == CATEGORIES
    assert "planned" in shown(draw_memory(history, Canvas(LIGHT)))
    assert "what was planned for it" in run_page(history)
