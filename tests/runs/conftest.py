import os
import signal
import sys
from collections.abc import Callable

import pytest
import torch


@pytest.fixture
def tensors():
    """Groups of tensors of several types, as training saves them."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        "embedding": torch.randn(11, 4, generator=generator),
        "half": torch.randn(3, generator=generator).to(torch.bfloat16),
        "scalar": torch.tensor(2.5),
        "not_contiguous": torch.randn(4, 6, generator=generator).T,
    }
    return {
        "model": weights,
        "optimizer": {"step": torch.tensor(7), "random": torch.arange(9, dtype=torch.uint8)},
    }


@pytest.fixture
def run_and_kill():
    """Runs a function in a child process that kills itself with SIGKILL at the n-th call of `os.<name>`.

    Returns whether it came to that.
    """

    def run(work: Callable[[], object], name: str, call: int) -> bool:
        child = os.fork()
        if child == 0:
            calls = 0
            real = getattr(os, name)

            def deadly(*arguments, **keywords):
                nonlocal calls
                calls += 1
                if calls == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **keywords)

            setattr(os, name, deadly)
            try:
                work()
                os._exit(0)
            except BaseException as error:
                print(error, file=sys.stderr)
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return True
        assert os.WEXITSTATUS(status) == 0
        return False

    return run
