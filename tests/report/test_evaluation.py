import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from revlm.report import compare, html, read_history, write_comparison, write_report
from revlm.report.by_context import draw_by_context
from revlm.report.by_position import draw_by_position
from revlm.report.canvas import Canvas
from revlm.report.compare import compared_evaluations
from revlm.report.evaluated import Evaluated
from revlm.report.evaluation_section import HEADINGS, evaluation_pictures, evaluation_sections
from revlm.report.theme import DARK, LIGHT
from tests.report.builder import build_run, write_evaluation
from tests.report.test_page import Outline
from tests.report.test_pictures import shown, texts

WIDE, NARROW = Canvas(LIGHT, title="novels: an evaluation"), Canvas(DARK, 3.6)


def evaluated(folder: Path, **options: object) -> Evaluated:
    found = read_history(write_evaluation(build_run(folder, 3), **options)).evaluated  # type: ignore[arg-type]
    assert found is not None
    return found


def drawn(folder: Path, canvas: Canvas, **options: object) -> dict[str, Figure]:
    return {name: picture.draw(canvas) for name, picture in evaluation_pictures(evaluated(folder, **options)).items()}


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
    assert list(figures) == list(HEADINGS)
    for name, words in {
        "positions": ("nats a token", "position in the document", "64K"),
        "context": ("256", "16K", "all", "gain over the smallest context"),
        "ablations": ("layer 3", "all lsh", "+0.450", "rounds"),
        "finding": ("needle", "no needle", "chance", "16 rounds", "tokens copied"),
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
    axes = draw_by_position({"": evaluated(tmp_path / "run", documents=5)}, WIDE).axes[0]
    many, few = axes.get_lines()[2:4]  # after the thin line and the thick one
    assert (len(many.get_xdata()), len(few.get_xdata())) == (11, 6)  # 5 times 32 tokens are few, 5 times 64 are not
    assert few.get_markerfacecolor() == LIGHT.paper


def test_where_the_second_piece_of_a_document_begins_is_marked(tmp_path: Path) -> None:
    found = evaluated(tmp_path / "run")
    for seq_len, marks in ((65536, 1), (2**20, 0)):
        axes = draw_by_position({"": found.model_copy(update={"seq_len": seq_len})}, WIDE).axes[0]
        assert sum(line.get_linestyle() == ":" for line in axes.get_lines()) == marks


def test_a_gain_of_nothing_but_rounding_is_drawn_as_none(tmp_path: Path) -> None:
    found = evaluated(tmp_path / "run", documents=1, gain=-1e-7).context
    assert draw_by_context({"": found}, WIDE).axes[0].get_ylim() == (0.0, 0.01)
    lost = evaluated(tmp_path / "other", documents=1, gain=-0.1).context
    assert draw_by_context({"": lost}, WIDE).axes[0].get_ylim()[0] < -0.5


def test_runs_keep_their_colours_where_one_was_not_asked(tmp_path: Path) -> None:
    found = evaluated(tmp_path / "run")
    for figure in (
        draw_by_position({"a": None, "b": found, "c": found}, WIDE),
        draw_by_context({"a": None, "b": found.context, "c": found.context}, WIDE),
    ):
        assert {"b", "c"} <= set(shown(figure).split("\n"))
        assert "a" not in shown(figure).split("\n")
        colors = {line.get_color() for line in figure.axes[0].get_lines()}
        assert {LIGHT.runs[1], LIGHT.runs[2]} <= colors
        assert LIGHT.runs[0] not in colors


@pytest.fixture
def bare_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages with their words but without their pictures, which take seconds to draw in all variants."""
    for module in (html, compare):
        monkeypatch.setattr(module, "picture_html", lambda picture: f"<picture>{picture.description}</picture>")


@pytest.mark.usefixtures("bare_pages")
def test_the_page_and_the_pictures_of_an_evaluated_run(tmp_path: Path) -> None:
    run = write_evaluation(build_run(tmp_path / "run", 3))
    report = write_report(read_history(run))
    page = Outline(report.page.read_text())
    for words in (*HEADINGS.values(), "What the buckets find", "Student", "4.2000 nats a token", "31.0%", "62.0%"):
        assert words in page.text
    assert {path.name for path in report.evaluation.values()} == {f"{name}.png" for name in HEADINGS}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in report.files().values() if path.suffix == ".png")


@pytest.mark.usefixtures("bare_pages")
def test_what_was_not_asked_is_not_there(tmp_path: Path) -> None:
    run = write_evaluation(build_run(tmp_path / "run", 3))
    record = json.loads((run / "evaluation.json").read_text())
    for question in ("context", "ablations", "recall", "copying", "needle"):
        del record[question]
    (run / "evaluation.json").write_text(json.dumps(record))
    history = read_history(run)
    assert history.evaluated is not None
    assert list(evaluation_pictures(history.evaluated)) == ["positions"]
    assert len(list(evaluation_sections(history.evaluated))) == 1


def test_an_evaluation_of_another_form_is_left_out_and_said(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 3)
    (run / "evaluation.json").write_text('{"step": "three"}')
    history = read_history(run)
    assert history.evaluated is None
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
    }
    assert HEADINGS["context"] in Outline(comparison.page.read_text()).text
    assert compared_evaluations(histories[1:]) == {}


def test_runs_whose_documents_were_too_short_for_any_context_are_not_compared_by_it(tmp_path: Path) -> None:
    runs = [write_evaluation(build_run(tmp_path / name, 3)) for name in ("a", "b")]
    for run in runs:
        evaluation = json.loads((run / "evaluation.json").read_text())
        evaluation["context"]["lengths"] = []
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
    found = evaluated(tmp_path / "run", **options)
    page = "".join(evaluation_sections(found))
    assert ("pieces of" in page) == (words is not None)
    assert words is None or words in page
    [axes] = draw_by_position({"": found}, WIDE).axes
    assert [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"] == dotted  # type: ignore[index]
