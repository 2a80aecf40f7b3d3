"""Imports go down only, without circles, and torch is not loaded before a command needs it."""

import ast
import functools
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import revlm

PACKAGE_FOLDER = Path(revlm.__file__).parent

# What each room imports besides itself, from the ground up; `revlm` is the face of the package.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "text": set(),
    "templates": set(),
    "bundled": {"errors"},
    "limits": set(),
    "launch": {"errors"},
    "libraries": set(),
    "imports": set(),
    "storage": {"errors"},
    "gutenberg": set(),
    "pictures": {"errors"},
    "recipe": {"errors", "bundled", "limits", "storage", "records"},
    "records": {"errors", "storage", "pictures"},
    "fetching": {"errors", "bundled", "storage", "gutenberg"},
    "corpus": {"errors", "limits", "launch", "imports", "storage", "gutenberg", "pictures", "recipe"},
    "ops": {"errors", "storage"},
    "model": {"errors", "recipe", "ops"},
    "runs": {"errors", "launch", "storage", "recipe", "records"},
    "planning": {"errors", "launch", "recipe", "records", "ops", "model", "runs"},
    "generation": {"errors", "pictures", "recipe", "corpus", "model", "runs"},
    "evaluation": {"errors", "text", "pictures", "recipe", "records", "corpus", "model", "generation"},
    "huggingface": {
        "errors",
        "text",
        "templates",
        "storage",
        "recipe",
        "records",
        "corpus",
        "model",
        "runs",
        "generation",
    },
    "training": {
        "errors",
        "launch",
        "imports",
        "storage",
        "pictures",
        "recipe",
        "records",
        "corpus",
        "ops",
        "model",
        "runs",
        "planning",
        "generation",
        "evaluation",
    },
    "report": {"errors", "text", "templates", "imports", "pictures", "storage", "recipe", "records", "evaluation"},
    "cli": {
        "errors",
        "text",
        "limits",
        "launch",
        "libraries",
        "imports",
        "storage",
        "pictures",
        "recipe",
        "records",
        "fetching",
        "corpus",
        "model",
        "runs",
        "planning",
        "generation",
        "evaluation",
        "training",
        "huggingface",
        "report",
    },
    "revlm": {"recipe", "corpus", "model", "generation", "training"},
    "__main__": {"cli"},
}
WITHOUT_TORCH = (
    "errors",
    "text",
    "templates",
    "imports",
    "bundled",
    "limits",
    "launch",
    "libraries",
    "recipe",
    "storage",
    "pictures",
    "records",
    "gutenberg",
    "fetching",
    "corpus",
    "report",
    "cli",
    "revlm",
)


class Import(NamedTuple):
    """`module` imports `target` (a module of the package, or the top name of another); `line` says where."""

    module: str
    target: str
    line: int
    when_loaded: bool


def module_name(path: Path, package: Path) -> str:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(package: Path) -> dict[str, Path]:
    return {module_name(path, package): path for path in sorted(package.rglob("*.py"))}


def nodes(tree: ast.AST, when_loaded: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Every import statement below `tree`, and whether it runs when the module is loaded."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, when_loaded
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from nodes(child, when_loaded=False)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from nodes(child, when_loaded and not inside)


@functools.cache
def imports_of(package: Path) -> list[Import]:
    known = modules(package)
    found = []
    for module, path in known.items():
        for node, when_loaded in nodes(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            for target in targets(node, module, path.name == "__init__.py", known):
                found.append(Import(module, target, node.lineno, when_loaded))
    return found


def targets(node: ast.stmt, module: str, is_package: bool, known: dict[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    assert isinstance(node, ast.ImportFrom)
    base = node.module or ""
    if node.level:
        parents = module.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package)]
        base = ".".join([*parents, *filter(None, [node.module])])
    for alias in node.names:
        if alias.name == "__version__":  # a fact about the package, not one of its rooms
            continue
        submodule = f"{base}.{alias.name}"
        yield submodule if submodule in known else base


def room(module: str) -> str:
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package


def upward_imports(package: Path) -> list[str]:
    """Every import that goes up or sideways, as `module line N imports target`."""
    return [
        f"{each.module} line {each.line} imports {each.target}"
        for each in imports_of(package)
        if each.target.partition(".")[0] == package.name
        and room(each.target) != room(each.module)
        and room(each.target) not in MAY_IMPORT.get(room(each.module), set())
    ]


def unused_grants(package: Path, may_import: dict[str, set[str]]) -> list[str]:
    """Every room that a room may import and does not, as `room: other`."""
    used = {
        (room(each.module), room(each.target))
        for each in imports_of(package)
        if each.target.partition(".")[0] == package.name
    }
    return [f"{one}: {other}" for one, others in may_import.items() for other in others if (one, other) not in used]


def circle(package: Path) -> list[str]:
    """The modules of one circle of imports, those inside functions included; empty where there is none."""
    graph: dict[str, set[str]] = {module: set() for module in modules(package)}
    for each in imports_of(package):
        if each.target in graph and each.target != each.module:
            graph[each.module].add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def loaded_with(module: str, package: Path) -> set[str]:
    """The modules, also of other packages, that importing `module` brings in, its parents included."""
    known = modules(package)
    direct: dict[str, set[str]] = {}
    for each in imports_of(package):
        if each.when_loaded:
            direct.setdefault(each.module, set()).add(each.target)
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current in reached:
            continue
        reached.add(current)
        parts = current.split(".")
        parents = [".".join(parts[:length]) for length in range(1, len(parts))]
        waiting += [*direct.get(current, ()), *(parent for parent in parents if parent in known)]
    return reached


def in_rooms(*rooms: str) -> list[str]:
    return [module for module in modules(PACKAGE_FOLDER) if room(module) in rooms]


def test_every_room_has_its_place() -> None:
    unplaced = {room(module) for module in modules(PACKAGE_FOLDER)} - set(MAY_IMPORT)
    assert not unplaced, "a new room needs its place in MAY_IMPORT, and in the design"


def test_the_rooms_themselves_have_an_order() -> None:
    assert list(TopologicalSorter(MAY_IMPORT).static_order())


def test_imports_go_down_only() -> None:
    assert upward_imports(PACKAGE_FOLDER) == []


def test_no_import_is_granted_and_unused() -> None:
    assert unused_grants(PACKAGE_FOLDER, MAY_IMPORT) == []


def test_there_is_no_circle() -> None:
    assert circle(PACKAGE_FOLDER) == []


@pytest.mark.parametrize("module", in_rooms(*WITHOUT_TORCH))
def test_torch_is_not_loaded_before_a_command_needs_it(module: str) -> None:
    assert not {name for name in loaded_with(module, PACKAGE_FOLDER) if name.partition(".")[0] == "torch"}


@pytest.mark.parametrize("module", in_rooms("ops", "model"))
def test_the_mathematics_knows_no_files(module: str) -> None:
    names = {each.target.partition(".")[0] for each in imports_of(PACKAGE_FOLDER) if each.module == module}
    names |= {name.partition(".")[0] for name in loaded_with(module, PACKAGE_FOLDER)}
    assert not names & {"datasets", "sentencepiece"}


def test_only_its_own_file_knows_a_tracker_and_only_a_recipe_loads_it() -> None:
    libraries = {"tensorboard", "trackio", "wandb"}
    found = {(each.module, each.target.partition(".")[0]) for each in imports_of(PACKAGE_FOLDER)}
    assert {pair for pair in found if pair[1] in libraries} == {
        (f"revlm.runs.trackers.{library}", library) for library in libraries
    }
    assert not libraries & {name.partition(".")[0] for name in loaded_with("revlm.training.loop", PACKAGE_FOLDER)}


def test_only_its_own_room_knows_transformers_and_only_an_export_loads_it() -> None:
    knowing = {room(each.module) for each in imports_of(PACKAGE_FOLDER) if each.target.startswith("transformers")}
    assert knowing == {"huggingface"}
    loading = [each for each in imports_of(PACKAGE_FOLDER) if each.when_loaded and room(each.target) == "huggingface"]
    assert {room(each.module) for each in loading} == {"huggingface"}


def test_nothing_can_be_unpickled() -> None:
    """No module of Python that unpickles is imported, and torch's and NumPy's own ways are not called."""
    modules_that_unpickle = {"pickle", "cPickle", "_pickle", "dill", "shelve", "joblib", "cloudpickle"}
    found = [each for each in imports_of(PACKAGE_FOLDER) if each.target.partition(".")[0] in modules_that_unpickle]
    for path in modules(PACKAGE_FOLDER).values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "np.load", "numpy.load"}:
                found.append(Import(str(path), ast.unparse(node), node.lineno, True))
    assert found == []


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A package of the same name, built wrong in one place by each test below."""
    package = tmp_path / "revlm"
    for name in ("ops", "model", "report"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
    for name in ("__init__", "errors", "model/layers", "ops/hashing"):
        (package / f"{name}.py").touch()
    return package


@pytest.mark.parametrize(
    "line",
    [
        "from revlm.model import layers",
        "import revlm.model.layers",
        "from ..model.layers import Layer",
        "from .. import model",
        "def late():\n    from revlm.model import layers",
    ],
)
def test_an_import_that_goes_up_is_found(house: Path, line: str) -> None:
    (house / "ops" / "hashing.py").write_text(line)
    [found] = upward_imports(house)
    assert found.startswith("revlm.ops.hashing line")
    assert "imports revlm.model" in found


def test_a_grant_that_nothing_uses_is_found(house: Path) -> None:
    (house / "model" / "layers.py").write_text("def late():\n    from ..ops.hashing import buckets")
    assert unused_grants(house, {"model": {"ops", "errors"}, "report": set()}) == ["model: errors"]


def test_a_circle_inside_a_function_is_found(house: Path) -> None:
    (house / "model" / "layers.py").write_text("from revlm.model.stack import Stack")
    (house / "model" / "stack.py").write_text("def late():\n    from .layers import Layer")
    assert set(circle(house)) == {"revlm.model.layers", "revlm.model.stack"}


def test_torch_is_found_through_other_modules_and_not_inside_functions(house: Path) -> None:
    (house / "errors.py").write_text("try:\n    import torch.nn\nexcept ImportError:\n    pass")
    (house / "report" / "__init__.py").write_text("from revlm.errors import RevlmError")
    (house / "ops" / "hashing.py").write_text("def late():\n    import torch")
    assert "torch.nn" in loaded_with("revlm.report", house)
    assert "torch" not in loaded_with("revlm.ops.hashing", house)
