"""A run folder goes from person to person: whatever its files hold, a report is one sentence or a whole page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from revlm.cli import main
from revlm.report import read_history
from revlm.report.page import evaluation_sections, loss_picture, memory_picture
from revlm.report.pictures.canvas import Canvas
from revlm.report.pictures.steps import draw_buckets, draw_throughput
from revlm.report.pictures.theme import LIGHT
from tests.journal_records import step_record, validation_record
from tests.report.builder import append_line, build_run, write_evaluation

LARGEST = 1e39


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_evaluation(build_run(tmp_path / "run", 2), layers=2)


def change(run: Path, name: str, path: tuple[Any, ...], value: Any) -> None:
    """Puts a value into a JSON file of a run."""
    content = json.loads((run / name).read_text())
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (run / name).write_text(json.dumps(content))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("evaluation.json", ("total", "loss"), 1e308),
        ("evaluation.json", ("total",), []),
        ("evaluation.json", ("step",), "\x1b[31m" * 1000),
        ("evaluation.json", ("positions",), [{}] * 500),
        ("evaluation.json", ("positions", 0, "first"), 0),
        ("evaluation.json", ("ablations", "layers", 0, "layers"), []),
        ("evaluation.json", ("ablations", "layers", 0, "layers"), [2**80]),
        ("evaluation.json", ("context", "lengths", 1, "interval"), [1.0]),
        ("evaluation.json", ("context", "lengths", 1, "context"), -3),
        ("evaluation.json", ("repeats", "distances", 0, "tokens"), -1),
        ("evaluation.json", ("needle", "distances", 0, "found"), None),
        ("evaluation.json", ("copying", "accuracies"), 7),
        ("plan.json", ("peaks", "forward", "loss"), 10**400),
        ("plan.json", ("peaks", "forward", "loss"), -1),
        ("plan.json", ("categories",), {"x" * 5000: "x"}),
        ("plan.json", ("seq_len",), 0),
    ],
)
def test_a_damaged_file_is_left_out_and_named(run: Path, name: str, path: tuple[Any, ...], value: Any) -> None:
    change(run, name, path, value)
    assert main(["report", str(run)]) == 0
    [note] = read_history(run).notes
    assert note.startswith(f"{name} is left out: it is not what a run writes (")
    assert len(note) < 500
    assert f"{name} is left out" in (run / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a": ' * 100_000, "\0", "[]", "7", "null", "", '{"a": NaN', "\ufffe"]
)
@pytest.mark.parametrize("name", ["evaluation.json", "plan.json", "environment.json", "samples/step-00000009.json"])
def test_what_is_no_record_at_all_is_left_out(run: Path, name: str, content: str) -> None:
    (run / "samples").mkdir(exist_ok=True)
    (run / name).write_text(content)
    is_empty_list = name.startswith("samples") and content == "[]"
    assert main(["report", str(run)]) == 0
    assert [note.split(" ", 1)[0] for note in read_history(run).notes] == ([] if is_empty_list else [Path(name).name])


def nested(depth: int) -> str:
    return "{" + "a: {" * depth + "}" * depth + "}"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "text",
    [
        nested(50),
        nested(5000),
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)),
        "a: &a {b: *a}",
        "a: &a [*a]",
        "? [1, 2]\n: 3",
        "? {a: 1}\n: 3",
        "model: [unclosed",
        "a: 1\na: 2",
        "- 1",
        "7",
        "\x00",
        "!!python/object:os.system {}",
        "x" * 300_000,
        f"train: {{max_steps: {'9' * 5000}}}",
    ],
)
def test_a_recipe_that_cannot_be_read_is_one_sentence(run: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "recipe.yaml").write_text(text)
    assert main(["report", str(run)]) == 6
    [sentence] = capsys.readouterr().err.splitlines()
    assert "recipe.yaml" in sentence
    assert not (run / "report.html").exists()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "text",
    [
        f"train: {{max_steps: {'9' * 30}}}",
        "train: {max_steps: .inf}",
        "model: {layers: [[a, [b]], {c: 1}, null], d_model: {x: 1}, n_heads: []}",
        "'<b>': '</pre><script>'",
        f"{'k' * 1000}: {'v' * 20_000}",
    ],
)
def test_odd_values_of_a_recipe_are_shown_as_they_are(run: Path, text: str) -> None:
    (run / "recipe.yaml").write_text(text)
    other = build_run(run.parent / "other", 1)
    assert main(["report", str(run), str(other)]) == 0
    assert "<script>" not in (run / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_journal_is_one_sentence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append_line(run, step_record(3) | {"loss": "4.2"})
    append_line(run, step_record(4))
    assert main(["report", str(run)]) == 6
    [sentence] = capsys.readouterr().err.splitlines()
    assert "metrics.jsonl, line 3 is not what a run writes (loss: " in sentence


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["x" * 300, "no\nrun", "\x1b[2J"])
def test_a_folder_of_an_odd_name_is_one_sentence(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / name)]) in (2, 6)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1 + name.count("\n")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["x" * 255, "<b>$a$ \\frac{", "no\nrun", "\x1b[2J", "長い名前"])
def test_a_run_of_an_odd_name_is_reported(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    run = build_run(tmp_path / "run", 1).rename(tmp_path / name)
    assert main(["report", str(run), str(build_run(tmp_path / "other", 1))]) == 0
    assert "\x1b" not in capfd.readouterr().out + (run / "report.html").read_text()
    assert "<b>" not in (run / "report.html").read_text()


@pytest.mark.parametrize("canvas", [Canvas(LIGHT, title="x $5 " * 60), Canvas(LIGHT, 3.6)])
@pytest.mark.parametrize(
    "changes",
    [
        {"loss": LARGEST, "bits_per_byte": -LARGEST, "seconds": LARGEST, "tokens_per_second": LARGEST},
        {"loss": 0.0, "bits_per_byte": 0.0, "seconds": 0.0, "tokens_per_second": 0.0, "tokens": 0},
        {"model_flops_per_second": LARGEST, "mfu": -LARGEST},
        {"model_flops_per_second": -LARGEST, "mfu": 1e-300},
        {"loss": -1e-300, "bits_per_byte": 1e-300, "tokens": 2**60, "tokens_per_second": -1.0},
        {f"memory_{name}_bytes": 2**60 for name in ("baseline", "forward_peak", "backward_peak", "peak", "reserved")},
        {f"memory_{name}_bytes": 0 for name in ("baseline", "forward_peak", "backward_peak", "optimizer_peak", "peak")},
        {
            "layers": [
                {"layer": n, "bucket_fill": LARGEST, "empty_query_share": -1.0, "sink_share": None} for n in (0, 9)
            ]
        },
    ],
)
def test_every_number_that_a_record_can_hold_can_be_drawn(
    tmp_path: Path, changes: dict[str, Any], canvas: Canvas
) -> None:
    run = build_run(tmp_path / "run", 1)
    append_line(run, step_record(2**59) | changes)
    append_line(run, validation_record(2**59, loss=-LARGEST, bits_per_byte=LARGEST))
    history = read_history(run)
    drawings: list[Callable[[Canvas], Any]] = [
        loss_picture(history).draw,
        memory_picture(history).draw,
        lambda canvas: draw_buckets(history, canvas),
        lambda canvas: draw_throughput(history, canvas),
    ]
    for draw in drawings:
        draw(canvas).canvas.draw()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("positions",), []),
        (("positions", 0, "loss"), LARGEST),
        (("positions", 0, "last"), 2**60),
        (("context", "lengths"), []),
        (("context", "lengths", 2, "interval"), [LARGEST, -LARGEST]),
        (("context", "lengths", 2, "context"), 2**60),
        (("ablations", "layers"), []),
        (("ablations", "layers", 0, "increase"), -LARGEST),
        (("ablations", "layers", 0, "kind"), "$\\frac{\n\x00"),
        (("ablations", "rounds"), []),
        (("ablations", "rounds", 0, "rounds"), 2**60),
        (("copying", "accuracies"), []),
        (("copying", "accuracies", 0, "rounds"), None),
        (("copying", "accuracies", 0, "length"), 2**60),
        (("copying", "chance"), LARGEST),
        (("needle", "distances"), []),
        (("needle", "distances", 0, "distance"), 2**60),
        (("recall", "layers"), []),
    ],
)
def test_every_evaluation_that_the_schema_knows_can_be_drawn(run: Path, path: tuple[Any, ...], value: Any) -> None:
    change(run, "evaluation.json", path, value)
    history = read_history(run)
    assert history.notes == []
    assert history.evaluation is not None
    for name, section in evaluation_sections(history.evaluation).items():
        if section.picture is not None and name in (path[0], "positions"):
            section.picture.draw(Canvas(LIGHT, 3.6)).canvas.draw()
