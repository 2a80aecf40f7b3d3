"""The address of a dataset on the hub."""

import os
import re
from dataclasses import dataclass
from typing import Self

from revlm.errors import UsageError

PREFIX = "hf:"
_FOLDER = re.compile(r"[./~]")
_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


@dataclass(frozen=True)
class HubAddress:
    """A split of a dataset on the hub, or of a local folder laid out like one.

    `revision` is a branch, tag or commit, `config` one of the dataset's configurations.
    """

    id: str
    split: str = "train"
    revision: str | None = None
    config: str | None = None

    @classmethod
    def parse(cls, name: str, *, split: str = "train", revision: str | None = None, config: str | None = None) -> Self:
        """Returns the address written as `hf:owner/name`, or `hf:./folder` for a local one.

        Raises:
            UsageError: the name is neither, or a revision of a folder is requested.
        """
        address = cls(name.removeprefix(PREFIX), split, revision, config)
        if not name.startswith(PREFIX) or not (address.is_local or _ID.fullmatch(address.id)):
            raise UsageError(f"{name!r} names no dataset; write hf:owner/name, as in hf:emozilla/pg19, or hf:./folder")
        if address.is_local and revision is not None:
            raise UsageError(f"{name} is a local folder, which has no revisions; leave out --revision")
        return address

    def __str__(self) -> str:
        config = f", config {self.config}" if self.config else ""
        return f"{PREFIX}{self.id}{config}" + (f", split {self.split}" if self.split != "train" else "")

    @property
    def is_local(self) -> bool:
        """Whether it is a folder on this machine."""
        return _FOLDER.match(self.id) is not None

    @property
    def path(self) -> str:
        """The path for `datasets`, which never mistakes a local folder for a dataset of the same name."""
        return os.path.abspath(os.path.expanduser(self.id)) if self.is_local else f"hf://datasets/{self.id}"
