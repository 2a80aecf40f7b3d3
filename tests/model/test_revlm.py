import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from revlm.errors import NonFiniteError, UsageError
from revlm.model import RevLM, with_key_moments
from revlm.model.decoding import CachedStack
from revlm.model.parts.whitening import whitened
from revlm.model.tiles import SublayerPass
from revlm.ops.hashing import directions_of, draw_rotations
from revlm.recipe import LayerKind, Model
from tests.allocations import peaks
from tests.head_groups import take_heads_in
from tests.model.networks import example, model, plain_hidden


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("n_layers", "groups"), [(2, 1), (64, 1), (3, 2)])
def test_reversible_and_stored_gradients_are_the_same_bits(
    n_layers: int, groups: int, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_heads_in(groups, monkeypatch)
    inputs, document = example()
    gradients = []
    for reversible in (True, False):
        network = model(reversible=reversible, n_layers=n_layers, dropout=0.1)
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = network.loss(network(inputs, document, step=4), inputs.roll(-1))
        loss.backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert torch.count_nonzero(one) > 0
        assert torch.equal(one, other)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("successor_values", "predecessor_keys"), [(True, False), (False, False), (True, True)])
def test_gradients_agree_with_plain_autograd_over_float_streams(
    groups: int, successor_values: bool, predecessor_keys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_heads_in(groups, monkeypatch)
    inputs, document = example()
    # A fine grid, so that its rounding stays below the tolerance and no hash flips.
    network = model(n_layers=3, bits=26, successor_values=successor_values, predecessor_keys=predecessor_keys).double()
    found = network.loss(network(inputs, document, step=4), inputs.roll(-1))
    expected = network.loss(plain_hidden(network, inputs, document), inputs.roll(-1))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    parameters = list(network.parameters())
    for one, other in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("reversible", [True, False])
def test_the_rotations_of_one_layer_exist_at_a_time(reversible: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, document = example()
    network = model(("lsh",), n_layers=3, reversible=reversible)
    drawn: list[weakref.ref[Tensor]] = []

    def draw(*arguments: Any) -> Tensor:
        assert not any(rotations() is not None for rotations in drawn)
        rotations = draw_rotations(*arguments)
        drawn.append(weakref.ref(rotations))
        return rotations

    monkeypatch.setattr("revlm.model.revlm.draw_rotations", draw)
    network(inputs, document, step=4).sum().backward()
    assert len(drawn) == (6 if reversible else 3)


def test_a_second_backward_is_refused() -> None:
    inputs, document = example()
    network = model()
    loss = network(inputs, document).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward pass has already run"):
        loss.backward()


def test_a_non_finite_increment_makes_the_output_nan() -> None:
    inputs, document = example()
    network = model()
    with torch.no_grad():
        network.stack.sublayers[1].write.narrow.weight[0, 0] = torch.inf
    assert network(inputs, document).isnan().any()


def test_a_stream_that_nears_its_range_names_the_key() -> None:
    inputs, document = example()
    network = model(bits=26)
    with torch.no_grad():
        network.embedding.weight[inputs[0]] = 20.0
    network(inputs, document)
    assert network.fixed is not None
    with pytest.raises(NonFiniteError, match="stream_fraction_bits"):
        network.fixed.check_range()


@pytest.mark.parametrize("reversible", [True, False])
def test_without_gradients_depth_takes_no_memory(reversible: bool) -> None:
    def forward_bytes(n_layers: int) -> int:
        network, (inputs, document) = model(n_layers=n_layers, reversible=reversible).eval(), example(1000)
        with torch.no_grad():
            return peaks(lambda: network(inputs, document))[""]

    assert forward_bytes(12) < 1.1 * forward_bytes(3)


def test_a_backward_pass_that_fails_leaves_the_random_state(monkeypatch: pytest.MonkeyPatch) -> None:
    network = model(dropout=0.1)
    loss = network(*example()).sum()
    torch.rand(7)  # the forward pass began elsewhere
    before = torch.get_rng_state()

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(SublayerPass, "_backward_of_read", fail)
    with pytest.raises(MemoryError):
        loss.backward()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("layers", [("local",), ("lsh",), ("full",)])
def test_a_model_in_half_precision_is_that_of_float32_to_rounding(layers: tuple[str, ...]) -> None:
    inputs, document = example()
    found = []
    for network in (model(layers), model(layers).half()):
        with torch.no_grad():  # streams of some size: the largest are far beyond float16's range on the grid
            network.embedding.weight.mul_(50)
        loss = network.loss(network(inputs, document), inputs.roll(-1)) / len(inputs)
        loss.backward()
        found.append([loss.detach().float(), network.embedding.weight.grad.float()])
        assert network.fixed.is_finite()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=float(one.abs().max()) / 20)


def test_an_example_without_tokens_is_refused() -> None:
    with pytest.raises(UsageError, match="no token"):
        model()(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(UsageError, match="no token"):
        CachedStack(model(), torch.float32).extend(torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("vocabulary", [50, 32, 64, 96])
@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_drawn_by_what_they_are_for_and_not_by_their_shape(vocabulary: int, tied: bool) -> None:
    """Also where the vocabulary is as large as d_model, d_ff or a projection of several parts."""
    recipe = Model(d_model=32, n_layers=2, n_heads=2, d_ff=64, n_buckets=4, tie_embeddings=tied)
    network = RevLM(recipe, vocab_size=vocabulary, seed=1)
    matrices = {name: weight.detach() for name, weight in network.named_parameters() if weight.dim() == 2}
    written = 0.01 / 4**0.5
    for name, matrix in matrices.items():
        of_parts = {"embedding": 0.02, "head": 0.02, "narrow": 64**-0.5 * written, "widen": 32**-0.5}
        expected = next((std for part, std in of_parts.items() if part in name), 32**-0.5)
        if "write.project" in name:
            expected *= written
        assert float(matrix.std()) == pytest.approx(expected, rel=0.15), name


@pytest.mark.parametrize(
    ("rounds", "own_pairs", "pairs"), [(1, 0, 0), (2, 0, 0), (5, 0, 0), (1, 1, 0), (2, 1, 1), (5, 1, 4), (1, 2, 1)]
)
def test_a_model_that_uses_other_rounds_is_one_that_was_built_with_them(
    rounds: int, own_pairs: int, pairs: int
) -> None:
    def build(n_rounds: int, n_buckets: tuple[int, ...], pair_rounds: int) -> RevLM:
        recipe = Model(
            d_model=16,
            n_layers=2,
            n_heads=2,
            d_ff=32,
            window=4,
            n_rounds=n_rounds,
            n_buckets=n_buckets,
            pair_rounds=pair_rounds,
        )
        return RevLM(recipe, vocab_size=50, seed=3).eval()

    changed, built = build(2, (64, 8), own_pairs), build(rounds, (64, 8, 64, 64, 64)[:rounds], pairs)
    for used in (5, 1, rounds):  # whatever was used in between
        changed.use_rounds(used)
    assert changed.recipe == built.recipe
    state = built.state_dict()
    assert state.keys() == changed.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in changed.state_dict().items())
    inputs = torch.arange(48) % 7
    assert torch.equal(changed(inputs), built(inputs))
    assert torch.equal(changed(inputs), build(2, (64, 8), own_pairs)(inputs)) == (rounds == 2)


@pytest.mark.parametrize(
    ("rounds", "buckets", "expected"),
    [
        (None, 256, (4, 256, 256)),
        (None, 8, (4, 8, 8)),
        (5, 256, (4, 256, 256, 256, 256)),
        (1, 256, (4,)),
        (None, None, (4, 64, 64)),
    ],
)
def test_the_finest_rounds_have_as_many_buckets_as_are_asked_for(
    rounds: int | None, buckets: int | None, expected: tuple[int, ...]
) -> None:
    def build(n_buckets: tuple[int, ...]) -> RevLM:
        recipe = Model(
            d_model=16, n_layers=2, n_heads=2, d_ff=32, window=4, n_rounds=len(n_buckets), n_buckets=n_buckets
        )
        return RevLM(recipe, vocab_size=50, seed=3).eval()

    changed, built = build((4, 64, 64)), build(expected)
    changed.use_rounds(rounds, buckets)
    assert changed.recipe == built.recipe
    state = built.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in changed.state_dict().items())
    inputs = torch.arange(48) % 7
    assert torch.equal(changed(inputs), built(inputs))
    changed.use_rounds(2)  # the buckets stay as they were asked for
    assert changed.recipe.n_buckets == (4, buckets or 64)
    changed.use_rounds(3, 64)
    assert torch.equal(changed(inputs), build((4, 64, 64))(inputs))


@pytest.mark.parametrize("buckets", [0, 2, 48, 2**19])
def test_a_number_of_buckets_that_no_hash_has_is_refused(buckets: int) -> None:
    model = RevLM(Model(d_model=16, n_layers=2, n_heads=2, d_ff=32, n_buckets=4), vocab_size=50, seed=3)
    with pytest.raises(UsageError, match=f"buckets is {buckets}: give a power of two from 4 to 262144"):
        model.use_rounds(buckets=buckets)


@pytest.mark.parametrize("kind", ["lsh", "full"])
def test_logits_of_layers_that_read_a_whole_document_are_scaled(kind: LayerKind) -> None:
    recipe = Model(d_model=16, n_layers=2, n_heads=2, d_ff=32, window=4, n_buckets=4, layers=("local", kind))
    scaled, expected = (RevLM(recipe, vocab_size=50, seed=3).double().eval() for _ in range(2))
    inputs = torch.arange(48) % 7
    before = expected(inputs)
    with torch.no_grad():
        expected.attention(1).mix.temperature.log_scale += math.log(1.5)
    scaled.scale_attention(1.5)
    torch.testing.assert_close(scaled(inputs), expected(inputs), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(scaled(inputs), before, rtol=1e-3)
    scaled.scale_attention(1.0)
    assert torch.equal(scaled(inputs), before)
    assert scaled.state_dict().keys() == expected.state_dict().keys()


def test_a_scale_of_attention_that_does_nothing_or_too_much_is_refused() -> None:
    def build(kind: LayerKind) -> RevLM:
        recipe = Model(d_model=16, n_layers=2, n_heads=2, d_ff=32, n_buckets=4, layers=(kind,))
        return RevLM(recipe, vocab_size=50, seed=3)

    with pytest.raises(UsageError, match="but all layers of the model are local: leave it out"):
        build("local").scale_attention(1.5)
    for factor in (0.0, -1.0, 11.0, math.nan):
        with pytest.raises(UsageError, match=f"attention_scale is {factor:g}: give a factor above 0, up to 10"):
            build("lsh").scale_attention(factor)


def test_the_finest_rounds_of_evaluation_are_whitened_by_the_moving_average_of_second_moments() -> None:
    def build() -> RevLM:
        recipe = Model(d_model=16, n_layers=2, n_heads=2, d_ff=32, window=4, n_rounds=3, n_buckets=(4, 8, 8))
        return RevLM(recipe, vocab_size=50, seed=3)

    model, inputs = build().train(), torch.arange(48) % 7

    def of_evaluation(n_buckets: tuple[int, ...], moments: torch.Tensor) -> torch.Tensor:
        drawn = draw_rotations(3, None, 1, 2, 8, n_buckets)
        coarse = directions_of([4])
        return torch.cat([drawn[..., :coarse], whitened(drawn[..., coarse:], moments)], dim=-1)

    assert torch.equal(model.get_buffer("rotations_1"), draw_rotations(3, None, 1, 2, 8, (4, 8, 8)))
    model(inputs, step=0)
    assert not model.key_moments.any()  # only a pass with statistics measures them
    in_training = model(inputs, step=0, with_statistics=True)
    measured = model.key_moments
    assert measured.shape == (1, 2, 8, 8)
    assert measured[0].diagonal(dim1=-2, dim2=-1).sum(-1).tolist() == pytest.approx([1, 1], rel=1e-4)
    before = model.eval()(inputs)
    model.whiten_hashes(measured)
    moments = torch.lerp(torch.eye(8).div(8).expand(2, 8, 8), measured[0], 1 / 4)
    assert torch.equal(model.get_buffer("key_moments_1"), moments)
    assert torch.equal(model.get_buffer("rotations_1"), of_evaluation((4, 8, 8), moments))
    assert not torch.equal(model(inputs), before)
    assert torch.equal(model.train()(inputs, step=0), in_training)

    loaded = build().eval()
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(loaded(inputs), model.eval()(inputs))
    for each in (loaded, model):
        each.use_rounds(5, buckets=16)
        assert torch.equal(each.get_buffer("rotations_1"), of_evaluation((4, 16, 16, 16, 16), moments))


def test_weights_of_before_hashes_were_whitened_load_with_hashes_that_are_not() -> None:
    recipe = Model(d_model=16, n_layers=2, n_heads=2, d_ff=32, window=4, n_rounds=2, n_buckets=8)
    model, inputs = RevLM(recipe, vocab_size=50, seed=3).eval(), torch.arange(48) % 7
    earlier = {name: value for name, value in model.state_dict().items() if not name.startswith("key_moments")}
    loaded = RevLM(recipe, vocab_size=50, seed=4).eval()
    loaded.load_state_dict(with_key_moments(earlier))
    assert torch.equal(loaded(inputs), model(inputs))
    assert with_key_moments(model.state_dict()).keys() == model.state_dict().keys()
