"""Random recipes, overrides and files of a run, through the commands: each ends with a code that says why, never 1.

The examples follow from a seed of their own; `make test` tries a sample of them, `make test-slow` thousands.
"""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revlm.cli import main
from revlm.recipe.problems import _known_keys
from tests.tiny_run import RECIPE, write_run

GOOD = {0, 2, 3, 4, 5, 6}
SAMPLE, MANY = 40, 5_000
ODD_TEXTS = [
    *("null", "true", "-1", "0", "3", "1.5", "1e308", "-1e-320", "NaN", ".inf", "Infinity", "[]", "{}", "[[]]"),
    *('""', '"x"', '"\\ud800"', '"\\u0000"', '{"a": 1}', "9" * 30, "", "\x00", "é\u202e", "~", "yes", "2001-01-01"),
    *("9" * 5000, "[" * 5000, '{"a":' * 5000, '"' + "x" * 5000 + '"'),
    *("&a [*a]", "*a", "!!int x", "!!python/object:os.system {}", "a: b: c", "? x", "<<: 1"),
]
odd = st.sampled_from(ODD_TEXTS) | st.text(max_size=20) | st.integers().map(str) | st.floats().map(str)
keys = st.sampled_from([key for key in _known_keys() if not key.startswith("data.stream")]) | st.text(max_size=10)


def examples(count: int) -> Callable[[Any], Any]:
    """As many examples of a test, always the same ones."""
    return settings(
        max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )


def ended(*arguments: str) -> tuple[int, str]:
    """The exit code of a command and what it said on standard error."""
    out, err = (TextIOWrapper(BytesIO(), encoding="utf-8") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    err.seek(0)
    return code, err.buffer.getvalue().decode()


def require_good(*arguments: str) -> None:
    code, said = ended(*arguments)
    assert code in GOOD, said
    assert "Traceback" not in said
    assert len(said) < 30_000


@st.composite
def recipes(draw: st.DrawFn) -> bytes:
    """A recipe with some of its text replaced, or lines of its own."""
    text = RECIPE.strip().replace("data: {", "data: {path: x, ")
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(odd) + text[start + draw(st.integers(0, 12)) :]
    for _ in range(draw(st.integers(0, 2))):
        text += f"\n{draw(keys)}: {draw(odd)}"
    content = text.encode("utf-8", errors="surrogatepass")
    cut = draw(st.integers(0, 40))
    return content[:-cut] if cut > 36 else content


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    write_run(
        folder / "run", "evaluate.every=3", "evaluate.sample_tokens=2", "train.max_steps=3", "checkpoint.keep_last=1"
    )
    shutil.copytree(folder / "run", folder / "whole")
    return folder


def sizes(test: Callable[..., None]) -> Callable[..., None]:
    """A sample in `make test`, thousands in `make test-slow`."""
    return pytest.mark.parametrize("count", [SAMPLE, pytest.param(MANY, marks=pytest.mark.slow)])(test)


@sizes
def test_recipes(place: Path, count: int) -> None:
    file = place / "fuzzed.yaml"

    @examples(count)
    @given(content=recipes())
    def check(content: bytes) -> None:
        file.write_bytes(content)
        require_good("recipes", str(file), "--json")

    check()


@sizes
def test_overrides(place: Path, count: int) -> None:
    @examples(count)
    @given(overrides=st.lists(st.builds("{}={}".format, keys, odd) | st.text(max_size=20), min_size=1, max_size=3))
    def check(overrides: list[str]) -> None:
        overrides = [each for each in overrides if not each.startswith("-") and "\0" not in each]
        require_good("plan", str(place / "run.yaml"), "data.path=x", "--vocab-size", "300", "--", *overrides)

    check()


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """What happens to a file of a run: a value, a key or a stretch of bytes is replaced, or its end is missing."""
    kind, number, text = (
        draw(st.sampled_from(["value", "bytes", "cut", "whole"])),
        draw(st.integers(0, 10**6)),
        draw(odd),
    )
    content = text.encode("utf-8", errors="surrogatepass")

    def damage(before: bytes) -> bytes:
        if not before:
            return content
        start = number % len(before)
        if kind == "value":  # after a colon or a comma
            places = [place + 1 for place, byte in enumerate(before) if byte in b":,"] or [start]
            start = places[number % len(places)]
            end = next((place for place in range(start, len(before)) if before[place] in b",}]\n"), len(before))
            return before[:start] + content + before[end:]
        if kind == "bytes":
            return before[:start] + content + before[start + number % 7 :]
        return before[:start] if kind == "cut" else content

    return damage


def files_of(folder: Path) -> Iterator[Path]:
    """The files of a run that are text."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in {".json", ".jsonl", ".yaml"}:
            yield path.relative_to(folder)


@pytest.mark.parametrize("count", [10, pytest.param(MANY, marks=pytest.mark.slow)])
def test_files_of_a_run(place: Path, count: int) -> None:
    run, whole = place / "run", place / "whole"
    names, calls = list(files_of(whole)), itertools.count()

    @examples(count)
    @given(name=st.sampled_from(names), damage=damages())
    def check(name: Path, damage: Callable[[bytes], bytes]) -> None:
        (run / name).write_bytes(damage((whole / name).read_bytes()))
        try:
            require_good("checkpoint", "list", "--run", str(run))
            require_good("checkpoint", "verify", "--run", str(run), "--json")
            require_good("generate", "--run", str(run), "--prompt", "the", "--max-tokens", "1", "--device", "cpu")
            if next(calls) % 50 == 0:  # it draws pictures, which takes seconds
                require_good("report", str(run))
        finally:
            shutil.copyfile(whole / name, run / name)

    check()
    assert json.loads((whole / "plan.json").read_text())
