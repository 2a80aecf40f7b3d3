"""A file that forwards to another one, for subclasses that look at or divide its reads."""

import io
from typing import Any


class ForwardingFile(io.RawIOBase):
    """Reads another file, which can seek; a subclass defines `read` or `readinto`."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())
