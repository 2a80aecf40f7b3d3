"""Files and folders that survive a kill: on the disk before they are named, whole or not there, held by one process."""

from revlm.storage.files import (
    append_whole,
    json_bytes,
    remove_unfinished,
    replace_file,
    require_free_space,
    sha256_of,
    storage_errors,
    sync_file,
    sync_folder,
    write_file,
)
from revlm.storage.lock import LOCK_NAME, folder_lock
from revlm.storage.placing import put_in_place, require_replaceable

__all__ = [
    "LOCK_NAME",
    "append_whole",
    "folder_lock",
    "json_bytes",
    "put_in_place",
    "remove_unfinished",
    "replace_file",
    "require_free_space",
    "require_replaceable",
    "sha256_of",
    "storage_errors",
    "sync_file",
    "sync_folder",
    "write_file",
]
