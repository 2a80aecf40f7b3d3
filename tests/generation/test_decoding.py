"""The decoder: the same tokens however a prompt is taken in, alone or among others; what it keeps; what it refuses."""

import pytest
import torch
from torch import Tensor

from revlm.errors import UsageError
from revlm.generation import Decoder
from revlm.generation.agreement import compare_with_forward
from revlm.model import RevLM
from revlm.model.shape import buckets_of_rounds
from revlm.recipe import LayerKind
from tests.apart import peak_bytes, run_apart
from tests.model.decoded import WINDOW, network, tokens


def drawn(model: RevLM, prompt: Tensor, seeds: list[int], block: int) -> list[list[int]]:
    """What is drawn with each seed, 8 tokens, the samples side by side."""
    decoder = Decoder(model, block=block)
    logits = decoder.extend(prompt).expand(len(seeds), -1)
    decoder.fork(len(seeds))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    found: list[list[int]] = [[] for _ in seeds]
    for _ in range(8):
        for sample, generator in enumerate(generators):
            probability = (logits[sample] / 0.8).softmax(-1)
            found[sample].append(int(torch.multinomial(probability, 1, generator=generator)))
        logits = decoder.step(torch.tensor([sample[-1] for sample in found]))
    return found


@pytest.mark.parametrize("layers", [("local",), ("lsh",), ("full",), ("local", "lsh")])
def test_a_prompt_and_a_seed_give_the_same_tokens_alone_or_among_others_and_in_blocks_of_any_size(
    layers: tuple[LayerKind, ...],
) -> None:
    model, prompt, seeds = network(layers, n_rounds=4).double(), tokens(30 * WINDOW), [5, 6, 7]
    expected = [drawn(model, prompt, [seed], block=4096)[0] for seed in seeds]
    assert len({tuple(sample) for sample in expected}) == len(seeds)
    for block in (1, 7, 4096):
        assert drawn(model, prompt, seeds, block) == expected


# precision, share of other hashes, change of the loss in nats a token
ROUNDINGS = [("fp32", 0.002, 1e-5), ("bf16", 0.06, 1e-2)]


@pytest.mark.parametrize(("precision", "share", "change"), ROUNDINGS)
@pytest.mark.parametrize("layers", [("local",), ("lsh",), ("full",), ("local", "lsh")])
def test_rounding_moves_few_hashes_and_the_loss_by_next_to_nothing(
    layers: tuple[LayerKind, ...], precision: str, share: float, change: float
) -> None:
    model = network(layers, n_rounds=4, n_layers=4)
    found = compare_with_forward(model, tokens(160), prompt=60, precision=precision, block=16)
    assert found.tokens == 100
    assert found.other_hash_share <= share
    assert abs(found.loss_change) <= change
    if found.other_hash_share == 0:
        assert found.largest_logit_difference <= (1e-4 if precision == "fp32" else 0.1)


def test_other_hashes_are_counted() -> None:
    model = network(("lsh",))
    other = network(("lsh",))
    with torch.no_grad():
        other.get_buffer("rotations_0").neg_()
    inputs = tokens()
    own = Decoder(model)
    own.extend(inputs)
    changed = Decoder(other)
    changed.extend(inputs)
    assert (own.latest_buckets()[0] != changed.latest_buckets()[0]).all()
    assert torch.equal(own.latest_buckets()[1], own.latest_buckets()[1])


# Rings are allocated ahead.
ROOM_BYTES = 4 * WINDOW * (128 + 5 * 2 * 2)


def rings_bytes(model: RevLM) -> int:
    """The bytes of a sample's rings and their numbers where every bucket has one, without the room for more."""
    recipe = model.recipe
    one = 4 * recipe.n_heads * sum(buckets_of_rounds(recipe)) * (recipe.window + 1)
    return one * len(model.hash_layers)


@pytest.mark.parametrize(("precision", "element"), [("fp32", 4), ("bf16", 2)])
def test_a_token_takes_two_vectors_in_each_layer_but_local_ones(precision: str, element: int) -> None:
    model = network(("local", "lsh", "full"), n_layers=3)
    decoder = Decoder(model, precision=precision)
    decoder.extend(tokens(4_000))
    a_token, of_window = 2 * 2 * 32 * element, WINDOW * 2 * 32 * element
    rings_and_room = 9 / 8 * rings_bytes(model) + ROOM_BYTES
    assert 4_000 * a_token <= decoder.cache_bytes - of_window
    assert decoder.cache_bytes - of_window - rings_and_room <= (4_000 + 1) * a_token * 9 / 8 + a_token


def test_a_local_layer_holds_no_more_than_the_text() -> None:
    model = network(("local",), n_layers=1, window=2**24)
    decoder = Decoder(model)
    decoder.extend(tokens(100))
    for _ in range(3):
        decoder.step(torch.zeros(1, dtype=torch.int64))
    assert decoder.cache_bytes <= 2 * 103 * 2 * 32 * 4


def test_samples_take_their_own_tokens_and_rings_only() -> None:
    model = network(("local", "lsh"))
    decoder = Decoder(model)
    decoder.extend(tokens(4_000))
    before = decoder.cache_bytes
    decoder.fork(5)
    for _ in range(10):
        decoder.step(torch.zeros(5, dtype=torch.int64))
    assert decoder.length == 4_010
    of_a_sample = rings_bytes(model) + 2 * 4 * 32 * WINDOW + 4 * 32
    assert 0 < decoder.cache_bytes - before <= 4 * of_a_sample + ROOM_BYTES


def test_buckets_without_tokens_take_no_rings() -> None:
    """Each has the number of its ring alone: 4 bytes."""
    model = network(("lsh",), n_layers=1, window=64)
    model.use_rounds(buckets=2**17)
    decoder = Decoder(model)
    decoder.extend(tokens(100))
    decoder.fork(4)
    numbers, rings = 2 * (4 + 2**17) * 4, (1 + 2 * 2 * 100) * 64 * 4
    assert decoder.cache_bytes <= 4 * (numbers + rings) + 200 * 2 * 2 * 32 * 4


def test_progress_tells_of_each_block() -> None:
    told: list[int] = []
    Decoder(network(("lsh",)), block=64).extend(tokens(150), told.append)
    assert told == [64, 128, 150]


def test_what_cannot_be_is_refused() -> None:
    model = network(("lsh",))
    with pytest.raises(UsageError, match="training mode"):
        Decoder(network(("lsh",)).train())
    with pytest.raises(UsageError, match="fp16"):
        Decoder(model, precision="fp16")
    with pytest.raises(UsageError, match="block is 0"):
        Decoder(model, block=0)
    decoder = Decoder(model)
    with pytest.raises(UsageError, match="no tokens"):
        decoder.extend(tokens(0))
    with pytest.raises(UsageError, match="there are 2 tokens for 1 samples"):
        decoder.step(tokens(2))
    with pytest.raises(UsageError, match="number of samples is 0"):
        decoder.fork(0)
    decoder.fork(2)
    with pytest.raises(UsageError, match="there are 2 samples"):
        decoder.extend(tokens(3))
    with pytest.raises(UsageError, match="2 samples already"):
        decoder.fork(2)


def _peak_beyond_the_cache(length: int) -> tuple[int, int]:
    """How far memory rises above what is kept, while a prompt is taken in and continued; and what is kept."""
    model = network(("local", "lsh"))
    prompt = tokens(length)
    decoder = Decoder(model, block=4096)

    def work() -> None:
        decoder.extend(prompt)
        for _ in range(5):
            decoder.step(torch.tensor([1]))

    peak = peak_bytes(work)
    assert decoder.length == length + 5
    return peak - decoder.cache_bytes, decoder.cache_bytes


@pytest.mark.slow
def test_half_a_million_tokens_need_what_is_kept_and_little_more() -> None:
    beyond, kept = run_apart(_peak_beyond_the_cache, 500_000)
    assert kept <= 500_000 * 2 * 4 * 32 * 9 / 8 + 2**20
    # Beside it there is the work on one block, and what its buckets hold of earlier tokens: here next to nothing.
    assert beyond <= 0.25 * kept
