"""A model behind the interface of transformers gives revlm's own numbers, in batches of any padding."""

import pytest
import torch
from torch import Tensor

from revlm.errors import UsageError
from revlm.generation import TrainedModel
from revlm.huggingface import RevlmCache, RevlmForCausalLM, RevlmTokenizer

TEXTS = ["The old clerk", "At", "A é 🐋:"]
CLOSE = {"rtol": 0, "atol": 1e-5}


def own_logits(trained: TrainedModel, text: str) -> Tensor:
    """What revlm computes for a text of its own: [tokens, vocabulary], the begin token first."""
    ids = torch.tensor([trained.tokenizer.begin_id, *trained.tokenizer.encode(text).tolist()])
    with torch.no_grad():
        return trained.model.logits(trained.model(ids))


@pytest.fixture(params=["left", "right"])
def batch(request: pytest.FixtureRequest, tokenizer: RevlmTokenizer) -> dict[str, Tensor]:
    return dict(tokenizer(TEXTS, padding=True, padding_side=request.param, return_tensors="pt"))


@torch.no_grad()
def test_the_rows_of_a_batch_have_the_logits_of_revlm(
    model: RevlmForCausalLM, trained: TrainedModel, batch: dict[str, Tensor]
) -> None:
    logits = model(**batch).logits
    for row, real, text in zip(logits, batch["attention_mask"].bool(), TEXTS, strict=True):
        torch.testing.assert_close(row[real], own_logits(trained, text), **CLOSE)


@torch.no_grad()
def test_a_masked_column_repeats_the_latest_token_of_its_row(
    model: RevlmForCausalLM, trained: TrainedModel, batch: dict[str, Tensor]
) -> None:
    """So a row can be continued at the last column, wherever its padding stands."""
    for cached in (None, True):
        last = model(**batch, logits_to_keep=1, use_cache=cached).logits[:, -1]
        for row, text in zip(last, TEXTS, strict=True):
            torch.testing.assert_close(row, own_logits(trained, text)[-1], **CLOSE)
    before = model(**batch).logits[1, 0]
    expected = torch.zeros_like(before) if not batch["attention_mask"][1, 0] else own_logits(trained, TEXTS[1])[0]
    torch.testing.assert_close(before, expected, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(("use_cache", "step"), [(None, 4), (True, 1)])
def test_a_batch_can_be_continued_column_by_column(
    model: RevlmForCausalLM, batch: dict[str, Tensor], use_cache: bool | None, step: int
) -> None:
    """Also where a piece of some rows is padding; `past_key_values` is another word for `cache`."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    whole = model(ids, attention_mask=mask).logits
    first = model(ids[:, :3], attention_mask=mask[:, :3], use_cache=use_cache)
    pieces, cache = [first.logits], first.cache
    for start in range(3, ids.shape[1], step):
        stop = min(start + step, ids.shape[1])
        output = model(ids[:, start:stop], attention_mask=mask[:, :stop], past_key_values=cache)
        assert output.cache is cache
        pieces.append(output.logits)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_columns_to_keep_can_be_chosen(model: RevlmForCausalLM, batch: dict[str, Tensor]) -> None:
    whole = model(**batch).logits
    for cached in (None, True):
        torch.testing.assert_close(model(**batch, logits_to_keep=2, use_cache=cached).logits, whole[:, -2:], **CLOSE)
        chosen = torch.tensor([1, 5])
        output = model(**batch, logits_to_keep=chosen, use_cache=cached)
        torch.testing.assert_close(output.logits, whole[:, chosen], **CLOSE)


def test_the_loss_is_that_of_transformers(model: RevlmForCausalLM, batch: dict[str, Tensor]) -> None:
    """Of its own function on the same logits, with gradients; and training mode gives no logits."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, 4:6] = -100
    if not mask[:, 0].all():  # a target behind padding has no token before it: transformers would predict it from there
        labels[torch.arange(3), mask.argmax(1)] = -100
    weight = model.model.embedding.weight
    for count in (None, 7):
        options = {} if count is None else {"num_items_in_batch": torch.tensor(count)}
        output = model(ids, attention_mask=mask, labels=labels, **options)
        logits = model(ids, attention_mask=mask).logits
        expected = model.loss_function(logits, labels, vocab_size=model.config.vocab_size, **options)
        torch.testing.assert_close(output.loss, expected, rtol=1e-5, atol=1e-6)
        [gradient] = torch.autograd.grad(output.loss, weight)
        [of_logits] = torch.autograd.grad(expected, weight)
        torch.testing.assert_close(gradient, of_logits, rtol=1e-4, atol=1e-6)
    model.train()
    try:
        trained = model(ids, attention_mask=mask, labels=labels)
        assert trained.logits is None
        assert trained.cache is None
    finally:
        model.eval()


def test_a_batch_without_targets_has_no_loss(model: RevlmForCausalLM) -> None:
    output = model(torch.tensor([[1, 2]]), labels=torch.tensor([[-100, -100]]))
    assert output.loss == 0
    assert model(torch.tensor([[1, 2]]), attention_mask=torch.tensor([[0, 0]])).logits.eq(0).all()
    assert isinstance(model(torch.tensor([[1, 2]]), return_dict=False), tuple)


@torch.no_grad()
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"inputs_embeds": torch.zeros(1, 2, 16)}, "inputs_embeds"),
        ({"position_ids": torch.zeros(1, 2)}, "position_ids"),
        ({"attention_mask": torch.ones(1, 3)}, r"\(1, 3\)"),
        ({"attention_mask": torch.ones(1, 1, 2, 2)}, r"\(1, 1, 2, 2\)"),
        ({"past_key_values": ((torch.zeros(1),),)}, "tuple"),
        ({"labels": torch.tensor([[1, 2]]), "use_cache": True}, "labels"),
    ],
)
def test_what_the_model_does_not_take_is_named(model: RevlmForCausalLM, given: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        model(torch.tensor([[1, 2]]), **given)


def test_one_row_alone_and_no_ids_at_all_are_refused(model: RevlmForCausalLM) -> None:
    with pytest.raises(UsageError, match="input_ids"):
        model()
    with pytest.raises(UsageError, match="batch of rows"):
        model(torch.tensor([1, 2]))


def test_a_cache_describes_itself(model: RevlmForCausalLM) -> None:
    cache = model(torch.tensor([[1, 2], [3, 4]])).cache
    assert isinstance(cache, RevlmCache)
    assert repr(cache) == "RevlmCache(2 rows of 2 columns)"
    assert (len(cache), cache.batch_size, cache.get_seq_length()) == (3, 2, 2)
    with pytest.raises(UsageError):
        cache.crop(1)
