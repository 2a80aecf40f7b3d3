"""The section `data`: token stores, or texts that are tokenized during training."""

from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    Tag,
    model_validator,
)

from revlm.limits import DEFAULT_LIMITS, Limits
from revlm.recipe.section import Every, RecipePath, Section, Share
from revlm.storage.paths import user_text


class WeightedPath(Section):
    """A folder of tokens in a mixture."""

    path: RecipePath
    """folder that `revlm tokenize` wrote"""
    weight: Annotated[float, Field(gt=0)]
    """its share of the targets, relative to the weights of the other folders"""


def _form_of_path(value: object) -> str:
    if isinstance(value, list | tuple):
        return _WEIGHTED_PATHS if any(isinstance(each, dict | WeightedPath) for each in value) else _PATHS
    return _WEIGHTED_PATHS if isinstance(value, dict) else _ONE_PATH


# The forms of data.path. Pydantic adds them to the locations of errors; no key has spaces in its name.
_ONE_PATH, _PATHS, _WEIGHTED_PATHS = FORMS = ("one path", "several paths", "weighted paths")
_AsList = Field(min_length=1, strict=False)
DataPath = Annotated[
    Annotated[RecipePath, Tag(_ONE_PATH)]
    | Annotated[tuple[RecipePath, ...], _AsList, Tag(_PATHS)]
    | Annotated[tuple[WeightedPath, ...], _AsList, Tag(_WEIGHTED_PATHS)],
    Discriminator(_form_of_path),
]


SeqLen = Annotated[int, Field(ge=2, le=2**24)]
_Bound = Annotated[int, Field(ge=1, le=2**53)]


def _corpus(name: str) -> str:
    return name if name.startswith("hf:") else user_text(name)


class Stream(Section):
    """Texts that are tokenized during training."""

    corpus: Annotated[str, StringConstraints(min_length=1), AfterValidator(_corpus)]
    """as for `revlm tokenize`: a folder, a pattern or a file, relative to the working directory, or hf:owner/name"""
    text_column: Annotated[str, StringConstraints(min_length=1)] = "text"
    """the text column, if the corpus has rows"""
    split: str | None = None
    """split of a hub dataset; null: train"""
    revision: str | None = None
    """branch, tag or commit of a hub dataset; null: its main branch. A run keeps the commit that it started with"""
    config: str | None = None
    """configuration of a hub dataset"""
    errors: Literal["strict", "skip"] = "strict"
    """on a file or text that cannot be used: stop, or report it and continue"""
    follow_links: bool = False
    """follow symbolic links that lead out of the corpus"""
    max_expanded_bytes: _Bound = DEFAULT_LIMITS.max_expanded_bytes
    """maximum expanded bytes of one compressed file or e-book"""
    max_ratio: _Bound = DEFAULT_LIMITS.max_ratio
    """maximum expanded bytes per compressed byte, beyond the first 16 MiB"""
    max_members: _Bound = DEFAULT_LIMITS.max_members
    """maximum number of files in an e-book"""
    max_nesting: _Bound = DEFAULT_LIMITS.max_nesting
    """maximum nesting depth of markup elements or JSON values"""
    max_line_bytes: _Bound = DEFAULT_LIMITS.max_line_bytes
    """maximum bytes of a JSON line, a value of a row, a chapter of an e-book or an HTML file"""

    @property
    def limits(self) -> Limits:
        """How much one file of the corpus may take before it is rejected."""
        return Limits(**{each.name: getattr(self, each.name) for each in fields(Limits)})


def as_stream(value: object) -> object:
    """A bare corpus name as the section {corpus: ...}; any other value unchanged."""
    return {"corpus": value} if isinstance(value, str) else value


def _or_a_corpus(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "string", "minLength": 1})


SeqLenSchedule = Annotated[
    tuple[Annotated[tuple[Every, SeqLen], Field(strict=False)], ...], Field(min_length=1, strict=False)
]


class Data(Section):
    """The tokens or texts, and how they are packed into examples."""

    path: DataPath | None = None
    """folder that `revlm tokenize` wrote, relative to the working directory; or a mixture: a list of folders (weighted
    by their tokens) or of {path: ..., weight: ...}"""
    stream: Annotated[Stream | None, BeforeValidator(as_stream), Field(json_schema_extra=_or_a_corpus)] = None
    """instead of path: a corpus that is tokenized during training, in its order, such as hf:owner/name; or a section
    {corpus: ..., split: ...}"""
    tokenizer: RecipePath | None = None
    """tokenizer of a stream: a file, a folder that holds one, such as a token store or a run, or bytes; with binary, a
    document is a file of any format, byte for byte"""
    seq_len: SeqLen = 65536
    """maximum tokens of one training example; with seq_len_schedule, its longest length"""
    seq_len_schedule: SeqLenSchedule | None = None
    """pairs of steps done and the seq_len from then on, such as [[0, 8192], [300, 65536]]"""
    packing: Literal["whole", "interleaved", "fixed"] = "whole"
    """whole: an example is a document, or several short ones; interleaved: the same, and documents longer than seq_len
    take turns instead of following each other; fixed: every example has seq_len tokens"""
    validation: Share = 0.05
    """share of each folder's tokens that is held out for validation, as whole documents if it has several; of a
    stream, about that share of its documents"""
    workers: Annotated[int, Field(ge=0, le=64)] = 1
    """threads that prepare examples, and how many examples they stay ahead; 0: prepare each when it is needed"""

    @model_validator(mode="wrap")
    @classmethod
    def _longest_of_schedule(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Derives seq_len from a schedule, unless it is given; then they must agree."""
        data = validate(values)
        if data.seq_len_schedule is None:
            return data
        steps, lengths = zip(*data.seq_len_schedule, strict=True)
        if steps[0] != 0 or any(after <= before for before, after in pairwise(steps)):
            raise ValueError("seq_len_schedule should have ascending steps, the first of them 0")
        if "seq_len" not in data.model_fields_set:
            return data.model_copy(update={"seq_len": max(lengths)})
        if data.seq_len != max(lengths):
            raise ValueError(f"seq_len should be left out, or be the longest of seq_len_schedule, {max(lengths)}")
        return data

    @model_validator(mode="after")
    def _tokens_or_texts(self) -> Self:
        if (self.path is None) == (self.stream is None):
            raise ValueError("should have either path (a token store) or stream (texts tokenized during training)")
        if self.stream is not None and self.tokenizer is None:
            raise ValueError("should have a tokenizer for its stream: a token store, a tokenizer file, or bytes")
        if self.stream is None and self.tokenizer is not None:
            raise ValueError("should have no tokenizer together with path: token stores hold their own")
        if self.stream is not None and self.packing == "interleaved":
            raise ValueError("should have packing whole or fixed with a stream, which keeps the order of its texts")
        return self

    def seq_len_after(self, steps: int) -> int:
        """The maximum tokens of an example of the step that follows `steps` steps."""
        if self.seq_len_schedule is None:
            return self.seq_len
        return [seq_len for first, seq_len in self.seq_len_schedule if first <= steps][-1]

    @property
    def seq_len_changes(self) -> dict[int, int]:
        """The seq_len after each number of steps at which it changes."""
        return {step: after for (_, before), (step, after) in pairwise(self.seq_len_schedule or ()) if before != after}

    @property
    def paths(self) -> tuple[Path, ...]:
        """The token stores; empty for a stream."""
        if self.path is None:
            return ()
        if isinstance(self.path, Path):
            return (self.path,)
        return tuple(each.path if isinstance(each, WeightedPath) else each for each in self.path)

    @property
    def weights(self) -> tuple[float, ...] | None:
        """The weights of the token stores; None if none are given."""
        if self.path is None or isinstance(self.path, Path):
            return None
        return tuple(each.weight for each in self.path if isinstance(each, WeightedPath)) or None
