"""What names a dataset, and what it is called."""

import pytest

from revlm.corpus.reading.hub.address import HubAddress
from revlm.errors import UsageError


@pytest.mark.parametrize("name", ["emozilla/pg19", "hf:", "hf:a/b/c", "hf:a b"])
def test_what_names_no_dataset(name: str) -> None:
    with pytest.raises(UsageError, match="write hf:owner/name, as in hf:emozilla/pg19, or hf:"):
        HubAddress.parse(name)


def test_a_folder_has_no_revisions() -> None:
    with pytest.raises(UsageError, match="leave out --revision"):
        HubAddress.parse("hf:./folder", revision="main")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "hf:a/b"),
        ({"split": "test", "config": "en"}, "hf:a/b, config en, split test"),
        ({"revision": "x"}, "hf:a/b"),
    ],
)
def test_how_a_dataset_is_called(options: dict[str, str], name: str) -> None:
    assert str(HubAddress.parse("hf:a/b", **options)) == name
