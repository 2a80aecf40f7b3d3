"""`make_copy_corpus.py`: every text twice its half, one token a symbol, an example without padding."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from revlm.corpus import open_corpus, tokenize_corpus
from revlm.recipe import load_recipe
from scripts.make_copy_corpus import SYMBOLS, duplicated

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "make_copy_corpus.py"
VOCABULARY = 388


def make(folder: Path, *options: str) -> list[str]:
    done = subprocess.run([sys.executable, SCRIPT, "-o", folder, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = (folder / "copy.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_a_text_is_a_separator_and_random_symbols_twice_over() -> None:
    text = duplicated(np.random.default_rng(0), 20_000)
    first, second = text[: len(text) // 2], text[len(text) // 2 :]
    assert first == second
    assert first.count(first[0]) == 1
    assert len(set(first)) == SYMBOLS + 1


def test_the_seed_decides_the_texts(tmp_path: Path) -> None:
    made = make(tmp_path / "a", "--documents", "3")
    assert [len(text) for text in made] == [1024] * 3
    assert len(set(made)) == 3
    assert make(tmp_path / "b", "--documents", "3") == made
    assert make(tmp_path / "c", "--documents", "3", "--seed", "1") != made


def test_the_recipe_gets_eight_whole_texts_an_example_and_a_token_a_symbol(tmp_path: Path) -> None:
    texts = make(tmp_path / "copy", "--documents", "60")
    tokenize_corpus(tmp_path / "copy", tmp_path / "tokens", vocab_size=VOCABULARY)
    corpus = open_corpus(load_recipe("copy", [f"data.path={tmp_path / 'tokens'}"]).data, seed=0)
    example = next(iter(corpus.training()))
    assert corpus.tokenizer.vocab_size == VOCABULARY
    assert len(example) == 8 * 1024
    assert np.bincount(example.document_ids).tolist() == [1024] * 8
    assert (example.inputs[::1024] == corpus.tokenizer.begin_id).all()
    first = example.targets[:1024]
    assert (first[:512] == first[512:]).all()
    assert corpus.tokenizer.decode(first) in texts
