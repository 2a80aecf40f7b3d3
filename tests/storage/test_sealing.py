import json

import pytest

from revlm.storage import is_sealed, read_sealed, sealed, sealed_json

VALUES = {"name": "é\udcff", "counts": {"tokens": 12}, "parts": [1, None, True], "ratio": 0.1}


def test_what_was_sealed_is_read() -> None:
    assert read_sealed(sealed_json(VALUES)) == VALUES
    assert json.loads(sealed_json({"name": "x"}))["sha256"]


def test_no_bit_changes_unnoticed() -> None:
    content = sealed_json(VALUES)
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r"no sealed JSON|changed since"):
                read_sealed(bytes(changed))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"null", b'{"sha256": 1}', b"[" * 100_000, b"1" * 10_000, b'{"sha256": NaN}', b"\xff\xfe\x00"],
)
def test_what_is_no_sealed_object_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no sealed JSON|changed since"):
        read_sealed(content)


def test_a_key_twice_or_other_white_space_is_a_change() -> None:
    content = sealed_json({"a": 1})
    for changed in (content.replace(b"{", b'{"a": 1,', 1), content + b"\n", content.replace(b"\n", b" ", 1)):
        with pytest.raises(ValueError, match="changed since"):
            read_sealed(changed)


def test_a_seal_shows_every_change_of_a_bit() -> None:
    whole = sealed("a: 1\nb: é\n").encode()
    assert is_sealed(whole)
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        assert not is_sealed(bytes(changed)), place
    for other in (b"", b"\n", whole[:-1], whole + b"\n", whole + whole, b"a: 1\n"):
        assert not is_sealed(other)
