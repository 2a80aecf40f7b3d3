"""From files to texts: what looks for texts passes over token stores (`store_folder`), which hold none."""

from revlm.corpus.reading.store_folder import has_manifest, is_store

__all__ = ["has_manifest", "is_store"]
