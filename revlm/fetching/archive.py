"""Named files out of a package's archive: in memory, within budgets, nothing written to disk and no link followed."""

import gzip
import io
import tarfile
from collections.abc import Iterator, Sequence

from revlm.fetching.deadline import Deadline
from revlm.fetching.failure import SourceFailure

EXPANDED_BYTES = 64 << 20
MEMBERS = 100_000
# Of all headers that carry long names and attributes: they are held in memory, an entry each.
EXTENDED_HEADER_BYTES = 1 << 20
_EXTENDED = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
)  # fmt: skip


def read_members(archive: bytes, name: str, files: Sequence[str], deadline: Deadline) -> list[bytes]:
    """Returns the named files of a .tar.gz, without the archive's one top folder, in the order asked for.

    Raises SourceFailure where the archive is damaged or beyond the budgets, or a file is missing or no plain file.
    """
    found: dict[str, bytes] = {}
    try:
        for member, content in _members(archive, deadline):
            path = member.name.partition("/")[2]
            if path in files:
                if not member.isreg() or member.issparse():
                    raise SourceFailure(f"{name}: {path} is no plain file")
                found[path] = content.read()
    except SourceFailure:
        raise
    except Exception as error:  # tarfile and zlib each have several, and a recursion can end either
        raise SourceFailure(f"{name} is no whole archive ({type(error).__name__}: {error})") from None
    missing = [file for file in files if file not in found]
    if missing:
        raise SourceFailure(f"{name} holds no {', '.join(missing)}")
    return [found[file] for file in files]


def _members(archive: bytes, deadline: Deadline) -> Iterator[tuple[tarfile.TarInfo, io.BufferedIOBase]]:
    """Yields the members with their content, which is there until the next is asked for."""
    extended_bytes = 0

    class Member(tarfile.TarInfo):
        """A header that is refused before what it announces is read into memory."""

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
    """A stream that ends with a failure once more has come out of it than allowed."""

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
