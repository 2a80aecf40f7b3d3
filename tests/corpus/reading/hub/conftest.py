"""A hub on loopback, and a process that knows no other."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.corpus.reading.hub.hub_library import LIBRARY, process, quickly
from tests.corpus.reading.hub.loopback_hub import Hub, open_hub


@pytest.fixture(scope="package")
def hub() -> Iterator[Hub]:
    with open_hub() as hub:
        hub.repositories.update(LIBRARY)
        yield hub


@pytest.fixture(scope="package")
def elsewhere(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with process(tmp_path_factory.mktemp("home"), hub.url, initializer=quickly) as call:
        yield call
