"""From texts to training examples: documents, tokenizers, the token store, packing. NumPy only; no torch."""

from revlm.corpus.examples import Corpus, Example
from revlm.corpus.loader import Loader
from revlm.corpus.merging import merge_stores
from revlm.corpus.opening import open_corpus, pinned
from revlm.corpus.packed_corpus import PackedCorpus
from revlm.corpus.reading import Document, read_documents
from revlm.corpus.sharing import share
from revlm.corpus.store import require_undamaged
from revlm.corpus.streamed_corpus import StreamedCorpus
from revlm.corpus.summary import StoreSummary
from revlm.corpus.tokenization import tokenize_corpus
from revlm.corpus.tokenizer import Tokenizer, open_tokenizer
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
