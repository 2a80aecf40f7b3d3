"""What README and docs name exists, every link leads somewhere, and README stays short."""

import re
from pathlib import Path

import pytest

from revlm import errors
from revlm.errors import RevlmError
from tests.docs.checks import problems
from tests.docs.pages import PROJECT, README, Page, pages

PAGES = pages()
MAX_LINES, MAX_WORDS = 200, 1800


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.relative_to(PROJECT).as_posix())
def test_all_that_a_page_names_exists(page: Page) -> None:
    assert problems(page) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`revlm tokenise novels`", "there is no command revlm tokenise"),
        ("| `revlm data show\\|join` | x |", "there is no command revlm data join"),
        ("`revlm evaluate --probes`", "revlm evaluate has no option --probes"),
        ("`revlm tokenize CORPUS [-x DIR]`", "revlm tokenize has no option -x"),
        ("`--no-such-option`", "nothing has an option --no-such-option"),
        ("`optimizer.learning_rate`", "a recipe has no key optimizer.learning_rate"),
        ("`train.steps=3`", "a recipe has no key train.steps"),
        ("```sh\nrevlm train demo sede=3    # seed\n```\n", "a recipe has no key sede"),
        ("```sh\nrevlm train \\\n    moby\n```\n", "no bundled recipe is called moby"),
        ("```sh\ncat a | revlm generate --prompts x > b\n```\n", "revlm generate has no option --prompts"),
        ("```sh\ntorchrun --nnodes 2 -m revlm train demo model.width=8\n```\n", "a recipe has no key model.width"),
        ("```sh\nscripts/sweep.sh demo model.width=8,9\n```\n", "a recipe has no key model.width"),
        ("`python scripts/bench_peers.py --system revlm`", "scripts/bench_peers.py has no option --system"),
        ("`make everything`", "the Makefile has no target everything"),
        ("`scripts/none.sh`", "there is no scripts/none.sh"),
        ("[x](docs/none.md)", "the link docs/none.md leads nowhere"),
        ("![a `b`](docs/pictures/none.png)", "the link docs/pictures/none.png leads nowhere"),
        ("# Here\n[x](#there)", "the link #there leads to no heading"),
        ("[x](docs/recipes.md#none)", "the link docs/recipes.md#none leads to no heading"),
        ("```python\nfrom revlm import training\n```\n", "revlm has no training"),
    ],
)
def test_what_does_not_exist_is_found(text: str, problem: str) -> None:
    assert problem in problems(Page(README, text))


def test_what_exists_is_no_problem() -> None:
    text = """# A `heading`, and more
    [x](#a-heading-and-more) `revlm checkpoint list|verify` `seed=3` `memory.png` `revlm train RECIPE [KEY=VALUE]...`
    """
    assert problems(Page(README, text)) == []


def test_readme_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert len(text.split()) <= MAX_WORDS


def test_readme_leads_to_every_page() -> None:
    linked = {(PROJECT / link.partition("#")[0]).resolve() for link in _page(README).links}
    assert {page.path for page in PAGES if page.path.parent == PROJECT / "docs"} <= linked


@pytest.mark.parametrize("folder", ["docs/pictures", "data/measured"])
def test_every_picture_and_figure_is_shown(folder: str) -> None:
    linked = {(page.path.parent / link.partition("#")[0]).resolve() for page in PAGES for link in page.links}
    assert set((PROJECT / folder).iterdir()) <= linked


def test_readme_lists_every_exit_code() -> None:
    sentence = re.search(r"^Exit codes: (.+?)\n\n", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert sentence is not None
    listed = {int(code) for code in re.findall(r"(?:^|[,\n]\s?)(\d+) [a-z]", sentence[1])}
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, RevlmError)]
    assert listed == {0, *(each.exit_code for each in classes)}


def _page(path: Path) -> Page:
    return next(page for page in PAGES if page.path == path)
