"""From a corpus to a token store: read, train a tokenizer where none is given, encode, check, write."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from revlm.corpus.cleaning import Cleaning
from revlm.corpus.corpus_files import CorpusFiles, OnError, Skipped, find_corpus_files
from revlm.corpus.documents import TEXT_COLUMN, Document, read_documents
from revlm.corpus.sentencepiece_training import train_sentencepiece
from revlm.corpus.staging import staged_folder
from revlm.corpus.store import ROW_TOKENS, StoredDocument, StoreWriter, is_store
from revlm.corpus.tokenizer import ByteTokenizer, Tokenizer
from revlm.errors import DataError

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class TokenizeSummary:
    """What `tokenize_corpus` made of a corpus; `cleaning` adds up what was removed from all its files."""

    output_dir: Path
    documents: tuple[StoredDocument, ...]
    skipped: tuple[Skipped, ...]
    tokens: int
    bytes: int
    cleaning: Cleaning
    tokenizer: str
    vocab_size: int
    seconds: float


def tokenize_corpus(
    corpus: Path | str,
    output_dir: Path | str,
    *,
    tokenizer: Path | str | None = None,
    vocab_size: int = 2048,
    errors: OnError = "strict",
    text_column: str = TEXT_COLUMN,
    progress: Progress | None = None,
    row_tokens: int = ROW_TOKENS,
) -> TokenizeSummary:
    """Writes the token store of `corpus` to `output_dir` and returns what is in it.

    Args:
        corpus: a folder, a pattern such as `books/**/*.txt`, or one file; of any format that has a reader.
        output_dir: the store; an existing store there is replaced when the new one is whole.
        tokenizer: "bytes", a SentencePiece model, a folder that holds a tokenizer, or None to train one on
            the corpus.
        vocab_size: the size of a trained tokenizer.
        errors: "strict" stops at a file or text that cannot be used, "skip" lists it and goes on.
        text_column: the column of the text in files of rows.
        progress: called with bytes done, bytes in all (twice the corpus where a tokenizer is trained) and a
            title.
        row_tokens: the most tokens one row holds; a longer document takes several.

    Raises:
        UsageError: `vocab_size` does not fit the corpus.
        DataError: nothing to read, a file that `errors` does not allow, or a text that decodes to something
            else.
        StorageError: the store cannot be written.
    """
    began = time.perf_counter()
    files = find_corpus_files(corpus, errors=errors)
    report = _ByteProgress(files, passes=1 if tokenizer else 2, callback=progress)
    chosen = _given_tokenizer(tokenizer)
    with staged_folder(Path(output_dir), may_replace=is_store) as folder:
        if chosen is None:
            reader = report.over(_documents(files, errors, text_column, []), "vocabulary: ")
            chosen = train_sentencepiece((document.text for document in reader), vocab_size=vocab_size)
        skipped = list(files.skipped)
        with StoreWriter(folder, chosen, row_tokens=row_tokens) as writer:
            for document in report.over(_documents(files, errors, text_column, skipped)):
                _add(writer, chosen, document)
            writer.finish(skipped)
    documents = tuple(writer.documents)
    return TokenizeSummary(
        output_dir=Path(output_dir),
        documents=documents,
        skipped=tuple(skipped),
        tokens=sum(document.tokens for document in documents),
        bytes=sum(document.bytes for document in documents),
        cleaning=sum((document.cleaning for document in documents), Cleaning()),
        tokenizer=chosen.kind,
        vocab_size=chosen.vocab_size,
        seconds=time.perf_counter() - began,
    )


def _documents(files: CorpusFiles, errors: OnError, text_column: str, skipped: list[Skipped]) -> Iterator[Document]:
    """The documents of a corpus, what is passed over in `skipped`; raises DataError where none is left."""
    document = None
    for document in read_documents(files, errors=errors, text_column=text_column, on_skip=skipped.append):
        yield document
    if document is None:
        listed = "; ".join(f"{each.path}: {each.reason}" for each in skipped[:3])
        raise DataError(f"no text is left in {files.root} ({listed}); give a corpus with text in it")


class _ByteProgress:
    """Counts the bytes of documents over one or two passes, each when the next one is asked for."""

    def __init__(self, files: CorpusFiles, *, passes: int, callback: Progress | None) -> None:
        self._total = passes * files.total_bytes
        self._callback = callback
        self._done = 0

    def over(self, documents: Iterator[Document], prefix: str = "") -> Iterator[Document]:
        for document in documents:
            self._show(prefix + document.title)
            yield document
            self._done += document.read_bytes
            self._show(prefix + document.title)

    def _show(self, title: str) -> None:
        if self._callback:
            self._callback(self._done, self._total, title)


def _given_tokenizer(choice: Path | str | None) -> Tokenizer | None:
    if choice is None:
        return None
    return ByteTokenizer() if str(choice) == ByteTokenizer.kind else Tokenizer.load(choice)


def _add(writer: StoreWriter, tokenizer: Tokenizer, document: Document) -> None:
    """Encodes a document, checks that its tokens give back its very bytes, and only then stores them."""
    text = document.text.encode()
    ids = tokenizer.encode(document.text)
    decoded = tokenizer.decode_bytes(ids)
    if decoded != text:
        offset = next(
            (index for index, (one, other) in enumerate(zip(decoded, text, strict=False)) if one != other),
            min(len(decoded), len(text)),
        )
        raise DataError(
            f"the tokenizer does not give {document.source} back: its text differs from byte offset {offset} "
            "on; use another tokenizer, or --tokenizer bytes"
        )
    writer.add(document.title, document.source, text, ids, document.cleaning)
