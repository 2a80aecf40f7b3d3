"""Invented novels for the scripts that want a folder of them."""

import random
from pathlib import Path

_SYLLABLES = ("ba", "ker", "lo", "mé", "nu", "pri", "sto", "ta", "vel", "zur")


def write_books(folder: Path, *, books: int = 3, paragraphs: int = 60) -> Path:
    """Fills a new folder with books of paragraphs in lines, each with words of its own; returns it."""
    folder.mkdir()
    for number in range(books):
        generator = random.Random(number)
        words = ["".join(generator.choices(_SYLLABLES, k=generator.randint(1, 4))) for _ in range(800)]
        lines = [" ".join(generator.choices(words, k=12)) for _ in range(5 * paragraphs)]
        text = "\n\n".join("\n".join(lines[start : start + 5]) for start in range(0, len(lines), 5))
        (folder / f"book_{number}.txt").write_text(text + "\n", "utf-8")
    return folder
