import pytest

from revlm.launch import Launch
from revlm.ops.triton import availability
from revlm.planning import plan_memory
from revlm.planning.sizes import GRADIENT_BUFFER_BYTES
from revlm.recipe import Recipe


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


def test_a_process_among_others_holds_the_gradients_that_it_exchanges_and_may_keep_its_part_of_the_optimizer() -> None:
    plain = recipe()
    sharded = plain.model_copy(update={"optimizer": plain.optimizer.model_copy(update={"sharded": True})})
    alone, two = plan_memory(plain, 2048, "cpu"), plan_memory(plain, 2048, "cpu", Launch(world_size=2))
    weights = alone.peaks["optimizer"]["optimizer"] // 2
    assert plan_memory(sharded, 2048, "cpu") == alone
    assert two.phase_bytes("forward") == alone.phase_bytes("forward")
    assert two.phase_bytes("optimizer") - alone.phase_bytes("optimizer") == min(weights, GRADIENT_BUFFER_BYTES)
    half = plan_memory(sharded, 2048, "cpu", Launch(world_size=2))
    assert two.phase_bytes("optimizer") - half.phase_bytes("optimizer") == pytest.approx(weights, rel=1e-3)


def test_kernels_on_cuda_need_no_room_for_gradients_of_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """They write them over what they read, and work on a row at a time."""
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    peaks = []
    for failure in (None, "there is no triton"):
        monkeypatch.setattr(availability, "_failure", lambda failure=failure: failure)
        peaks.append(plan_memory(recipe(2**20), 2048, "cuda").peak_bytes)
    whole = 2 * 2**20 * 128
    assert peaks[0] + whole < peaks[1]
