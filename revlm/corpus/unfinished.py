"""A token store in work: a folder `.NAME.partial` beside its place, from which the same work goes on after a kill.

It holds what the work is (`plan.json`), the tokenizer once it is trained, the spool, and at the end the finished store.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from revlm.corpus.spool import JOURNAL, TOKENS, Spool
from revlm.corpus.store_folder import store_files
from revlm.corpus.tokenizer import Tokenizer
from revlm.errors import Interrupted, RevlmError, StorageError
from revlm.storage import (
    LOCK_NAME,
    Folder,
    Ours,
    folder_lock,
    json_bytes,
    put_in_place,
    replace_file,
    require_replaceable,
    storage_errors,
    sync_folder,
    unfinished_name,
)

PLAN = "plan.json"
_TOKENIZER, _TOKENIZER_STAGING, _STORE = "tokenizer", "tokenizer.staging", "store"
_KINDS = {
    **dict.fromkeys((PLAN, LOCK_NAME, TOKENS, JOURNAL), "file"),
    **dict.fromkeys((_TOKENIZER, _TOKENIZER_STAGING, _STORE), "folder"),
}


class UnfinishedStore:
    """What is done of a store; see `unfinished_store`."""

    def __init__(self, folder: Path, ours: Ours) -> None:
        self._folder, self._ours = folder, ours

    def tokenizer(self, make: Callable[[], Tokenizer]) -> Tokenizer:
        """Returns the tokenizer that was kept here before, or keeps the one that `make` returns."""
        kept = self._folder / _TOKENIZER
        if not kept.exists():
            staging = self._new_folder(_TOKENIZER_STAGING)
            make().save(staging)
            staging.rename(kept)
            sync_folder(self._folder)
        return Tokenizer.load(kept)

    @contextmanager
    def spool(self, tokenizer: Tokenizer) -> Iterator[Spool]:
        """The spool for the ids of a tokenizer; where the work is interrupted, texts that have ended are kept."""
        spool = Spool(self._folder, tokenizer.token_dtype)
        try:
            yield spool
        except Interrupted:
            spool.commit()
            raise
        finally:
            spool.close()

    def finish(self, place: Path, write: Callable[[Path], object]) -> None:
        """Lets `write` fill a new folder, and puts it in its place."""
        folder = self._new_folder(_STORE)
        write(folder)
        put_in_place(folder, place, self._ours)

    def _new_folder(self, name: str) -> Path:
        with Folder(self._folder, through_links=False) as folder:
            if folder.kind(name) is not None:
                folder.remove(name)
            with folder.make(name) as made:
                return made.path


@contextmanager
def unfinished_store(
    place: Path,
    plan: dict[str, Any],
    *,
    resume: bool,
    message: Callable[[str], object],
    ours: Ours = store_files,
) -> Iterator[UnfinishedStore]:
    """Goes on with an unfinished store of the same plan, or begins one; `message` says which where it matters.

    It is removed when the block ends. After a kill or an interruption it stays; after an error, too, where any
    document is done. A plan whose `errors` are "strict" goes on with "skip" as well: so far there was nothing to skip.
    `ours` names the files at `place` that may go, and where there is anything else it is refused.

    Raises:
        StorageError: another process works on it, what stands at `place` may not be replaced, something else than an
            unfinished store has its name, or the disk is full.
    """
    require_replaceable(place, ours)
    folder = place.with_name(f".{place.name}.partial")
    with storage_errors(f"writing {place}"):
        folder.mkdir(parents=True, exist_ok=True)
        _require_ours(folder)
        with folder_lock(folder, "the unfinished store", "give another folder with -o"):
            _begin(folder, plan, resume, message)
            try:
                yield UnfinishedStore(folder, ours)
            except RevlmError as error:
                if not (isinstance(error, Interrupted) or _has_documents(folder)):
                    _remove(folder)
                raise
            _remove(folder)


def _begin(folder: Path, plan: dict[str, Any], resume: bool, message: Callable[[str], object]) -> None:
    """Leaves a folder with this plan, and with what was done where that was done for the same plan."""
    try:
        before = json.loads((folder / PLAN).read_bytes())
    except (OSError, ValueError):
        before = None
    is_same = before in (plan, plan | {"errors": "strict"})
    if before is not None and not is_same and resume:
        message("starting over: the corpus or the options are not those of the unfinished work before")
    if not (is_same and resume):
        _empty(folder)
    if before != plan:
        replace_file(folder / PLAN, json_bytes(plan))


def _has_documents(folder: Path) -> bool:
    try:
        with (folder / JOURNAL).open("rb") as lines:
            return any("document" in json.loads(line) for line in lines if line.endswith(b"\n"))
    except FileNotFoundError:
        return False


def _require_ours(path: Path) -> None:
    """Raises StorageError where a folder holds anything that an unfinished store does not."""
    with Folder(path, through_links=False) as folder:
        for name in folder.names():
            if folder.kind(name) != ("file" if unfinished_name(name) == PLAN else _KINDS.get(name)):
                raise StorageError(
                    f"{path} has the name of an unfinished token store and holds {name}, which revlm did not write: "
                    "move it away, or choose another folder with -o"
                )


def _remove(folder: Path) -> None:
    _empty(folder)
    with Folder(folder.parent) as parent, parent.inside(folder.name) as emptied:
        emptied.remove(LOCK_NAME)
        parent.remove_empty(folder.name)


def _empty(path: Path) -> None:
    """Removes all but the lock, the plan first: what a kill leaves then does not look like work to go on with."""
    with Folder(path, through_links=False) as folder:
        if folder.kind(PLAN) is not None:
            folder.remove(PLAN)
        folder.sync()
        for name in folder.names():
            if name != LOCK_NAME:
                folder.remove(name)
