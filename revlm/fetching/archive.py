"""Reads named files from a package's archive in memory, within limits; writes nothing and follows no link."""

import gzip
import io
import tarfile
from collections.abc import Iterator, Sequence

from revlm.fetching.deadline import Deadline
from revlm.fetching.failure import SourceFailure

EXPANDED_BYTES = 64 << 20
MEMBERS = 100_000
# The total size of the headers that carry long names and attributes, which tarfile holds in memory.
EXTENDED_HEADER_BYTES = 1 << 20
_EXTENDED = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
)  # fmt: skip


def read_members(archive: bytes, name: str, files: Sequence[str], deadline: Deadline) -> list[bytes]:
    """Returns the contents of `files` in a .tar.gz, in order; their paths omit the archive's one top folder.

    Raises SourceFailure where the archive is damaged or exceeds the limits, or a file is missing or not a regular file.
    """
    found: dict[str, bytes] = {}
    try:
        for member, content in _members(archive, deadline):
            path = member.name.partition("/")[2]
            if path in files:
                if not member.isreg() or member.issparse():
                    raise SourceFailure(f"{name}: {path} is not a regular file")
                found[path] = content.read()
    except SourceFailure:
        raise
    except Exception as error:  # tarfile and zlib raise several kinds, and either can exceed the recursion limit
        raise SourceFailure(f"{name} is not an intact archive ({type(error).__name__}: {error})") from None
    missing = [file for file in files if file not in found]
    if missing:
        raise SourceFailure(f"{name} holds no {', '.join(missing)}")
    return [found[file] for file in files]


def _members(archive: bytes, deadline: Deadline) -> Iterator[tuple[tarfile.TarInfo, io.BufferedIOBase]]:
    """Yields the members with their content, which is valid until the next one is requested."""
    extended_bytes = 0

    class Member(tarfile.TarInfo):
        """A header that is refused before the content that it announces is read into memory."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Member":
            nonlocal extended_bytes
            member = super().frombuf(buf, encoding, errors)
            if not 0 <= member.size <= EXPANDED_BYTES:
                raise SourceFailure(f"a file of the archive has {member.size} bytes")
            extended_bytes += member.size if member.type in _EXTENDED else 0
            if extended_bytes > EXTENDED_HEADER_BYTES:
                raise SourceFailure(f"its names and attributes take more than {EXTENDED_HEADER_BYTES:,} bytes")
            return member

    stream = _Bounded(gzip.GzipFile(fileobj=io.BytesIO(archive)), deadline)
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=Member) as package:  # type: ignore[call-overload]
        for _ in range(MEMBERS):
            member = package.next()
            if member is None:
                return
            package.members.clear()
            yield member, package.extractfile(member) if member.isreg() else io.BytesIO()
        raise SourceFailure(f"the archive holds more than {MEMBERS:,} files")


class _Bounded:
    """A stream that raises SourceFailure once it has expanded beyond the limit, or the deadline has passed."""

    def __init__(self, stream: gzip.GzipFile, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline
        self._left = EXPANDED_BYTES

    def read(self, size: int) -> bytes:
        self._deadline.require_time_left()
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise SourceFailure(f"the archive expands to more than {EXPANDED_BYTES:,} bytes")
        return content
