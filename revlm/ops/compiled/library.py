"""Builds the C++ beside this file with the machine's own compiler, at first use, and loads it.

The library is kept in `$XDG_CACHE_HOME/revlm` (else `~/.cache/revlm`) under a hash of the source, the flags and what
the compiler says of itself and of this machine's instructions, so that none of them can go stale. It is built in a
folder of its own and renamed, so that two processes may build at once, and built again where it is no longer what was
kept (`cache`).

The compiler is the command in the environment's `REVLM_COMPILER` or `CXX`, else the first of c++, g++ and clang++ that
is found. `REVLM_COMPILER=none` switches it off: everything then goes on in PyTorch's own operations.
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

from revlm.errors import UsageError
from revlm.ops.compiled.cache import cache_folder, folder_to_build_in, is_whole, keep, require_private
from revlm.ops.compiled.structures import CONSTANTS, SIZES

_FOLDER = Path(__file__).parent
_SOURCE = _FOLDER / "kernel.cpp"
_NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64", "ppc64le") else "-march=native"
# No -ffast-math: an infinite logit means a key that is not seen. Threads are the library's own; OpenMP's would be a
# second pool beside PyTorch's.
_FLAGS = (
    *("-std=c++17", "-O3", _NATIVE, "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared", "-pthread"),
    *(f"-DREVLM_{name.upper()}={value}" for name, value in CONSTANTS.items()),
)


class BuildError(UsageError):
    """The library could not be built or loaded; the message holds what the compiler or the system said."""


def is_available() -> bool:
    """Returns whether a compiler is found; nothing is built."""
    return compiler() is not None


def builds() -> bool:
    """Returns whether the library can be used, building it the first time; a failure is warned of once."""
    command = compiler()
    return command is not None and _builds(command)


@functools.cache
def _builds(command: tuple[str, ...]) -> bool:
    try:
        load(command)
    except BuildError as error:
        warnings.warn(f"{error}; everything goes on with slower operations", RuntimeWarning, stacklevel=2)
        return False
    return True


def call(function: str, problem: ctypes.Structure, work: str) -> None:
    """Calls a function of the library; `work` is what it does, for people.

    Raises:
        BuildError: where the compiler fails.
        MemoryError: where there is not enough.
    """
    command = compiler()
    assert command is not None
    if getattr(load(command), function)(ctypes.byref(problem)) != 0:
        raise MemoryError(f"not enough memory for {work}")


def compiler() -> tuple[str, ...] | None:
    """Returns the command of the C++ compiler, or None where there is none or it is switched off."""
    return _compiler(*(os.environ.get(name) for name in ("REVLM_COMPILER", "CXX", "PATH")))


@functools.cache
def _compiler(ours: str | None, usual: str | None, _path: str | None) -> tuple[str, ...] | None:
    if ours == "none":
        return None
    if named := ours or usual:
        return tuple(shlex.split(named))  # where it is missing, that is said when it is to build
    return next(((name,) for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


@functools.cache
def load(command: tuple[str, ...]) -> ctypes.CDLL:
    """Returns the library that this compiler builds, from the cache where it has been built before.

    Raises:
        BuildError: where the compiler fails.
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
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        raise BuildError(
            f"the compiled operations cannot be kept in the cache ({error}): set XDG_CACHE_HOME to a folder that is "
            "writable and allows execution"
        ) from error
    _require_sizes(library)
    return library


def _require_sizes(library: ctypes.CDLL) -> None:
    """Returns where the structures that Python fills are those that the library reads."""
    library.size_of.argtypes, library.size_of.restype = (ctypes.c_char_p,), ctypes.c_int64
    for name, size in SIZES.items():
        if (found := library.size_of(name.encode())) != size:
            raise BuildError(
                f"the compiled operations do not fit to this revlm, {name} has {found} bytes in C++ and {size} in "
                "Python: install revlm anew"
            )


def _key(command: tuple[str, ...]) -> str:
    """Returns a hash of all that decides what the library will be.

    The macros that a compiler defines name its version and every instruction set that it will use here.
    """
    macros = _run([*command, *_FLAGS, "-dM", "-E", "-x", "c++", os.devnull])
    digest = hashlib.sha256("\0".join([*command, *_FLAGS, macros]).encode())
    for path in sorted([_SOURCE, *_FOLDER.glob("*.hpp")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def _run(command: list[str]) -> str:
    try:
        # In a session of its own: Ctrl-C in a terminal is for revlm, which goes on to where it can stop.
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", start_new_session=True)
    except OSError as error:
        raise BuildError(f"the compiled operations cannot be built, {command[0]} does not run: {error}") from error
    if done.returncode != 0:
        raise BuildError(
            f"the compiled operations cannot be built, name another compiler in CXX: {shlex.join(command)} says: "
            f"{done.stderr.strip()}"
        )
    return done.stdout
