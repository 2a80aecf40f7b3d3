"""A run that starts from other weights has their bits, its own steps, and resumes without them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from revlm.cli.plan import _describe
from revlm.corpus import Tokenizer, tokenize_corpus
from revlm.errors import DataError, RevlmError, StorageError, UsageError
from revlm.generation import load_model
from revlm.recipe import Recipe, load_recipe
from revlm.report.history import read_history, read_origin
from revlm.report.page import start_sections
from revlm.runs import checkpoint_path, load_checkpoint, read_start
from revlm.runs.exported import ExportedModel
from revlm.storage import sha256_of
from revlm.training import loop, train, trainer
from revlm.training.trainer import Trainer
from tests.several import on_ranks
from tests.tiny_run import tiny_recipe, write_run, write_texts
from tests.training.ranks_at_work import final_weights, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run `general` of three steps with a checkpoint of each, and its tokens."""
    folder = tmp_path_factory.mktemp("starting")
    write_run(folder / "general", "checkpoint.every=1", "data.seq_len=128")
    return folder


def started(folder: Path, name: str, *overrides: str, of: str = "general") -> Recipe:
    """A recipe with other examples, seed and optimizer than those of the run that it starts from."""
    other = ("data.seq_len=512", "seed=7", "optimizer.name=muon", "train.max_steps=4", "checkpoint.every=2")
    return tiny_recipe(folder / name, f"train.start_from={folder / of}", *other, *overrides)


def weights_at_start(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The state of the model before the first step of a dry run."""
    found: dict[str, torch.Tensor] = {}
    step = Trainer.train_step

    def noted(self: Trainer) -> object:
        found.update({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        assert self.step == 0
        assert not self.optimizer.state
        return step(self)

    monkeypatch.setattr(trainer.Trainer, "train_step", noted)
    list(train(recipe, dry_run=True))
    monkeypatch.undo()
    return found


def exported(folder: Path, target_name: str) -> Path:
    """The newest weights of the run `general`, as an export to Hugging Face's layout writes them."""
    target = folder / target_name
    target.mkdir()
    recipe, tokenizer = load_recipe(folder / "general" / "recipe.yaml"), Tokenizer.load(folder / "general")
    tokenizer.save(target)
    stored = load_checkpoint(checkpoint_path(folder / "general", 3)).tensors["model"]
    weights = {f"model.{name}": tensor.clone() for name, tensor in stored.items()}
    save_file(weights, target / "model.safetensors")
    model = ExportedModel(
        model=recipe.model,
        vocab_size=tokenizer.vocab_size,
        begin_id=tokenizer.begin_id,
        seed=recipe.seed,
        step=3,
        tokenizer_sha256=tokenizer.fingerprint,
        weights_sha256={"model.safetensors": sha256_of(target / "model.safetensors")},
    )
    (target / "config.json").write_text(json.dumps({"model_type": "revlm", "revlm": model.sealed()}))
    return target


@pytest.mark.parametrize("kind", ["run", "checkpoint", "exported"])
def test_it_starts_with_the_bits_of_weights_and_buffers_and_the_stored_buckets(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "exported":
        exported(folder, "exported")
    of, step = {
        "run": ("general", 3),
        "checkpoint": ("general/checkpoints/step-00000002", 2),
        "exported": ("exported", 3),
    }[kind]
    recipe = started(folder, f"from {kind}", of=of)
    expected = load_checkpoint(checkpoint_path(folder / "general", step)).tensors["model"]
    found = weights_at_start(recipe, monkeypatch)
    assert found.keys() == expected.keys()
    assert any(name.startswith("rotations") for name in found)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    described = _describe(recipe, 257, False, read_start(recipe))
    assert (tuple(described["n_buckets"]), described["started_from"]["step"]) == ((16, 16), step)


def test_a_checkpoint_of_its_own_always_wins_and_needs_no_start(folder: Path) -> None:
    shutil.copytree(folder / "general", folder / "lost")
    said: list[str] = []
    list(train(started(folder, "whole", of="lost"), said.append))
    assert sum("starting from the weights of" in text and "3 steps" in text for text in said) == 1
    run = train(started(folder, "parts", of="lost"))
    assert next(record for record in run if record["step"] == 3)
    run.close()
    shutil.rmtree(folder / "lost")
    said.clear()
    list(train(started(folder, "parts", of="lost"), said.append))
    assert not any("starting from" in text for text in said)
    whole, parts = final_weights(folder / "whole"), final_weights(folder / "parts")
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    assert load_recipe(folder / "parts" / "recipe.yaml").model.n_buckets == (16, 16)
    for written in (folder / "parts" / "environment.json", checkpoint_path(folder / "parts", 4) / "state.json"):
        record = json.loads(written.read_text())["started_from"]
        assert record == {"path": str(folder / "lost" / "checkpoints" / "step-00000003"), "step": 3}
    list(
        train(
            tiny_recipe(folder / "parts", *("data.seq_len=512", "seed=7", "optimizer.name=muon", "train.max_steps=4"))
        )
    )


def test_two_ranks_start_alike(folder: Path) -> None:
    options = ("train.gradient_accumulation_steps=2", "train.max_steps=1", "data.validation=0.3")
    [(alone, _)] = on_ranks(1, trained, started(folder, "alone", *options))
    done = on_ranks(2, trained, started(folder, "both", *options))
    assert [records[0]["loss"] for records, _ in done] == [alone[0]["loss"]] * 2
    first, second = final_weights(folder / "alone"), final_weights(folder / "both")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_the_report_shows_the_curve_of_the_run_it_came_from(folder: Path) -> None:
    list(train(started(folder, "reported")))
    history = read_history(folder / "reported")
    origin = read_origin(history)
    assert origin is not None
    assert origin.name == "general"
    [section] = start_sections(history)
    assert section.picture is not None
    assert "step 3 of" in section.caption
    shutil.copytree(folder / "reported", folder / "orphan")
    environment = folder / "orphan" / "environment.json"
    environment.write_text(environment.read_text().replace("general", "gone"))
    [section] = start_sections(read_history(folder / "orphan"))
    assert (section.picture, "Its journal is not there." in section.caption) == (None, True)
    assert start_sections(read_history(folder / "general")) == []


def start_error(recipe: Recipe) -> RevlmError:
    with pytest.raises(RevlmError) as raised:
        list(train(recipe))
    assert "\n" not in str(raised.value)
    assert not (recipe.output_dir / "metrics.jsonl").exists()
    return raised.value


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model.d_model=32", "model.d_model: 16 -> 32"),
        ("model.n_layers=3", "model.n_layers: 2 -> 3"),
        ("model.d_ff=64", "model.d_ff: 32 -> 64"),
        ("model.layers=[lsh, local]", "model.layers: "),
        ("model.n_buckets=64", "model.n_buckets: [16, 16] -> 64"),
        ("model.n_rounds=3", "model.n_rounds: 2 -> 3"),
        ("model.tie_embeddings=false", "model.tie_embeddings: True -> False"),
        ("model.successor_values=false", "model.successor_values: True -> False"),
        ("model.predecessor_keys=false", "model.predecessor_keys: True -> False"),
    ],
)
def test_weights_of_another_shape_are_named(folder: Path, override: str, named: str) -> None:
    error = start_error(started(folder, "misfit", override))
    assert isinstance(error, UsageError)
    assert "do not fit the model" in str(error)
    assert named in str(error)


def test_another_window_or_dropout_fits(folder: Path) -> None:
    assert len(list(train(started(folder, "window", "model.window=16", "model.dropout=0.1"), dry_run=True))) == 1


def test_another_tokenizer_is_named_with_the_command_that_makes_tokens_that_fit(folder: Path) -> None:
    texts = write_texts(folder / "texts", seed=5)
    tokenize_corpus(texts, folder / "pieces", vocab_size=300)
    recipe = started(folder, "tokens", f"data.path={folder / 'pieces'}")
    error = start_error(recipe)
    assert isinstance(error, DataError)
    assert f"revlm tokenize CORPUS --tokenizer {folder / 'general'}" in str(error)
    tokenize_corpus(texts, folder / "fitting", tokenizer=str(folder / "general"))
    assert list(train(started(folder, "tokens", f"data.path={folder / 'fitting'}"), dry_run=True))
    stream = ("data.path=null", f"data.stream={texts}")
    error = start_error(started(folder, "tokens", *stream, f"data.tokenizer={folder / 'pieces'}"))
    assert f"set data.tokenizer to {folder / 'general'}" in str(error)
    assert list(train(started(folder, "tokens", *stream, f"data.tokenizer={folder / 'general'}"), dry_run=True))


def test_what_is_not_there_or_no_run_is_named(folder: Path) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    begun = folder / "begun"
    begun.mkdir()
    shutil.copy(folder / "general" / "recipe.yaml", begun)
    (folder / "file.safetensors").write_bytes(b"0")
    for of, said in {
        "nowhere": "there is no such folder",
        "general/checkpoints/step-00000009": "there is no such folder",
        "empty": "no run",
        "general/checkpoints": "no run",
        "begun": "no checkpoint yet",
        "file.safetensors": "a file",
        "general/recipe.yaml": "a file",
        "tokens": "no run",
    }.items():
        error = start_error(started(folder, "nothing", of=of))
        assert isinstance(error, StorageError)
        assert said in str(error), of


@pytest.mark.parametrize("damage", ["model.safetensors", "state.json", "manifest.json"])
def test_damaged_weights_are_refused_and_an_older_checkpoint_is_taken_and_said(folder: Path, damage: str) -> None:
    name = f"damaged {damage}"
    shutil.copytree(folder / "general", folder / name)
    file = folder / name / "checkpoints" / "step-00000003" / damage
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    error = start_error(started(folder, "refused", of=f"{name}/checkpoints/step-00000003"))
    assert isinstance(error, StorageError)
    assert "damaged" in str(error)
    said: list[str] = []
    list(train(started(folder, "older", of=name), said.append, dry_run=True))
    assert any("skipped the checkpoint" in text for text in said)
    assert any("trained for 2 steps" in text for text in said)
    for step in (1, 2):
        (folder / name / "checkpoints" / f"step-0000000{step}" / "manifest.json").unlink()
    assert "none of the 3 checkpoints" in str(start_error(started(folder, "refused", of=name)))


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json", "tokenizer"])
def test_a_damaged_export_is_refused(folder: Path, damage: str) -> None:
    target = exported(folder, f"export without {damage}")
    if damage == "tokenizer":  # the weights alone say which tokenizer they have
        assert list(train(started(folder, "unneeded", of=target.name), dry_run=True))
        return
    content = bytearray((target / damage).read_bytes())
    content[len(content) // 2] ^= 1
    (target / damage).write_bytes(content)
    assert isinstance(start_error(started(folder, "refused", of=target.name)), StorageError)


def test_a_start_from_itself_is_refused_by_any_name(folder: Path) -> None:
    shutil.copytree(folder / "general", folder / "itself")
    (folder / "alias").symlink_to(folder / "itself")
    for of in ("itself", "alias", "itself/checkpoints/step-00000002", "itself/../itself"):
        with pytest.raises(UsageError, match="the run itself") as raised:
            list(train(started(folder, "itself", of=of)))
        assert "\n" not in str(raised.value)


def test_a_run_is_not_started_in_the_place_of_its_damaged_checkpoints(folder: Path) -> None:
    list(train(started(folder, "broken")))
    for path in (folder / "broken" / "checkpoints").iterdir():
        (path / "manifest.json").unlink()
    with pytest.raises(StorageError, match="none of the"):
        list(train(started(folder, "broken")))


def test_a_run_of_an_earlier_version_opens_goes_on_and_starts_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = loop.save_checkpoint

    def save_as_before(run: Path, step: int, tensors: Any, state: Any, *rest: Any) -> Path:
        model = {name: each for name, each in tensors["model"].items() if not name.startswith("key_moments")}
        settings = {key: value for key, value in state["settings"].items() if key != "model.pair_rounds"}
        return save(run, step, {**tensors, "model": model}, {**state, "settings": settings}, *rest)

    options = ("checkpoint.every=1", "data.seq_len=128")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_as_before)
        earlier = write_run(folder / "earlier", "train.max_steps=2", *options)
    saved = final_weights(earlier)
    assert not any("key_moments" in name for name in saved)
    opened = load_model(earlier, "cpu").model.state_dict()
    rotations = next(name for name in opened if name.startswith("rotations"))
    assert torch.equal(opened[rotations], saved[f"model.{rotations}"])
    weights = weights_at_start(started(folder, "of earlier", of="earlier"), monkeypatch)
    assert torch.equal(weights[rotations], opened[rotations])
    list(train(tiny_recipe(earlier, "train.max_steps=3", *options), allow_change=True))
    assert any("key_moments" in name for name in final_weights(earlier))
