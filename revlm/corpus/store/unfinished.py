"""An unfinished token store: a folder `.NAME.partial` beside the store's path, from which the same work resumes.

It holds the description of the work (`plan.json`), the tokenizer once it is trained, the spool, and at the end the
finished store. All of it is verified on resuming; whatever changed on the disk is made again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from revlm.corpus.reading.store_folder import store_files
from revlm.corpus.store.spool import JOURNAL, TOKENS, Spool, has_document
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.errors import DataError, Interrupted, RevlmError, StorageError
from revlm.storage import (
    LOCK_NAME,
    Folder,
    Ours,
    folder_lock,
    put_in_place,
    read_sealed,
    replace_file,
    require_replaceable,
    sealed_json,
    storage_errors,
    sync_folder,
    unfinished_name,
)

PLAN = "plan.json"
_TOKENIZER, _TOKENIZER_STAGING, _STORE, _FINGERPRINT = "tokenizer", "tokenizer.staging", "store", "fingerprint.json"
_KINDS = {
    **dict.fromkeys((PLAN, LOCK_NAME, TOKENS, JOURNAL), "file"),
    **dict.fromkeys((_TOKENIZER, _TOKENIZER_STAGING, _STORE), "folder"),
}


class UnfinishedStore:
    """The finished parts of a store; see `unfinished_store`."""

    def __init__(self, folder: Path, ours: Ours, message: Callable[[str], object] = lambda text: None) -> None:
        self._folder, self._ours, self._message = folder, ours, message

    def tokenizer(self, make: Callable[[], Tokenizer]) -> Tokenizer:
        """Returns the tokenizer that an earlier run saved here, or saves the one that `make` returns."""
        kept = self._folder / _TOKENIZER
        if kept.exists():
            if (tokenizer := _kept_tokenizer(kept)) is not None:
                return tokenizer
            self._message("the tokenizer of the unfinished work changed on the disk; training it again")
            with Folder(self._folder, through_links=False) as folder:
                folder.remove(_TOKENIZER)
        staging, tokenizer = self._new_folder(_TOKENIZER_STAGING), make()
        tokenizer.save(staging)
        replace_file(staging / _FINGERPRINT, sealed_json({"fingerprint": tokenizer.fingerprint}))
        staging.rename(kept)
        sync_folder(self._folder)
        return tokenizer

    @contextmanager
    def spool(self, tokenizer: Tokenizer) -> Iterator[Spool]:
        """Opens the spool for the ids of a tokenizer; finished texts are committed if the work is interrupted."""
        spool = Spool(self._folder, tokenizer)
        if spool.is_damaged:
            self._message("a part of the unfinished work changed on the disk; redoing it")
        try:
            yield spool
        except Interrupted:
            spool.commit()
            raise
        finally:
            spool.close()

    def finish(self, place: Path, write: Callable[[Path], object]) -> None:
        """Calls `write` to fill a new folder, and moves it to `place`."""
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
    """Resumes an unfinished store with the same plan, or starts one; `message` reports a restart.

    The folder is removed when the `with` block ends. It stays after a kill or an interruption, and after an error if
    any document is finished. A plan with `errors` "strict" can be resumed with "skip": there was nothing to skip yet.
    `ours` returns the files at `place` that may be replaced; any other file there is an error.

    Raises:
        StorageError: another process works on it, `place` may not be replaced, the folder is not an unfinished store,
            or the disk is full.
    """
    folder = place.with_name(f".{place.name}.partial")
    with storage_errors(f"writing {place}"):
        require_replaceable(place, ours)
        folder.mkdir(parents=True, exist_ok=True)
        _require_ours(folder)
        with folder_lock(folder, "the unfinished store", "give another folder with -o"):
            _begin(folder, plan, resume, message)
            try:
                yield UnfinishedStore(folder, ours, message)
            except RevlmError as error:
                if not (isinstance(error, Interrupted) or _has_documents(folder)):
                    _remove(folder)
                raise
            _remove(folder)


def _begin(folder: Path, plan: dict[str, Any], resume: bool, message: Callable[[str], object]) -> None:
    """Writes the plan into the folder, and empties the folder first unless it holds work for the same plan."""
    try:
        before = read_sealed((folder / PLAN).read_bytes())
    except FileNotFoundError:
        before = None
    except (OSError, ValueError):
        before = {}
    if before == {} and resume:
        message("starting over: the plan of the unfinished work changed on the disk")
    is_same = before in (plan, plan | {"errors": "strict"})
    if before and not is_same and resume:
        message("starting over: the corpus or the options differ from those of the unfinished work")
    if not (is_same and resume):
        _empty(folder)
    if before != plan:
        replace_file(folder / PLAN, sealed_json(plan))


def _kept_tokenizer(folder: Path) -> Tokenizer | None:
    """Returns the tokenizer saved in a folder; None where it is damaged."""
    try:
        fingerprint = read_sealed((folder / _FINGERPRINT).read_bytes())["fingerprint"]
        tokenizer = Tokenizer.load(folder)
    except (DataError, OSError, ValueError):
        return None
    return tokenizer if tokenizer.fingerprint == fingerprint else None


def _has_documents(folder: Path) -> bool:
    try:
        with (folder / JOURNAL).open("rb") as lines:
            return any(line.endswith(b"\n") and has_document(line) for line in lines)
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
    """Removes everything but the lock, the plan first, so that a kill leaves nothing that looks resumable."""
    with Folder(path, through_links=False) as folder:
        if folder.kind(PLAN) is not None:
            folder.remove(PLAN)
        folder.sync()
        for name in folder.names():
            if name != LOCK_NAME:
                folder.remove(name)
