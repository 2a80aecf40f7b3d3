"""The probe `answers`: which questions it finds, how far their statements lie, and what counts as right."""

import numpy as np
import pytest

from revlm.corpus.tokenizing.tokenizer import ByteTokenizer
from revlm.evaluation.probes.answers import measure_answers
from revlm.evaluation.questions import KEYS, QUESTION, VALUES, passkey, questions_of
from revlm.evaluation.texts import Text
from tests.evaluation.models import Searching, random_text

K, L, M, N = (chr(KEYS[place]) for place in range(4))
V, W, X, Y, Z = (chr(VALUES[place]) for place in range(5))
STATED = (
    f"It was calm.\n{passkey(71432)} Remember it.\n{passkey(20415, of=K)}\n"
    f"{K}:{V}{W}{X}\nat sea\n{L}:{M}\n and {M}:{Y}\n{N}{Z}\n"
)
ASKED = f"{QUESTION}\n{passkey(71432)}\n{passkey(20415, of=K)}\n{K}:{V}{W}{X}\n{L}::{Y}\n{L}:{M}:{Y}\n{N}{Z}\n"
TOKENIZER = ByteTokenizer()


def text_of(document: str) -> Text:
    return Text("made", TOKENIZER.begin_id, TOKENIZER.encode(document))


def test_questions_are_found_with_their_answers_and_statements() -> None:
    document = (STATED + ASKED).encode()
    found = list(questions_of(document))
    assert [(each.kind, document[each.start : each.stop].decode()) for each in found] == [
        ("passkey", "71432"),
        ("named-passkey", "20415"),
        ("keys", V + W + X),
        ("two-hop", Y),
        ("two-hop-written", f"{M}:{Y}"),
        ("mqar", Z),
    ]
    stated = [document[each.stated :].decode() for each in found]
    begins = ("The pass key is 71432", f"The pass key of {K} is 20415", f"{K}:{V}", f"{L}:{M}", f"{L}:{M}", N + Z)
    for text, begin in zip(stated, begins, strict=True):
        assert text.startswith(begin)
    assert all(each.stated < document.rfind(QUESTION.encode()) < each.start for each in found)


@pytest.mark.parametrize("document", ["", "no question", STATED, QUESTION, f"{QUESTION}\n{K}:{V}\n", "※" * 3])
def test_what_asks_nothing_or_was_never_stated_has_no_questions(document: str) -> None:
    assert list(questions_of(document.encode())) == []


def test_damaged_characters_after_the_mark_are_no_error() -> None:
    [question] = questions_of(f"{K}{V}{QUESTION}".encode() + b"\xff\xe4" + (K + V).encode() + b"\xe4\xb8")
    assert question.kind == "mqar"


def test_who_searches_answers_what_stands_there_and_is_near_enough() -> None:
    """A search for the last tokens finds what was stated in the same words; a second hop it cannot make."""
    made = text_of(STATED + "x" * 300 + ASKED)
    for reach, right in ((1000, 1.0), (200, 0.0)):
        answers = measure_answers(Searching(reach, cue=5), [random_text(50), made], TOKENIZER)
        assert answers.documents == 1
        by_kind = {each.kind: each for each in answers.accuracies}
        assert list(by_kind) == ["passkey", "named-passkey", "keys", "two-hop", "two-hop-written", "mqar"]
        assert [by_kind[kind].accuracy for kind in ("passkey", "named-passkey", "keys")] == [right] * 3
        assert by_kind["two-hop"].accuracy == 0
        assert {each.distance for each in answers.accuracies} == {1024}
        assert {each.answers for each in answers.accuracies} == {1}


def test_an_answer_is_right_only_where_all_of_its_tokens_are() -> None:
    wrong = STATED.replace(V + W + X, V + W + Y)
    answers = measure_answers(Searching(1000, cue=4), [text_of(wrong + ASKED)], TOKENIZER)
    [keys] = [each for each in answers.accuracies if each.kind == "keys"]
    assert keys.accuracy == 0
    assert keys.token_accuracy == pytest.approx(8 / 9)


def test_documents_without_questions_have_no_answers() -> None:
    assert measure_answers(Searching(10), [random_text(100)], TOKENIZER).model_dump() == {
        "documents": 0,
        "accuracies": [],
    }


def test_distances_are_binned_by_what_lies_between() -> None:
    texts = [text_of(f"{N}{Z}" + "x" * between + f"{QUESTION}{N}{Z}") for between in (0, 244, 245, 1500)]
    answers = measure_answers(Searching(10**6, cue=3), texts, TOKENIZER)
    counts = {each.distance: each.answers for each in answers.accuracies}
    # Between the first byte of the key and that of the answer lie the pair, the text, the mark and the key.
    assert counts == {256: 2, 1024: 1, 4096: 1}
    assert np.isclose([each.accuracy for each in answers.accuracies], 1).all()
