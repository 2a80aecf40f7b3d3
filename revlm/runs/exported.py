"""Models in the folder layout of Hugging Face, as `revlm checkpoint export --format huggingface` writes them.

    config.json         what transformers needs, and under `revlm` what revlm needs, sealed by its own sha256
    model*.safetensors  the weights
    tokenizer.model     the tokenizer; tokenizer.json if it is that of bytes

The sealed part names the sha256 of the weights and of the tokenizer, so no file changes unnoticed. Reading a folder
needs no transformers.
"""

import json
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from revlm.errors import StorageError
from revlm.recipe import Model
from revlm.storage import Folder, digest_of_json, sha256_of, storage_errors

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
SECTION = "revlm"
"""The key of config.json that holds the sealed `ExportedModel`."""
WEIGHTS = "model*.safetensors"
PREFIX = "model."
"""What transformers puts before the names of the model's weights."""

SEAL = "sha256"
_REMEDY = "export the checkpoint again with this version of revlm"


class ExportedModel(BaseModel):
    """The settings that decide an exported model, and the digests of its files.

    Attributes:
        model: the section `model` of the recipe, with its number of buckets.
        seq_len: the longest training example, in tokens.
        precision: that of the matrix products in training.
        step: the training step of the weights.
        corpus: the fingerprint of the tokens or texts that it was trained on; empty if unknown.
        tokenizer_sha256: the fingerprint of the tokenizer; empty if there is none.
        weights_sha256: the sha256 of each file of weights; empty before they are written.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    format: Literal[1] = 1
    model: Model
    vocab_size: int = Field(ge=1, lt=1 << 31)
    begin_id: int = Field(ge=0, lt=1 << 31)
    seed: int
    seq_len: int = Field(default=65536, ge=1)
    precision: str = "fp32"
    step: int = Field(default=0, ge=0)
    corpus: str = ""
    tokenizer_sha256: str = ""
    weights_sha256: dict[str, str] = {}

    def sealed(self) -> dict[str, Any]:
        """Returns the values as JSON holds them, with their own sha256."""
        values = self.model_dump(mode="json")
        return {**values, SEAL: _digest(values)}


def is_exported(folder: str | PathLike[str]) -> bool:
    """Whether a folder holds an exported model rather than a run."""
    try:
        with Folder(folder) as opened:
            return SECTION in json.loads(opened.read(CONFIG))
    except (OSError, StorageError, ValueError, TypeError, RecursionError):
        return False


def unseal(values: Any, place: str | PathLike[str]) -> ExportedModel:
    """Returns the sealed part of the config.json at `place`.

    Raises:
        StorageError: it changed since it was written, or another version of revlm wrote it.
    """
    if not isinstance(values, Mapping) or SEAL not in values:
        raise StorageError(f"{place} is not of a model of revlm: give a folder that `revlm checkpoint export` wrote")
    rest = {key: value for key, value in values.items() if key != SEAL}
    try:
        is_whole = values[SEAL] == _digest(rest)
    except (ValueError, RecursionError):  # it holds NaN, which no sealed part does
        is_whole = False
    if not is_whole:
        raise StorageError(f"{place} changed since it was written: restore it from a copy, or {_REMEDY}")
    try:
        # Through JSON, because a list in JSON may be a tuple in the schema.
        return ExportedModel.model_validate_json(json.dumps(rest))
    except ValidationError as error:
        [first, *_] = error.errors()
        where = ".".join(map(str, first["loc"]))
        raise StorageError(
            f"{place} was written by another version of revlm ({where}: {first['msg']}): {_REMEDY}"
        ) from error


def _digest(values: Mapping[str, Any]) -> str:
    """Returns the sha256 of values, whatever the order of their keys."""
    return digest_of_json(json.loads(json.dumps(values, sort_keys=True)))


def require_digest(path: Path, digest: str) -> None:
    """Raises StorageError if a file does not have the sha256 that config.json records."""
    if sha256_of(path) != digest:
        raise StorageError(
            f"{path} is damaged (its sha256 is not the one in {CONFIG}): restore it from a copy, or {_REMEDY}"
        )


def load_exported(folder: str | PathLike[str]) -> "tuple[ExportedModel, dict[str, Tensor]]":
    """Returns an exported model and its weights by the names that RevLM gives them, memory-mapped, on the CPU.

    Raises:
        StorageError: a file is missing, damaged, or of another version of revlm.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    place = Path(folder) / CONFIG
    try:
        with storage_errors(f"reading {place}"), Folder(folder) as opened:
            values = json.loads(opened.read(CONFIG))
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{place} is not JSON: restore it from a copy, or {_REMEDY}") from error
    exported = unseal(values.get(SECTION) if isinstance(values, dict) else None, place)
    tensors: dict[str, Tensor] = {}
    if not exported.weights_sha256:
        raise StorageError(f"{place} names no weights: {_REMEDY}")
    for name, digest in exported.weights_sha256.items():
        path = Path(folder) / Path(name).name
        with storage_errors(f"reading {path}"):
            with Folder(folder) as opened:
                os.close(opened.open(path.name))  # refuses a symbolic link
            require_digest(path, digest)
        try:
            tensors |= {name.removeprefix(PREFIX): tensor for name, tensor in load_file(path).items()}
        except SafetensorError as error:
            raise StorageError(f"{path} cannot be read ({error}): {_REMEDY}") from error
    return exported, tensors
