"""JSON files that carry the sha256 of their own content: no bit of one changes unnoticed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DIGEST = "sha256"


def sealed_json(values: Mapping[str, Any]) -> bytes:
    """Returns the values as indented JSON whose last entry, `sha256`, is the digest of the others."""
    return _json({**values, _DIGEST: digest_of_json(values)})


def read_sealed(content: bytes) -> dict[str, Any]:
    """Returns the values that `sealed_json` was given.

    The content must be what `sealed_json` writes for them, byte for byte, so not even white space may differ.

    Raises:
        ValueError: it is not.
    """
    try:
        values = json.loads(content)
        digest = values.pop(_DIGEST)
        is_whole = digest == digest_of_json(values) and content == sealed_json(values)
    except Exception as error:  # whatever a damaged file makes of the parser
        raise ValueError("it is no sealed JSON object") from error
    if not is_whole:
        raise ValueError("its content changed since it was written")
    return dict(values)


def digest_of_json(values: Any) -> str:
    """Returns the sha256, in hexadecimal, of values as JSON holds them."""
    return hashlib.sha256(_json(values)).hexdigest()


def _json(values: Any) -> bytes:
    """As UTF-8, with the lone surrogates that Python has in place of a path's bytes that are none."""
    return (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "surrogatepass")
