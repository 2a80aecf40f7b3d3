"""The prompt of `revlm generate`: an argument, a file or standard input."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from revlm.errors import DataError, UsageError

STANDARD_INPUT = "-"


class Prompt(NamedTuple):
    """The text to continue, and whether to print it before its continuation."""

    text: str
    is_printed: bool


def read_prompt(text: str | None, file: Path | None, message: Callable[[str], object]) -> Prompt:
    """Returns the prompt from the argument, the file, or without either from standard input.

    A prompt from a file or standard input is cleaned like a corpus, and loses a newline at its end, which editors and
    `echo` add. `message` is called if Project Gutenberg's front or back matter is removed.

    Raises:
        UsageError: there are two prompts or none, standard input is closed, or the argument is not UTF-8.
        DataError: the file cannot be read or is not text in UTF-8.
    """
    if text is not None and file is not None:
        raise UsageError("--prompt and --prompt-file are both given: give one of them")
    if text is not None and text != STANDARD_INPUT:
        _require_utf8(text)
        return Prompt(text, is_printed=True)
    if text is None and file is None and (sys.stdin is None or sys.stdin.isatty()):  # None: a shell's `<&-`
        raise UsageError(
            "there is no prompt: give --prompt TEXT, --prompt-file FILE, text on standard input, or --interactive"
        )
    if file is None or str(file) == STANDARD_INPUT:
        if sys.stdin is None:
            raise UsageError("standard input is closed: give --prompt TEXT or --prompt-file FILE, or open it")
        name, content = "standard input", sys.stdin.buffer.read()
    else:
        name, content = f"the prompt file {file}", _content(file)
    return Prompt(_cleaned(decode(content, name), name, message).removesuffix("\n"), is_printed=False)


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
