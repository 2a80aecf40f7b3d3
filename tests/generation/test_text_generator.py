"""A sample does not depend on the others in its batch, and a text continues from all of its tokens."""

import math
from functools import partial

import pytest
import torch

from revlm.corpus.tokenizing.tokenizer import ByteTokenizer
from revlm.errors import NonFiniteError, UsageError
from revlm.generation import Decoder, SampledToken, Sampling, TextGenerator, continue_text, text_generator
from revlm.model import RevLM, resolve_model
from revlm.recipe import Model

BYTES = ByteTokenizer()
PROMPT = BYTES.encode("the old clerk walked home, ")
WARM = Sampling(temperature=1.0, top_p=0.9, repetition_penalty=1.2)


@pytest.fixture(scope="module")
def model() -> RevLM:
    recipe = Model(
        d_model=32, n_layers=2, n_heads=2, d_ff=64, window=8, n_rounds=2, attention_block=16, tie_embeddings=False
    )
    model = RevLM(resolve_model(recipe, 256), vocab_size=BYTES.vocab_size, seed=1)
    with torch.no_grad():
        model.head_weight.mul_(30)  # from all but the same share for every token to some that are likely
    return model.eval()


def continued(
    model: RevLM, samples: list[int], max_tokens: int = 12, sampling: Sampling = WARM, seed: int = 3
) -> list[list[SampledToken | None]]:
    """What each sample drew, from token to token."""
    generator = TextGenerator(model, BYTES, sampling, seed, samples)
    generator.append(PROMPT)
    return [list(each) for each in zip(*generator.continue_tokens(max_tokens), strict=True)]


def tokens(drawn: list[SampledToken | None]) -> list[int]:
    return [each.token for each in drawn if each is not None]


def own_logits(model: RevLM, text: list[int]) -> torch.Tensor:
    """The logits after a text, by one pass over all of it."""
    with torch.no_grad():
        return model.logits(model(torch.tensor([BYTES.begin_id, *text]))[-1:])[0].double()


def test_a_sample_is_the_same_alone_and_among_others(model: RevLM) -> None:
    together = continued(model, [0, 1, 2])
    assert len({tuple(tokens(sample)) for sample in together}) == 3
    for number, sample in enumerate(together):
        [alone] = continued(model, [number])
        assert tokens(alone) == tokens(sample)
        for one, other in zip(alone, sample, strict=True):
            assert one
            assert other
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)


def test_a_seed_gives_the_same_tokens_and_another_gives_others(model: RevLM) -> None:
    assert continued(model, [0]) == continued(model, [0])
    assert tokens(continued(model, [0])[0]) != tokens(continued(model, [0], seed=4)[0])


def test_a_sample_that_has_ended_draws_no_more_and_changes_nothing_for_the_others(model: RevLM) -> None:
    whole = continued(model, [0, 1, 2])
    generator = TextGenerator(model, BYTES, WARM, 3, range(3))
    generator.append(PROMPT)
    seen: list[list[SampledToken | None]] = []
    most = {0: 12, 1: 4, 2: 0}
    for drawn in generator.continue_tokens(100, lambda sample: len(seen) >= most[sample]):
        seen.append(drawn)
    assert len(seen) == 12
    assert generator.decoding.tokens == 12 + 4
    for number, sample in enumerate(zip(*seen, strict=True)):
        assert tokens(list(sample)) == tokens(whole[number])[: most[number]]
        assert sample[most[number] :] == (None,) * (12 - most[number])


def test_log_probabilities_are_those_of_the_model_before_any_filter(model: RevLM) -> None:
    [drawn] = continued(model, [0], sampling=Sampling(0.5, top_k=3, min_p=0.2, repetition_penalty=1.5))
    text = PROMPT.tolist()
    for each in drawn:
        assert each
        expected = own_logits(model, text).log_softmax(-1)[each.token]
        assert each.log_probability == pytest.approx(float(expected), abs=1e-3)
        assert each.log_probability < 0
        text.append(each.token)


def test_the_likeliest_tokens_are_those_of_one_pass_over_the_whole(model: RevLM) -> None:
    [drawn] = continued(model, [0], sampling=Sampling(0))
    text = PROMPT.tolist()
    for token in tokens(drawn):
        logits = own_logits(model, text)
        logits[BYTES.begin_id] = -math.inf
        assert token == int(logits.argmax())
        text.append(token)


def test_the_begin_token_is_never_drawn(model: RevLM) -> None:
    before = model.head_weight[BYTES.begin_id].clone()
    try:
        with torch.no_grad():
            model.head_weight[BYTES.begin_id] *= 100
        drawn = continued(model, list(range(8)), sampling=Sampling(temperature=5.0))
        assert BYTES.begin_id not in {token for sample in drawn for token in tokens(sample)}
    finally:
        with torch.no_grad():
            model.head_weight[BYTES.begin_id] = before


def test_the_penalty_knows_the_prompt_and_each_samples_own_tokens(model: RevLM) -> None:
    """A penalty that no unseen token can lose against: nothing comes twice, as long as there is anything new."""
    some = BYTES.encode("".join(map(chr, range(64))))
    generator = TextGenerator(model, BYTES, Sampling(temperature=0, repetition_penalty=1e9), 0, [0, 1])
    generator.append(some)
    for sample in zip(*generator.continue_tokens(60), strict=True):
        drawn = tokens(list(sample))
        assert len(set(drawn)) == 60
        assert not set(drawn) & set(some.tolist())


@pytest.mark.parametrize("drawn_tokens", [0, 1, 7])
def test_a_text_goes_on_from_what_was_drawn_and_given(model: RevLM, drawn_tokens: int) -> None:
    generator = TextGenerator(model, BYTES, Sampling(0))
    generator.append(PROMPT)
    steps = generator.continue_tokens(100)
    first = [next(steps)[0] for _ in range(drawn_tokens)]
    steps.close()  # as an interrupt does
    more = BYTES.encode(" and then")
    generator.append(more)
    second = [sample[0] for sample in generator.continue_tokens(5)]
    whole = TextGenerator(model, BYTES, Sampling(0))
    whole.append([*PROMPT, *tokens(first), *more])
    assert tokens(second) == [tokens(each)[0] for each in whole.continue_tokens(5)]
    assert generator.prefill.tokens == 1 + len(PROMPT) + (drawn_tokens > 0) + len(more)


def test_nothing_given_in_between_changes_nothing(model: RevLM) -> None:
    generator = TextGenerator(model, BYTES, WARM, 3)
    generator.append(PROMPT)
    found = []
    for _ in range(3):
        found += [drawn for [drawn] in generator.continue_tokens(4)]
        generator.append([])
    assert tokens(found) == tokens(continued(model, [0])[0])


def test_without_a_prompt_a_document_begins(model: RevLM) -> None:
    logits = own_logits(model, [])
    logits[BYTES.begin_id] = -math.inf
    for given in ([], None):
        generator = TextGenerator(model, BYTES, Sampling(0), 0, [0, 1])
        if given is not None:
            generator.append(given)
        [drawn] = generator.continue_tokens(1)
        assert [each and each.token for each in drawn] == [int(logits.argmax())] * 2


def test_progress_ends_with_all_tokens(model: RevLM) -> None:
    seen: list[tuple[int, int]] = []
    TextGenerator(model, BYTES, WARM).append(PROMPT, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(PROMPT) + 1, len(PROMPT) + 1)
    assert seen == sorted(seen)


def test_logits_that_are_not_finite_are_refused(model: RevLM) -> None:
    before = model.norm.weight.clone()
    try:
        with torch.no_grad():
            model.norm.weight[0] = math.nan
        with pytest.raises(NonFiniteError, match="not finite after 28 tokens: take an earlier checkpoint"):
            TextGenerator(model, BYTES, WARM).append(PROMPT)
    finally:
        with torch.no_grad():
            model.norm.weight.copy_(before)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(model: RevLM, seed: int) -> None:
    with pytest.raises(UsageError, match=f"seed is {seed}: give a number from 0"):
        TextGenerator(model, BYTES, WARM, seed)


@pytest.mark.parametrize("is_training", [True, False])
def test_a_text_leaves_the_model_in_its_mode_and_is_that_of_evaluation(model: RevLM, is_training: bool) -> None:
    expected = "".join(continue_text(model, BYTES, "the old", max_tokens=6, sampling=WARM, seed=1))
    model.train(is_training)
    try:
        pieces = continue_text(model, BYTES, "the old", max_tokens=6, sampling=WARM, seed=1)
        start = next(pieces)
        assert start + "".join(pieces) == expected
        assert model.training is is_training
    finally:
        model.eval()


def test_a_text_ends_before_a_stop_text(model: RevLM) -> None:
    options = {"max_tokens": 40, "sampling": WARM, "seed": 1}
    whole = "".join(continue_text(model, BYTES, "the old", **options))
    stop = whole[10:13]
    pieces = list(continue_text(model, BYTES, "the old", **options, stop=["never", stop]))
    assert "".join(pieces) == whole[: whole.index(stop)]
    assert len(pieces) < 41


def test_a_long_text_can_be_left_between_blocks_and_written_on(model: RevLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_generator, "Decoder", partial(Decoder, block=8))
    told: list[int] = []
    cut = TextGenerator(model, BYTES, Sampling(0, repetition_penalty=1.5))
    assert cut.append(PROMPT, lambda done, total: told.append(done), lambda: len(told) == 2) == 15  # plus begin token
    assert told == [8, 16]
    assert cut.prefill.tokens == 16
    whole = TextGenerator(model, BYTES, Sampling(0, repetition_penalty=1.5))
    assert whole.append(PROMPT[:15]) == 15
    assert [each.token for [each] in cut.continue_tokens(6) if each] == [
        each.token for [each] in whole.continue_tokens(6) if each
    ]
