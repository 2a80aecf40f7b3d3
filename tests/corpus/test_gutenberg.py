from typing import NamedTuple

import pytest

from revlm.corpus.cleaning import CleanedText
from revlm.corpus.gutenberg import FOOTER_LIMIT, HEADER_LIMIT

BODY = "CHAPTER I\n\nThe keeper climbed the stairs.\n\n   An indented line.\n\n* * *\n\nHe came down again.\n"
HEADER = (
    "The Project Gutenberg EBook of The Keeper,\nby A. Nobody\n\n"
    "Title: The Keeper\n       of the Light\n\nAuthor: A. Nobody\n\n"
)
LICENCE = "\nCreating works from editions in the public domain means that PROJECT GUTENBERG may copy.\n"


class Stripped(NamedTuple):
    text: str
    front: str
    back: str
    title: str | None


def strip_gutenberg(text: str) -> Stripped:
    cleaned = CleanedText((text,))
    kept = "".join(cleaned)
    return Stripped(kept, cleaned.front, cleaned.back, cleaned.title)


@pytest.mark.parametrize(
    "start",
    [
        "*** START OF THIS PROJECT GUTENBERG EBOOK THE KEEPER ***\n",
        "***START OF THE PROJECT GUTENBERG EBOOK THE KEEPER***\n",
        "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER\nOF THE LIGHT, OR A VERY LONG TITLE ***\n",
        "START OF THE PROJECT GUTENBERG ETEXT THE KEEPER\n",
        "*** START OF THIS PROJECT GUTENBERG E-BOOK THE KEEPER ***\n\n\nProduced by A and\nB, with C\n\n",
        "*** START OF THE PROJECT GUTENBERG EBOOK K ***\n\nE-text prepared by A\n\nProduced by B\n",
        "***START**THE SMALL PRINT!**START***\nwords\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*END*\n",
    ],
)
@pytest.mark.parametrize(
    "end",
    [
        "*** END OF THIS PROJECT GUTENBERG EBOOK THE KEEPER ***\n" + LICENCE,
        "End of the Project Gutenberg EBook of The Keeper,\nby A. Nobody\n\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n" + LICENCE,
        "End of Project Gutenberg\u2019s The Keeper, by A. Nobody\n",
        "End of the Project Gutenberg Etext of The Keeper\n\n\n",
        "***END OF THE PROJECT GUTENBERG EBOOK THE KEEPER***",
    ],
)
def test_the_text_alone_is_left(start: str, end: str) -> None:
    whole = HEADER + start + "\n\n\n" + BODY + "\n\n\n" + end
    stripped = strip_gutenberg(whole)
    assert stripped.text == BODY
    assert stripped.front + stripped.text + stripped.back == whole
    assert stripped.title == "The Keeper of the Light"


def test_indentation_of_the_first_line_is_text() -> None:
    start = "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n\n"
    assert strip_gutenberg(HEADER + start + "     THE KEEPER\n\nHe climbed.\n").text.startswith("     THE KEEPER\n")


def test_credits_are_removed_only_right_after_the_start_line() -> None:
    start = "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n\n"
    text = "THE KEEPER\n\nProduced by the sea, the sound went on.\n"
    assert strip_gutenberg(HEADER + start + text).text == text


@pytest.mark.parametrize(
    "mention",
    [
        "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n",
        "*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n",
        "End of Project Gutenberg's patience, he wrote.\n",
        "he read START OF THIS PROJECT GUTENBERG EBOOK aloud, and END OF THIS PROJECT GUTENBERG EBOOK\n",
        "*END*THE SMALL PRINT!\n",
    ],
)
@pytest.mark.parametrize("repeats", [1, 2000])
def test_a_mention_inside_a_text_cuts_nothing(mention: str, repeats: int) -> None:
    text = BODY * repeats + mention + BODY * repeats
    assert strip_gutenberg(text).text == text


def test_a_mention_inside_a_gutenberg_text_cuts_nothing_of_it() -> None:
    mention = "*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n"
    text = BODY + mention + BODY
    start = "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n\n"
    assert strip_gutenberg(HEADER + start + text + "\n\n" + mention + LICENCE).text == text


def test_marks_beyond_the_limits_are_text() -> None:
    far = "The sea went on.\n" * (max(HEADER_LIMIT, FOOTER_LIMIT) // 10)
    text = HEADER + far + "*** START OF THE PROJECT GUTENBERG EBOOK K ***\n" + far
    assert strip_gutenberg(text).text == text


@pytest.mark.parametrize("text", ["", "\n\n", "one line", BODY])
def test_other_texts_stay_as_they_are(text: str) -> None:
    stripped = strip_gutenberg(text)
    assert (stripped.front, stripped.text, stripped.back, stripped.title) == ("", text, "", None)


def test_a_file_without_any_text_of_its_own_leaves_nothing() -> None:
    start = "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n\n"
    end = "*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n" + LICENCE
    whole = HEADER + start + "\n\n" + end
    stripped = strip_gutenberg(whole)
    assert stripped.text.strip() == ""
    assert stripped.front + stripped.text + stripped.back == whole
