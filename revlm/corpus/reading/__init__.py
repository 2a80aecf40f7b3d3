"""From files to texts: what looks for texts passes over token stores (`store_folder`), which hold none."""

from revlm.corpus.reading.store_folder import is_store, looks_like_store, store_files

__all__ = ["is_store", "looks_like_store", "store_files"]
