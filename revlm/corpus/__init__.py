"""From texts to training examples: documents, tokenizers, the token store, packing. NumPy only; no torch."""

from revlm.corpus.documents import Document, read_documents
from revlm.corpus.examples.corpus import Corpus, Example
from revlm.corpus.examples.loader import Loader
from revlm.corpus.examples.opening import open_corpus, pinned
from revlm.corpus.examples.packed import PackedCorpus
from revlm.corpus.examples.sharing import share
from revlm.corpus.examples.streamed import StreamedCorpus
from revlm.corpus.store.merging import merge_stores
from revlm.corpus.store.summary import StoreSummary
from revlm.corpus.store.token_store import open_tokenizer, require_undamaged
from revlm.corpus.store.tokenization import tokenize_corpus
from revlm.corpus.tokenizer import Tokenizer
from revlm.corpus.tokenizer_training import write_tokenizer

__all__ = [
    "Corpus",
    "Document",
    "Example",
    "Loader",
    "PackedCorpus",
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
