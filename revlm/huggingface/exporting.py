"""Exports a checkpoint as a folder that `from_pretrained` opens."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers.utils import logging

from revlm.errors import StorageError
from revlm.generation import TrainedModel
from revlm.huggingface.card import model_card
from revlm.huggingface.configuration import RevlmConfig
from revlm.huggingface.modeling import RevlmForCausalLM
from revlm.huggingface.tokenization import RevlmTokenizer, padding_id, silent_ids
from revlm.runs import ExportedModel
from revlm.runs.checkpoint import os_error
from revlm.storage import (
    Folder,
    require_free_space,
    short_name,
    staged_folder,
    storage_errors,
    sync_file,
    unfinished_name,
)

_CARD = "README.md"
_WRITTEN = ("*.json", "*.safetensors", "modeling_revlm.py", "tokenizer.model", _CARD)
_OTHER_BYTES = 1 << 22  # tokenizer, configuration and card


def export_model(
    trained: TrainedModel, run: str | os.PathLike[str], target: str | os.PathLike[str], licence: str
) -> Path:
    """Writes a run's model to the new folder `target` and returns it; `licence` is a licence identifier of the hub.

    The folder is renamed to `target` once it is complete.

    Raises:
        StorageError: `target` exists, or it cannot be written.
    """
    target, recipe, tokenizer = Path(target), trained.recipe, trained.tokenizer
    if os.path.lexists(target):
        raise StorageError(f"{target} exists: give the name of a new folder")
    exported = ExportedModel(
        model=recipe.model,
        vocab_size=tokenizer.vocab_size,
        begin_id=tokenizer.begin_id,
        seed=recipe.seed,
        seq_len=recipe.data.seq_len,
        precision=recipe.train.precision,
        step=trained.step,
        corpus=trained.corpus_fingerprint,
        tokenizer_sha256=tokenizer.fingerprint,
    )
    card = model_card(trained, run, licence)
    model = RevlmForCausalLM(RevlmConfig.of(exported, pad_token_id=padding_id(tokenizer), dtype=torch.float32))
    model.model = trained.model
    model.generation_config.update(
        bos_token_id=tokenizer.begin_id,
        pad_token_id=padding_id(tokenizer),
        suppress_tokens=silent_ids(tokenizer),
    )
    with storage_errors(f"writing {target}"), Folder(target.absolute().parent) as parent:
        weight_bytes = sum(tensor.nbytes for tensor in trained.model.state_dict().values())
        require_free_space(parent.path, weight_bytes + _OTHER_BYTES, f"the model {target}", "give another folder")
        _remove_abandoned(parent, target.name)
        with staged_folder(parent, target.name) as folder:
            fcntl.flock(folder.descriptor, fcntl.LOCK_EX)  # marks it as in use for other exports
            with _no_progress_bars(), _system_errors(target):
                model.save_pretrained(folder.path)
            RevlmTokenizer(tokenizer=tokenizer).save_pretrained(folder.path)
            folder.write_new(_CARD, card.encode())
            for name in folder.names():
                sync_file(folder.path / name)
    return target


def _remove_abandoned(parent: Folder, name: str) -> None:
    """Removes the files that killed exports to the same folder left, and no other files."""
    for found in parent.names():
        if unfinished_name(found) != short_name(name) or parent.kind(found) != "folder":
            continue
        with parent.inside(found) as staging:
            try:
                fcntl.flock(staging.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # that export is still running
            for file in staging.names():
                if staging.kind(file) == "file" and any(fnmatch(file, pattern) for pattern in _WRITTEN):
                    staging.remove(file)
        parent.remove_empty(found)


@contextmanager
def _system_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise os_error(error, target) from error


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()
