import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from revlm.report.compare import comparison_page
from revlm.report.history import read_history
from revlm.report.page import at_a_glance, run_page
from tests.report.builder import ENVIRONMENT, append_line, bare_step, build_run

VOID = {"meta", "source", "img"}


class Outline(HTMLParser):
    """Collects tags, addresses and text; fails where elements are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "srcset", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run whose name, environment and samples hold markup, and which recorded little of its last step."""
    run = build_run(tmp_path_factory.mktemp("page") / "<i>run", 25, max_steps=200)
    (run / "environment.json").write_text(json.dumps(ENVIRONMENT | {"<i>": "</table>", "none": None}))
    append_line(run, bare_step(26))
    return run_page(read_history(run))


def test_a_page_is_well_formed_and_loads_nothing(page: str) -> None:
    outline = Outline(page)
    assert all(address.startswith("data:image/png;base64,") for address in outline.addresses)
    assert len(outline.addresses) == 4 * 4
    assert "script" not in outline.tags
    assert not re.search(r"url\(|@import|https?://", page)


@pytest.mark.parametrize(
    "part",
    [
        *("Loss", "Memory", "Hash layers", "Throughput", "Samples", "Recipe", "Environment"),
        *("4 layers (local, lsh)", "65,536 tokens an example", "of 200", "seq_len: 65536", "2.13.0"),
    ],
)
def test_a_page_shows_every_part(page: str, part: str) -> None:
    assert part in Outline(page).text


def test_samples_are_escaped_and_keep_their_lines(page: str) -> None:
    outline = Outline(page)
    assert "b" not in outline.tags
    assert "a wet <b>evening</b> & the 20 lamps\nwere out" in outline.text
    assert "\x1b" not in page


def test_names_and_notes_are_escaped(page: str) -> None:
    outline = Outline(page)
    assert "i" not in outline.tags
    assert "<i>run" in outline.text
    assert "the first at 26: not finite" in outline.text


def test_what_a_run_lacks_is_said(tmp_path: Path) -> None:
    run = build_run(tmp_path / "old", 1)
    for name in ("metrics.jsonl", "recipe.yaml", "environment.json", "plan.json"):
        (run / name).unlink()
    append_line(run, bare_step(1))
    text = Outline(run_page(read_history(run))).text
    for part in (
        "no recipe.yaml",
        "no environment.json",
        "did not record its memory",
        "has no throughput",
    ):
        assert part in text
    assert "what was planned for it" not in text


def test_a_comparison_shows_figures_and_what_differs(tmp_path: Path) -> None:
    histories = [read_history(build_run(tmp_path / name, steps)) for name, steps in (("base", 30), ("long", 60))]
    outline = Outline(comparison_page(histories))
    for part in ("2 runs compared", "base", "long", "train.max_steps", "held-out bits per byte"):
        assert part in outline.text
    assert "model.d_model" not in outline.text
    assert "output_dir" not in outline.text


def test_a_word_where_the_recipe_should_have_a_number_is_shown_as_it_is(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("seq_len: 65536", "seq_len: 64k"))
    assert "4 layers (local, lsh)" in at_a_glance(read_history(run))
    assert "64k tokens an example" in at_a_glance(read_history(run))
    (run / "recipe.yaml").write_text(text)
    assert "65,536 tokens an example" in at_a_glance(read_history(run))
