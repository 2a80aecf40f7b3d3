"""The options with which a corpus is read, for functions that hand them on."""

from typing import TypedDict

from revlm.corpus.reading.refusing import OnError
from revlm.limits import Limits


class ReadOptions(TypedDict, total=False):
    """Keyword arguments of `open_source`, which has their defaults; see `tokenize_corpus` for what they mean."""

    errors: OnError
    text_column: str
    follow_links: bool
    limits: Limits
    split: str | None
    revision: str | None
    config: str | None
