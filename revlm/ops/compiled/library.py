"""Builds the C++ beside this file with the machine's compiler at first use, and loads it.

The library is cached in `$XDG_CACHE_HOME/revlm` (otherwise `~/.cache/revlm`) under a hash of the source, the flags, the
compiler's version and the CPU's instruction sets, so that it is never stale. It is built in a temporary folder and
renamed, so that two processes may build at once, and rebuilt if its digest no longer matches (`cache`).
The compiler is the command in the environment variable `REVLM_COMPILER` or `CXX`, otherwise the first of c++, g++ and
clang++. `REVLM_COMPILER=none` disables it: PyTorch's operations are used instead.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import warnings
from pathlib import Path

import torch

from revlm.errors import UsageError
from revlm.ops.compiled.cache import cache_folder, folder_to_build_in, is_whole, keep, require_private
from revlm.ops.compiled.structures import CONSTANTS, SIZES

_FOLDER = Path(__file__).parent
_SOURCE = _FOLDER / "kernel.cpp"
_NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64", "ppc64le") else "-march=native"
# No -ffast-math: an infinite logit marks a key that is not seen. No OpenMP: it would add
# a second pool to PyTorch's, which the library uses (`parallel.hpp`).
_FLAGS = (
    *("-std=c++17", "-O3", _NATIVE, "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared", "-pthread"),
    *(f"-DREVLM_{name.upper()}={value}" for name, value in CONSTANTS.items()),
)


class BuildError(UsageError):
    """The library could not be built or loaded; the message quotes the compiler or the system."""


def is_available() -> bool:
    """Returns whether there is a compiler, without building anything."""
    return compiler() is not None


def builds() -> bool:
    """Returns whether the library can be used, building it the first time; warns once of a failure."""
    command = compiler()
    return command is not None and _builds(command)


@functools.cache
def _builds(command: tuple[str, ...]) -> bool:
    try:
        load(command)
    except BuildError as error:
        warnings.warn(f"{error}; falling back to slower operations", RuntimeWarning, stacklevel=2)
        return False
    return True


def call(function: str, problem: ctypes.Structure, work: str) -> None:
    """Calls a function of the library; `work` describes it in an error.

    Raises:
        BuildError: the compiler fails.
        MemoryError: memory runs out.
    """
    command = compiler()
    assert command is not None
    if getattr(load(command), function)(ctypes.byref(problem)) != 0:
        raise MemoryError(f"not enough memory for {work}")


def compiler() -> tuple[str, ...] | None:
    """Returns the command of the C++ compiler; None where there is none or it is disabled."""
    return _compiler(*(os.environ.get(name) for name in ("REVLM_COMPILER", "CXX", "PATH")))


@functools.cache
def _compiler(ours: str | None, usual: str | None, _path: str | None) -> tuple[str, ...] | None:
    if ours == "none":
        return None
    if named := ours or usual:
        return tuple(shlex.split(named))  # a missing command is reported by the build
    return next(((name,) for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


@functools.cache
def load(command: tuple[str, ...]) -> ctypes.CDLL:
    """Returns the library that a compiler builds, from the cache if possible.

    Raises:
        BuildError: the compiler fails.
    """
    name = f"revlm-{_key(command)}.so"
    try:
        folder = cache_folder()
        require_private(folder)
        if not is_whole(folder / name):
            with folder_to_build_in(folder) as staging:
                _run([*command, *_FLAGS, str(_SOURCE), "-o", str(staging / name)])
                keep(staging / name, folder / name)
        library = ctypes.CDLL(str(folder / name))
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        raise BuildError(
            f"the compiled operations cannot be cached ({error}): set XDG_CACHE_HOME to a folder that is "
            "writable and allows execution"
        ) from error
    _require_sizes(library)
    _share_threads(library)
    return library


def _share_threads(library: ctypes.CDLL) -> None:
    """Makes the library use the threads of PyTorch's OpenMP, where it has one; otherwise it starts its own."""
    start = getattr(ctypes.CDLL(torch._C.__file__), "GOMP_parallel", None)
    if start is not None:
        library.use_team(start)


def _require_sizes(library: ctypes.CDLL) -> None:
    """Checks that the structures in Python and in the library have the same sizes."""
    library.size_of.argtypes, library.size_of.restype = (ctypes.c_char_p,), ctypes.c_int64
    for name, size in SIZES.items():
        if (found := library.size_of(name.encode())) != size:
            raise BuildError(
                f"the compiled operations do not match this revlm, {name} has {found} bytes in C++ and {size} in "
                "Python: reinstall revlm"
            )


def _key(command: tuple[str, ...]) -> str:
    """Returns a hash of everything that determines the library.

    The macros that a compiler predefines name its version and the instruction sets that it uses on this machine.
    """
    macros = _run([*command, *_FLAGS, "-dM", "-E", "-x", "c++", os.devnull])
    digest = hashlib.sha256("\0".join([*command, *_FLAGS, macros]).encode())
    for path in sorted([_SOURCE, *_FOLDER.rglob("*.hpp")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def _run(command: list[str]) -> str:
    try:
        # In a new session: Ctrl-C in a terminal must reach only revlm, which stops at the next safe point.
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", start_new_session=True)
    except OSError as error:
        raise BuildError(f"the compiled operations cannot be built, {command[0]} does not run: {error}") from error
    if done.returncode != 0:
        raise BuildError(
            f"the compiled operations cannot be built, name another compiler in CXX: {shlex.join(command)} says: "
            f"{done.stderr.strip()}"
        )
    return done.stdout
