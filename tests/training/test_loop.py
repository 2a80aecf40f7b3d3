import json
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from revlm.corpus import Corpus, Example, PackedCorpus, Tokenizer, open_corpus, tokenize_corpus
from revlm.corpus.examples.packing import Span
from revlm.errors import DataError, Interrupted, ResourceError, StorageError
from revlm.recipe import Data, Recipe, Stream, load_recipe
from revlm.runs import RunFolder, list_checkpoints, load_checkpoint, read_journal
from revlm.training import loop, resolving, train

WORDS = [
    "the",
    "old",
    "clerk",
    "walked",
    "slowly",
    "home",
    "along",
    "a",
    "frozen",
    "river",
    "and",
    "thought",
    "about",
    "nothing",
    "at",
    "all",
]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts, store = tmp_path_factory.mktemp("corpus"), tmp_path_factory.mktemp("stores") / "tokens"
    words = random.Random(0)
    for name in ("one", "two", "three"):
        (texts / f"{name}.txt").write_text(" ".join(words.choices(WORDS, k=400)))
    tokenize_corpus(texts, store, tokenizer="bytes")
    return store


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(
        "model: {d_model: 16, n_layers: 2, n_heads: 2, d_ff: 32, window: 8, n_rounds: 2, dropout: 0.1}\n"
        "data: {seq_len: 256, packing: fixed, validation: 0.2}\n"
        "optimizer: {lr: 1e-2}\n"
        "lr_scheduler: {warmup_steps: 2}\n"
        "train: {max_steps: 12, precision: fp32, device: cpu, gradient_accumulation_steps: 2}\n"
        "evaluate: {every: 4, max_tokens: 256, sample_tokens: 4}\n"
        "checkpoint: {every: 4}\n"
    )
    return path


def recipe(path: Path, tokens: Path, out: Path, *overrides: str) -> Recipe:
    return load_recipe(path, [f"data.path={tokens}", f"output_dir={out}", *overrides])


@pytest.fixture(scope="module")
def undisturbed(recipe_file: Path, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe as it is, from the first step to the last."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    list(train(recipe(recipe_file, tokens, folder)))
    return folder


@pytest.fixture(autouse=True)
def _no_loader_is_left() -> Iterator[None]:
    """However a run ends, the threads that prepared its examples have ended with it."""
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "loader"] == []


def begin_again(out: Path) -> None:
    """Removes every sign of training from a run folder."""
    shutil.rmtree(out / "checkpoints")
    for name in ("checkpoints.json", "metrics.jsonl"):
        (out / name).unlink()


def final_weights(out: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(list_checkpoints(RunFolder.open(out))[-1]).tensors["model"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_stopped_run_ends_with_the_weights_of_an_undisturbed_one(
    optimizer: str, recipe_file: Path, tokens: Path, undisturbed: Path, tmp_path: Path
) -> None:
    whole, parts = undisturbed, tmp_path / "parts"
    named = f"optimizer.name={optimizer}"
    if optimizer != "adamw":
        whole = tmp_path / "whole"
        list(train(recipe(recipe_file, tokens, whole, named)))
    stopped = train(recipe(recipe_file, tokens, parts, named))
    for record in stopped:
        if record["step"] == 6:
            break
    stopped.close()
    list(train(recipe(recipe_file, tokens, parts, named)))
    expected, found = final_weights(whole), final_weights(parts)
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        assert torch.equal(weight, found[name]), name
    journals = [read_journal(RunFolder.open(run).metrics) for run in (whole, parts)]
    expected_records, found_records = ([(r["event"], r["step"], r["loss"]) for r in journal] for journal in journals)
    assert found_records == expected_records


def test_the_loss_falls_and_a_finished_run_has_nothing_left(recipe_file: Path, tokens: Path, undisturbed: Path) -> None:
    records = list(read_journal(RunFolder.open(undisturbed).metrics))
    losses = [record["loss"] for record in records if record["event"] == "step"]
    assert len(losses) == 12
    assert losses[-1] < 0.8 * losses[0]
    assert list(train(recipe(recipe_file, tokens, undisturbed))) == []


def test_another_model_is_refused_with_what_differs(recipe_file: Path, tokens: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    list(train(recipe(recipe_file, tokens, out, "train.max_steps=1", "evaluate.every=0")))
    with pytest.raises(StorageError, match=r"model\.d_ff"):
        list(train(recipe(recipe_file, tokens, out, "model.d_ff=64")))


@pytest.mark.parametrize("stop_at_call", [1, 3, 9, 12, 14, 30])
def test_a_run_stopped_at_any_moment_ends_with_the_weights_and_records_of_an_undisturbed_one(
    recipe_file: Path, tokens: Path, undisturbed: Path, tmp_path: Path, stop_at_call: int
) -> None:
    disturbed = tmp_path / "disturbed"
    asked = 0

    def stop() -> str | None:
        nonlocal asked
        asked += 1
        return "SIGTERM" if asked >= stop_at_call else None

    with pytest.raises(Interrupted, match=r"SIGTERM.*run the same command again"):
        list(train(recipe(recipe_file, tokens, disturbed), stop=stop))
    list(train(recipe(recipe_file, tokens, disturbed)))
    for name, weight in final_weights(undisturbed).items():
        assert torch.equal(weight, final_weights(disturbed)[name]), name
    timeless = ("event", "step", "loss", "bits_per_byte", "grad_norm", "documents", "epoch")
    assert [[r.get(key) for key in timeless] for r in read_journal(RunFolder.open(undisturbed).metrics)] == [
        [r.get(key) for key in timeless] for r in read_journal(RunFolder.open(disturbed).metrics)
    ]
    samples = sorted(path.name for path in RunFolder.open(undisturbed).samples.iterdir())
    assert samples == sorted(path.name for path in RunFolder.open(disturbed).samples.iterdir())
    assert samples


def test_a_dry_run_does_one_step_and_writes_nothing(recipe_file: Path, tokens: Path, tmp_path: Path) -> None:
    records = list(train(recipe(recipe_file, tokens, tmp_path / "run"), dry_run=True))
    assert [record["step"] for record in records] == [1]
    assert not (tmp_path / "run").exists()


def test_a_run_beyond_its_memory_limit_is_refused_before_anything_is_there(
    recipe_file: Path, tokens: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(ResourceError, match=r"memory\.limit allows 0\.30 GB") as refused:
        list(train(recipe(recipe_file, tokens, out, "memory.limit=300MB")))
    assert refused.value.exit_code == 4
    assert not out.exists()


@pytest.fixture(scope="module")
def other_tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts, store = tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("stores") / "other"
    words = random.Random(1)
    for name, length in (("four", 90), ("five", 500)):
        (texts / f"{name}.txt").write_text(" ".join(words.choices(WORDS, k=length)))
    tokenize_corpus(texts, store, tokenizer="bytes")
    return store


def assert_same_run(undisturbed: Path, interrupted: Path) -> None:
    expected, found = final_weights(undisturbed), final_weights(interrupted)
    for name, weight in expected.items():
        assert torch.equal(weight, found[name]), name
    losses = [
        [(record["step"], record["loss"]) for record in read_journal(RunFolder.open(run).metrics)]
        for run in (undisturbed, interrupted)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("weights", [None, (1, 3)])
def test_a_mixture_stopped_and_loaded_otherwise_ends_with_the_same_weights(
    recipe_file: Path, tokens: Path, other_tokens: Path, tmp_path: Path, weights: tuple[int, int] | None
) -> None:
    paths = [str(tokens), str(other_tokens)]
    mixed = paths if weights is None else [{"path": p, "weight": w} for p, w in zip(paths, weights, strict=True)]
    override = f"data.path={json.dumps(mixed)}"
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    said: list[str] = []
    list(train(recipe(recipe_file, tokens, whole, override, "data.workers=0"), said.append))
    assert said[0].startswith("the targets are a mixture: ")
    stopped = train(recipe(recipe_file, tokens, parts, override, "data.workers=3"))
    assert next(record for record in stopped if record["step"] == 6)
    assert [thread.name for thread in threading.enumerate()].count("loader") == 3
    stopped.close()
    list(train(recipe(recipe_file, tokens, parts, override, "data.workers=1")))
    assert_same_run(whole, parts)
    assert load_recipe(RunFolder.open(parts).recipe).data.weights == weights
    with pytest.raises(StorageError, match="corpus"):
        list(train(recipe(recipe_file, tokens, parts, "train.max_steps=13")))


def test_an_error_while_an_example_is_prepared_ends_the_run_as_it_is(
    recipe_file: Path, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError("the disk is gone")
    made = PackedCorpus._example

    def fail(self: PackedCorpus, spans: tuple[Span, ...], epoch: int) -> Example:
        if threading.current_thread().name == "loader" and spans[0].start:
            raise error
        return made(self, spans, epoch)

    monkeypatch.setattr(PackedCorpus, "_example", fail)
    with pytest.raises(OSError, match="the disk is gone") as raised:
        list(train(recipe(recipe_file, tokens, tmp_path / "run", "data.workers=2")))
    assert raised.value is error


def test_a_dry_run_leaves_no_thread(recipe_file: Path, tokens: Path, tmp_path: Path) -> None:
    assert len(list(train(recipe(recipe_file, tokens, tmp_path / "run"), dry_run=True))) == 1


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    words = random.Random(2)
    for number in range(12):
        (folder / f"{number:02d}.txt").write_text(" ".join(words.choices(WORDS, k=20 + 15 * number)))
    return folder


def streamed(path: Path, texts: Path, out: Path, *overrides: str) -> Recipe:
    overrides = (f"data.stream={texts}", "data.tokenizer=bytes", f"output_dir={out}", *overrides)
    return load_recipe(path, overrides)


@pytest.mark.parametrize("packing", ["whole", "fixed"])
def test_a_stream_stopped_and_loaded_otherwise_ends_with_the_same_weights(
    recipe_file: Path, texts: Path, tmp_path: Path, packing: str
) -> None:
    override = f"data.packing={packing}"
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    said: list[str] = []
    undisturbed = list(train(streamed(recipe_file, texts, whole, override, "data.workers=0"), said.append))
    assert said[0] == f"{texts} is tokenized during training, with its documents in corpus order, not shuffled"
    assert all(record["tokens"] > 100 for record in undisturbed)
    stopped = train(streamed(recipe_file, texts, parts, override, "data.workers=3"))
    assert next(record for record in stopped if record["step"] == 6)
    stopped.close()
    list(train(streamed(recipe_file, texts, parts, override, "data.workers=1")))
    assert_same_run(whole, parts)
    (texts / "03.txt").write_text("another text")
    with pytest.raises(StorageError, match=r"\(corpus: \w+ -> \w+;"):
        list(train(streamed(recipe_file, texts, parts, override, "train.max_steps=13")))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("where", ["training", "evaluating"])
def test_a_stop_interrupts_a_long_read_and_the_run_resumes(
    recipe_file: Path, tmp_path: Path, where: str, workers: int
) -> None:
    """Texts, and blank lines behind them that take as many reads as there are questions for a stop."""
    texts, out, asked = tmp_path / "books.jsonl", tmp_path / "run", 0
    lines = [json.dumps({"text": f"It was calm {number}. " * 20}) + "\n" for number in range(20)]
    held_out = "0.5" if where == "evaluating" else "0"
    texts.write_text("".join(lines[: 20 if where == "evaluating" else 1]) + "\n" * (28 << 20))
    shape = (f"data.validation={held_out}", "evaluate.max_tokens=null", "evaluate.prompts=[]", "data.seq_len=128")
    shape += (f"evaluate.every={int(where == 'evaluating')}", "train.max_steps=3", f"data.workers={workers}")
    recipe = streamed(recipe_file, texts, out, *shape, "checkpoint.every=100")
    begun = False

    def stop() -> str | None:
        nonlocal asked
        asked += begun
        return "SIGTERM" if asked > 24 else None

    records = train(recipe, stop=stop)
    next(records)
    begun = True
    with pytest.raises(Interrupted, match=r"stopped by SIGTERM.* step [12] of 3") as stopped:
        list(records)
    assert asked < 100
    saved = 1 if "step 1" in str(stopped.value) else 2  # a worker may have read the next example before the stop
    assert saved == 1 or workers
    assert [record["step"] for record in train(recipe) if record["event"] == "step"] == [2, 3][saved - 1 :]


def test_a_text_that_cannot_be_used_ends_a_stream_or_is_said(recipe_file: Path, texts: Path, tmp_path: Path) -> None:
    (texts / "05.txt").write_bytes(b"caf\xe9")
    out = tmp_path / "run"
    shape = ("data.validation=0", "evaluate.every=0", "data.packing=whole")
    with pytest.raises(DataError, match=r"05\.txt is not UTF-8: .*data\.stream\.errors=skip"):
        list(train(streamed(recipe_file, texts, out, *shape, "checkpoint.every=1")))
    stood = len(list_checkpoints(RunFolder.open(out)))
    assert stood
    said: list[str] = []
    list(train(streamed(recipe_file, texts, out, *shape, "data.stream.errors=skip"), said.append))
    assert next(line for line in said if line.startswith(("skipped", "resuming"))).startswith("resuming ")
    assert any(line.startswith("skipped 05.txt: ") for line in said)


def test_a_run_keeps_the_tokenizer_of_its_tokens(recipe_file: Path, tokens: Path, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    tokenize_corpus(texts, tmp_path / "tokens", vocab_size=300)
    list(train(recipe(recipe_file, tmp_path / "tokens", out, "train.max_steps=1", "evaluate.every=0")))
    assert Tokenizer.load(out).fingerprint == Tokenizer.load(tmp_path / "tokens").fingerprint
    tokenize_corpus(texts, tmp_path / "again", tokenizer=out)
    for name in ("data-00000-of-00001.arrow", "tokenizer.model"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "tokens" / name).read_bytes()
    begin_again(out)
    list(train(recipe(recipe_file, tokens, out, "train.max_steps=1", "evaluate.every=0")))
    assert Tokenizer.load(out).kind == "bytes"


def test_a_run_stays_at_the_commit_it_began_with(
    recipe_file: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder stands for a dataset whose newest commit is `today`."""
    today = "one"

    def at_commit(stream: Stream) -> Stream:
        return stream.model_copy(update={"revision": stream.revision or today})

    def opened(data: Data, *rest: Any, **options: Any) -> Corpus:
        assert data.stream is not None
        unpinned = data.stream.model_copy(update={"revision": None})
        return open_corpus(data.model_copy(update={"stream": unpinned}), *rest, **options)

    monkeypatch.setattr(resolving, "pinned", at_commit)
    monkeypatch.setattr(loop, "open_corpus", opened)
    out = tmp_path / "run"

    def commit_after(*overrides: str) -> str | None:
        list(train(streamed(recipe_file, texts, out, "train.max_steps=1", "evaluate.every=0", *overrides)))
        stream = load_recipe(RunFolder.open(out).recipe).data.stream
        return stream and stream.revision

    assert commit_after() == "one"
    today = "two"
    assert commit_after("data.stream.errors=skip") == "one"
    begin_again(out)
    assert commit_after("data.stream.text_column=body") == "two"
    assert commit_after("data.stream.text_column=body", "data.stream.revision=three") == "three"
