"""What befalls a process of the tests: it is killed at a point of its writing, or sent a signal at a place of its work.

A point is a moment right before, in the midst of, or right after one of the calls that change what is on the disk.
"""

import os
import signal
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "ftruncate")

Place = tuple[str, str, str]
"""A module, and in it a class (or nothing) and a function."""

PLACES: dict[str, Place] = {
    "opening": ("revlm.corpus.store.token_store", "TokenStore", "__init__"),
    "loading": ("revlm.corpus.examples.packed", "PackedCorpus", "_example"),
    "forward": ("revlm.model.revlm", "RevLM", "forward"),
    "backward": ("torch", "Tensor", "backward"),
    "update": ("revlm.training.optimization.eager", "AdamW", "step"),
    "evaluation": ("revlm.model.revlm", "RevLM", "loss"),  # that of a training example before, so the call matters
    "sampling": ("revlm.generation.sampling", "SampleRng", "uniform"),
    "saving": ("safetensors.torch", "", "save_file"),
}


def _around(owner: Any, name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    call = getattr(owner, name)
    setattr(owner, name, wraps(call)(change(call)))


class KillAt:
    """Lets this process kill itself at a point, counted from 0; `passed` is how many points it has passed."""

    def __init__(self, point: int) -> None:
        self.point, self.passed = point, 0
        for name in CALLS:
            _around(os, name, lambda call: lambda *rest, **options: self._whole(call, *rest, **options))
        _around(os, "write", lambda call: lambda descriptor, content: self._in_halves(call, descriptor, content))
        _around(Path, "open", self._opening)
        import safetensors.torch

        _around(safetensors.torch, "save_file", self._saving_tensors)

    def _reach(self, last_act: Callable[[], object] = lambda: None) -> None:
        if self.passed == self.point:
            last_act()
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def _whole(self, call: Callable[..., Any], *rest: Any, **options: Any) -> Any:
        self._reach()
        result = call(*rest, **options)
        self._reach()
        return result

    def _in_halves(self, write: Callable[..., int], descriptor: int, content: bytes) -> int:
        self._reach()
        self._reach(lambda: write(descriptor, content[: len(content) // 2]))
        written = write(descriptor, content)
        self._reach()
        return written

    def _opening(self, open_: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
            file = open_(path, mode, *rest, **options)
            if "w" in mode:
                self._reach()
                write = file.write

                def half(content: Any) -> None:
                    write(content[: len(content) // 2])
                    file.flush()

                def in_halves(content: Any) -> int:
                    self._reach(lambda: half(content))
                    return write(content)

                file.write = in_halves
            return file

        return opened

    def _saving_tensors(self, save: Callable[..., None]) -> Callable[..., None]:
        def half(tensors: Any, path: Path) -> None:
            save(tensors, path)
            os.truncate(path, path.stat().st_size // 2)

        def saved(tensors: Any, path: Path) -> None:
            self._reach()
            self._reach(lambda: half(tensors, path))
            save(tensors, path)
            self._reach()

        return saved


class SignalAt:
    """Sends this process a signal at the n-th call, from 1, of what is done at a place, and sees what follows."""

    def __init__(self, name: str, place: str, call: int) -> None:
        from revlm.model import RevLM

        self._number, self._calls_left = signal.Signals[name], call
        self._sent_seconds: float | None = None
        self.examples_begun = 0
        """micro-batches that were begun after the signal"""
        _around(_owner(PLACES[place]), PLACES[place][2], self._sending)
        _around(RevLM, "forward", self._counting)

    @property
    def seconds(self) -> float | None:
        """Since the signal; None where it was not sent."""
        return None if self._sent_seconds is None else time.monotonic() - self._sent_seconds

    def _sending(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def sent(*rest: Any, **options: Any) -> Any:
            self._calls_left -= 1
            if self._calls_left == 0:
                self._sent_seconds = time.monotonic()
                os.kill(os.getpid(), self._number)
            return call(*rest, **options)

        return sent

    def _counting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(model: Any, *rest: Any, **options: Any) -> Any:
            self.examples_begun += model.training and self._sent_seconds is not None
            return call(model, *rest, **options)

        return counted


def _owner(place: Place) -> Any:
    from importlib import import_module

    module = import_module(place[0])
    return getattr(module, place[1]) if place[1] else module
