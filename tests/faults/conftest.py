import pytest

from tests.faults.forks import Copies
from tests.faults.training import copies_of_recipe


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return copies_of_recipe(tmp_path_factory)
