"""From texts to training examples: documents, tokenizers, the token store, packing. NumPy only; no torch."""

from revlm.corpus.examples import (
    Corpus,
    Example,
    Loader,
    PackedCorpus,
    ScheduledStream,
    StreamedCorpus,
    open_corpus,
    pinned,
    share,
)
from revlm.corpus.reading.documents import Document, read_documents
from revlm.corpus.store import StoreSummary, merge_stores, open_tokenizer, require_undamaged, tokenize_corpus
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.corpus.tokenizing.training import write_tokenizer

__all__ = [
    "Corpus",
    "Document",
    "Example",
    "Loader",
    "PackedCorpus",
    "ScheduledStream",
    "StoreSummary",
    "StreamedCorpus",
    "Tokenizer",
    "merge_stores",
    "open_corpus",
    "open_tokenizer",
    "pinned",
    "read_documents",
    "require_undamaged",
    "share",
    "tokenize_corpus",
    "write_tokenizer",
]
