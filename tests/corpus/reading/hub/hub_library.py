"""The datasets of the hub on loopback, all invented, and how a process of its own reads them."""

import io
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pyarrow
from pyarrow import parquet

from revlm.corpus import open_corpus, pinned, tokenize_corpus
from revlm.corpus.reading.hub.dataset import HubDataset
from revlm.corpus.reading.readers.raw import Reading, Unusable
from revlm.corpus.store.token_store import TokenStore
from revlm.errors import Interrupted
from revlm.limits import DEFAULT_LIMITS, Limits
from revlm.recipe import Data, Stream
from tests.corpus.reading.hub.loopback_hub import Repository

BOOKS = [f"Book {number} — of the sea.\n" + "A calm night. " * (number % 7) for number in range(23)]
LONG = "".join(chr(97 + (7 * place * place + place) % 26) for place in range(1 << 16))
CARD = b"---\ndataset_info:\n  splits:\n  - name: train\n    num_bytes: 1000\n    num_examples: 23\n---\n"


def parquet_of(texts: list[str], group: int = 3, **columns: list[Any]) -> bytes:
    file = io.BytesIO()
    table = pyarrow.table({"other": [[1.5]] * len(texts), "text": texts, **columns})
    parquet.write_table(table, file, row_group_size=group, compression="none", use_dictionary=False)
    return file.getvalue()


def files_of(texts: list[str], count: int, split: str = "train") -> dict[str, bytes]:
    size = -(-len(texts) // count)
    parts = [texts[start : start + size] for start in range(0, len(texts), size)]
    return {f"data/{split}-{n:05d}-of-{count:05d}.parquet": parquet_of(part) for n, part in enumerate(parts)}


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def bad_rows() -> bytes:
    raw = b"caf\xe9 au lait"
    texts = pyarrow.array(["good", raw, None, "last"], pyarrow.binary()).view(pyarrow.string())
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": texts, "title": [" A\n title ", "", None, "x"]}), file)
    return file.getvalue()


MANY = {"README.md": CARD, **files_of(BOOKS, 4), **files_of(["only a test"], 1, "test")}
LIBRARY = {
    "me/books": Repository({"main": {"README.md": b"# Books\n", "books.parquet": parquet_of(BOOKS)}}),
    "me/many": Repository({"main": MANY, "v1": files_of(BOOKS[:2], 1)}),
    "me/lines": Repository({"main": {f"train/{n}.jsonl": jsonl([{"text": t} for t in BOOKS[n::2]]) for n in (0, 1)}}),
    "me/list": Repository({"main": {"all.json": json.dumps([*BOOKS[:2], {"text": BOOKS[2]}]).encode()}}),
    "me/table": Repository({
        "main": {"all.csv": '\ufeffid,text,title\r\n1,"One, ""two"",\nthree",A\n\n2,é,\n3,short\n'.encode()}
    }),
    "me/files": Repository({"main": {f"{n}.txt": f"A first line.\r\nAnd more of {n}.\n".encode() for n in (1, 2)}}),
    "me/long": Repository({"main": {"train.parquet": parquet_of([LONG] * 100, 10)}}),
    "me/drops": Repository({"main": {"train.parquet": parquet_of([LONG] * 20, 10)}}),
    "me/gone": Repository({"main": {"train.parquet": parquet_of([LONG] * 400, 100)}}),
    "me/bad": Repository({"main": {"train.parquet": bad_rows()}}),
    "me/broken": Repository({"main": {"train.parquet": b"PAR1 but then nothing of the kind"}}),
    "me/code": Repository({"main": {"code.py": b"import os\n"}}),
    "me/none": Repository({"main": {"README.md": b"# Nothing yet\n"}}),
    "me/configs": Repository({
        "main": {"README.md": b"---\nconfigs:\n- config_name: en\n  data_files: en.jsonl\n- config_name: fr\n"
                              b"  data_files: fr.jsonl\n---\n",
                 "en.jsonl": jsonl([{"text": "one"}]), "fr.jsonl": jsonl([{"text": "un"}])}
    }),
    "me/gated": Repository({"main": {}}, refuses="GatedRepo"),
}  # fmt: skip


class Text(NamedTuple):
    place: str
    text: str
    title: str | None
    read_bytes: int


def named(name: str, **options: Any) -> HubDataset:
    return HubDataset.parse(f"hf:me/{name}", **options)


def quickly() -> None:
    """The libraries wait for minutes before they give up a connection; here not at all."""
    import datasets

    time.sleep = lambda seconds: None
    datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = 2


@contextmanager
def process(home: Path, endpoint: str, *, initializer: Callable[[], None] | None = None, **more: str) -> Iterator[Any]:
    """A process in whose environment the hub is elsewhere: `huggingface_hub` looks at it once, when it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), **more}
    with (
        patch.dict(os.environ, environment, clear=True),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer) as pool,
    ):
        yield lambda function, *arguments: pool.submit(function, *arguments).result(timeout=60)


def texts(
    dataset: HubDataset, skip: int = 0, column: str = "text", limits: Limits = DEFAULT_LIMITS
) -> list[Text | Unusable]:
    return [
        each if isinstance(each, Unusable) else Text(each.place, "".join(each.pieces), each.title, each.read_bytes)
        for each in dataset.texts(Reading(column, limits), skip=skip)
    ]


def first_texts(dataset: HubDataset, count: int) -> list[str]:
    return ["".join(each.pieces) for each, _ in zip(dataset.texts(Reading()), range(count), strict=False)]


def facts(dataset: HubDataset) -> tuple[int | None, str | None]:
    return dataset.total_bytes(), dataset.pinned().revision


def streamed(stream: Stream, place: dict[str, Any] | None, count: int) -> tuple[Stream, list[str], dict[str, Any]]:
    """The stream at its commit, the texts of so many examples of it after a place, and the place after them."""
    at_commit = pinned(stream)
    data = Data(stream=at_commit, tokenizer=Path("bytes"), seq_len=64, validation=0.0)
    examples = open_corpus(data, 0).training(place)
    read = [bytes(example.targets.tolist()).decode() for _, example in zip(range(count), examples, strict=False)]
    return at_commit, read, examples.state()


def tokenized(name: str, store: str, stop_after: int) -> tuple[list[tuple[str, int]], list[str]]:
    """Tokenizes a dataset, stopped once on the way; returns sources and bytes, and what was said the second time."""
    asked = iter(range(1000))
    try:
        tokenize_corpus(name, store, tokenizer="bytes", stop=lambda: "SIGTERM" if next(asked) == stop_after else None)
    except Interrupted:
        said: list[str] = []
        tokenize_corpus(name, store, tokenizer="bytes", message=said.append)
        return [(document.source, document.bytes) for document in TokenStore(store).documents()], said
    raise AssertionError("the work was not stopped")
