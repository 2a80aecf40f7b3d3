"""The learners: causal, of the same text, and learning from it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.quality import bucketed, plain
from bench.quality.texts import Texts, held_out_pieces, write_texts
from revlm.corpus import open_corpus, tokenize_corpus
from revlm.recipe import load_recipe

RECIPE = """
data: {path: DATA, seq_len: 256, validation: 0.2}
model: {d_model: 16, n_layers: 2, n_heads: 2, d_ff: 32, layers: [local, lsh], window: 16, n_rounds: 2}
optimizer: {name: muon}
"""
HELD_OUT_TOKENS = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quality")
    (folder / "novels").mkdir()
    for number in range(6):
        (folder / "novels" / f"{number}.txt").write_text(f"It was evening number {number} — at sea. " * 40)
    tokenize_corpus(folder / "novels", folder / "store", tokenizer="bytes")
    (folder / "tiny.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def texts(folder: Path) -> Texts:
    recipe = load_recipe(folder / "tiny.yaml", [f"data.path={folder / 'store'}"])
    (folder / "texts").mkdir()
    written = write_texts(folder / "texts", open_corpus(recipe.data, 1), HELD_OUT_TOKENS)
    assert Texts.open(folder / "texts") == written
    return written


def test_tokens_and_bytes_are_the_same_text(folder: Path, texts: Texts) -> None:
    recipe = load_recipe(folder / "tiny.yaml", [f"data.path={folder / 'store'}"])
    pieces = list(held_out_pieces(open_corpus(recipe.data, 1), HELD_OUT_TOKENS))
    assert HELD_OUT_TOKENS <= sum(map(len, pieces)) < HELD_OUT_TOKENS + recipe.data.seq_len
    assert texts.held_out_size == sum(piece.target_bytes for piece in pieces) == len(texts.held_out_bytes)
    for tokens, text in ((texts.train_tokens, texts.train_bytes), (texts.held_out_tokens, texts.held_out_bytes)):
        assert tokens[0] == texts.begin_id
        assert (tokens[tokens != texts.begin_id] == text).all()
    assert (texts.train_tokens == texts.begin_id).sum() + (texts.held_out_tokens == texts.begin_id).sum() == 6
    assert texts.bytes_per_token == 1


def test_the_plain_transformer_sees_nothing_that_comes_later() -> None:
    torch.manual_seed(0)
    model = plain.Transformer(vocabulary=50, context=32)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    inputs = torch.randint(50, (2, 32))
    changed = inputs.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 50
    differences = (model(inputs) - model(changed)).abs().amax(-1)
    assert (differences[:, :20] == 0).all()
    assert (differences[:, 20:] > 0).all()


def test_plain_and_revlm_learn_and_are_scored_on_the_same_bytes(folder: Path, texts: Texts) -> None:
    options = {"recipe": str(folder / "tiny.yaml"), "store": str(folder / "store"), "held_out_tokens": HELD_OUT_TOKENS}
    for learner in (plain.Learner(texts, 1, context=64, batch=4), bucketed.Learner(texts, 1, **options)):
        guess = texts.held_out_size * math.log(texts.vocab_size)
        before = learner.held_out_nats()
        assert before == pytest.approx(guess, rel=0.1)
        assert all(learner.update(1e-2) > 0 for _ in range(12))
        assert learner.held_out_nats() < 0.8 * before
        assert learner.parameters > 0


def test_mblm_is_scored_on_each_byte_given_those_before_it(texts: Texts) -> None:
    pytest.importorskip("mblm")
    from bench.quality import multiscale

    shape = {"widths": (32, 32), "layers": (1, 1), "places": (8, 8)}
    learner = multiscale.Learner(texts, 1, optimizer="adamw", batch=4, **shape)
    before = learner.held_out_nats()
    assert before == pytest.approx(texts.held_out_size * math.log(257), rel=0.2)
    for _ in range(12):
        assert learner.update(1e-2) == 4 * 64
    assert 0.1 * before < learner.held_out_nats() < 0.9 * before
    assert np.isfinite(learner.parameters)
