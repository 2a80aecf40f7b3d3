"""Opens the corpus of a recipe: `data` decides its kind."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from revlm.corpus.examples.corpus import Corpus
from revlm.corpus.examples.mixture import Mixture
from revlm.corpus.examples.packed import PackedCorpus
from revlm.corpus.examples.streamed import StreamedCorpus
from revlm.corpus.reading.events import Event, ReadPosition
from revlm.corpus.reading.hub.address import PREFIX
from revlm.corpus.reading.sources import Source, open_source
from revlm.corpus.reading.standard_input import STANDARD_INPUT
from revlm.corpus.reading.watch import Stop
from revlm.corpus.store.token_store import open_tokenizer
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.errors import DataError, UsageError
from revlm.pictures import AS_THEY_ARE

if TYPE_CHECKING:  # commands that know no recipe, and the workers of `tokenize`, start sooner
    from revlm.recipe import Data, Stream

# Options of `revlm tokenize` that are also keys of `data.stream`.
_OPTION = (
    r"--(errors|text-column|split|revision|config|follow-links|max-(?:expanded-bytes|ratio|members|nesting|line-bytes))"
    r"\b(?: (skip)\b)?"
)


def open_corpus(
    data: "Data",
    seed: int,
    message: Callable[[str], object] = lambda text: None,
    *,
    verified: bool = False,
    stop: Stop = lambda: None,
) -> Corpus:
    """Returns the corpus that a recipe names: a token store, a mixture of several, or texts tokenized during training.

    `message` receives a sentence for each text skipped during training. `verified` is as for `TokenStore`. `stop` is
    called while texts are read: once it names what requests a stop, reading an example raises Interrupted.

    Raises:
        DataError: a folder is not a complete store or holds too little, the stores do not fit together, or the texts
            or their tokenizer cannot be opened.
        UsageError: a dataset has no such split, revision or configuration.
    """
    if data.stream is not None and data.tokenizer is not None:
        tokenizer = open_tokenizer(data.tokenizer)
        return StreamedCorpus(
            _open_stream(data.stream, stop, tokenizer),
            tokenizer,
            seq_len=data.seq_len,
            packing=data.packing,
            seed=seed,
            validation=data.validation,
            errors=data.stream.errors,
            on_skip=lambda skipped: message(f"skipped {skipped.path}: {skipped.reason}"),
        )
    stores = [
        PackedCorpus(
            path,
            seq_len=data.seq_len,
            packing=data.packing,
            seed=seed,
            validation=data.validation,
            verified=verified,
        )
        for path in data.paths
    ]
    return stores[0] if len(stores) == 1 else Mixture(stores, data.weights)


def pinned(stream: "Stream") -> "Stream":
    """Returns the stream at the current commit of its dataset on the hub; a stream of files is returned unchanged."""
    if not stream.corpus.startswith(PREFIX):
        return stream
    return stream.model_copy(update={"revision": _open_stream(stream).commit})


def _open_stream(stream: "Stream", stop: Stop = lambda: None, tokenizer: Tokenizer | None = None) -> Source:
    """Returns the texts of a stream; its errors name the keys of a recipe."""
    if stream.corpus == STANDARD_INPUT:
        raise UsageError("data.stream cannot be standard input, which cannot be read again; save it to a file")
    with _errors_name_keys():
        source = open_source(
            stream.corpus,
            kind=tokenizer.document_kind if tokenizer else "text",
            pictures=tokenizer.pictures if tokenizer else AS_THEY_ARE,
            errors=stream.errors,
            text_column=stream.text_column,
            split=stream.split,
            revision=stream.revision,
            config=stream.config,
            follow_links=stream.follow_links,
            limits=stream.limits,
            stop=stop,
        )

    def events(after: ReadPosition) -> Iterator[Event]:
        with _errors_name_keys():
            yield from source.events(after)

    return replace(source, identity=f"{source.identity}, column {stream.text_column}", events=events)


@contextmanager
def _errors_name_keys() -> Iterator[None]:
    """Replaces the options of `revlm tokenize` in the sources' errors by the recipe keys of the same names."""
    try:
        yield
    except (DataError, UsageError) as error:
        said = re.sub(_OPTION, _key_of_option, str(error))
        raise type(error)(said) from error


def _key_of_option(option: re.Match[str]) -> str:
    value = f"={option[2]}" if option[2] else ""
    return f"data.stream.{option[1].replace('-', '_')}{value}"
