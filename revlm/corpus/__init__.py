"""From texts to training examples: documents, tokenizers, the token store, packing. NumPy only; no torch."""

from revlm.corpus.documents import Document, read_documents
from revlm.corpus.packed_corpus import Example, PackedCorpus
from revlm.corpus.tokenization import TokenizeSummary, tokenize_corpus
from revlm.corpus.tokenizer import Tokenizer

__all__ = [
    "Document",
    "Example",
    "PackedCorpus",
    "TokenizeSummary",
    "Tokenizer",
    "read_documents",
    "tokenize_corpus",
]
