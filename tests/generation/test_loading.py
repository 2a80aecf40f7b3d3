import shutil
from pathlib import Path

import pytest
import torch

from revlm.errors import DataError, StorageError, UsageError
from revlm.generation import Sampling, continue_text, generate, load_model
from revlm.model.shape import buckets_of_rounds
from revlm.runs import RunFolder, list_checkpoints, load_checkpoint
from tests.tiny_run import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("folder") / "run")


def test_the_newest_weights_are_loaded_with_what_they_were_trained_with(run: Path) -> None:
    trained = load_model(run, "cpu")
    saved = load_checkpoint(list_checkpoints(run)[-1])
    assert trained.step == saved.step == 3
    assert trained.recipe.model.d_model == 16
    assert trained.corpus_fingerprint == saved.state["settings"]["corpus"]
    assert not trained.model.training
    for name, weight in trained.model.state_dict().items():
        assert torch.equal(weight, saved.tensors["model"][name]), name


def test_a_seed_gives_the_same_text_and_a_piece_a_token(run: Path) -> None:
    trained = load_model(run, "cpu")
    options = {"max_tokens": 6, "sampling": Sampling(), "seed": 1}
    first, second = (list(continue_text(trained.model, trained.tokenizer, "the old", **options)) for _ in range(2))
    assert first == second == list(generate("the old", run, max_tokens=6, seed=1, device="cpu"))
    assert len(first) == 7


def test_a_step_chooses_its_checkpoint(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "checkpoint.every=1")
    for step in (1, 2, 3):
        trained = load_model(run, "cpu", step)
        weights = load_checkpoint(list_checkpoints(run)[step - 1], ["model"]).tensors["model"]
        assert trained.step == step
        assert all(torch.equal(weight, weights[name]) for name, weight in trained.model.state_dict().items())
    older = "".join(generate("the", run, step=1, max_tokens=20, seed=1, device="cpu"))
    assert older != "".join(generate("the", run, max_tokens=20, seed=1, device="cpu"))
    before = older.partition(older[9:12])[0]
    assert "".join(generate("the", run, step=1, max_tokens=20, seed=1, stop=[older[9:12]], device="cpu")) == before
    with pytest.raises(StorageError, match=r"no checkpoint of step 4 in .*: it has 1, 2, 3"):
        load_model(run, "cpu", 4)
    messages: list[str] = []
    (run / "checkpoints" / "step-00000003" / "state.json").unlink()
    assert load_model(run, "cpu", message=messages.append).step == 2
    assert messages[1:] == [f"{run} has not ended: using its newest checkpoint, of step 2 of 3"]
    with pytest.raises(StorageError, match=r"is damaged, state\.json is missing"):
        load_model(run, "cpu", 3)


def test_a_run_without_a_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    shutil.copy(run / "recipe.yaml", folder.recipe)
    with pytest.raises(StorageError, match="no intact checkpoint to load"):
        load_model(tmp_path / "run")


def test_a_device_that_is_none_is_refused(run: Path) -> None:
    with pytest.raises(UsageError, match="--device is 'tpu': give auto, cpu, cuda or cuda:N"):
        load_model(run, "tpu")


def test_a_run_needs_its_tokenizer_and_no_token_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    shutil.rmtree(tmp_path / "tokens")
    assert load_model(run, "cpu").tokenizer_folder == run
    assert len(list(generate("the old", run, max_tokens=3, device="cpu"))) == 4
    (run / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=f"{run}"):
        load_model(run, "cpu")


def test_more_rounds_of_hashing_than_those_of_training(run: Path, tmp_path: Path) -> None:
    own = load_model(run, "cpu")
    more = load_model(run, "cpu", rounds=own.recipe.model.n_rounds + 2)
    assert more.recipe.model.n_rounds == more.model.recipe.n_rounds == own.recipe.model.n_rounds + 2
    weights = dict(own.model.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in more.model.named_parameters())
    local = write_run(tmp_path / "run", "model.layers=[local]")
    with pytest.raises(UsageError, match="rounds is 8, but the model has no hash layers: leave it out"):
        load_model(local, "cpu", rounds=8)
    finer = load_model(run, "cpu", buckets=1024)
    assert max(buckets_of_rounds(finer.recipe.model)) == 1024
    with pytest.raises(UsageError, match="buckets is 1024, but the model has no hash layers: leave it out"):
        load_model(local, "cpu", buckets=1024)
    for rounds in (0, 65):
        with pytest.raises(UsageError, match=f"rounds is {rounds}: give a number of rounds of hashing from 1 to 64"):
            load_model(run, "cpu", rounds=rounds)


def test_an_unknown_way_of_reading_is_no_silent_default(run: Path) -> None:
    with pytest.raises(TypeError, match="round"):
        load_model(run, "cpu", round=8)  # type: ignore[call-arg]
