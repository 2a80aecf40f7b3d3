"""A token store in work: a folder `.NAME.partial` beside its place, from which the same work goes on after a kill.

It holds what the work is (`plan.json`), the tokenizer once it is trained, the spool, and at the end the finished store.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from revlm.corpus.spool import JOURNAL, Spool
from revlm.corpus.store_folder import is_store
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.errors import Interrupted, RevlmError
from revlm.storage import (
    LOCK_NAME,
    folder_lock,
    json_bytes,
    put_in_place,
    replace_file,
    require_replaceable,
    storage_errors,
    sync_folder,
)

PLAN = "plan.json"


class UnfinishedStore:
    """What is done of a store; see `unfinished_store`."""

    def __init__(self, folder: Path, may_replace: Callable[[Path], bool]) -> None:
        self._folder, self._may_replace = folder, may_replace

    def tokenizer(self, make: Callable[[], Tokenizer]) -> Tokenizer:
        """Returns the tokenizer that was kept here before, or keeps the one that `make` returns."""
        kept = self._folder / "tokenizer"
        if not kept.exists():
            staging = self._new_folder("tokenizer.staging")
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
        folder = self._new_folder("store")
        write(folder)
        put_in_place(folder, place, self._may_replace)

    def _new_folder(self, name: str) -> Path:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


@contextmanager
def unfinished_store(
    place: Path,
    plan: dict[str, Any],
    *,
    resume: bool,
    message: Callable[[str], object],
    may_replace: Callable[[Path], bool] = is_store,
) -> Iterator[UnfinishedStore]:
    """Goes on with an unfinished store of the same plan, or begins one; `message` says which where it matters.

    It is removed when the block ends. After a kill or an interruption it stays; after an error, too, where any
    document is done. A plan whose `errors` are "strict" goes on with "skip" as well: so far there was nothing to skip.
    `may_replace` says whether what stands at `place` may go.

    Raises:
        StorageError: another process works on it, what stands at `place` may not be replaced, or the disk is full.
    """
    require_replaceable(place, may_replace)
    folder = place.with_name(f".{place.name}.partial")
    with storage_errors(f"writing {place}"):
        folder.mkdir(parents=True, exist_ok=True)
        with folder_lock(folder, "the unfinished store", "give another folder with -o"):
            _begin(folder, plan, resume, message)
            try:
                yield UnfinishedStore(folder, may_replace)
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


def _remove(folder: Path) -> None:
    _empty(folder)
    shutil.rmtree(folder)


def _empty(folder: Path) -> None:
    """Removes all but the lock, the plan first: what a kill leaves then does not look like work to go on with."""
    (folder / PLAN).unlink(missing_ok=True)
    sync_folder(folder)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_NAME:
            path.unlink()
