"""From texts to training examples: documents, tokenizers, the token store, packing. NumPy only; no torch."""

from revlm.corpus.documents import Document, read_documents
from revlm.corpus.merging import merge_stores
from revlm.corpus.packed_corpus import Example, PackedCorpus
from revlm.corpus.summary import StoreSummary
from revlm.corpus.tokenization import tokenize_corpus
from revlm.corpus.tokenizer import Tokenizer
from revlm.corpus.tokenizer_training import write_tokenizer

__all__ = [
    "Document",
    "Example",
    "PackedCorpus",
    "StoreSummary",
    "Tokenizer",
    "merge_stores",
    "read_documents",
    "tokenize_corpus",
    "write_tokenizer",
]
