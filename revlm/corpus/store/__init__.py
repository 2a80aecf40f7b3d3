"""Token stores: the tokens of a corpus on the disk, and every way in and out of them.

`tokenization` reads and encodes a corpus; `checking` decides what each text becomes, with `duplicates`; `spool` and
`unfinished` keep what is done through a kill; `writer` makes the folder, and signs it with the `manifest`. `replacing`
guards a store of another corpus. `token_store` is the one way to open a store, verified, and `rows` are its mapped
tokens; `contents` says what is in one, and `merging` joins several.
"""

from revlm.corpus.store.contents import (
    LengthBin,
    StoreContents,
    StoreSummary,
    decoded,
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
    "find_damage",
    "find_document",
    "inspect_store",
    "merge_stores",
    "open_tokenizer",
    "read_manifest",
    "require_undamaged",
    "tokenize_corpus",
]
