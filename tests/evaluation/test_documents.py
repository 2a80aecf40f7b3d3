import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from revlm.corpus import PackedCorpus, open_corpus, tokenize_corpus
from revlm.errors import DataError
from revlm.evaluation import PositionLosses, Score, evaluate_run, score_document, score_example, token_losses
from revlm.generation import TrainedModel, load_model
from tests.tiny_run import write_run, write_texts, write_tokens


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return load_model(write_run(tmp_path_factory.mktemp("folder") / "run"), "cpu")


def held_out(trained: TrainedModel, seq_len: int) -> PackedCorpus:
    data, seed = trained.recipe.data, trained.recipe.seed
    return PackedCorpus(data.path, seq_len=seq_len, packing="whole", seed=seed, validation=data.validation)


def test_token_losses_add_up_to_the_loss(trained: TrainedModel) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(5000, 16, generator=generator)
    targets = torch.randint(0, trained.tokenizer.vocab_size, (5000,), generator=generator)
    losses = token_losses(trained.model, hidden, targets)
    assert losses.shape == (5000,)
    torch.testing.assert_close(losses.sum(), trained.model.loss(hidden, targets).detach(), rtol=1e-5, atol=0)


def test_positions_fall_into_bins_of_powers_of_two() -> None:
    by_position = PositionLosses()
    by_position.add(torch.tensor([1.0, 2.0, 4.0, 6.0]), start=0)
    by_position.add(torch.tensor([7.0, 8.0]), start=6)
    assert list(by_position.bins()) == [(1, 1, 1, 1.0), (2, 3, 2, 3.0), (4, 7, 2, 6.5), (8, 15, 1, 8.0)]


def test_each_held_out_token_is_scored_once_and_as_in_training(trained: TrainedModel) -> None:
    evaluation = evaluate_run(trained)
    corpus = held_out(trained, 512)
    assert [each.title for each in evaluation.documents] == list(corpus.validation_documents)
    assert len(evaluation.documents) > 1
    scores = [score_example(trained.model, example, nullcontext()) for example in corpus.validation()]
    total, together = evaluation.total, sum(scores, Score())
    assert (total.tokens, total.bytes) == (together.tokens, together.bytes)
    assert total.tokens == corpus.n_validation_tokens == sum(each.tokens for each in evaluation.positions)
    assert total.loss == pytest.approx(together.loss, rel=1e-4)
    assert sum(each.loss * each.tokens for each in evaluation.positions) == pytest.approx(total.loss * total.tokens)


def test_a_document_in_pieces_has_the_positions_of_the_whole(trained: TrainedModel) -> None:
    whole, pieces = PositionLosses(), PositionLosses()
    title, long = next(iter(held_out(trained, 4096).documents(held_out=True)))
    same_title, short = next(iter(held_out(trained, 100).documents(held_out=True)))
    assert title == same_title
    one = score_document(trained.model, long, nullcontext(), whole)
    several = score_document(trained.model, short, nullcontext(), pieces)
    assert one.tokens == several.tokens > 100
    assert whole.tokens == pieces.tokens
    assert whole.nats[:6] == pytest.approx(pieces.nats[:6], rel=1e-4)  # positions 1 to 63, in the first piece of both


def test_all_documents_of_other_tokens_are_scored(trained: TrainedModel, tmp_path: Path) -> None:
    told: list[str] = []
    evaluation = evaluate_run(trained, write_tokens(tmp_path / "other"), told.append)
    assert told == [f"scoring {each.title}" for each in evaluation.documents]
    assert len(evaluation.documents) == 4


def test_a_mixture_is_scored_on_what_each_of_its_stores_held_out(tmp_path: Path) -> None:
    first, second = write_tokens(tmp_path / "tokens"), write_tokens(tmp_path / "more", seed=1)
    weighted = f"data.path=[{{path: {first}, weight: 1}}, {{path: {second}, weight: 3}}]"
    trained = load_model(write_run(tmp_path / "run", weighted), "cpu")
    assert trained.recipe.data.weights == (1, 3)
    evaluation = evaluate_run(trained)
    assert evaluation.data == f"{first}, {second}"
    seed, options = trained.recipe.seed, {"seq_len": 512, "packing": "whole", "validation": 0.5}
    stores = [PackedCorpus(path, seed=seed, **options) for path in (first, second)]
    assert [each.title for each in evaluation.documents] == [
        title for store in stores for title in store.validation_documents
    ]
    assert evaluation.total.tokens == sum(store.n_validation_tokens for store in stores)
    assert len(evaluate_run(trained, first).documents) == 4


def test_a_stream_is_scored_on_what_it_held_out_with_the_tokenizer_of_its_run(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts")
    tokens = write_tokens(tmp_path / "tokens")
    overrides = (f"data.stream={texts}", f"data.tokenizer={tokens}", "data.path=")
    trained = load_model(write_run(tmp_path / "run", *overrides), "cpu")
    shutil.rmtree(tokens)
    evaluation = evaluate_run(trained)
    assert evaluation.data == str(texts)
    titles = [each.title for each in evaluation.documents]
    assert 0 < len(titles) < 4
    corpus = open_corpus(trained.recipe.data.model_copy(update={"tokenizer": Path("bytes")}), trained.recipe.seed)
    assert {title for title, _ in corpus.documents(held_out=False)} == {"one", "two", "three", "four"} - set(titles)
    assert evaluation.total.bytes == sum((texts / f"{title}.txt").stat().st_size for title in titles)
    assert len(evaluate_run(trained, write_tokens(tmp_path / "other")).documents) == 4
    (texts / "five.txt").write_text("one more")
    with pytest.raises(DataError, match="has changed since the run was trained"):
        evaluate_run(trained)


def test_another_tokenizer_is_refused(trained: TrainedModel, tmp_path: Path) -> None:
    tokenize_corpus(write_texts(tmp_path / "texts"), tmp_path / "tokens", vocab_size=290)
    with pytest.raises(DataError, match=r"another tokenizer than the run's.*--tokenizer"):
        evaluate_run(trained, tmp_path / "tokens")


def test_tokens_that_have_changed_since_are_refused(trained: TrainedModel) -> None:
    with pytest.raises(DataError, match="has changed since the run was trained"):
        evaluate_run(trained._replace(corpus_fingerprint="other"))


def test_a_run_that_held_nothing_out_asks_for_data(trained: TrainedModel) -> None:
    recipe = trained.recipe
    nothing = recipe.model_copy(update={"data": recipe.data.model_copy(update={"validation": 0.0})})
    with pytest.raises(DataError, match="held out no documents"):
        evaluate_run(trained._replace(recipe=nothing))
