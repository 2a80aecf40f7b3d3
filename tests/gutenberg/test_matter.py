from typing import NamedTuple

import pytest

from revlm.corpus.reading.cleaning import CleanedText
from revlm.gutenberg.matter import FOOTER_LIMIT, HEADER_LIMIT, title_of

BODY = "CHAPTER I\n\nThe keeper climbed the stairs.\n\n   An indented line.\n\n* * *\n\nHe came down again.\n"
HEADER = (
    "The Project Gutenberg EBook of The Keeper,\nby A. Nobody\n\n"
    "Title: The Keeper\n       of the Light\n\nAuthor: A. Nobody\n\n"
)
LICENCE = "\nCreating works from editions in the public domain means that PROJECT GUTENBERG may copy.\n"


START = "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n\n"
END = "*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n"
SMALL_PRINT_END = "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n"
FULL_LICENCE = (
    "Updated editions will replace the previous one.\n\n"
    "START: FULL LICENSE\n\nTHE FULL PROJECT GUTENBERG LICENSE\n\n"
    "1.A. By reading this you agree.\n\n1.F.4. Except for the limited right, AS-IS.\n\n"
    "This website includes information about Project Gutenberg, including how\nto subscribe to our email "
    "newsletter to hear about new eBooks.\n"
)


class Stripped(NamedTuple):
    text: str
    front: str
    back: str
    title: str | None
    warnings: list[str]


def strip_gutenberg(text: str) -> Stripped:
    cleaned = CleanedText((text,))
    kept = "".join(cleaned)
    return Stripped(kept, cleaned.front, cleaned.back, cleaned.title, cleaned.warnings)


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
    assert strip_gutenberg(text) == Stripped(text, "", "", None, [])


def test_a_file_without_any_text_of_its_own_leaves_nothing() -> None:
    start = "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n\n"
    end = "*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n" + LICENCE
    whole = HEADER + start + "\n\n" + end
    stripped = strip_gutenberg(whole)
    assert stripped.text.strip() == ""
    assert stripped.front + stripped.text + stripped.back == whole


NOTES = [
    "      Note: Project Gutenberg also has an HTML version of this\n      file which includes the pictures.\n"
    "      See 12345-h.htm or 12345-h.zip:\n      (http://www.gutenberg.net/dirs/1/12345-h.zip)",
    "Project Gutenberg has the other volume of this work.\nVolume II: see https://www.gutenberg.org/ebooks/12346",
    "      Images of the original pages are available through\n      the Internet Archive. See\n"
    "      https://archive.org/details/keeper",
    "Note: Images of the original pages are available through the\nLibrary of Nowhere.",
    "[Portions of this header are copyright (C) 2001 by Somebody Hart\nand may be reprinted only when "
    "these Etexts are free of all fees.]\n[Project Gutenberg is a TradeMark and may not be used in any sales\n"
    "of Project Gutenberg eBooks.]",
    "[Portions of this eBook's header are copyright (C) 2002]",
    "[This file was first posted on September 7, 2003]\n[Most recently updated: May 1, 2010]",
    "This etext was produced from Stories of the Sea, March 1930. Extensive research did\nnot uncover any evidence "
    "that the copyright on this publication was renewed.",
    "[Transcriber's Note: This etext was produced from Stories of the Sea,\n\nMarch 1930.]",
    "This eBook was typed by A. Nobody, somewhere, and proofed by B. Nobody.",
    "This Project Gutenberg Etext was prepared by A. Nobody, nobody@example.org,\nfrom the 1894 edition.",
    "Typed by A. Nobody",
    "Typed in by A. Nobody, 1993",
    "typed in by A. Nobody.",
    "Scanned and proofread by A. Nobody",
    "Transcribed from the 1894 Harbour & Co. edition by A. Nobody, email\nnobody@example.org",
    "Editor's Note\n\nThis e-book follows the edition of 1894; its spelling was kept.",
    "EDITOR'S NOTE: The electronic text leaves out the index.",
    "Transcriber's Note: In this e-text italics are marked _so_.",
    "The Project Gutenberg Etext of The Keeper, by A. Nobody\n[Etext #1]",
    "THE KEEPER [Etext #1]",
    "December, 1971  [eBook #1]",
    "Many thanks to A. Nobody for producing this etext.",
    "Thanks to A. Nobody for typing in this text.",
    "We would like to thank A. Nobody for providing the scans.",
    "Special thanks are due to the volunteers of Distributed Proofreaders.",
    "E-text prepared by A. Nobody\nand the Project Gutenberg Online Distributed Proofreading Team\n"
    "(http://www.pgdp.net)\n\nfrom page images generously made available by\n\nInternet Archive",
    "Produced by A. Nobody and the Online Distributed\nProofreading Team (This file was produced from images\n"
    "generously made available by The Internet Archive)",
    "HTML version by A. Nobody.",
    "Produced by nobody99 and the Online Distributed Proofreading\nTeam at http://www.pgdp.net",
    "There is another edition of this eBook in the Project Gutenberg collection: #12346",
    "A. Nobody made it\n".replace("A. Nobody made it", "Credits: A. Nobody and B. Nobody"),
    "This etext was prepared by A. Nobody\n\n*****\n\nThis etext was updated by B. Nobody",
]


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("start", [START, SMALL_PRINT_END], ids=["start line", "small print"])
def test_notes_on_the_file_go_with_the_header(start: str, note: str) -> None:
    if note.endswith("Internet Archive") and "page images" in note:
        note = note.replace("by\n\nInternet", "by\nInternet")
    for notes in (note, f"Produced by A. Nobody\n\n\n{note}", f"{note}\n\n{NOTES[0]}"):
        stripped = strip_gutenberg(HEADER + start + notes + "\n\n\n" + BODY)
        assert stripped.text == BODY
        assert not stripped.warnings


BEGINNINGS = [
    "Typed by the light of a lamp, her letters were hard to read.",
    "Produced by the sea, the sound went on.",
    "Typed by Anna in the dark, her letters had no commas.",
    "Scanned by Providence, he thought, the coast was empty.",
    "Thanks to my wife, for bearing with me while I wrote.",
    "Many thanks to A. Nobody for producing this play in the winter of 1894.",
    "Note: the keeper's log begins here.",
    "Editor's Note: the log was found in a chest, and nothing of it is left out.",
    "EDITOR'S NOTE\n\nThe log was found in a chest.",
    "[Illustration: The keeper of the Gutenberg light]",
    "[The curtain rises. A room in the lighthouse.]",
    "[A note on this edition, by the author's nephew.]",
    "Transcribed by my hand from the keeper's own log.",
    "Prepared by A. Nobody, Secretary of the Commission of Lighthouses",
    "Edited by A. Nobody",
    "Images of the original light rose before him.",
    "Project Gutenberg was begun in 1971, and this is its history.",
    "PROJECT GUTENBERG\n\nA History",
    "The Project Gutenberg Etext of 1971 was typed by hand, he said.",
    "This book was written from memory.",
    "* * * * *",
    "There are several versions of this story.",
]


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("start", [START, START + "Produced by A. Nobody\n\n", SMALL_PRINT_END])
def test_a_book_that_begins_much_like_a_note_stays_whole(start: str, beginning: str) -> None:
    text = beginning + "\n\n" + BODY
    assert strip_gutenberg(HEADER + start + text + "\n\n" + END).text == text


@pytest.mark.parametrize(
    "trailer",
    [
        "\n***** This file should be named 12345-0.txt or 12345-0.zip *****\n",
        "This file should be named keepr10.txt or keepr10.zip\n\nCorrected EDITIONS of our etexts get a new NUMBER\n",
        "\nUpdated editions will replace the previous one--the old editions\nwill be renamed.\n",
        "\nProduced by A. Nobody\n\nUpdated editions will replace the previous one.\n",
        FULL_LICENCE,
        "\n***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN EBOOKS**START***\nwords\n" + SMALL_PRINT_END,
        "\x1a\n",
        "\n\n",
    ],
)
@pytest.mark.parametrize(
    "end",
    [
        END,
        "*** END OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK THE KEEPER ***\n",
        "*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER\nOF THE LIGHT ***\n",
        "The End of the Project Gutenberg etext of The Keeper\n",
        "This is the end of the Project Gutenberg Etext of The Keeper\n",
        "End of Project Gutenberg Etext of The Keeper\n",
    ],
)
def test_a_trimmed_licence_goes_with_the_end_mark(end: str, trailer: str) -> None:
    stripped = strip_gutenberg(HEADER + START + BODY + "\n\n" + end + trailer)
    assert stripped.text == BODY
    assert not stripped.warnings


def test_a_short_book_whose_small_print_stands_at_its_end_stays_whole() -> None:
    small_print = "***START**THE SMALL PRINT!**START***\nOf Project Gutenberg.\n" + SMALL_PRINT_END
    for header in (HEADER + START, "The Project Gutenberg EBook of The Keeper\n\n" + SMALL_PRINT_END):
        assert strip_gutenberg(header + BODY + "\n" + END + "\n" + small_print).text == BODY
    opening = "The Project Gutenberg EBook of The Keeper\n\n"
    assert strip_gutenberg(opening + BODY + "\n" + END + "\n" + small_print).text == opening + BODY


OWN = "My notes on the keeper, whom I like.\n\nI read it twice.\n\n"


def test_own_text_above_a_header_is_kept_and_said() -> None:
    stripped = strip_gutenberg(OWN + HEADER + START + BODY + "\n\n" + END)
    assert stripped.text == OWN + BODY
    assert stripped.title == "The Keeper of the Light"
    assert [f"{len(OWN)} characters above" in warning for warning in stripped.warnings] == [True]


@pytest.mark.parametrize("licence", [FULL_LICENCE, "\n***** This file should be named 12345-0.txt *****\n"])
def test_own_text_below_a_licence_is_kept_and_said(licence: str) -> None:
    stripped = strip_gutenberg(HEADER + START + BODY + "\n\n" + END + licence + "\n\n" + OWN)
    assert stripped.text == BODY + "\n" + OWN
    assert ["characters below" in warning for warning in stripped.warnings] == [True]


def test_own_text_above_a_header_of_fields_alone_is_kept() -> None:
    fields = "Title: The Keeper\n\nAuthor: A. Nobody\n\n"
    assert strip_gutenberg(OWN + fields + START + BODY).text == OWN + BODY


def test_the_end_of_a_patience_is_no_end_mark() -> None:
    text = BODY + "\nEnd of Project Gutenberg's patience, he wrote.\n"
    assert strip_gutenberg(text).text == text


def test_own_text_inside_a_header_is_said() -> None:
    own = "I should like to say first that this is the best of all the books that I have read.\n\n"
    [warning] = strip_gutenberg(HEADER + own + START + BODY).warnings
    assert "I should like to say" in warning
    usual = "This eBook is for the use of anyone anywhere at no cost and with\nalmost no restrictions whatsoever.\n\n"
    fields = "Release Date: March 28, 2006 [EBook #12345]\nLast Updated: October 27, 2016\n\nLanguage: English\n\n"
    assert strip_gutenberg(HEADER + usual + fields + START + BODY).warnings == []


@pytest.mark.parametrize("books", [2, 3])
@pytest.mark.parametrize("scale", [1, 3_000])
@pytest.mark.parametrize("last_end", [END + FULL_LICENCE, ""])
def test_of_several_books_in_one_file_nothing_is_lost_and_what_is_left_is_said(
    books: int, scale: int, last_end: str
) -> None:
    bodies = [BODY.replace("keeper", f"keeper {number}") * scale for number in range(books)]
    whole = ("\n\n" + END + FULL_LICENCE + "\n\n").join(HEADER + START + body for body in bodies) + "\n\n" + last_end
    stripped = strip_gutenberg(whole)
    assert all(body in stripped.text for body in bodies)
    assert ["left inside the text" in warning for warning in stripped.warnings][-1:] == [True]


@pytest.mark.parametrize(
    "left",
    [
        "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***",
        "*** END OF THIS PROJECT GUTENBERG EBOOK THE KEEPER ***",
        "*** START: FULL LICENSE ***",
        "THE FULL PROJECT GUTENBERG-tm LICENSE",
        "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***",
        "The Project Gutenberg EBook of The Keeper, by A. Nobody",
    ],
)
def test_a_line_that_is_left_is_named_wherever_the_pieces_end(left: str) -> None:
    text = BODY * 2000 + left + "\n" + BODY * 2000
    for size in (len(text), 1 << 16, 4099):
        cleaned = CleanedText(text[start : start + size] for start in range(0, len(text), size))
        assert "".join(cleaned) == text
        [warning] = cleaned.warnings
        assert left[:50].rstrip() in warning


@pytest.mark.parametrize(
    ("opening", "title"),
    [
        ("The Project Gutenberg EBook of The Keeper, by A. Nobody", "The Keeper"),
        ("**The Project Gutenberg Etext of The Keeper by Anna Nobody**\n#1 in our series", "The Keeper"),
        ("*****The Project Gutenberg Etext of Stand by Me*****", "Stand by Me"),
        ("Project Gutenberg's The Long Tale of the\nKeeper, by A. Nobody", "The Long Tale of the Keeper"),
        ("Project Gutenberg\u2019s The Keeper, by A. Nobody", "The Keeper"),
        ("This is the Project Gutenberg Etext of The Keeper\n#12 in our series by A. Nobody", "The Keeper"),
        ("The Project Gutenberg EBook, The Keeper, by A. Nobody, Edited by B. Nobody", "The Keeper"),
        ("The Project Gutenberg EBook of The Keeper, Volume 2 (of 3), by A. Nobody", "The Keeper, Volume 2 (of 3)"),
        ("*The Project Gutenberg Etext of The Keeper, by A. Nobody*\n*Another line*", "The Keeper"),
        ("The Project Gutenberg Etext: The Keeper, by A. Nobody  [Etext #12]", "The Keeper"),
    ],
)
@pytest.mark.parametrize("start", [START, SMALL_PRINT_END])
def test_headers_without_a_title_line_name_it_in_their_first(opening: str, title: str, start: str) -> None:
    stripped = strip_gutenberg(f"{opening}\n\nCopyright laws are changing.\n\n{start}{BODY}")
    assert (stripped.text, stripped.title) == (BODY, title)


def test_a_start_line_alone_names_the_title() -> None:
    assert strip_gutenberg(START + BODY).title == "THE KEEPER"


@pytest.mark.parametrize(
    "unit",
    ["* ", "[", "[[]", "https://a.b/ ", "- see or and ", "Note: ", "Produced by A, ", "Title: a\n b\n", "\n \n*"],
)
def test_no_text_takes_long(unit: str) -> None:
    strip_gutenberg(HEADER + START + unit * 20_000 + END + unit * 20_000)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_title_is_found_whatever_the_line_ends(line_end: str) -> None:
    assert title_of((HEADER + START + BODY).replace("\n", line_end)) == "The Keeper of the Light"
    assert title_of(BODY.replace("\n", line_end)) is None
