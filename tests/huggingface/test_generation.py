"""`generate` of transformers, on revlm's caches."""

from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig, TextStreamer, pipeline

from revlm.errors import UsageError
from revlm.generation import Sampling, TrainedModel, continue_text, load_model
from revlm.huggingface import RevlmForCausalLM, RevlmTokenizer

PROMPTS = ["The old clerk", "At", "", "é 🐋"]
TOKENS = 6


def greedy(trained: TrainedModel, prompt: str) -> str:
    """What `revlm generate --temperature 0` prints after a prompt."""
    sampling = Sampling(temperature=0)
    return "".join(
        continue_text(trained.model, trained.tokenizer, prompt, max_tokens=TOKENS, sampling=sampling, seed=0)
    )


@pytest.mark.parametrize(
    ("side", "use_cache"),
    [
        ("left", True),
        ("right", True),
        *(pytest.param(side, False, marks=pytest.mark.slow) for side in ("left", "right")),
    ],
)
def test_greedy_text_is_that_of_revlm(
    model: RevlmForCausalLM, tokenizer: RevlmTokenizer, trained: TrainedModel, side: str, use_cache: bool
) -> None:
    batch = tokenizer(PROMPTS, padding=True, padding_side=side, return_tensors="pt")
    found = model.generate(**batch, max_new_tokens=TOKENS, use_cache=use_cache)
    new = tokenizer.batch_decode(found[:, batch["input_ids"].shape[1] :])
    assert new == [greedy(trained, prompt) for prompt in PROMPTS]


def test_a_batch_without_a_mask_is_padded_by_its_padding_alone(
    model: RevlmForCausalLM, tokenizer: RevlmTokenizer, trained: TrainedModel
) -> None:
    """Here the padding token is the begin token, the only one without text."""
    expected = [greedy(trained, prompt)[:2] for prompt in PROMPTS[:2]]
    for side in ("left", "right"):
        ids = tokenizer(PROMPTS[:2], padding=True, padding_side=side, return_tensors="pt")["input_ids"]
        found = model.generate(ids, max_new_tokens=2)
        assert tokenizer.batch_decode(found[:, ids.shape[1] :]) == expected


def test_a_text_can_be_continued_from_its_cache(
    model: RevlmForCausalLM, tokenizer: RevlmTokenizer, trained: TrainedModel
) -> None:
    batch = tokenizer(PROMPTS[:2], padding=True, return_tensors="pt")
    whole = model.generate(**batch, max_new_tokens=TOKENS)
    first = model.generate(**batch, max_new_tokens=3, return_dict_in_generate=True)
    mask = torch.nn.functional.pad(batch["attention_mask"], (0, 3), value=1)
    length = first.cache.get_seq_length()
    assert length == batch["input_ids"].shape[1] + 2  # the last token is not decoded yet
    rest = model.generate(first.sequences, attention_mask=mask, past_key_values=first.cache, max_new_tokens=TOKENS - 3)
    assert rest.tolist() == whole.tolist()


def test_samples_are_drawn_and_never_a_token_without_text(model: RevlmForCausalLM, tokenizer: RevlmTokenizer) -> None:
    torch.manual_seed(0)
    batch = tokenizer(["At night"], return_tensors="pt")
    found = model.generate(**batch, do_sample=True, temperature=5.0, top_k=0, max_new_tokens=10, num_return_sequences=3)
    new = found[:, batch["input_ids"].shape[1] :]
    assert new.shape == (3, 10)
    assert len({tuple(row) for row in new.tolist()}) == 3
    assert not new.eq(tokenizer.bos_token_id).any()


def test_the_pipeline_and_a_streamer_continue_a_prompt(
    model: RevlmForCausalLM,
    tokenizer: RevlmTokenizer,
    trained: TrainedModel,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = pipeline("text-generation", model=model, tokenizer=tokenizer)
    [found] = write(PROMPTS[0], max_new_tokens=TOKENS, do_sample=False)
    assert found["generated_text"] == PROMPTS[0] + greedy(trained, PROMPTS[0])
    several = write(PROMPTS[:2], max_new_tokens=TOKENS, do_sample=False, batch_size=2)
    assert [each["generated_text"] for [each] in several] == [p + greedy(trained, p) for p in PROMPTS[:2]]
    capsys.readouterr()
    ids = tokenizer(PROMPTS[0], return_tensors="pt")
    model.generate(**ids, max_new_tokens=TOKENS, streamer=TextStreamer(tokenizer, skip_prompt=True))
    assert capsys.readouterr().out == greedy(trained, PROMPTS[0]) + "\n"


def test_a_stop_text_ends_a_row(model: RevlmForCausalLM, tokenizer: RevlmTokenizer, trained: TrainedModel) -> None:
    text = greedy(trained, PROMPTS[0])
    stop = text[2:4]
    ids = tokenizer(PROMPTS[0], return_tensors="pt")
    found = model.generate(**ids, max_new_tokens=TOKENS, stop_strings=[stop], tokenizer=tokenizer)
    assert tokenizer.decode(found[0]) == PROMPTS[0] + text[: text.index(stop) + len(stop)]
    end = tokenizer.encode(text[1], add_special_tokens=False)[0]
    batch = tokenizer([PROMPTS[0], PROMPTS[1]], padding=True, return_tensors="pt")
    ended = model.generate(**batch, max_new_tokens=TOKENS, eos_token_id=end)
    new = ended[0, batch["input_ids"].shape[1] :]
    stopped = int((new == end).nonzero()[0])
    assert new[stopped + 1 :].eq(tokenizer.pad_token_id).all()


@pytest.mark.slow
def test_dropout_is_off_while_text_is_generated(run: Path, tokenizer: RevlmTokenizer) -> None:
    model = RevlmForCausalLM.from_pretrained(run.parent / "exported")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.9
    model.train()
    ids = tokenizer(PROMPTS[0], return_tensors="pt")
    found = model.generate(**ids, max_new_tokens=TOKENS)
    assert tokenizer.decode(found[0]) == PROMPTS[0] + greedy(load_model(run), PROMPTS[0])
    assert model.training


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"cache_implementation": "static"}])
def test_what_the_caches_cannot_do_is_said(
    model: RevlmForCausalLM, tokenizer: RevlmTokenizer, options: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        model.generate(**tokenizer("At", return_tensors="pt"), generation_config=GenerationConfig(**options))
