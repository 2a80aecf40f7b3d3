"""`make_recall_corpus.py`: every fact is stated once and asked once, and lengths and seeds are obeyed."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from revlm.corpus import open_corpus, tokenize_corpus
from revlm.evaluation.questions import QUESTION, questions_of
from revlm.recipe import Data, load_recipe
from scripts.make_recall_corpus import Facts, document, main

NOVEL = "It was a fine evening, and the sea lay still — as it did on every evening of that June.\n" * 400


@pytest.mark.parametrize("tokens", [256, 1000, 8000])
def test_each_fact_is_stated_and_asked_for(tokens: int) -> None:
    facts = Facts.fitting(tokens, 0.4, Facts(256, 32, 32, 16))
    made = document(NOVEL, tokens, facts, np.random.default_rng(0)).encode()
    asked = list(questions_of(made))
    assert Counter(each.kind for each in asked) == {
        "passkey": 1,
        "named-passkey": facts.passkeys,
        "keys": facts.keys,
        "two-hop": facts.hops - facts.hops // 2,
        **({"two-hop-written": facts.hops // 2} if facts.hops > 1 else {}),
        "mqar": facts.pairs,
    }
    begin = made.rfind(QUESTION.encode())
    for each in asked:
        answer = made[each.start : each.stop]
        if each.kind == "two-hop-written":
            answer = f"\n{answer.decode()}\n".encode()  # the second statement itself
        assert made[:begin].count(answer) == 1
        assert each.kind != "mqar" or made[each.stated + 3 : each.stated + 6] == answer
    assert 0.8 * tokens < len(made) / 2.7 < 1.2 * tokens


def test_a_second_hop_is_needed_for_what_two_statements_tell() -> None:
    made = document(NOVEL, 2000, Facts(4, 1, 3, 0), np.random.default_rng(1))
    for each in questions_of(made.encode()):
        if each.kind in ("two-hop", "two-hop-written"):
            first = made.encode()[each.stated :].decode()[:3]
            value = made.encode()[each.start : each.stop].decode()[-1]
            assert f"\n{first[2]}:{value}\n" in made


def test_the_seed_decides_the_documents_and_the_recipe_s_tokenizer_keeps_symbols_whole(tmp_path: Path) -> None:
    novels = tmp_path / "novels"
    novels.mkdir()
    (novels / "one.txt").write_text(NOVEL)

    def make(name: str, seed: int) -> list[str]:
        main(
            novels,
            tmp_path / name,
            documents_=6,
            tokens=1000,
            shortest=200,
            density=0.25,
            pairs=16,
            keys=4,
            hops=4,
            passkeys=4,
            seed=seed,
        )
        lines = (tmp_path / name / "recall.jsonl").read_text().splitlines()
        return [json.loads(line)["text"] for line in lines]

    texts = make("a", 1)
    assert texts == make("b", 1)
    assert texts != make("c", 2)
    assert len({len(text) for text in texts}) == 6
    tokenize_corpus(tmp_path / "a", tmp_path / "tokens", vocab_size=600, character_coverage=1.0)
    corpus = open_corpus(Data(path=tmp_path / "tokens", seq_len=16384, validation=0.0), 0)
    symbols = {symbol for text in texts for symbol in text if symbol >= "一"} - {QUESTION}
    pieces = {piece.decode(errors="replace") for piece in corpus.tokenizer.piece_bytes}
    assert symbols <= pieces


def test_the_recipe_trains_on_documents_that_fit_into_an_example() -> None:
    recipe = load_recipe("recall")
    assert recipe.data.seq_len >= 16_000
    assert [str(path) for path in recipe.data.paths] == ["data/recall", "data/recall-short", "data/recall-novels"]
