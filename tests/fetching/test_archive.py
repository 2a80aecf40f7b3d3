"""An archive gives its named plain files and nothing else, whatever it holds, within its budgets."""

import contextlib
import gzip
import io
import json
import resource
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revlm.fetching import archive as archives
from revlm.fetching.archive import read_members
from revlm.fetching.composing import compose
from revlm.fetching.deadline import Deadline
from revlm.fetching.download import Response
from revlm.fetching.failure import SourceFailure
from revlm.fetching.gutenberg import check_text
from revlm.fetching.registries import npm_archive, pypi_archive
from tests.fetching.library import archive_of


def read(archive: bytes, *files: str) -> list[bytes]:
    return read_members(archive, "sea", files or ("a.txt",), Deadline(30))


def archive_with(*members: tarfile.TarInfo) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return held.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
@pytest.mark.parametrize("link", ["/etc/passwd", "../../secret", "package/b.txt", "package/a.txt", ""])
def test_what_is_no_plain_file_is_refused_and_no_link_is_followed(kind: bytes, link: str) -> None:
    with pytest.raises(SourceFailure, match=r"a\.txt is not a regular file"):
        read(archive_with(member("package/b.txt", size=3), member("package/a.txt", kind, link)))


@pytest.mark.parametrize("name", ["/package/a.txt", "../package/a.txt", "a.txt", "package/../a.txt", "package/x/a.txt"])
def test_a_file_elsewhere_is_another_file(name: str) -> None:
    with pytest.raises(SourceFailure, match=r"holds no a\.txt"):
        read(archive_with(member(name, size=3)))


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"half",
        b"PK\3\4" + b"\0" * 600,
        gzip.compress(b""),
        gzip.compress(b"\xff" * 2048),
        archive_of({"package/a.txt": bytes(range(256)) * 40})[:-200],
        archive_of({"package/a.txt": b"a"})[:20],
    ],
    ids=["empty", "four bytes", "zip", "empty gzip", "no tar", "cut at its end", "cut at its head"],
)
def test_what_is_no_whole_archive_is_refused(archive: bytes) -> None:
    with pytest.raises(SourceFailure):
        read(archive)


def raw_member(kind: bytes, size: bytes, content: bytes = b"") -> bytes:
    """A header as tarfile would not write it, with a right checksum."""
    header = bytearray(member("package/a.txt").tobuf(tarfile.USTAR_FORMAT)[:512])
    header[124:136], header[156:157] = size.ljust(12, b"\0"), kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content.ljust(-(-len(content) // 512) * 512, b"\0")


# The large ones are made where they are tried: whoever collects the tests needs none of them.
HOSTILE = {
    "a bomb": (lambda: archive_of({"package/a.txt": b"\0" * (100 << 20)}), "has 104857600 bytes"),
    "a bomb beside the file": (
        lambda: archive_of({"package/b.txt": b"\0" * (100 << 20), "package/a.txt": b"a"}), "has 104857600 bytes"
    ),
    "many bombs": (
        lambda: archive_of({f"package/{number}": b"\0" * (10 << 20) for number in range(9)} | {"package/a.txt": b"a"}),
        "expands to more",
    ),
    "a size beyond all": (lambda: gzip.compress(raw_member(b"0", b"\x80" + b"\x7f" * 11)), "a file of the archive has"),
    "a size below zero": (lambda: gzip.compress(raw_member(b"0", b"\xff" * 11 + b"\0")), "has -"),
    "a size below zero of attributes": (lambda: gzip.compress(raw_member(b"x", b"\xff" * 11 + b"\0")), "has -"),
    "long attributes": (
        lambda: gzip.compress(raw_member(b"x", b"00010000000", b"9 a=b\n" * 100)), "names and attributes take"
    ),
    "many attributes": (
        lambda: gzip.compress(
            b"".join(
                raw_member(b"x", b"00000001000", (b"12 a%04d=cd\n" % number * 40) + b"\0" * 32)
                for number in range(9000)
            )
        ),
        "not an intact archive|names and attributes take",
    ),
    "names of names": (
        lambda: gzip.compress(b"".join(raw_member(b"L", b"00000000002", b"a\0") for _ in range(5000))), "RecursionError"
    ),
    "a sparse file": (lambda: gzip.compress(raw_member(b"S", b"00000000000")), "not a regular file"),
    "a number that is none": (lambda: gzip.compress(raw_member(b"0", b"99999999999")), "not an intact archive"),
    "too many files": (
        lambda: archive_with(*(member(f"package/{name}") for name in range(2_000))), "more than 1,000 files"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_budgets_end_what_is_hostile(make: Callable[[], bytes], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MEMBERS", 1_000)
    archive = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceFailure, match=reason):
        read(archive)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


def test_a_bomb_beside_many_files_reads_no_further_than_the_deadline() -> None:
    with pytest.raises(SourceFailure, match="longer than"):
        read_members(HOSTILE["many bombs"][0](), "sea", ["a.txt"], Deadline(0))


JSON_ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["http://a/b.tgz", "file:///x", "http://[", "sha512-\x1b", "0" * 64]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["versions", "1.0.0", "dist", "tarball", "integrity", "files", "hashes", "sha256", "url"])
        | st.text(max_size=3),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
KINDS = st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6", b"7", b"x", b"g", b"L", b"K", b"S", b"X", b"?", b"\0"])
SIZES = st.sampled_from([b"00000000000", b"00000000005", b"00000001000", b"77777777777", b"\xff" * 12, b"\x80", b"-1"])
MEMBERS = st.lists(st.builds(raw_member, KINDS, SIZES | st.binary(max_size=12), st.binary(max_size=700)), max_size=6)
CUTS = st.tuples(st.integers(0, 4000), st.binary(max_size=4))


def try_package(members: list[bytes], cut: tuple[int, bytes], is_whole: bool, answer: object, noise: bytes) -> None:
    """Everything that a registry or a mirror sends either is what it should be or ends as a SourceFailure."""
    plain = b"".join(members) + archive_plain()
    place, change = cut
    damaged = gzip.compress(plain[:place] + change + plain[place + len(change) :])
    if not is_whole:
        damaged = damaged[:place] + change + damaged[place + len(change) :]
    text = json.dumps(answer).encode()
    for attempt in (
        lambda: read(damaged),
        lambda: npm_archive(text, "1.0.0"),
        lambda: npm_archive(noise, "1.0.0"),
        lambda: pypi_archive(Response(text, "application/json", "https://a.example/simple/sea/"), "0" * 64),
        lambda: pypi_archive(Response(noise, "text/html", "https://a.example/simple/sea/"), "0" * 64),
        lambda: compose("Sea", ["a.jsonl"], [text]),
        lambda: compose("Sea", ["a.txt"], [noise]),
        lambda: check_text(noise, "https://a.example/", None),
    ):
        with contextlib.suppress(SourceFailure):
            attempt()


def archive_plain() -> bytes:
    return gzip.decompress(archive_of({"package/a.txt": b"It was calm.\n"}))


INPUTS = {
    "members": MEMBERS,
    "cut": CUTS,
    "is_whole": st.booleans(),
    "answer": JSON_ANSWERS,
    "noise": st.binary(max_size=300) | st.sampled_from([b"<a href='http://[#sha256=" + b"0" * 64, b"<" * 300]),
}


@settings(max_examples=20, derandomize=True, deadline=30_000, database=None)
@given(**INPUTS)
def test_no_package_ends_otherwise_than_in_a_reason(**inputs: object) -> None:
    try_package(**inputs)


@pytest.mark.slow
@settings(max_examples=3_000, derandomize=True, deadline=30_000, database=None, suppress_health_check=list(HealthCheck))
@given(**INPUTS)
def test_no_package_of_thousands_ends_otherwise_than_in_a_reason(**inputs: object) -> None:
    try_package(**inputs)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1 << 20  # KiB
