"""The prompt of `revlm generate`: an argument, a file or standard input."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from revlm.errors import DataError, UsageError

if TYPE_CHECKING:
    from revlm.corpus import Tokenizer
    from revlm.corpus.tokenizing.tokenizer import TokenIds

STANDARD_INPUT = "-"


class Prompt(NamedTuple):
    """The text to continue, or the bytes, and whether to print it before its continuation."""

    content: str | bytes
    is_printed: bool

    @property
    def text(self) -> str:
        """The prompt as text; bytes that are not valid UTF-8 become U+FFFD."""
        return self.content if isinstance(self.content, str) else self.content.decode("utf-8", "replace")

    @property
    def as_bytes(self) -> bytes:
        """The prompt as bytes, a text in UTF-8."""
        return self.content if isinstance(self.content, bytes) else self.content.encode()

    def tokens(self, tokenizer: "Tokenizer") -> "TokenIds":
        """Returns the ids of the prompt."""
        if isinstance(self.content, bytes):
            return tokenizer.encode_bytes(self.content)
        return tokenizer.encode(self.content)


class PromptSource(NamedTuple):
    """A prompt as given: text from an argument, or bytes from a file or standard input; messages use `name`."""

    name: str
    content: str | bytes

    def prompt(self, tokenizer: "Tokenizer", message: Callable[[str], object]) -> Prompt:
        """Returns the prompt for a model with this tokenizer.

        For a model of texts, a prompt from a file or standard input is cleaned like a corpus, and loses a newline at
        its end, which editors and `echo` add; `message` is called if Project Gutenberg's front or back matter is
        removed. For a model of bytes, it is unchanged.

        Raises:
            DataError: the model is a model of texts, and the file is not text in UTF-8.
        """
        if isinstance(self.content, str):
            return Prompt(self.content, is_printed=True)
        if tokenizer.document_kind != "text":
            return Prompt(self.content, is_printed=False)
        cleaned = _cleaned(decode(self.content, self.name), self.name, message)
        return Prompt(cleaned.removesuffix("\n"), is_printed=False)


def read_prompt(text: str | None, file: Path | None) -> PromptSource:
    """Returns the prompt from the argument, the file, or without either from standard input.

    Raises:
        UsageError: there are two prompts or none, standard input is closed, or the argument is not UTF-8.
        DataError: the file cannot be read.
    """
    if text is not None and file is not None:
        raise UsageError("--prompt and --prompt-file are both given: give one of them")
    if text is not None and text != STANDARD_INPUT:
        _require_utf8(text)
        return PromptSource("--prompt", text)
    if text is None and file is None and (sys.stdin is None or sys.stdin.isatty()):  # None: a shell's `<&-`
        raise UsageError(
            "there is no prompt: give --prompt TEXT, --prompt-file FILE, text on standard input, or --interactive"
        )
    if file is None or str(file) == STANDARD_INPUT:
        if sys.stdin is None:
            raise UsageError("standard input is closed: give --prompt TEXT or --prompt-file FILE, or open it")
        return PromptSource("standard input", sys.stdin.buffer.read())
    return PromptSource(f"the prompt file {file}", _content(file))


def decode(content: bytes, name: str) -> str:
    """Decodes UTF-8; raises DataError with the position of an invalid byte or a NUL."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8: byte 0x{content[error.start]:02x} at byte offset {error.start} ({error.reason}): "
            "convert it, as with `iconv -t utf-8`"
        ) from error
    if "\0" in text:
        raise DataError(f"{name} contains a NUL at character {text.index(chr(0))}: give a text in UTF-8")
    return text


def _require_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"--prompt is not UTF-8 at character {error.start}: write it in UTF-8") from error


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DataError(f"the prompt file {file} cannot be read ({why}): give the path of a text file") from error


def _cleaned(text: str, name: str, message: Callable[[str], object]) -> str:
    from revlm.corpus.reading.cleaning import CleanedText

    cleaned = CleanedText([text])
    kept = "".join(cleaned)
    removed = len(cleaned.front) + len(cleaned.back)
    if removed:
        message(f"left out {removed:,} characters of Project Gutenberg's front and back matter in {name}")
    for warning in cleaned.warnings:
        message(f"{name}: {warning}")
    return kept
