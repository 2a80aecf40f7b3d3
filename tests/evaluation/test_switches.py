import copy

import pytest
import torch

from revlm.evaluation.switches import attention_set_to_zero, rounds_of_hashing
from revlm.ops.hashing import draw_rotations
from tests.evaluation.models import lively_scorer, random_text

INPUTS = random_text(200).inputs(200)


@pytest.mark.parametrize("layers", [[0], [1], [0, 1]])
def test_attention_set_to_zero_is_a_projection_of_zeros(layers: list[int]) -> None:
    scorer = lively_scorer("local", "lsh")
    without = copy.deepcopy(scorer.model)
    with torch.no_grad():
        for layer in layers:
            without.attention(layer).write.project.weight.zero_()
    whole = scorer.hidden(INPUTS)
    with attention_set_to_zero(scorer.model, layers):
        changed = scorer.hidden(INPUTS)
    assert torch.equal(changed, type(scorer)(without, scorer.autocast).hidden(INPUTS))
    assert (changed - whole).abs().max() > 0.01


def test_a_model_is_itself_again_after_an_error() -> None:
    scorer = lively_scorer("local", "lsh")
    whole, state = scorer.hidden(INPUTS), copy.deepcopy(scorer.model.state_dict())

    def fail() -> None:
        with attention_set_to_zero(scorer.model, [0, 1]), rounds_of_hashing(scorer.model, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert torch.equal(scorer.hidden(INPUTS), whole)
    assert not any(module._forward_hooks for module in scorer.model.modules())
    assert all(torch.equal(value, state[name]) for name, value in scorer.model.state_dict().items())


def test_rounds_extend_those_that_were_saved() -> None:
    scorer = lively_scorer("lsh", n_rounds=2, n_buckets=(4, 64))
    model, whole = scorer.model, scorer.hidden(INPUTS)
    saved = model.get_buffer("rotations_1")
    with rounds_of_hashing(model, 2):
        assert torch.equal(scorer.hidden(INPUTS), whole)
    for rounds in (1, 2, 5):
        with rounds_of_hashing(model, rounds):
            changed = model.get_buffer("rotations_1")
            drawn = draw_rotations(model.seed, None, 1, 2, 8, (4, 64, 64, 64, 64)[:rounds])
            both = min(changed.shape[2], saved.shape[2])
            assert torch.equal(changed[..., :both], saved[..., :both])
            assert torch.equal(changed.float(), drawn)
            assert torch.equal(scorer.hidden(INPUTS), whole) == (rounds == 2)
    assert model.get_buffer("rotations_1") is saved


def test_rounds_of_pairs_are_as_before_after_others() -> None:
    scorer = lively_scorer("lsh", n_rounds=3, n_buckets=(4, 64, 64), pair_rounds=2)
    whole = scorer.hidden(INPUTS)
    with rounds_of_hashing(scorer.model, 1):
        assert scorer.model.recipe.pair_rounds == 0
        assert not torch.equal(scorer.hidden(INPUTS), whole)
    assert torch.equal(scorer.hidden(INPUTS), whole)


def test_finer_buckets_stay_with_other_rounds() -> None:
    model = lively_scorer("lsh", n_rounds=2, n_buckets=(4, 64)).model
    model.use_rounds(buckets=256)
    with rounds_of_hashing(model, 3):
        assert model.recipe.n_buckets == (4, 256, 256)
    assert model.recipe.n_buckets == (4, 256)
