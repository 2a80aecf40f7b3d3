"""Flips every bit of a token store, one at a time, and counts how often opening it names the file; for a child process.

Usage: python -m tests.corpus.store.bit_flips STORE
"""

import json
import sys
from pathlib import Path

from revlm.corpus import open_tokenizer
from revlm.corpus.reading.store_folder import MANIFEST
from revlm.corpus.store.manifest import read_manifest
from revlm.corpus.store.token_store import StoreFolder, TokenStore
from revlm.errors import DataError


def uses_of(store: Path, name: str) -> list[object]:
    """What is to fail where a file is damaged: everything that reads it."""
    manifest = read_manifest(store)
    uses: list[object] = [lambda: TokenStore(store)]
    if name == MANIFEST:
        uses += [lambda: read_manifest(store), lambda: open_tokenizer(store), lambda: TokenStore(store, verified=True)]
    if name == manifest.tokenizer.file:
        uses += [lambda: open_tokenizer(store), lambda: open_tokenizer(store / name)]
    if name in {"documents.jsonl", "skipped.jsonl"}:
        uses.append(lambda: [*StoreFolder(store).documents(), *StoreFolder(store).skipped()])
    return uses


def is_named(use: object, store: Path, name: str) -> bool:
    try:
        use()  # type: ignore[operator]
    except DataError as error:
        # A manifest of another version is said to be one.
        return name in str(error) or (name == MANIFEST and "of the store; run" in str(error))
    return False


def main(store: Path) -> None:
    for path in sorted(store.iterdir()):
        whole = path.read_bytes()
        uses = uses_of(store, path.name)
        named = 0
        with path.open("r+b", buffering=0) as file:
            for place, byte in enumerate(whole):
                for bit in range(8):
                    file.seek(place)
                    file.write(bytes([byte ^ 1 << bit]))
                    named += all(is_named(use, store, path.name) for use in uses)
                file.seek(place)
                file.write(bytes([byte]))
        print(json.dumps({"file": path.name, "flips": 8 * len(whole), "named": named}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
