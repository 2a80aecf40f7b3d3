import errno
import re
from pathlib import Path

import pytest
import torch

from revlm.errors import ResourceError
from revlm.launch import Launch
from revlm.planning import (
    fit_plan,
    longest_seq_len,
    out_of_memory_explained,
    plan_memory,
    planning_limit,
    require_memory,
)
from revlm.recipe import Recipe
from revlm.runs import machine, memory_limit
from tests.planning.test_plan import recipe

GB = 10**9


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
    machine = memory_limit("cpu")
    assert planning_limit(recipe(), "cpu") == machine
    assert planning_limit(recipe(limit="1GB"), "cpu") == (GB, "memory.limit allows")
    assert planning_limit(recipe(limit="999TB"), "cpu") == machine


def on(device: str, given: Recipe) -> Recipe:
    return given.model_copy(update={"train": given.train.model_copy(update={"device": device})})


def test_a_plan_is_fitted_to_the_limit() -> None:
    fitted = fit_plan(on("cpu", recipe(8192, "2GB")), 2048)
    assert (fitted.device, fitted.plan) == ("cpu", plan_memory(recipe(8192), 2048, "cpu"))
    assert fitted.limit == (2 * GB, "memory.limit allows")
    assert fitted.longest_seq_len == longest_seq_len(recipe(), 2048, "cpu", 2 * GB)
    assert fitted.fits is True
    assert fit_plan(on("cpu", recipe(2**20, "2GB")), 2048).fits is False


def test_a_plan_for_cuda_needs_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fitted = fit_plan(on("cuda", recipe(8192)), 2048)
    assert (fitted.device, fitted.limit, fitted.longest_seq_len, fitted.fits) == ("cuda", None, None, None)
    assert fitted.plan == plan_memory(recipe(8192), 2048, "cuda")


def test_a_run_beyond_its_limit_is_refused_with_the_largest_category_and_a_length_that_fits() -> None:
    assert require_memory(recipe(8192, "2GB"), 2048, "cpu") == plan_memory(recipe(8192), 2048, "cpu")
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
        require_memory(recipe(limit="340MB"), 2048, "cpu")


def test_where_not_even_the_process_fits_the_limit_is_named() -> None:
    process_bytes = plan_memory(recipe(), 2048, "cpu").process_bytes
    with pytest.raises(
        ResourceError, match=r"memory\.limit allows 0\.34 GB: raise the limit: .* alone takes 0\.34 GB$"
    ):
        require_memory(recipe(limit=str(process_bytes)), 2048, "cpu")


def test_the_limit_of_a_control_group_is_kept_and_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "proc").write_text("0::/job\n")
    (tmp_path / "memory.max").write_text(str(GB))
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "proc")
    monkeypatch.setattr(machine, "_MOUNT", tmp_path)
    require_memory(recipe(8192), 2048, "cpu")
    with pytest.raises(ResourceError, match=r"the control group of this process allows 1\.00 GB"):
        require_memory(recipe(2**20, "2GB"), 2048, "cpu")
    with pytest.raises(ResourceError, match=r"memory\.limit allows 0\.80 GB"):
        require_memory(recipe(2**20, "800MB"), 2048, "cpu")


RAN_OUT = (
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:128] DefaultCPUAllocator: can't allocate memory: you tried"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
)


@pytest.mark.parametrize("error", RAN_OUT, ids=lambda error: type(error).__name__)
def test_memory_that_ran_out_is_explained(error: Exception, tmp_path: Path) -> None:
    example = recipe(2**18)
    plan, snapshot = plan_memory(example, 2048, "cpu"), tmp_path / "memory-snapshot.pickle"

    def sentence(attainable_bytes: int) -> str:
        with (
            pytest.raises(ResourceError) as explained,
            out_of_memory_explained(plan, example, 2048, "cpu", lambda: attainable_bytes, snapshot),
        ):
            raise error
        return str(explained.value)

    name, size_bytes = plan.largest_category
    assert f"most of it {name}, {size_bytes / GB:.2f} GB" in sentence(GB)
    assert f"lower data.seq_len to {longest_seq_len(example, 2048, 'cpu', GB):,} or less" in sentence(GB)
    proposed = re.search(r"lower data\.seq_len to ([\d,]+) or less", sentence(2**40))
    assert proposed is not None
    assert int(proposed[1].replace(",", "")) < 2**18
    assert "memory_viz" not in sentence(GB)
    snapshot.write_bytes(b"")
    assert f"{snapshot} opens in" in sentence(GB)


def test_other_errors_pass_as_they_are() -> None:
    example = recipe(8192)
    plan = plan_memory(example, 2048, "cpu")
    for error in (RuntimeError("the streams were run backwards already"), OSError(errno.ENOENT, "no file")):
        with (
            pytest.raises(type(error)) as passed,
            out_of_memory_explained(plan, example, 2048, "cpu", lambda: GB),
        ):
            raise error
        assert passed.value is error


def test_processes_share_the_memory_of_their_machine_and_not_that_of_a_gpu() -> None:
    machine, two = memory_limit("cpu"), Launch(world_size=4, local_world_size=2)
    assert planning_limit(recipe(), "cpu", two).size_bytes == machine.size_bytes // 2
    assert planning_limit(recipe(limit="1GB"), "cpu", two) == (GB, "memory.limit allows")
    with pytest.raises(ResourceError, match=r" has, for each of 2 processes, \d"):
        require_memory(recipe(2**24), 2048, "cpu", launch=two)
