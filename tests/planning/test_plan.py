import re

import pytest

from revlm.errors import ResourceError
from revlm.planning import longest_seq_len, plan_memory, planning_limit_bytes, require_memory
from revlm.recipe import Recipe
from revlm.runs import memory_limit_bytes

GB = 10**9


def recipe(seq_len: int = 65536, limit: str | None = None, **model: object) -> Recipe:
    return Recipe.model_validate(
        {
            "output_dir": "run",
            "model": {"d_model": 128, "n_layers": 4, "n_heads": 4, "d_ff": 512} | model,
            "data": {"path": "tokens", "seq_len": seq_len},
            "memory": {"limit": limit},
        }
    )


def test_reversible_memory_grows_with_the_weights_alone_and_stored_with_the_tokens() -> None:
    def growth(*, reversible: bool) -> int:
        shallow, deep = (plan_memory(recipe(n_layers=n, reversible=reversible), 2048, "cpu") for n in (4, 8))
        return deep.peak_bytes - shallow.peak_bytes

    weights = 4 * (4 * 128**2 + 2 * 128 * 512) * 4
    assert growth(reversible=True) < 6 * weights
    assert growth(reversible=False) > 4 * 65536 * 40 * 128


def test_memory_is_linear_in_the_tokens() -> None:
    short, middle, long = (plan_memory(recipe(n), 2048, "cpu").peak_bytes for n in (2**17, 2**18, 2**19))
    assert (long - middle) / (middle - short) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_longest_length_fits_and_the_next_does_not(device: str) -> None:
    longest = longest_seq_len(recipe(), 2048, device, 2 * GB)
    assert longest > 0
    assert longest % 1024 == 0
    assert plan_memory(recipe(longest), 2048, device).total_bytes <= 2 * GB
    assert plan_memory(recipe(longest + 1024), 2048, device).total_bytes > 2 * GB


def test_no_length_fits_into_less_than_the_process_holds() -> None:
    assert longest_seq_len(recipe(), 2048, "cpu", 10**8) == 0


def test_a_limit_is_not_more_than_the_machine_has() -> None:
    machine = memory_limit_bytes("cpu")
    assert planning_limit_bytes(recipe(), "cpu") == machine
    assert planning_limit_bytes(recipe(limit="1GB"), "cpu") == GB
    assert planning_limit_bytes(recipe(limit="999TB"), "cpu") == machine


def test_a_run_beyond_its_limit_is_refused_with_the_largest_category_and_a_length_that_fits() -> None:
    require_memory(recipe(8192, "2GB"), 2048, "cpu")
    with pytest.raises(ResourceError, match=r"memory\.limit allows 2\.00 GB") as refused:
        require_memory(recipe(2**20, "2GB"), 2048, "cpu")
    sentence = str(refused.value)
    assert plan_memory(recipe(2**20), 2048, "cpu").largest_category[0] in sentence
    proposed = re.search(r"lower data\.seq_len to ([\d,]+) or less", sentence)
    assert proposed is not None
    longest = int(proposed[1].replace(",", ""))
    require_memory(recipe(longest, "2GB"), 2048, "cpu")
    with pytest.raises(ResourceError):
        require_memory(recipe(longest + 1024, "2GB"), 2048, "cpu")


def test_examples_that_are_shorter_than_seq_len_are_planned_as_they_are() -> None:
    require_memory(recipe(2**24, "2GB"), 2048, "cpu", longest_example=8192)


def test_where_nothing_fits_the_model_is_named() -> None:
    with pytest.raises(ResourceError, match=r"not even 1,024 tokens fit, so lower model\.d_model"):
        require_memory(recipe(limit="100MB"), 2048, "cpu")
