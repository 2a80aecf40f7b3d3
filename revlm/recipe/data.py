"""The section `data`: tokens of folders, or texts that are tokenized while training."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from revlm.limits import DEFAULT_LIMITS, Limits
from revlm.recipe.section import RecipePath, Section, Share
from revlm.storage.paths import user_text


class WeightedPath(Section):
    """A folder of tokens in a mixture."""

    path: RecipePath
    """folder that `revlm tokenize` wrote"""
    weight: Annotated[float, Field(gt=0)]
    """its part of the targets, beside the weights of the others"""


def _form_of_path(value: object) -> str:
    if isinstance(value, list | tuple):
        return _WEIGHTED_PATHS if any(isinstance(each, dict | WeightedPath) for each in value) else _PATHS
    return _WEIGHTED_PATHS if isinstance(value, dict) else _ONE_PATH


# The forms of data.path; pydantic puts them into the places of errors, and no key has blanks in its name.
_ONE_PATH, _PATHS, _WEIGHTED_PATHS = FORMS = ("one path", "several paths", "weighted paths")
_AsList = Field(min_length=1, strict=False)
DataPath = Annotated[
    Annotated[RecipePath, Tag(_ONE_PATH)]
    | Annotated[tuple[RecipePath, ...], _AsList, Tag(_PATHS)]
    | Annotated[tuple[WeightedPath, ...], _AsList, Tag(_WEIGHTED_PATHS)],
    Discriminator(_form_of_path),
]


_Bound = Annotated[int, Field(ge=1, le=2**53)]


def _corpus(name: str) -> str:
    return name if name.startswith("hf:") else user_text(name)


class Stream(Section):
    """Texts that are tokenized while training."""

    corpus: Annotated[str, StringConstraints(min_length=1), AfterValidator(_corpus)]
    """what `revlm tokenize` takes: a folder, a pattern or a file, relative to where revlm runs, or hf:owner/name"""
    text_column: Annotated[str, StringConstraints(min_length=1)] = "text"
    """the column of the text, where the corpus has rows"""
    split: str | None = None
    """of a dataset of the hub; null: train"""
    revision: str | None = None
    """branch, tag or commit of a dataset of the hub; null: its main branch. A run stays at the commit it began with"""
    config: str | None = None
    """configuration of a dataset of the hub"""
    errors: Literal["strict", "skip"] = "strict"
    """at a file or text that cannot be used: stop, or say so and go on"""
    follow_links: bool = False
    """also read what links in the corpus lead to outside of it"""
    max_expanded_bytes: _Bound = DEFAULT_LIMITS.max_expanded_bytes
    """most bytes that one compressed file or e-book may expand to"""
    max_ratio: _Bound = DEFAULT_LIMITS.max_ratio
    """how many times its size that may be, beyond the first 16 MiB"""
    max_members: _Bound = DEFAULT_LIMITS.max_members
    """most files inside an e-book"""
    max_nesting: _Bound = DEFAULT_LIMITS.max_nesting
    """how deeply elements of markup, or JSON values, may contain each other"""
    max_line_bytes: _Bound = DEFAULT_LIMITS.max_line_bytes
    """longest line of JSON, value of a row, chapter of an e-book or file of HTML"""

    @property
    def limits(self) -> Limits:
        """What one file of the corpus may take before it cannot be used."""
        return Limits(**{each.name: getattr(self, each.name) for each in fields(Limits)})


def as_stream(value: object) -> object:
    """A corpus that stands alone as the section that names it; everything else as it is."""
    return {"corpus": value} if isinstance(value, str) else value


def _or_a_corpus(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "string", "minLength": 1})


class Data(Section):
    """The tokens or texts, and how they become examples."""

    path: DataPath | None = None
    """folder that `revlm tokenize` wrote, relative to where revlm runs; or a mixture of several: a list of folders
    (each as much as it has tokens) or of {path: ..., weight: ...}"""
    stream: Annotated[Stream | None, BeforeValidator(as_stream), Field(json_schema_extra=_or_a_corpus)] = None
    """instead of path: a corpus that is tokenized while training, in its order, such as hf:owner/name, or a section
    {corpus: ..., split: ...}"""
    tokenizer: RecipePath | None = None
    """of a stream: a file or folder that holds a tokenizer, such as a token folder or a run, or bytes"""
    seq_len: Annotated[int, Field(ge=2, le=2**24)] = 65536
    """most tokens of one training example"""
    packing: Literal["whole", "fixed"] = "whole"
    """whole: an example is a document, short ones share it; fixed: every example has seq_len tokens"""
    validation: Share = 0.05
    """share of the tokens of each folder that is held out, as whole documents where there are several; of a stream,
    about that share of its documents"""
    workers: Annotated[int, Field(ge=0, le=64)] = 1
    """threads that prepare the next examples, as many examples ahead; 0: each when it is needed"""

    @model_validator(mode="after")
    def _tokens_or_texts(self) -> Self:
        if (self.path is None) == (self.stream is None):
            raise ValueError("should have either path (a folder of tokens) or stream (texts tokenized while training)")
        if self.stream is not None and self.tokenizer is None:
            raise ValueError("should have a tokenizer for its stream: a token folder, a tokenizer's file, or bytes")
        if self.stream is None and self.tokenizer is not None:
            raise ValueError("should have no tokenizer beside path: token folders hold their own")
        return self

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folders of tokens, one or several; none of a stream."""
        if self.path is None:
            return ()
        if isinstance(self.path, Path):
            return (self.path,)
        return tuple(each.path if isinstance(each, WeightedPath) else each for each in self.path)

    @property
    def weights(self) -> tuple[float, ...] | None:
        """The weights of the folders; None where none are given."""
        if self.path is None or isinstance(self.path, Path):
            return None
        return tuple(each.weight for each in self.path if isinstance(each, WeightedPath)) or None
