"""From files and datasets to documents: what `revlm tokenize` and `data.stream` read.

    a name -> sources -> corpus_files (lists the files), standard_input (saved to a file to be read again), or hub
           -> documents -> events: the pieces of each text, then its title, source and cleaning
    a file -> readers: one per file name extension, within limits, a text at a time -> cleaning

A document is a text, the bytes of a file or a picture (`DocumentKind`): the tokenizer says which, and only texts are
cleaned. `refusing` alone decides whether unusable input becomes an error or an entry in the list of skipped texts.
`documents` alone turns an exception of a reader into the error of its file. `store_folder` recognizes token stores,
which hold no texts. A new format is one reader and one line of `readers.READERS`.
"""

from revlm.corpus.reading.documents import Document, read_documents, stream_documents
from revlm.corpus.reading.refusing import OnError, Skipped
from revlm.corpus.reading.sources import Source, open_source
from revlm.corpus.reading.store_folder import is_store, looks_like_store, store_files

__all__ = [
    "Document",
    "OnError",
    "Skipped",
    "Source",
    "is_store",
    "looks_like_store",
    "open_source",
    "read_documents",
    "store_files",
    "stream_documents",
]
