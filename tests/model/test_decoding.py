"""Decoding gives the numbers of the forward pass at every position."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from revlm.errors import UsageError
from revlm.model import RevLM
from revlm.model.decoding import CachedStack
from revlm.recipe import LayerKind
from tests.allocations import peaks
from tests.model.decoded import TOKENS, WINDOW, network, tokens

# In float64 a sum taken in another order can round to the neighbouring step of the streams' grid; later layers and the
# norm, which divides by streams well below 1, may make that some steps more.
STEPS = 16 * 2.0**-20
KINDS = [
    (("local",), 1, 0, True),
    (("full",), 1, 0, True),
    (("full",), 1, 0, False),
    (("lsh",), 1, 0, True),
    (("lsh",), 1, 1, True),
    (("lsh",), 2, 0, False),
    (("lsh",), 4, 3, True),
    (("local", "lsh"), 1, 0, False),
    (("local", "lsh"), 2, 1, True),
    (("local", "lsh"), 4, 0, False),
]


def whole(model: RevLM, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return model(inputs)


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=STEPS)


@pytest.mark.parametrize(("layers", "n_rounds", "pair_rounds", "successor_values"), KINDS)
@pytest.mark.parametrize("block", [1, 7, 64, TOKENS])
def test_runs_and_single_tokens_give_the_forward_pass_at_every_position(
    layers: tuple[LayerKind, ...], n_rounds: int, pair_rounds: int, successor_values: bool, block: int
) -> None:
    model = network(layers, n_rounds=n_rounds, pair_rounds=pair_rounds, successor_values=successor_values).double()
    inputs = tokens()
    stack = CachedStack(model, torch.float64)
    prompt = TOKENS - 5 * WINDOW
    found = [stack.extend(run) for run in inputs[:prompt].split(block)]
    found += [stack.step(token) for token in inputs[prompt:].split(1)]
    assert stack.length == TOKENS
    assert_close(torch.cat(found), whole(model, inputs))


@pytest.mark.parametrize("pair_rounds", [0, 1])
def test_more_rounds_than_those_of_training_are_decoded_as_they_are_read(pair_rounds: int) -> None:
    model = network(("lsh",), n_rounds=2, pair_rounds=pair_rounds).double()
    model.use_rounds(5, buckets=128)
    inputs, stack = tokens(), CachedStack(model, torch.float64)
    prompt = TOKENS - 5 * WINDOW
    found = [stack.extend(inputs[:prompt]), *[stack.step(token) for token in inputs[prompt:].split(1)]]
    assert_close(torch.cat(found), whole(model, inputs))


@pytest.mark.parametrize("layers", [("lsh",), ("full",), ("local", "lsh", "full")])
def test_scaled_attention_is_decoded_as_it_is_read(layers: tuple[LayerKind, ...]) -> None:
    model = network(layers).double()
    model.scale_attention(1.4)
    inputs, stack = tokens(), CachedStack(model, torch.float64)
    prompt = TOKENS - 5 * WINDOW
    found = [stack.extend(inputs[:prompt]), *[stack.step(token) for token in inputs[prompt:].split(1)]]
    assert_close(torch.cat(found), whole(model, inputs))


def test_a_sequence_is_not_continued_with_other_rounds() -> None:
    model = network(("lsh",), n_rounds=2)
    stack = CachedStack(model, torch.float32)
    stack.extend(tokens())
    model.use_rounds(5)
    for go_on in (stack.extend, stack.step):
        with pytest.raises(UsageError, match="start a new sequence"):
            go_on(tokens()[:1])


@pytest.mark.parametrize("window", [3, 50, 119, 120, 1000])
@pytest.mark.parametrize("prompt", [1, 20, 119])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_window_fills_while_the_text_grows(window: int, prompt: int, samples: int) -> None:
    model = network(("local",), n_layers=1, window=window).double()
    inputs, stack = tokens(), CachedStack(model, torch.float64)
    found = [stack.extend(inputs[:prompt])]
    if samples > 1:
        stack.fork(samples)
    found += [stack.step(token.expand(samples))[:1] for token in inputs[prompt:].split(1)]
    assert_close(torch.cat(found), whole(model, inputs))


@pytest.mark.parametrize(
    ("layers", "predecessor_keys", "pair_rounds"),
    [
        (("local",), True, 0),
        (("full",), True, 0),
        (("full",), False, 0),
        (("lsh",), False, 0),
        (("local", "lsh"), True, 0),
        (("local", "lsh"), True, 2),
    ],
)
def test_runs_and_single_tokens_may_take_turns(
    layers: tuple[LayerKind, ...], predecessor_keys: bool, pair_rounds: int
) -> None:
    model = network(layers, n_rounds=3, predecessor_keys=predecessor_keys, pair_rounds=pair_rounds).double()
    inputs, stack = tokens(), CachedStack(model, torch.float64)
    found = []
    for turn, run in enumerate(inputs.split([1, 2, 20, 1, 1, 30, 5, 40, 3, TOKENS - 103])):
        found += [stack.extend(run)] if turn % 2 else [stack.step(token) for token in run.split(1)]
    assert_close(torch.cat(found), whole(model, inputs))


@pytest.mark.parametrize("prompt", [0, 1, 40])
@pytest.mark.parametrize(
    ("layers", "pair_rounds"), [(("local",), 0), (("full",), 0), (("lsh",), 0), (("lsh",), 2), (("local", "lsh"), 0)]
)
def test_samples_are_as_if_each_were_alone(layers: tuple[LayerKind, ...], pair_rounds: int, prompt: int) -> None:
    model = network(layers, n_rounds=3, pair_rounds=pair_rounds).double()
    inputs, samples = tokens(), 3
    own = torch.randint(0, 50, (samples, 12 * WINDOW), generator=torch.Generator().manual_seed(5))
    stack = CachedStack(model, torch.float64)
    if prompt:
        stack.extend(inputs[:prompt])
    stack.fork(samples)
    found = torch.stack([stack.step(token) for token in own.T], dim=1)
    for sample in range(samples):
        assert_close(found[sample], whole(model, torch.cat([inputs[:prompt], own[sample]]))[prompt:])


def test_one_sample_goes_on_with_runs_after_a_fork() -> None:
    model = network(("local", "lsh", "full"), n_layers=3).double()
    inputs, stack = tokens(), CachedStack(model, torch.float64)
    found = [stack.extend(inputs[:50])]
    stack.fork(1)
    found += [stack.step(inputs[50:51]), stack.extend(inputs[51:])]
    assert_close(torch.cat(found), whole(model, inputs))


@pytest.mark.parametrize("samples", [1, 2])
def test_a_token_costs_the_same_at_any_length(samples: int) -> None:
    model = network(("local", "lsh"))
    stack = CachedStack(model, torch.float32)
    costs = []
    for length in (100, 5_000):
        stack.extend(tokens(length))
        stack.reserve(8)
        if length == 5_000:
            stack.fork(samples)
        counter = FlopCounterMode(display=False)
        token = torch.zeros(stack.samples, dtype=torch.int64)
        # Of several steps: now and then one allocates rings ahead.
        memory = min(peaks(lambda token=token: stack.step(token))[""] for _ in range(3))
        with counter:
            stack.step(token)
        costs.append((memory / stack.samples, counter.get_total_flops() / stack.samples))
    assert costs[1][0] <= costs[0][0] * 1.01
    assert costs[1][1] == costs[0][1]


def test_a_range_that_is_left_or_a_number_that_is_none_makes_the_output_nan() -> None:
    model = network(("lsh",))
    with torch.no_grad():
        model.stack.sublayers[1].write.narrow.weight[0, 0] = torch.inf
    stack = CachedStack(model, torch.float32)
    assert stack.extend(tokens(20)).isnan().any()
    assert stack.step(tokens(1)).isnan().any()
