"""Token stores: the tokens of a corpus on disk, and all code that reads and writes them.

`tokenization` reads and encodes a corpus; `checking` accepts or rejects each text, with `duplicates`; `spool` and
`unfinished` preserve finished work if the process is killed; `writer` writes the folder and its `manifest`. `replacing`
protects a store of another corpus. Only `token_store` opens a store, after verifying it; `rows` holds its memory-mapped
tokens. `contents` summarizes a store, and `merging` joins several.
"""

from revlm.corpus.store.contents import (
    LengthBin,
    StoreContents,
    StoreSummary,
    decoded,
    described,
    find_damage,
    find_document,
    inspect_store,
)
from revlm.corpus.store.manifest import read_manifest
from revlm.corpus.store.merging import merge_stores
from revlm.corpus.store.token_store import StoredDocument, StoreFolder, TokenStore, open_tokenizer, require_undamaged
from revlm.corpus.store.tokenization import tokenize_corpus

__all__ = [
    "LengthBin",
    "StoreContents",
    "StoreFolder",
    "StoreSummary",
    "StoredDocument",
    "TokenStore",
    "decoded",
    "described",
    "find_damage",
    "find_document",
    "inspect_store",
    "merge_stores",
    "open_tokenizer",
    "read_manifest",
    "require_undamaged",
    "tokenize_corpus",
]
