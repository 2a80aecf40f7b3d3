import sys

import pytest
import torch

from revlm.ops import whole


@pytest.mark.parametrize("size", [0, 10, 3 * 2**20 + 5])
def test_it_is_a_tensor_like_any_other(size: int) -> None:
    tensor = whole.empty(2, size, dtype=torch.float32).fill_(3)
    assert tensor.shape == (2, size)
    assert float(tensor.sum()) == 6 * size


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for under Linux")
def test_large_tensors_ask_for_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(whole, "_madvise", lambda: lambda *arguments: asked.append(arguments))
    small, large = whole.empty(2**18, dtype=torch.float32), whole.empty(2**22, dtype=torch.float32)
    ((address, size, _),) = asked
    assert large.data_ptr() <= address < large.data_ptr() + 4096
    assert large.numel() * 4 - 2 * 4096 <= size <= large.numel() * 4
    assert small.numel() == 2**18
