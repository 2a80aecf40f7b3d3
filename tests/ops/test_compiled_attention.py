"""The compiled backend: what only it must hold (bits, threads, segments), and how it is built or left out."""

import os
import platform
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops import backends
from revlm.ops.attention import attention_with_log_sum_exp, bucketed_window_attention
from revlm.ops.compiled import library
from revlm.ops.compiled.cache import cache_folder

needs_compiler = pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")

# tokens, queries, rounds, window, include_self, buckets: long enough for several segments of 2,048 places.
LONG_CASES = [
    (5000, 5000, 3, 64, False, 40),
    (5000, 5000, 1, 33, True, 1),
    (4500, 700, 2, 50, False, 90),
    (5000, 5000, 2, 2500, False, 2),
    (4200, 4200, 3, 20, True, 4200),
]


def long_inputs(tokens: int, queries: int, rounds: int, buckets: int, head_dim: int = 12) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(tokens + queries)
    q, k, v, weight = (
        torch.randn(2, length, head_dim, dtype=torch.float64, generator=generator)
        for length in (queries, tokens, tokens, queries)
    )
    return q, k, v, weight, torch.randint(0, buckets, (2, rounds, tokens), generator=generator)


def results(
    backend: str, q: Tensor, k: Tensor, v: Tensor, weight: Tensor, bucket: Tensor, **options: object
) -> list[Tensor]:
    sums = torch.promote_types(q.dtype, torch.float32)
    scale = torch.tensor([0.7, 1.9], dtype=sums).requires_grad_()
    sink = torch.tensor([0.3, -1.1], dtype=sums).requires_grad_()
    learned = [tensor.clone().requires_grad_() for tensor in (q, k, v)]
    out, log_sum_exp = attention_with_log_sum_exp(*learned, bucket, scale=scale, sink=sink, backend=backend, **options)
    return [out, log_sum_exp, *torch.autograd.grad(out, [*learned, scale, sink], weight)]


@needs_compiler
@pytest.mark.parametrize("case", LONG_CASES)
def test_segments_join_without_a_seam(case: tuple) -> None:
    tokens, queries, rounds, window, include_self, buckets = case
    data = long_inputs(tokens, queries, rounds, buckets)
    options = {"window": window, "include_self": include_self}
    expected, found = (results(backend, *data, **options) for backend in ("blocked", "compiled"))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-9)


@needs_compiler
@pytest.mark.parametrize("head_dim", [1, 8, 40, 64, 100])
def test_every_width_of_head_is_exact(head_dim: int) -> None:
    data = long_inputs(150, 150, 2, 6, head_dim)
    options = {"window": 17, "include_self": False}
    expected, found = (results(backend, *data, **options) for backend in ("reference", "compiled"))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@needs_compiler
@pytest.mark.parametrize(("dtype", "times"), [(torch.float32, 2.0), (torch.bfloat16, 1.0)])
def test_low_precision_errs_no_more_than_the_reference(dtype: torch.dtype, times: float) -> None:
    *tensors, bucket = long_inputs(600, 600, 3, 10)
    rounded = [tensor.to(dtype) for tensor in tensors]
    options = {"window": 40, "include_self": False}
    exact = results("reference", *(tensor.double() for tensor in rounded), bucket, **options)
    reference, found = (results(backend, *rounded, bucket, **options) for backend in ("reference", "compiled"))
    for truth, plain, fast in zip(exact, reference, found, strict=True):
        bound = times * (plain.double() - truth).abs().max() + torch.finfo(torch.float32).eps * truth.abs().max()
        assert (fast.double() - truth).abs().max() <= bound


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_bits_do_not_depend_on_threads_or_blocks(dtype: torch.dtype) -> None:
    *tensors, bucket = long_inputs(5000, 5000, 3, 60)
    rounded = [tensor.to(dtype) for tensor in tensors]
    before = torch.get_num_threads()
    found = []
    try:
        for threads, block in ((1, 64), (1, 64), (2, 64), (3, 64), (2, 24)):
            torch.set_num_threads(threads)
            found.append(results("compiled", *rounded, bucket, window=50, include_self=False, block=block))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


@needs_compiler
@pytest.mark.parametrize("head_dim", [1, 8, 33, 64, 100])
@pytest.mark.parametrize(
    ("tokens", "queries", "rounds", "window", "include_self"),
    [(301, 301, 3, 17, False), (301, 301, 1, 33, True), (2500, 701, 2, 40, False)],
)
def test_products_in_bfloat16_round_weights_and_gradients_once(
    tokens: int, queries: int, rounds: int, window: int, include_self: bool, head_dim: int
) -> None:
    """Against float64: weights and their gradients, rounded too, at most double the error of the rounded results."""
    *tensors, bucket = long_inputs(tokens, queries, rounds, 12, head_dim)
    # Logits of about 3, so that weights are neither all alike nor all 0 and 1.
    rounded = [tensor.bfloat16() for tensor in (tensors[0] * 3 / head_dim**0.5, *tensors[1:])]
    options = {"window": window, "include_self": include_self}
    exact = results("blocked", *(tensor.double() for tensor in rounded), bucket, **options)
    in_full, found = (results(backend, *rounded, bucket, **options) for backend in ("blocked", "compiled"))
    for name, truth, plain, fast in zip(("out", "sum", "q", "k", "v"), exact, in_full, found, strict=False):
        least, error = ((each.double() - truth).square().mean().sqrt() for each in (plain, fast))
        assert error <= 2 * least + 1e-6, name
    for name, truth, fast in zip(("scale", "sink"), exact[5:], found[5:], strict=True):  # sums of terms that cancel
        assert (fast.double() - truth).abs().max() <= 0.1 * truth.abs().max(), name


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bits_do_not_depend_on_odd_blocks(dtype: torch.dtype) -> None:
    *tensors, bucket = long_inputs(2300, 2300, 2, 60)
    rounded = [tensor.to(dtype) for tensor in tensors]
    found = [results("compiled", *rounded, bucket, window=31, include_self=True, block=block) for block in (64, 1, 13)]
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


@needs_compiler
def test_the_bits_do_not_depend_on_how_tensors_lie() -> None:
    q, k, v, weight, bucket = long_inputs(300, 300, 2, 8)
    options = {"window": 20, "include_self": True}
    shared = bucket[:1].expand(2, -1, -1)
    expected = results("compiled", q, k, v, weight, shared.contiguous().int(), **options)
    by_token = [tensor.transpose(0, 1).contiguous().transpose(0, 1) for tensor in (q, k, v, weight)]
    by_element = [tensor.transpose(1, 2).contiguous().transpose(1, 2) for tensor in (q, k, v, weight)]
    by_round = bucket[:1].transpose(1, 2).contiguous().transpose(1, 2).expand(2, -1, -1)
    for laid in ((*by_token, shared), (*by_element, by_round)):
        found = results("compiled", *laid, **options)
        assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


@needs_compiler
@pytest.mark.parametrize("may_overwrite", [False, True])
@pytest.mark.parametrize(
    ("tokens", "rounds", "include_self", "dtype"),
    [(5000, 3, False, torch.float64), (300, 1, True, torch.float64), (5000, 2, False, torch.bfloat16)],
)
def test_keys_may_be_the_queries_and_gradients_may_lie_over_them(
    tokens: int, rounds: int, include_self: bool, dtype: torch.dtype, may_overwrite: bool
) -> None:
    k, _, v, weight, bucket = long_inputs(tokens, tokens, rounds, 40)
    k, v = k.to(dtype), v.to(dtype)
    scale = torch.tensor([0.7, 1.9], dtype=torch.float64).requires_grad_()
    sink = torch.tensor([0.3, -1.1], dtype=torch.float64).requires_grad_()

    def gradients(k: Tensor, v: Tensor, backend: str, **more: bool) -> list[Tensor]:
        given = {"window": 50, "scale": scale, "sink": sink, "include_self": include_self, "backend": backend}
        keys, values = k.clone().requires_grad_(), v.clone().requires_grad_()
        out, _ = attention_with_log_sum_exp(keys, keys, values, bucket, **given, **more)
        return list(torch.autograd.grad(out, [keys, values, scale, sink], weight.to(out.dtype)))

    expected = gradients(k.double(), v.double(), "reference" if tokens < 1000 else "blocked")
    found = gradients(k, v, "compiled", may_overwrite=may_overwrite)
    for one, other in zip(expected, found, strict=True):
        tolerance = 1e-9 if dtype == torch.float64 else 2e-2 * float(one.abs().max())
        torch.testing.assert_close(one, other.double(), rtol=0, atol=tolerance)


@needs_compiler
def test_what_was_overwritten_is_not_differentiated_again() -> None:
    k, _, v, _, bucket = long_inputs(50, 50, 2, 3)
    k, v = k.requires_grad_(), v.requires_grad_()
    out, _ = attention_with_log_sum_exp(
        k, k, v, bucket, window=8, include_self=False, backend="compiled", may_overwrite=True
    )
    torch.autograd.grad(out.sum(), (k, v), retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(out.sum(), (k, v))


@needs_compiler
def test_gradients_are_those_of_the_values() -> None:
    q, k, v, _, bucket = long_inputs(20, 14, 2, 3, head_dim=3)
    scale = torch.tensor([0.7, 1.9], dtype=torch.float64)
    sink = torch.tensor([0.3, -1.1], dtype=torch.float64)

    def attention(q: Tensor, k: Tensor, v: Tensor, scale: Tensor, sink: Tensor) -> Tensor:
        return bucketed_window_attention(
            q, k, v, bucket, window=5, scale=scale, sink=sink, include_self=False, backend="compiled"
        )

    assert torch.autograd.gradcheck(attention, [tensor.requires_grad_() for tensor in (q, k, v, scale, sink)])


@needs_compiler
def test_what_is_not_finite_stays_visible() -> None:
    q, k, v, _, bucket = long_inputs(50, 50, 1, 1)
    k[0, 20] = torch.nan
    out = bucketed_window_attention(q, k, v, bucket, window=8, include_self=False, backend="compiled")
    assert out[0, 21:29].isnan().all()
    assert out[0, :21].isfinite().all()
    assert out[1].isfinite().all()


def small_attention(backend: str = "auto") -> Tensor:
    q, k, v, _, bucket = long_inputs(30, 30, 1, 2)
    return bucketed_window_attention(q, k, v, bucket, window=4, include_self=True, backend=backend)


@pytest.mark.parametrize(("variable", "value"), [("REVLM_COMPILER", "none"), ("REVLM_BACKEND", "pytorch")])
def test_it_can_be_switched_off(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    assert torch.equal(small_attention(), small_attention("blocked"))
    if variable == "REVLM_COMPILER":
        assert not library.is_available()
        with pytest.raises(UsageError, match="CXX"):
            small_attention("compiled")


@needs_compiler
def test_where_there_is_a_compiler_it_is_the_one_that_runs() -> None:
    assert torch.equal(small_attention(), small_attention("compiled"))
    assert not torch.equal(small_attention(), small_attention("blocked"))


def test_a_compiler_that_is_named_and_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVLM_COMPILER", "no-such-compiler")
    with pytest.warns(RuntimeWarning, match="no-such-compiler"):
        small_attention()


def test_it_is_for_the_cpu_alone() -> None:
    with pytest.raises(UsageError, match="for the CPU and the tensors are on cuda"):
        backends.require("compiled", torch.device("cuda"))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Names a Python script as the compiler, with an empty cache; returns the list of its calls."""

    def name(script: str) -> Path:
        program, calls = tmp_path / "compiler.py", tmp_path / "calls"
        program.write_text(f"import sys\nopen({str(calls)!r}, 'a').write(' '.join(sys.argv) + '\\n')\n{script}")
        monkeypatch.setenv("REVLM_COMPILER", shlex.join([sys.executable, str(program)]))
        return calls

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield name
    library.load.cache_clear()


def test_a_build_that_fails_is_said_once(stand_in: Callable[[str], Path]) -> None:
    stand_in("sys.exit('this machine has no instructions')")
    with pytest.warns(RuntimeWarning, match="no instructions.*slower"):
        found = small_attention()
    assert torch.equal(found, small_attention("blocked"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_attention()
    with pytest.raises(library.BuildError, match="no instructions"):
        small_attention("compiled")


@needs_compiler
def test_it_is_built_once_and_again_when_anything_changed(
    stand_in: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = library.compiler()
    # The source shrinks to nothing: only what is built, and when, matters here.
    calls = stand_in(
        f"import subprocess\n"
        f"arguments = ['-x', 'c++', {os.devnull!r}] if '-o' in sys.argv else []\n"
        f"given = [each for each in sys.argv[1:] if not each.endswith('.cpp')]\n"
        f"sys.exit(subprocess.call([*{list(real)!r}, *given, *arguments]))"
    )
    command = library.compiler()
    monkeypatch.setattr(library, "_require_sizes", lambda built: None)
    monkeypatch.setattr(library, "_share_threads", lambda built: None)

    def builds() -> int:
        library.load.cache_clear()
        library.load(command)
        return sum("-o" in line.split() for line in calls.read_text().splitlines())

    assert builds() == 1
    assert builds() == 1
    monkeypatch.setattr(library, "_FLAGS", (*library._FLAGS, "-DREVLM_TEST"))
    assert builds() == 2
    assert len(list(cache_folder().glob("*.so"))) == 2


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the narrow vectors are those of x86-64")
def test_vectors_of_two_doubles_are_right(tmp_path: Path) -> None:
    """As every processor without AVX has them."""
    compiler, native = tmp_path / "c++", shlex.join(library.compiler() or ())
    compiler.write_text(f'#!/bin/bash\nexec {native} "${{@/-march=native/-march=x86-64}}"\n')
    compiler.chmod(0o755)
    environment = {**os.environ, "CXX": str(compiler), "XDG_CACHE_HOME": str(tmp_path)}
    tests = [Path(__file__).with_name(f"test_{name}.py") for name in ("attention", "compiled_attention", "one_token")]
    command = [sys.executable, "-m", "pytest", *map(str, tests)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
