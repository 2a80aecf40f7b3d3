"""What a page names that is not there: commands, options, recipe keys, targets of make, paths, links."""

import ast
import fnmatch
import functools
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import typer

from revlm.cli import app
from revlm.recipe import Recipe, bundled_recipes
from revlm.recipe.problems import is_known
from tests.docs.pages import PROJECT, Page

# Options that every command of revlm takes.
_COMMON = {"--help", "--debug", "--version"}
_KEY = re.compile(r"[a-z_]+(?:\.[a-z_]+)+")
_FILE_ENDINGS = (".safetensors", ".png", ".html", ".json", ".jsonl", ".yaml", ".md", ".py", ".model")
_PATH = re.compile(r"(?<![\w/.~-])(?:scripts|tests|recipes|docs|revlm|data/measured|\.ci)/[\w./-]*\w/?")
_WITH_RECIPE = {"train", "plan"}


def problems(page: Page) -> list[str]:
    """One line for each thing that the page names and that is not there."""
    found = [
        *_commands(page.commands),
        *_lone_options(page.inline_code),
        *_lone_keys(page.inline_code),
        *_targets(page.commands),
        *_paths(page),
        *_links(page),
        *_imports(page.blocks("python")),
    ]
    return list(dict.fromkeys(found))


def _commands(commands: Iterable[list[str]]) -> Iterator[str]:
    for words in commands:
        script = next((word for word in words[:2] if word.startswith("scripts/")), None)
        if "revlm" in words and script is None:
            yield from _revlm_command(words[words.index("revlm") + 1 :])
            continue
        if script is not None:
            known = _options_of_script(script)
            options = _options(words[words.index(script) + 1 :])
            yield from (f"{script} has no option {option}" for option in options if option not in known)
        yield from _unknown_keys(words, dotted_only=True)


def _revlm_command(words: list[str]) -> Iterator[str]:
    command: Any = _root()
    path = ["revlm"]
    while hasattr(command, "list_commands") and words and not words[0].startswith("-"):
        inner = command.get_command(None, words[0])
        if inner is None:
            yield f"there is no command {' '.join([*path, words[0]])}"
            return
        path.append(words[0])
        command, words = inner, words[1:]
    known = _COMMON | {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    yield from (f"{' '.join(path)} has no option {option}" for option in _options(words) if option not in known)
    if path[-1] in _WITH_RECIPE:
        yield from _unknown_keys(words, dotted_only=False)
        yield from _unknown_recipes(words[:1])


def _options(words: list[str]) -> list[str]:
    until = words.index("--") if "--" in words else len(words)
    return [word.partition("=")[0] for word in words[:until] if re.match(r"--?[a-z]", word)]


def _unknown_keys(words: list[str], *, dotted_only: bool) -> Iterator[str]:
    for word in words:
        key, equals, _ = word.partition("=")
        is_key = _KEY.fullmatch(key) if dotted_only else re.fullmatch(r"[a-z_.]+", key)
        if equals and is_key and not is_known(key):
            yield f"a recipe has no key {key}"


def _unknown_recipes(words: list[str]) -> Iterator[str]:
    for word in words:
        pattern = re.sub(r"\$\w+", "*", word)  # of a loop in the shell
        is_given = word.isupper() or word.endswith(".yaml") or word.startswith("-")
        if not is_given and not fnmatch.filter(bundled_recipes(), pattern):
            yield f"no bundled recipe is called {word}"


def _lone_options(codes: Iterable[str]) -> Iterator[str]:
    """An option that stands alone belongs to some command of revlm or some script."""
    for code in codes:
        option = re.match(r"--[a-z][a-z-]*", code)
        if option and option[0] not in _all_options():
            yield f"nothing has an option {option[0]}"


def _lone_keys(codes: Iterable[str]) -> Iterator[str]:
    for code in codes:
        key = code.partition("=")[0].strip()
        named = _KEY.fullmatch(key) and not key.endswith(_FILE_ENDINGS)
        if named and key.partition(".")[0] in Recipe.model_fields and not is_known(key):
            yield f"a recipe has no key {key}"


def _targets(commands: Iterable[list[str]]) -> Iterator[str]:
    known = set(re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for words in commands:
        if words[0] == "make":
            named = [word for word in words[1:] if "=" not in word]
            yield from (f"the Makefile has no target {word}" for word in named if word not in known)


def _paths(page: Page) -> Iterator[str]:
    for code in [*page.inline_code, *page.blocks("sh")]:
        for path in _PATH.findall(code):
            if not (PROJECT / path).exists():
                yield f"there is no {path}"


def _links(page: Page) -> Iterator[str]:
    for link in page.links:
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        if not target.exists():
            yield f"the link {link} leads nowhere"
        elif anchor and anchor not in (page if not name else Page(target, target.read_text("utf-8"))).anchors:
            yield f"the link {link} leads to no heading"


def _imports(blocks: Iterable[str]) -> Iterator[str]:
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = import_module(node.module)
                names = getattr(module, "__all__", None) or dir(module)  # what was imported meanwhile is no public name
                missing = [alias.name for alias in node.names if alias.name not in names]
                yield from (f"{node.module} has no {name}" for name in missing)


@functools.cache
def _root() -> Any:
    return typer.main.get_command(app)


def _options_of_command(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@functools.cache
def _options_of_script(script: str) -> set[str]:
    """The options that a script's text has: as they are typed, or as parameters of its `main`."""
    path = PROJECT / script
    if not path.is_file():
        return set()  # a path that is missing is a problem of its own
    text = path.read_text(encoding="utf-8")
    typed = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))
    parameters = re.findall(r"^    ([a-z_]+): Annotated\[", text, re.MULTILINE)
    return _COMMON | typed | {"--" + name.replace("_", "-") for name in parameters}


@functools.cache
def _all_options() -> set[str]:
    found = set(_COMMON)
    waiting = [_root()]
    while waiting:
        command = waiting.pop()
        found |= _options_of_command(command)
        if hasattr(command, "list_commands"):
            waiting += [command.get_command(None, name) for name in command.list_commands(None)]
    scripts = [path.relative_to(PROJECT).as_posix() for path in (PROJECT / "scripts").iterdir() if path.is_file()]
    return found.union(*map(_options_of_script, scripts))
