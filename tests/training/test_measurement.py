"""Real steps hold what the plan says, in the heap as training sets it."""

import pytest
import torch

from revlm.model.precision import multiplies_bf16
from revlm.planning import plan_memory
from revlm.recipe import Recipe
from revlm.runs import MemoryMeter
from revlm.training.measurement import measure_step

VOCABULARY = 2048

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1.05), ("bf16", 0.96)])
def test_the_backward_pass_holds_no_more_than_is_planned(precision: str, most: float) -> None:
    if not MemoryMeter("cpu").peaks_by_phase:
        pytest.skip("this system cannot set the peak of resident memory back")
    if precision == "bf16" and not multiplies_bf16(torch.device("cpu")):
        pytest.skip("this CPU emulates bf16, in hours and with other memory")
    recipe = Recipe.model_validate(
        {
            "output_dir": "unused",
            "model": {"d_model": 256, "n_layers": 2, "layers": ["lsh"], "n_heads": 4, "d_ff": 1024},
            "data": {"path": "unused", "seq_len": 16384},
            "train": {"precision": precision, "device": "cpu"},
        }
    )
    planned = plan_memory(recipe, VOCABULARY, "cpu").phase_bytes("backward")
    # With what attention finds free in the heap and cannot use it would be 1.13 (fp32) and 0.99 (bf16).
    assert 0.85 < measure_step(recipe, VOCABULARY)["backward"] / planned < most
