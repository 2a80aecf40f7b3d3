"""The pages of the project, and what a reader could type or click on them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
README = PROJECT / "README.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_BETWEEN_COMMANDS = frozenset("();<>|&")


@dataclass(frozen=True)
class Page:
    """A page of Markdown."""

    path: Path
    text: str

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def inline_code(self) -> list[str]:
        """What stands between backticks, with a table's escaped `|` as it is read."""
        return [code.replace(r"\|", "|") for code in _INLINE.findall(self.prose)]

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of a language."""
        return [text for name, text in _FENCE.findall(self.text) if name == language]

    @cached_property
    def commands(self) -> list[list[str]]:
        """The words of every command line, of fenced shell blocks and of inline code."""
        lines = [line for block in self.blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
        fenced = [words for line in lines for words in _split_into_commands(line)]
        inline = [words for code in self.inline_code for line in _usages(code) for words in _split_into_commands(line)]
        return fenced + inline

    @cached_property
    def links(self) -> list[str]:
        """The targets of links and pictures, as they are written."""
        return _LINK.findall(_INLINE.sub("`code`", self.prose))

    @cached_property
    def anchors(self) -> set[str]:
        """The names under which GitHub lets headings be linked."""
        found: list[str] = []
        for heading in _HEADING.findall(self.prose):
            shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
            name = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
            found.append(f"{name}-{found.count(name)}" if name in found else name)
        return set(found)


def pages() -> list[Page]:
    """Every page: README, changelog, docs/ and that of data/."""
    paths = [README, PROJECT / "CHANGELOG.md", PROJECT / "data" / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
    return [Page(path, path.read_text(encoding="utf-8")) for path in paths]


def _usages(code: str) -> Iterator[str]:
    """Yields inline code as command lines: `data show|merge` as two, `[-o DIR]` without its brackets."""
    code = re.sub(r"\.\.\.", "", code)
    if not re.match(r"revlm\b", code):
        yield code
        return
    code = re.sub(r"[\[\]]", "", code)
    alternatives = re.search(r"\w+(?:\|\w+)+", code)
    if alternatives is None:
        yield code
        return
    for word in alternatives[0].split("|"):
        yield code.replace(alternatives[0], word)


def _split_into_commands(line: str) -> list[list[str]]:
    """The words of a line, split where a pipe, a redirection or another command begins; none where it is no shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    try:
        for word in lexer:
            if set(word) <= _BETWEEN_COMMANDS:
                commands.append([])
            else:
                commands[-1].append(word)
    except ValueError:  # a lone quote: prose in code
        return []
    return [words for words in commands if words]
