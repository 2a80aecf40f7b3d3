"""Each way in which a dataset cannot be opened or read on: one sentence, with the remedy."""

from pathlib import Path
from typing import Any

import pytest

from revlm.corpus.reading.hub.dataset import HubDataset
from revlm.errors import DataError, UsageError
from tests.corpus.reading.hub.hub_library import LONG, first_texts, named, process, texts
from tests.corpus.reading.hub.loopback_hub import Hub


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (named("missing"), DataError, "hf:me/missing is not on the hub, or is private; .*`hf auth login` or HF_TOKEN"),
        (
            named("gated"),
            DataError,
            "hf:me/gated is gated: .*ask at https://huggingface.co/datasets/me/gated, ",
        ),
        (named("many", revision="v9"), UsageError, "hf:me/many has no revision 'v9'; name a branch, tag or commit"),
        (
            named("many", split="dev"),
            UsageError,
            r"hf:me/many has no split 'dev' \(it has 'train', 'test'\); .*split",
        ),
        (named("lines", split="dev"), UsageError, r"no split 'dev' \(it has 'train'\)"),
        (named("configs"), UsageError, "hf:me/configs has configurations: 'en', 'fr'; name one with --config"),
        (named("configs", config="de"), UsageError, r"no configuration 'de' \(it has 'en', 'fr'\); .* --config"),
        (
            named("code"),
            DataError,
            r"own code.*found code.py\); try --revision refs/convert/parquet",
        ),
        (named("none"), DataError, "hf:me/none has no files of a format that can be read"),
        (named("broken"), DataError, r"hf:me/broken is damaged .*; name another revision with --revision"),
    ],
    ids=lambda value: str(value) if isinstance(value, HubDataset) else "",
)
def test_what_cannot_be_read(elsewhere: Any, dataset: HubDataset, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        elsewhere(texts, dataset)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["books", "table"])
def test_another_column(elsewhere: Any, name: str) -> None:
    with pytest.raises(DataError, match=rf"hf:me/{name} has no column 'body' \(it has .*'text'.*\); .* --text-column"):
        elsewhere(texts, named(name), 0, "body")


def test_another_column_of_json_lines(elsewhere: Any) -> None:
    """Each line has its own columns."""
    [first, *_] = elsewhere(texts, named("lines"), 0, "body")
    assert first[:2] == ("train/0.jsonl, row 1", "has no column 'body' (it has 'text')")


def test_a_connection_that_drops_is_opened_again(elsewhere: Any, hub: Hub) -> None:
    hub.drops["me/drops/train.parquet"] = 2
    assert [each.text for each in elsewhere(texts, named("drops"))] == [LONG] * 20
    assert hub.drops["me/drops/train.parquet"] == 0


def test_a_connection_that_drops_for_good_names_the_place(elsewhere: Any, hub: Hub) -> None:
    assert len(elsewhere(first_texts, named("gone"), 3)) == 3
    hub.drops["me/gone/train.parquet"] = 1 << 30
    message = (
        r"hf:me/gone cannot be read further: the connection to the hub broke.*run the same command again to resume"
    )
    with pytest.raises(DataError, match=message):
        elsewhere(texts, named("gone"))


def test_a_hub_that_cannot_be_reached_is_given_up_soon(tmp_path: Path) -> None:
    """Within what `call` waits."""
    with (
        process(tmp_path, "http://127.0.0.1:1") as call,
        pytest.raises(DataError, match=r"hub cannot be reached at http://127.0.0.1:1 .*network and HF_ENDPOINT"),
    ):
        call(texts, named("books"))


def test_a_hub_that_is_switched_off(tmp_path: Path, hub: Hub) -> None:
    with (
        process(tmp_path, hub.url, HF_HUB_OFFLINE="1") as call,
        pytest.raises(DataError, match="HF_HUB_OFFLINE is set; unset it, or fetch its files once"),
    ):
        call(texts, named("books"))
