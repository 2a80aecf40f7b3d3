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
from revlm.storage.sealed import digest_of_json, read_sealed, sealed_json

__all__ = [
    "LOCK_NAME",
    "append_whole",
    "digest_of_json",
    "folder_lock",
    "json_bytes",
    "put_in_place",
    "read_sealed",
    "remove_unfinished",
    "replace_file",
    "require_free_space",
    "require_replaceable",
    "sealed_json",
    "sha256_of",
    "storage_errors",
    "sync_file",
    "sync_folder",
    "write_file",
]
