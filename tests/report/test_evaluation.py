import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from revlm.evaluation.probes import PROBES
from revlm.evaluation.score_views import position_chart
from revlm.records import Evaluation, read_record
from revlm.report import read_history, rendering, write_comparison, write_report
from revlm.report.compare import compared_evaluations
from revlm.report.page import POSITIONS, evaluation_sections
from revlm.report.pictures.canvas import Canvas
from revlm.report.pictures.charts import draw_compared, draw_panels
from revlm.report.pictures.theme import DARK, LIGHT
from tests.report.builder import build_run, write_evaluation
from tests.report.test_page import Outline
from tests.report.test_pictures import shown, texts

WIDE, NARROW = Canvas(LIGHT, title="novels: an evaluation"), Canvas(DARK, 3.6)
DRAWN = [POSITIONS, "context", "repeats", "ablations", "copying", "needle", "answers"]


def evaluated(folder: Path, **options: object) -> Evaluation:
    write_evaluation(build_run(folder, 1), **options)  # type: ignore[arg-type]
    return read_record(Evaluation, folder / "evaluation.json")


def drawn(folder: Path, canvas: Canvas, **options: object) -> dict[str, Figure]:
    sections = evaluation_sections(evaluated(folder, **options))
    return {name: section.picture.draw(canvas) for name, section in sections.items() if section.picture is not None}


@pytest.mark.parametrize("canvas", [WIDE, NARROW])
@pytest.mark.parametrize("options", [{}, {"layers": 12}, {"hashed": False, "documents": 1}, {"layers": 1}])
def test_no_text_is_clipped_and_none_overlaps(tmp_path: Path, canvas: Canvas, options: dict[str, object]) -> None:
    for name, figure in drawn(tmp_path / "run", canvas, **options).items():
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
        for place, (words, box) in enumerate(boxes):
            assert figure.bbox.padded(1).fully_containsx(box.x0), (name, words)
            assert figure.bbox.padded(1).fully_containsx(box.x1), (name, words)
            assert figure.bbox.padded(1).fully_containsy(box.y0), (name, words)
            assert figure.bbox.padded(1).fully_containsy(box.y1), (name, words)
            for other_words, other in boxes[place + 1 :]:
                assert not box.padded(-1).overlaps(other.padded(-1)), (name, words, other_words)


def test_each_picture_shows_what_it_is_for(tmp_path: Path) -> None:
    figures = drawn(tmp_path / "run", WIDE)
    assert list(figures) == DRAWN
    for name, words in {
        POSITIONS: ("nats a token", "position in the document", "64K"),
        "context": ("256", "16K", "all", "gain over the smallest context"),
        "repeats": ("256", "16K", "all", "since the last time"),
        "ablations": ("layer 3", "all lsh", "+0.450", "rounds"),
        "needle": ("needle", "no needle", "chance"),
        "answers": ("keys", "mqar", "answers right"),
        "copying": ("chance", "16 rounds", "tokens copied"),
    }.items():
        assert all(word in shown(figures[name]) for word in words), name


def test_a_gain_has_its_interval_where_there_is_one(tmp_path: Path) -> None:
    lines = [
        sum(len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1] for line in axes.get_lines())
        for axes in (
            drawn(tmp_path / name, WIDE, documents=documents)["context"].axes[0]
            for name, documents in (("several", 5), ("one", 1))
        )
    ]
    assert lines == [5, 0]


def test_hollow_points_are_of_few_tokens(tmp_path: Path) -> None:
    chart = position_chart(evaluated(tmp_path / "run", documents=5))
    assert chart is not None
    [axes] = draw_panels([chart], WIDE).axes
    points = [line.get_markerfacecolor() for line in axes.get_lines() if line.get_marker() == "o"]
    # 5 times 32 tokens are few, 5 times 64 are not.
    assert points == [LIGHT.paper] * 6 + [LIGHT.runs[0]] * 11


def test_where_the_second_piece_of_a_document_begins_is_marked(tmp_path: Path) -> None:
    found = evaluated(tmp_path / "run")
    for seq_len, marks in ((65536, [65537]), (2**20, [])):
        chart = position_chart(found.model_copy(update={"seq_len": seq_len}))
        assert chart is not None
        [axes] = draw_panels([chart], WIDE).axes
        assert [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"] == marks


def test_a_gain_of_nothing_but_rounding_is_drawn_as_none(tmp_path: Path) -> None:
    [axes] = drawn(tmp_path / "run", WIDE, documents=1, gain=-1e-7)["context"].axes
    assert axes.get_ylim() == (0.0, 0.01)
    [axes] = drawn(tmp_path / "other", WIDE, documents=1, gain=-0.1)["context"].axes
    assert axes.get_ylim()[0] < -0.5


@pytest.mark.parametrize("name", [POSITIONS, "context"])
def test_runs_keep_their_colours_where_one_was_not_asked(tmp_path: Path, name: str) -> None:
    found = evaluated(tmp_path / "run")
    [chart] = [position_chart(found)] if name == POSITIONS else PROBES[name].panels(getattr(found, name))
    figure = draw_compared({"a": None, "b": chart, "c": chart}, WIDE)  # type: ignore[dict-item]
    assert {"b", "c"} <= set(shown(figure).split("\n"))
    assert "a" not in shown(figure).split("\n")
    colors = {line.get_color() for line in figure.axes[0].get_lines()}
    assert {LIGHT.runs[1], LIGHT.runs[2]} <= colors
    assert LIGHT.runs[0] not in colors


@pytest.fixture
def bare_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages with their words but without their pictures, which take seconds to draw in all variants."""
    monkeypatch.setattr(rendering, "sources", lambda picture: [("", "data:image/png;base64,")])


@pytest.mark.usefixtures("bare_pages")
def test_the_page_and_the_pictures_of_an_evaluated_run(tmp_path: Path) -> None:
    run = write_evaluation(build_run(tmp_path / "run", 3))
    report = write_report(read_history(run))
    page = Outline(report.page.read_text())
    titles = [probe.title for probe in PROBES.values()]
    for words in (*titles, "Student", "4.2000 nats a token", "31.0%", "62.0%", "hash layer"):
        assert words in page.text
    assert {path.name for path in report.evaluation.values()} == {f"{name}.png" for name in DRAWN}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in report.files().values() if path.suffix == ".png")


@pytest.mark.usefixtures("bare_pages")
def test_what_was_not_asked_is_not_there(tmp_path: Path) -> None:
    run = write_evaluation(build_run(tmp_path / "run", 3))
    record = json.loads((run / "evaluation.json").read_text())
    for name in PROBES:
        del record[name]
    (run / "evaluation.json").write_text(json.dumps(record))
    evaluation = read_history(run).evaluation
    assert evaluation is not None
    assert list(evaluation_sections(evaluation)) == [POSITIONS]


def test_an_evaluation_of_another_form_is_left_out_and_said(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 3)
    (run / "evaluation.json").write_text('{"step": "three"}')
    history = read_history(run)
    assert history.evaluation is None
    assert any("evaluation.json" in note for note in history.notes)


@pytest.mark.usefixtures("bare_pages")
def test_evaluated_runs_are_compared(tmp_path: Path) -> None:
    runs = [
        write_evaluation(build_run(tmp_path / "runs" / name, 3), gain=gain) for name, gain in (("a", 0.1), ("b", 0.0))
    ]
    histories = [read_history(run) for run in [*runs, build_run(tmp_path / "runs" / "c", 3)]]
    comparison = write_comparison(histories)
    assert {path.name for path in comparison.evaluation.values()} == {
        "comparison-positions.png",
        "comparison-context.png",
        "comparison-repeats.png",
    }
    assert PROBES["context"].title in Outline(comparison.page.read_text()).text
    assert compared_evaluations(histories[1:]) == {}


def test_runs_whose_documents_were_too_short_for_any_context_are_not_compared_by_it(tmp_path: Path) -> None:
    runs = [write_evaluation(build_run(tmp_path / name, 3)) for name in ("a", "b")]
    for run in runs:
        evaluation = json.loads((run / "evaluation.json").read_text())
        evaluation["context"]["lengths"] = evaluation["repeats"]["distances"] = []
        (run / "evaluation.json").write_text(json.dumps(evaluation))
    assert set(write_comparison([read_history(run) for run in runs]).evaluation) == {"positions"}


@pytest.mark.parametrize(
    ("options", "words", "dotted"),
    [
        ({}, "pieces of 65,536 tokens; dotted: where the second begins", [65537.0]),
        ({"longest": 65536}, None, []),  # in the bin from 65,536 on, and in one piece
        ({"first": 32768, "longest": 30_000}, None, []),  # the end of a document
        ({"first": 32768}, "pieces of 65,536 tokens.", []),  # its pieces begin anywhere
    ],
)
def test_pieces_are_told_where_there_are_some(
    tmp_path: Path, options: dict[str, object], words: str | None, dotted: list[float]
) -> None:
    section = evaluation_sections(evaluated(tmp_path / "run", **options))[POSITIONS]
    assert section.picture is not None
    assert ("pieces of" in section.caption) == (words is not None)
    assert words is None or words in section.caption
    [axes] = section.picture.draw(WIDE).axes
    assert [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"] == dotted  # type: ignore[index]
