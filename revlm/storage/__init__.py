"""Files and folders that survive a kill: synced before they are renamed, written atomically, locked by one process."""

from revlm.storage.closing import Closing
from revlm.storage.files import (
    append_whole,
    json_bytes,
    replace_file,
    require_free_space,
    sha256_of,
    storage_errors,
    sync_file,
    sync_folder,
    write_file,
)
from revlm.storage.folder import Folder, short_name, staging_name, unfinished_name
from revlm.storage.lock import LOCK_NAME, FolderLock, folder_lock
from revlm.storage.placing import Ours, put_in_place, require_replaceable, staged_folder
from revlm.storage.sealing import digest_of_json, is_sealed, read_sealed, sealed, sealed_json

__all__ = [
    "LOCK_NAME",
    "Closing",
    "Folder",
    "FolderLock",
    "Ours",
    "append_whole",
    "digest_of_json",
    "folder_lock",
    "is_sealed",
    "json_bytes",
    "put_in_place",
    "read_sealed",
    "replace_file",
    "require_free_space",
    "require_replaceable",
    "sealed",
    "sealed_json",
    "sha256_of",
    "short_name",
    "staged_folder",
    "staging_name",
    "storage_errors",
    "sync_file",
    "sync_folder",
    "unfinished_name",
    "write_file",
]
