"""The package: its wheel, unpacked elsewhere, finds what it carries; its version; its public face."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import revlm
from revlm.recipe import Recipe

PROJECT_FOLDER = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(PROJECT_FOLDER)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = folder.glob("revlm-*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which pip has installed the wheel alone."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(folder)]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run_there(installed: Path, elsewhere: Path, code: str) -> str:
    """What Python prints for `code` when revlm is the installed one; the checkout is not on the path."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_recipes_titles_sources_and_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"revlm/recipes/{path.name}" for path in (PROJECT_FOLDER / "recipes").glob("*.yaml")}
    assert recipes
    assert {*recipes, "revlm/data/titles.tsv"} <= names
    sources = list(PROJECT_FOLDER.glob("revlm/ops/compiled/**/*.[ch]pp"))
    assert sources
    assert {path.relative_to(PROJECT_FOLDER).as_posix() for path in sources} <= names
    assert any(name.endswith("/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "scripts/"))]


def test_the_installed_package_finds_them(installed: Path, tmp_path: Path) -> None:
    code = """
import importlib.resources, revlm
from revlm.bundled import bundled_path
from revlm.fetching import known_titles
package = importlib.resources.files("revlm")
print(revlm.__file__)
print(bundled_path("recipes"))
print(bundled_path("data/titles.tsv"))
print(sorted(path.name for path in package.joinpath("recipes").iterdir()))
print(package.joinpath("data", "titles.tsv").is_file())
print(len(known_titles()))
"""
    where, recipes, titles, names, found, count = run_there(installed, tmp_path, code).splitlines()
    assert Path(where) == installed / "revlm" / "__init__.py"
    assert Path(recipes) == installed / "revlm" / "recipes"
    assert Path(titles) == installed / "revlm" / "data" / "titles.tsv"
    assert "demo.yaml" in names
    assert found == "True"
    assert int(count) >= 30


def test_a_missing_bundled_file_says_how_to_get_it(installed: Path, tmp_path: Path) -> None:
    code = """
from revlm.bundled import bundled_path
from revlm.errors import StorageError
try:
    bundled_path("data/nothing.tsv")
except StorageError as error:
    print(error)
"""
    message = run_there(installed, tmp_path, code)
    assert "data/nothing.tsv is missing" in message
    assert "reinstall revlm" in message


def test_the_package_and_the_project_agree_on_the_version():
    project = tomllib.loads((PROJECT_FOLDER / "pyproject.toml").read_text())["project"]
    assert project.get("version", revlm.__version__) == revlm.__version__


def test_the_public_face_is_lazy_and_knows_its_names():
    assert revlm.Recipe is Recipe
    assert set(revlm.__all__) == {"Recipe", "Tokenizer", "PackedCorpus", "RevLM", "train", "generate"}
    with pytest.raises(AttributeError, match="no attribute 'Recipes'"):
        _ = revlm.Recipes
