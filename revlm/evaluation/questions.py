"""Questions at the end of a document about facts stated in it: their format, and the positions of their answers.

`scripts/make_recall_corpus.py` writes such documents, and the probe `answers` reads them. After the last sign
`QUESTION`, the document asks for the facts in the words that stated them; a key is one symbol, and so is each part of a
value:

    kind              stated                         asked
    passkey           The pass key is 71432.         The pass key is 71432.
    named-passkey     The pass key of K is 71432.    The pass key of K is 71432.
    keys              K:VVV                          K:VVV
    two-hop           K:L and, elsewhere, L:V        K::V
    two-hop-written   K:L and, elsewhere, L:V        K:L:V, of which L:V is the answer
    mqar              KV, one pair after the other   KV, in another order

Of two hops, the model makes both at once, or writes the first one down. The last kind is multi-query associative recall
(Arora et al., arXiv 2312.04927). Symbols are Chinese characters: no novel of the corpus has them, cleaning leaves them
as they are, and a tokenizer that was trained on them has one token for each.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

QUESTION = "※"
KEYS, VALUES = range(0x4E00, 0x5E00), range(0x5E00, 0x6E00)
KINDS = ("passkey", "named-passkey", "keys", "two-hop", "two-hop-written", "mqar")

_KEY, _VALUE = (f"[{chr(symbols[0])}-{chr(symbols[-1])}]" for symbols in (KEYS, VALUES))
_ASKED = re.compile(
    "(?P<cue>The pass key is )(?P<passkey>[0-9]+)|"
    f"(?P<named_cue>The pass key of {_KEY} is )(?P<named_passkey>[0-9]+)|"
    f"(?P<key>{_KEY})(?:(?P<mqar>{_VALUE})|::(?P<two_hop>{_VALUE}+)|"
    f":(?P<two_hop_written>{_KEY}:{_VALUE}+)|:(?P<keys>{_VALUE}+))"
)

_GROUPS = [kind.replace("-", "_") for kind in KINDS]


class Question(NamedTuple):
    """A question of a document: its answer is bytes `start` to `stop`, and the fact is stated at byte `stated`."""

    kind: str
    start: int
    stop: int
    stated: int


def passkey(value: int, of: str = "") -> str:
    """Returns the sentence that states a pass key, and also asks for it; `of` is the symbol that names it, if any."""
    return f"The pass key of {of} is {value}." if of else f"The pass key is {value}."


def questions_of(document: bytes) -> Iterator[Question]:
    """Yields the questions of a document in UTF-8 whose answers it states; none if it asks nothing."""
    begin = document.rfind(QUESTION.encode())
    if begin < 0:
        return
    asked = document[begin:].decode(errors="replace")
    place, at = begin, 0
    for match in _ASKED.finditer(asked):
        kind = next(name for name in _GROUPS if match[name] is not None)
        cue = match["cue"] or match["named_cue"] or match["key"]
        stated = document.rfind(cue.encode(), 0, begin)
        place, at = place + len(asked[at : match.start(kind)].encode()), match.start(kind)
        if stated >= 0:
            yield Question(kind.replace("_", "-"), place, place + len(match[kind].encode()), stated)
