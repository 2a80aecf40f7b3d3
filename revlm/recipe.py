"""The recipe: everything that decides a training run, as one frozen, strict and documented value.

A recipe is a YAML file. `load_recipe` reads it (or a bundled one by name), applies `key=value` overrides and
reports every problem at once; `Recipe.to_yaml` writes the resolved recipe, which loads to an equal one.
"""

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StringConstraints,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from revlm.bundled import bundled_path
from revlm.errors import UsageError

LayerKind = Literal["local", "lsh", "full"]
LoggingBackend = Literal["console", "jsonl", "tensorboard", "trackio"]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Every = Annotated[int, Field(ge=0, le=2**31 - 1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Prompt = Annotated[str, StringConstraints(min_length=1)]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_size(value: object) -> int:
    """The bytes of a size such as 4GB (10^9), 4GiB (2^30) or a plain number; ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError("should be a size such as 4GB, 4GiB or a number of bytes")
    power = " kmgt".index(match[2].lower() or " ")
    return round(float(match[1]) * (1024 if match[3] else 1000) ** power)


def _size_or_none(value: object) -> int | None:
    return None if value is None else parse_size(value)


def _path(value: object) -> object:
    if value == "" or not isinstance(value, str | Path):
        raise ValueError("should be a path")
    return Path(value).expanduser()


def _buckets(value: object) -> object:
    if value == "auto" or (type(value) is int and value in {2**power for power in range(2, 17)}):
        return value
    raise ValueError("should be auto or a power of two from 4 to 65536")


def _tile(value: object) -> object:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError("should be auto or a number of tokens from 1 up")


def _device(value: str) -> str:
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        return value
    raise ValueError("should be auto, cpu, cuda or cuda:N")


Device = Annotated[
    str,
    AfterValidator(_device),
    WithJsonSchema({"type": "string", "pattern": r"^(auto|cpu|cuda(:\d+)?)$"}),
]
Size = Annotated[
    int | None,
    BeforeValidator(_size_or_none),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}),
]
RecipePath = Annotated[Path, BeforeValidator(_path), PlainSerializer(Path.as_posix, return_type=str)]


class _Section(BaseModel):
    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Model(_Section):
    """The shape of the network."""

    d_model: Annotated[int, Field(ge=2, le=65536)] = 512
    """width of the hidden states; a multiple of n_heads"""
    n_layers: Annotated[int, Field(ge=1, le=1024)] = 12
    """pairs of one attention and one feed-forward layer"""
    n_heads: Annotated[int, Field(ge=1, le=1024)] = 8
    """attention heads; d_model / n_heads should be even"""
    d_ff: Annotated[int, Field(ge=1, le=2**20)] = 2048
    """inner width of the feed-forward layers"""
    layers: Annotated[tuple[LayerKind, ...], Field(min_length=1, strict=False)] = ("local", "lsh")
    """kinds of attention, a pattern repeated to n_layers: local (the latest tokens), lsh (similar earlier
    tokens, by hash), full (every earlier token, for comparison)"""
    window: Annotated[int, Field(ge=1, le=2**24)] = 64
    """the most recent members of its bucket that a token attends to"""
    n_rounds: Annotated[int, Field(ge=1, le=64)] = 4
    """independent hashes of an lsh layer, whose windows are united"""
    n_buckets: Annotated[int | Literal["auto"], BeforeValidator(_buckets)] = "auto"
    """values of one hash: a power of two from 4 to 65536, or auto (derived from seq_len and window)"""
    successor_values: bool = True
    """what an lsh layer reads from a token: with true, also the token that came next"""
    reversible: bool = True
    """rebuild activations in the backward pass instead of storing them"""
    stream_fraction_bits: Annotated[int, Field(ge=8, le=26)] = 20
    """binary places of the fixed-point streams"""
    tie_embeddings: bool = True
    """use the embedding's weights as the output head's"""
    dropout: Share = 0.0
    """share of each increment's entries that is set to zero in training"""
    attention_block: Annotated[int, Field(ge=1, le=16384)] = 64
    """queries of one attention block: decides memory and speed, not the result"""

    @model_validator(mode="after")
    def _heads_split_the_width(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} should be a multiple of n_heads {self.n_heads}")
        if self.d_model // self.n_heads % 2:
            raise ValueError(f"d_model {self.d_model} / n_heads {self.n_heads} should be even (rotary positions)")
        return self


class WeightedPath(_Section):
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
_ONE_PATH, _PATHS, _WEIGHTED_PATHS = _FORMS = ("one path", "several paths", "weighted paths")
_AsList = Field(min_length=1, strict=False)
DataPath = Annotated[
    Annotated[RecipePath, Tag(_ONE_PATH)]
    | Annotated[tuple[RecipePath, ...], _AsList, Tag(_PATHS)]
    | Annotated[tuple[WeightedPath, ...], _AsList, Tag(_WEIGHTED_PATHS)],
    Discriminator(_form_of_path),
]


def _corpus(name: str) -> str:
    return name if name.startswith("hf:") else os.path.expanduser(name)


class Stream(_Section):
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


def _stream(value: object) -> object:
    return {"corpus": value} if isinstance(value, str) else value


def _or_a_corpus(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "string", "minLength": 1})


class Data(_Section):
    """The tokens or texts, and how they become examples."""

    path: DataPath | None = None
    """folder that `revlm tokenize` wrote, relative to where revlm runs; or a mixture of several: a list of folders
    (each as much as it has tokens) or of {path: ..., weight: ...}"""
    stream: Annotated[Stream | None, BeforeValidator(_stream), Field(json_schema_extra=_or_a_corpus)] = None
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


class Optimizer(_Section):
    """How gradients become updates."""

    name: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: Muon for the matrices of the layers and AdamW for the rest, with one learning rate"""
    lr: Annotated[float, Field(gt=0, le=10)] = 3e-4
    """learning rate after the warm-up"""
    betas: Annotated[tuple[Share, Share], Field(strict=False)] = (0.9, 0.95)
    """decay of the two running means of AdamW"""
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """added to the root of the second mean"""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.1
    """decoupled weight decay of the matrices"""
    sharded: bool = False
    """under torchrun and srun, keep of adamw's state in each process its part alone"""

    @model_validator(mode="after")
    def _state_can_be_shared_out(self) -> Self:
        if self.sharded and self.name != "adamw":
            raise ValueError(f"sharded should be false with {self.name}: only the state of adamw is shared out")
        return self


class LearningRateScheduler(_Section):
    """The learning rate over the run."""

    name: Literal["cosine"] = "cosine"
    """linear warm-up, then half a cosine"""
    warmup_steps: Every = 100
    """steps until the learning rate reaches optimizer.lr"""
    min_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """learning rate at the end, as a share of optimizer.lr"""


class Train(_Section):
    """The loop."""

    max_steps: Count = 2000
    """optimizer steps of the whole run"""
    gradient_accumulation_steps: Count = 1
    """examples whose gradients make one step, of all processes together: under torchrun and srun each takes its part of
    them, so that any number of processes takes the same steps"""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """norm that larger gradients are scaled down to"""
    precision: Literal["bf16", "fp32"] = "bf16"
    """of the matrix products; weights are fp32 either way"""
    device: Device = "auto"
    """auto (cuda where there is one), cpu, cuda or cuda:N"""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """what a loss, stream or gradient that is not finite does: end the run, or pass over the step without an update"""
    max_skipped: Count = 10
    """steps of the whole run that may be passed over; one more ends it"""
    tile: Annotated[int | Literal["auto"], BeforeValidator(_tile)] = "auto"
    """tokens of one tile of the token-wise layers, or auto (derived from the shapes)"""


class Evaluate(_Section):
    """What is looked at while training."""

    every: Every = 200
    """steps between evaluations; 0: never"""
    max_tokens: Count | None = None
    """held-out tokens scored at each; null: all"""
    samples: Annotated[tuple[Prompt, ...], Field(strict=False)] = ("It was",)
    """prompts that are continued at each"""
    sample_tokens: Count = 64
    """tokens of each sample"""
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.8
    """of the samples; 0: always the likeliest token"""


class Checkpoint(_Section):
    """What is kept to go on from."""

    every: Every = 200
    """steps between checkpoints; 0: never before the end"""
    every_minutes: Annotated[float, Field(ge=0)] = 0.0
    """minutes after which one is saved, beside `every`; 0: never"""
    keep_last: Count = 3
    """newest checkpoints that are kept"""
    keep_every: Every = 0
    """every so many steps a checkpoint is saved that is kept for ever; 0: never"""


class Logging(_Section):
    """Where step records go."""

    every: Every = 1
    """steps between lines of the console, 0: never; the journal holds every step"""
    backends: Annotated[tuple[LoggingBackend, ...], Field(strict=False)] = ("console", "jsonl")
    """console: the terminal; jsonl: metrics.jsonl of the run folder, which resume and report need; tensorboard: the
    run folder's tensorboard/ (pip install revlm[tensorboard]); trackio: its database on this machine
    (pip install revlm[trackio])"""

    @model_validator(mode="after")
    def _journal_is_written(self) -> Self:
        if "jsonl" not in self.backends:
            raise ValueError("backends should contain jsonl: resume and report read it")
        return self


class Memory(_Section):
    """Limits, and what happens beyond them."""

    snapshot_on_oom: bool = True
    """on CUDA out of memory, write a snapshot into the run folder"""
    limit: Size = None
    """most memory that a process of a run may plan for, such as 4GB or 4GiB; null: what the machine has"""


class Recipe(_Section):
    """A training run: every value is given, and nothing changes after it is loaded."""

    output_dir: RecipePath
    """the run folder; where left out, runs/<name of the recipe file>"""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 42
    """of weights, hashes, dropout and the order of documents"""
    model: Model = Model()
    data: Data
    optimizer: Optimizer = Optimizer()
    lr_scheduler: LearningRateScheduler = LearningRateScheduler()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    checkpoint: Checkpoint = Checkpoint()
    logging: Logging = Logging()
    memory: Memory = Memory()

    def to_yaml(self) -> str:
        """The resolved recipe as YAML, every key written; `load_recipe` of it gives an equal recipe."""
        return yaml.dump(self.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file, or the bundled one of that name, with overrides such as `optimizer.lr=3e-4`.

    An override of `data.stream` takes the place of the file's `data.path`, and the other way round.

    Raises UsageError that lists everything wrong with it, unknown keys with the nearest known one.
    """
    path = find_recipe(path_or_name)
    try:
        values = _read_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {_yaml_problem(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 at byte {error.start}: save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): give a readable recipe") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise UsageError(f"{path} should hold sections such as `model:` and `data:`, see `revlm recipes demo`")
    problems = [problem for override in overrides if (problem := _apply_override(values, override))]
    _leave_one_of_path_and_stream(values, overrides)
    try:
        recipe = Recipe.model_validate({"output_dir": f"runs/{path.stem}", "data": {}} | values)
    except ValidationError as error:
        problems += _problems(error)
    if problems:
        listed = problems[0] if len(problems) == 1 else "".join(f"\n  {problem}" for problem in problems)
        count = "" if len(problems) == 1 else f"{len(problems)} problems:"
        raise UsageError(f"recipe {path}: {count}{listed}")
    return recipe


def bundled_recipes() -> dict[str, Path]:
    """The files of the bundled recipes by name, sorted."""
    return {path.stem: path for path in sorted(bundled_path("recipes").glob("*.yaml"))}


def find_recipe(path_or_name: str | Path) -> Path:
    """The file of a recipe: the path itself where a file stands there, else the bundled one of that name."""
    if Path(path_or_name).is_file():
        return Path(path_or_name)
    bundled = bundled_recipes()
    name = str(path_or_name)
    if name in bundled:
        return bundled[name]
    near = difflib.get_close_matches(Path(name).stem, bundled, n=3)
    choice = f"did you mean {' or '.join(near)}?" if near else f"the bundled ones are {', '.join(bundled)}"
    raise UsageError(f"no recipe file and no bundled recipe is called {name}: {choice}")


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, from which editors complete and check it."""
    schema = Recipe.model_json_schema()
    schema["required"].remove("output_dir")  # load_recipe derives it from the file's name
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _apply_override(values: dict[str, Any], override: str) -> str | None:
    """Sets one `key=value` in the nested values; returns what is wrong with it, if anything."""
    key, equals, text = override.partition("=")
    *sections, leaf = key.strip().split(".")
    if not equals or not all([*sections, leaf]):
        return f"override {override!r} should be key=value, such as train.max_steps=10"
    try:
        value = _read_yaml(text)
    except yaml.YAMLError as error:
        return f"override {override!r} has no YAML value: {_yaml_problem(error)}"
    place = values
    for depth, section in enumerate(sections, 1):
        inner = place.get(section) if section in place else place.setdefault(section, {})
        if sections[:depth] == ["data", "stream"]:
            inner = place[section] = {} if inner is None else _stream(inner)
        if not isinstance(inner, dict):
            return f"{key.strip()}: unknown key{_suggestion(key.strip())}"
        place = inner
    place[leaf] = value
    return None


def _leave_one_of_path_and_stream(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """Takes out of `data` what only the file gives, where the overrides give what stands in its place."""
    data = values.get("data")
    if not isinstance(data, dict):
        return
    given = {key for override in overrides for key in data if re.match(rf"\s*data\.{key}\s*[.=]", override)}
    if data.get("stream") is not None and "stream" in given and "path" not in given:
        data.pop("path", None)
    if data.get("path") is not None and "path" in given and "stream" not in given:
        for key in {"stream", "tokenizer"} - given:
            data.pop(key, None)


def _problems(invalid: ValidationError) -> list[str]:
    """One line for each error, less those about a list's length that only follow from errors inside it."""
    errors = invalid.errors(include_url=False)
    with_inner_errors = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [
        _problem(error) for error in errors if error["type"] != "too_short" or error["loc"] not in with_inner_errors
    ]


def _problem(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"] if part not in _FORMS)
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggestion(key)}"
    if error["type"] == "missing":
        return f"{key}: missing, it has no default"
    if error["type"] == "model_type":
        return f"{key}: should be a section of keys, not {error['input']!r}"
    if error["type"] == "value_error":
        cause = str(error["ctx"]["error"])
        of_section = isinstance(error["input"], dict)
        return f"{key}: {cause}" if of_section else f"{key}: {cause}, not {error['input']!r}"
    cause = re.sub(r"^(Input|String|Tuple|Value) ", "", error["msg"]).replace(" after validation", "")
    cause = cause.replace("a valid tuple", "a list")
    return f"{key}: {cause}" if ", not " in cause else f"{key}: {cause}, not {error['input']!r}"


def _known_keys(section: type[BaseModel] = Recipe, prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        for place, inner in _sections_in(field.annotation, name):
            keys += _known_keys(inner, f"{prefix}{place}.")
    return keys


def _sections_in(annotation: Any, place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yields each section that the key at `place` holds, or of which it holds a list, with its place."""
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        yield place, annotation
    for part in get_args(annotation):
        yield from _sections_in(part, f"{place}.N" if get_origin(annotation) is tuple else place)


def _suggestion(key: str) -> str:
    """`, did you mean ...?`: the key of that name in another section, else the nearest spelling."""
    by_leaf = {known.rsplit(".", 1)[-1]: known for known in reversed(_known_keys())}
    leaf = key.rsplit(".", 1)[-1]
    near = (
        [by_leaf[leaf]]
        if leaf in by_leaf
        else difflib.get_close_matches(key, _known_keys(), n=1, cutoff=0.75)
        or [by_leaf[match] for match in difflib.get_close_matches(leaf, by_leaf, n=1)]
    )
    return f", did you mean {near[0]}?" if near else ", see `revlm recipes --schema`"


_TAG = "tag:yaml.org,2002:"


def _yaml_12_words() -> dict[Any, Any]:
    """YAML 1.2's reading of plain words: 3e-4 is a number, only true and false are booleans, no dates."""
    replaced = {_TAG + name for name in ("bool", "float", "timestamp")}
    words = {
        first: [(tag, pattern) for tag, pattern in pairs if tag not in replaced]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    boolean = re.compile(r"true|True|TRUE|false|False|FALSE")
    number = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
    for tag, pattern, firsts in (("bool", boolean, "tTfF"), ("float", number, "-+.0123456789")):
        whole_word = re.compile(f"(?:{pattern.pattern})$")
        for first in firsts:
            words.setdefault(first, []).append((_TAG + tag, whole_word))
    return words


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _yaml_12_words()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A key that stands twice would silently win over the first; here it is an error with its place."""
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _yaml_12_words()


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Unicode's own line breaks only survive between double quotes, where they are escaped."""
    return dumper.represent_scalar(_TAG + "str", text, style='"' if re.search("[\x85\u2028\u2029]", text) else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, lambda dumper, value: dumper.represent_sequence(_TAG + "seq", value, flow_style=True))


def _read_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return place + " ".join(str(getattr(error, "problem", None) or error).split())
