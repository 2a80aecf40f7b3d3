import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

import revlm
from revlm.errors import UsageError
from revlm.recipe import Recipe, Stream, bundled_recipes, find_recipe, load_recipe, parse_size, recipe_schema

SHORTEST = "data: {path: data/tokens}\n"
BUNDLED = (
    "copy",
    "crime-and-punishment-512k",
    "demo",
    "enwik8-64k",
    "novel-64k",
    "novels-full",
    "novels-local",
    "novels-lsh",
)


@pytest.fixture
def write(tmp_path):
    def write_recipe(text: str | bytes = SHORTEST, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write_recipe


def problem(path, *overrides) -> str:
    with pytest.raises(UsageError) as raised:
        load_recipe(path, overrides)
    return str(raised.value)


def test_the_bundled_recipes_load_and_open_with_what_they_need():
    assert set(bundled_recipes()) == set(BUNDLED)
    for name, path in bundled_recipes().items():
        comment = path.read_text().partition("\ndata:")[0]
        assert comment.startswith(f"# {name}: ")
        assert "# Needs:" in comment
        assert "# Figures:" in comment
        assert load_recipe(name) == load_recipe(path)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_resolved_recipe_loads_to_an_equal_one(name, write):
    recipe = load_recipe(name, ["memory.limit=3GiB", "optimizer.eps=1e-9"])
    resolved = load_recipe(write(recipe.to_yaml(), "recipe.yaml"))
    assert resolved == recipe
    assert resolved.to_yaml() == recipe.to_yaml()


@given(
    samples=st.lists(st.text(st.characters(codec="utf-8"), min_size=1)),
    learning_rate=st.floats(min_value=0, max_value=10, exclude_min=True),
    output_dir=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
        lambda text: not text.startswith("~")
    ),
)
@example(samples=["a\x85b", "\u2028", "\n x\n", "~", "3e-4", "on"], learning_rate=5e-324, output_dir="\u2029")
def test_any_values_survive_yaml(tmp_path_factory, samples, learning_rate, output_dir):
    values = {
        "output_dir": output_dir,
        "data": {"path": "tokens"},
        "optimizer": {"lr": learning_rate},
        "evaluate": {"samples": samples},
    }
    recipe = Recipe.model_validate(values)
    path = tmp_path_factory.mktemp("recipes") / "recipe.yaml"
    path.write_bytes(recipe.to_yaml().encode())
    assert load_recipe(path) == recipe


def test_words_that_yaml_11_misreads(write):
    path = write("data: {path: on}\noptimizer: {lr: 3e-4}\nevaluate: {samples: [no, 2020-01-01, '3e-4', '1', 12:30]}")
    recipe = load_recipe(path, ["optimizer.eps=1E-7", "seed=010", "train.max_steps=1_000", "data.seq_len=0x400"])
    assert (recipe.seed, recipe.train.max_steps, recipe.data.seq_len) == (10, 1000, 1024)
    assert recipe.optimizer.lr == 3e-4
    assert recipe.optimizer.eps == 1e-7
    assert recipe.data.path == Path("on")
    assert recipe.evaluate.samples == ("no", "2020-01-01", "3e-4", "1", "12:30")


def test_the_shortest_recipe_names_its_run_after_its_file(write):
    recipe = load_recipe(write(name="dostoevsky.yaml"))
    assert recipe.output_dir == Path("runs/dostoevsky")
    assert recipe.model.layers == ("local", "lsh")


def test_overrides_reach_every_section(write):
    recipe = load_recipe(
        write(),
        ["seed=7", "model.layers=[full]", "train.device=cuda:1", "evaluate.samples=[a b]", "output_dir=x/y"],
    )
    assert (recipe.seed, recipe.model.layers, recipe.train.device) == (7, ("full",), "cuda:1")
    assert (recipe.evaluate.samples, recipe.output_dir) == (("a b",), Path("x/y"))


@pytest.mark.parametrize(
    ("text", "paths", "weights"),
    [
        ("data/novels", ["data/novels"], None),
        ("[a]", ["a"], None),
        ("[a, b]", ["a", "b"], None),
        ("[{path: a, weight: 1}, {path: b/c, weight: 2.5}]", ["a", "b/c"], (1.0, 2.5)),
    ],
)
def test_tokens_are_one_folder_or_a_mixture(write, text, paths, weights):
    for recipe in (load_recipe(write(), [f"data.path={text}"]), load_recipe(write(f"data: {{path: {text}}}\n"))):
        assert recipe.data.paths == tuple(map(Path, paths))
        assert recipe.data.weights == weights
        resolved = load_recipe(write(recipe.to_yaml(), "recipe.yaml"))
        assert resolved == recipe
        assert resolved.to_yaml() == recipe.to_yaml()
    assert recipe.model_dump(mode="json")["data"]["path"] == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("overrides", "stream", "path"),
    [
        (["data.stream=hf:me/books", "data.tokenizer=bytes"], Stream(corpus="hf:me/books"), None),
        (["data.stream={corpus: b/*.txt, split: x}", "data.tokenizer=t"], Stream(corpus="b/*.txt", split="x"), None),
        (
            ["data.stream.corpus=a", "data.stream.errors=skip", "data.tokenizer=t"],
            Stream(corpus="a", errors="skip"),
            None,
        ),
        (["data.stream=a", "data.tokenizer=t", "data.path="], Stream(corpus="a"), None),
        (["data.path=other"], None, Path("other")),
    ],
)
@pytest.mark.parametrize("file", [SHORTEST, "data: {stream: x, tokenizer: bytes}\n"])
def test_texts_or_tokens_of_the_command_line_take_the_place_of_the_files(write, file, overrides, stream, path):
    recipe = load_recipe(write(file), overrides)
    assert (recipe.data.stream, recipe.data.path) == (stream, path)
    assert recipe.data.paths == ((path,) if path else ())
    assert (recipe.data.tokenizer is None) == (stream is None)
    resolved = load_recipe(write(recipe.to_yaml(), "recipe.yaml"))
    assert resolved == recipe
    assert resolved.to_yaml() == recipe.to_yaml()


def test_both_on_the_command_line_are_refused_and_a_key_adds_to_a_short_form(write):
    assert "data: should have either" in problem(write(), "data.path=a", "data.stream=b", "data.tokenizer=bytes")
    recipe = load_recipe(write("data: {stream: hf:me/books, tokenizer: bytes}\n"), ["data.stream.split=test"])
    assert recipe.data.stream == Stream(corpus="hf:me/books", split="test")
    again = load_recipe(write(load_recipe(write()).to_yaml()), ["data.stream.corpus=a", "data.tokenizer=bytes"])
    assert again.data.stream == Stream(corpus="a")


def test_the_schema_knows_the_short_form_of_a_stream():
    stream = recipe_schema()["$defs"]["Data"]["properties"]["stream"]
    assert {"type": "string", "minLength": 1} in stream["anyOf"]


def test_all_errors_are_reported_at_once_with_suggestions(write):
    path = write("data: {path: x, packing: half}\nmodel: {widnow: 3, d_model: wide}\nlr: 0.1\n")
    message = problem(path, "train.max_step=3", "nonsense", "optimizer.lr=[", "seed.x=1")
    assert str(path) in message
    assert "8 problems" in message
    for part in (
        "data.packing: should be 'whole' or 'fixed', not 'half'",
        "model.widnow: unknown key, did you mean model.window?",
        "model.d_model: should be a valid integer, not 'wide'",
        "lr: unknown key, did you mean optimizer.lr?",
        "train.max_step: unknown key, did you mean train.max_steps?",
        "'nonsense' should be key=value",
        "'optimizer.lr=[' has no YAML value: line 1, column 2",
        "seed: should be a valid integer, not {'x': 1}",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.d_model=130", "d_model 130 should be a multiple of n_heads 8"),
        ("model.d_model=24", "should be even"),
        ("model.layers=[local, lhs]", "model.layers.1: should be 'local', 'lsh' or 'full', not 'lhs'"),
        ("model.layers=[]", "model.layers: should have at least 1 item"),
        ("model.layers=local", "model.layers: should be a list, not 'local'"),
        ("model.window=0", "model.window: should be greater than or equal to 1, not 0"),
        ("model.window=3.0", "model.window: should be a valid integer, not 3.0"),
        ("model.n_buckets=6", "model.n_buckets: should be auto or a power of two from 4 to 65536, not 6"),
        ("model.n_buckets=2", "power of two"),
        ("model.n_buckets=true", "power of two"),
        ("model.stream_fraction_bits=27", "less than or equal to 26"),
        ("model.reversible=1", "model.reversible: should be a valid boolean, not 1"),
        ("model.dropout=1.0", "model.dropout: should be less than 1"),
        ("data.path=", "data: should have either path (a folder of tokens) or stream (texts"),
        ("data.path=3", "data.path: should be a path, not 3"),
        ("data.path=''", "data.path: should be a path"),
        ("data.path=[]", "data.path: should have at least 1 item"),
        ("data.path=[a, 3]", "data.path.1: should be a path, not 3"),
        ("data.path={path: a, weight: 1}", "data.path: should be a list, not {'path': 'a', 'weight': 1}"),
        ("data.path=[a, {path: b, weight: 1}]", "data.path.0: should be a section of keys, not 'a'"),
        ("data.path=[{path: b}]", "data.path.0.weight: missing, it has no default"),
        ("data.path=[{path: b, weight: 0}]", "data.path.0.weight: should be greater than 0, not 0"),
        ("data.path=[{path: b, weight: .inf}]", "data.path.0.weight: should be a finite number"),
        ("data.path=[{path: b, weight: heavy}]", "data.path.0.weight: should be a valid number, not 'heavy'"),
        ("data.path=[{path: b, weight: 1, wieght: 1}]", "data.path.0.wieght: unknown key, did you mean data.path.N.w"),
        ("data.workers=-1", "data.workers: should be greater than or equal to 0, not -1"),
        ("data.validation=1", "data.validation: should be less than 1, not 1"),
        ("data.seq_len=1", "data.seq_len: should be greater than or equal to 2"),
        ("optimizer.lr=.nan", "optimizer.lr: should be a finite number"),
        ("optimizer.betas=[0.9]", "optimizer.betas"),
        ("train.precision=fp16", "train.precision: should be 'bf16' or 'fp32'"),
        ("train.device=gpu", "train.device: should be auto, cpu, cuda or cuda:N, not 'gpu'"),
        ("train.on_nonfinite=pass", "train.on_nonfinite: should be 'stop' or 'skip'"),
        ("checkpoint.every_minutes=-1", "checkpoint.every_minutes"),
        ("train.tile=0", "train.tile: should be auto or a number of tokens"),
        ("train=3", "train: should be a section of keys, not 3"),
        ("evaluate.samples=['']", "evaluate.samples.0"),
        ("evaluate.every=-1", "evaluate.every"),
        ("memory.limit=4 gigs", "memory.limit: should be a size such as 4GB"),
        ("model.d_model.x=3", "model.d_model: should be a valid integer, not {'x': 3}"),
        ("qqqqqq=1", "qqqqqq: unknown key, see `revlm recipes --schema`"),
        ("=1", "should be key=value"),
    ],
)
def test_bad_values_are_named(write, override, expected):
    message = problem(write(), override)
    assert expected in message
    assert "\n" not in message  # a single problem is one sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {window: [}\n", "line 1, column 18"),
        ("data: {path: x}\nseed: 1\nseed: 2\n", "line 3, column 1: seed stands twice"),
        ("- a\n", "should hold sections"),
        ("", "data: should have either path (a folder of tokens) or stream (texts tokenized while training)"),
        ("data: {path: x, stream: y, tokenizer: bytes}\n", "data: should have either path"),
        (
            "data: {stream: y}\n",
            "data: should have a tokenizer for its stream: a token folder, a ",
        ),
        ("data: {path: x, tokenizer: bytes}\n", "data: should have no tokenizer beside path"),
        ("data: {stream: '', tokenizer: bytes}\n", "data.stream.corpus: should have at least 1 character"),
        ("data: {stream: 3, tokenizer: bytes}\n", "data.stream: should be a section of keys, not 3"),
        ("data: {stream: {split: x}, tokenizer: bytes}\n", "data.stream.corpus: missing"),
        (
            "data: {stream: {corpus: x, colunm: y}, tokenizer: a}\n",
            "data.stream.colunm: unknown key, did you mean data.",
        ),
        ("data: {stream: {corpus: x, errors: no}, tokenizer: a}\n", "data.stream.errors: should be 'strict' or 'skip'"),
        (b"data: {path: caf\xe9}\n", "not UTF-8 at byte 16"),
        ("data: !!python/object:os.system {}\n", "line 1"),
    ],
)
def test_broken_files_are_named_with_the_place(write, text, expected):
    path = write(text)
    message = problem(path)
    assert expected in message
    assert str(path) in message


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean novel-64k"):
        find_recipe("novels-64k")
    with pytest.raises(UsageError, match="the bundled ones are copy, crime-and-punishment-512k, demo"):
        find_recipe("zzzz.yaml")


def test_an_override_fills_a_section_that_the_file_leaves_empty(write):
    recipe = load_recipe(write("data: {path: data/tokens}\ntrain:\n"), ["train.max_steps=5"])
    assert recipe.train.max_steps == 5


def test_an_override_in_what_is_no_section_names_the_section(write):
    message = problem(write("data: {path: data/tokens}\ntrain: 7\n"), "train.max_steps=5")
    assert message.endswith("mine.yaml: train: should be a section of keys, not 7")


def test_the_key_of_an_override_is_no_pattern(write):
    assert "data.pa(th: unknown key" in problem(write(), "data.pa(th=x")
    recipe = load_recipe(write(), ["data.stream=a", "data.tokenizer=bytes", "data.seq_len=1024"])
    assert recipe.data.path is None


@pytest.mark.parametrize("key", ["output_dir", "data.path"])
def test_a_home_that_nobody_has_is_a_name_like_any_other(write, key):
    recipe = load_recipe(write(), [f"{key}=~no-such-user/x"])
    assert {"output_dir": recipe.output_dir, "data.path": recipe.data.path}[key] == Path("~no-such-user/x")


def test_a_name_longer_than_any_file_has_is_no_recipe():
    assert "no recipe file and no bundled recipe is called xxx" in problem("x" * 300)


def test_an_override_below_a_value_is_an_unknown_key(write):
    message = problem(write(SHORTEST + "model: {d_model: 64}\n"), "model.d_model.x=3")
    assert "model.d_model.x: unknown key, did you mean model.d_model?" in message


def test_a_file_wins_over_a_bundled_name(write, monkeypatch):
    path = write("data: {path: own}\n", name="demo")
    monkeypatch.chdir(path.parent)
    assert load_recipe("demo").data.path == Path("own")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [(7, 7), ("7", 7), ("4GB", 4 * 10**9), ("4 GiB", 2**32), ("1.5mib", 3 * 2**19), ("2k", 2000), ("9B", 9)],
)
def test_sizes(text, size_bytes):
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", [0, -1, True, "0GB", "GB", "4XB", "", None, 1.5])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="should be a size"):
        parse_size(text)


def test_a_recipe_cannot_be_changed(write):
    recipe = load_recipe(write())
    with pytest.raises(ValidationError):
        recipe.seed = 3
    with pytest.raises(ValidationError):
        recipe.model.window = 3


def test_the_schema_documents_every_key():
    schema = recipe_schema()
    assert schema["required"] == ["data"]
    for name, section in schema["$defs"].items():
        assert section["additionalProperties"] is False
        for key, described in section["properties"].items():
            assert described.get("description"), f"{name}.{key}"


def test_the_documented_recipe_shows_every_default(write):
    values = yaml.safe_load(load_recipe(write()).to_yaml())
    assert set(values) == set(Recipe.model_fields)
    for name, section in values.items():
        if isinstance(section, dict):
            assert set(section) == set(Recipe.model_fields[name].annotation.model_fields)


def test_recipes_load_without_torch():
    code = "import sys, revlm.recipe; revlm.recipe.load_recipe('demo'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_and_the_project_agree_on_the_version():
    project = tomllib.loads((Path(revlm.__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert project.get("version", revlm.__version__) == revlm.__version__


def test_the_public_face_is_lazy_and_knows_its_names():
    assert revlm.Recipe is Recipe
    assert set(revlm.__all__) == {"Recipe", "Tokenizer", "PackedCorpus", "RevLM", "train", "generate"}
    with pytest.raises(AttributeError, match="no attribute 'Recipes'"):
        _ = revlm.Recipes
