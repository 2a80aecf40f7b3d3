"""Attention that takes its heads in groups, on examples of any length."""

import pytest

from revlm.model import shape


def take_heads_in(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention takes its heads in so many groups from now on, however few tokens there are."""
    monkeypatch.setitem(shape._GROUPS, "cpu", ((0, groups),))
