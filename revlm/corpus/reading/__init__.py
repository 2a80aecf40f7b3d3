"""From files and datasets to documents: what `revlm tokenize` and `data.stream` read.

    a name -> sources -> corpus_files (which files there are), standard_input (saved to be read again), or hub
           -> documents -> events: the pieces of one text after another, and what each text was
    a file -> readers: by its ending, within limits, a text at a time -> cleaning, gutenberg

`refusing` is the one place where something that cannot be used becomes an error or a line in the list of what was left
out, `documents` the one boundary where whatever a reader raises becomes the error of its file. `store_folder` tells
token stores, which are no texts. A further format is one reader and one line of `readers.READERS`.
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
