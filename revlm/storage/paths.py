"""Validates and expands paths that users write in options and recipes."""

import os
from pathlib import Path

MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4095


def user_path(text: str | os.PathLike[str]) -> Path:
    """A user's path with `~` expanded; raises ValueError like `user_text`."""
    return Path(user_text(os.fspath(text)))


def user_text(text: str) -> str:
    """A user's path or pattern of paths, with a leading `~` or `~user` expanded.

    Raises ValueError that says what the path should be, if no file system can hold it.
    """
    if text == "":
        raise ValueError("should be a path")
    if "\0" in text:
        raise ValueError("should be a path without a NUL")
    expanded = os.path.expanduser(text)
    try:
        encoded = expanded.encode()
    except UnicodeEncodeError:
        raise ValueError("should be a path in UTF-8, since the run stores it: rename the file or folder") from None
    longest = max(map(len, encoded.split(b"/")))
    if longest > MAX_NAME_BYTES:
        raise ValueError(f"should be a path of names of at most {MAX_NAME_BYTES} bytes, and one has {longest:,}")
    if len(encoded) > MAX_PATH_BYTES:
        raise ValueError(f"should be a path of at most {MAX_PATH_BYTES:,} bytes, and it has {len(encoded):,}")
    return expanded
