"""A run's recipe and tokenizer are those of its checkpoints, it lies where its folder lies, and its data is found."""

import shutil
from pathlib import Path

import pytest

from revlm.cli import main
from revlm.corpus import tokenize_corpus
from revlm.errors import StorageError
from revlm.generation import load_model
from revlm.recipe import load_recipe
from revlm.runs import RunFolder, list_checkpoints, load_checkpoint, load_run_recipe
from revlm.storage import sealed
from revlm.training import train, trainer
from tests.tiny_run import RECIPE, tiny_recipe, write_run, write_texts, write_tokens


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained with relative paths in the folder around it."""
    folder = tmp_path_factory.mktemp("project")
    write_tokens(folder / "tokens")
    (folder / "mine.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "mine.yaml", "data.path=tokens", "output_dir=runs/a"]) == 0
    return folder / "runs" / "a"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.parents[1], tmp_path / "project")) / "runs" / "a"


def other_tokenizer(folder: Path) -> Path:
    tokenize_corpus(write_texts(folder / "texts"), folder / "other", vocab_size=300)
    return folder / "other" / "tokenizer.model"


def test_a_changed_recipe_is_refused_by_whoever_reads_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("window: 8", "window: 9"))
    for command in (["generate", "--prompt", "a"], ["evaluate"], ["checkpoint", "verify"]):
        assert main([*command, "--run", str(run)]) == 6
        assert "recipe.yaml changed after the run wrote it" in capsys.readouterr().err


def test_the_recipe_or_tokenizer_of_another_run_is_refused(run: Path, tmp_path: Path) -> None:
    text = (run / "recipe.yaml").read_text().rpartition("# sha256")[0]
    (run / "recipe.yaml").write_text(sealed(text.replace("window: 8", "window: 9")))
    with pytest.raises(StorageError, match=r"not those that its checkpoint of step 3 .* \(another model\.window\)"):
        load_model(run, "cpu")
    assert main(["checkpoint", "verify", "--run", str(run)]) == 6
    (run / "recipe.yaml").write_text(sealed(text))
    assert main(["checkpoint", "verify", "--run", str(run)]) == 0
    load_model(run, "cpu")
    (run / "tokenizer.json").unlink()
    shutil.copy(other_tokenizer(tmp_path), run / "tokenizer.model")
    with pytest.raises(StorageError, match=r"another tokenizer\)"):
        load_model(run, "cpu")
    assert main(["checkpoint", "verify", "--run", str(run)]) == 6


@pytest.mark.parametrize("how", ["copied", "moved", "from within"])
def test_a_recipe_in_a_run_folder_means_that_folder(run: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = run.with_name("b")
    shutil.copytree(run, other)
    if how == "moved":
        shutil.rmtree(run)
    monkeypatch.chdir(other if how == "from within" else run.parents[1])
    recipe = "recipe.yaml" if how == "from within" else "runs/b/recipe.yaml"
    assert main(["train", recipe, "train.max_steps=4", "checkpoint.keep_last=1", "--allow-change"]) == 0
    assert [path.name for path in list_checkpoints(other)] == ["step-00000004"]
    assert how == "moved" or [path.name for path in list_checkpoints(run)] == ["step-00000003"]


def test_an_override_and_a_recipe_elsewhere_mean_what_they_say(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "recipe.yaml", tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml").output_dir == Path("runs/a")
    assert load_recipe(run / "recipe.yaml").output_dir == run
    assert load_recipe(run / "recipe.yaml", ["output_dir=other"]).output_dir == Path("other")


def test_data_is_found_where_the_run_was_trained(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--run", str(run), "--device", "cpu"]) == 0
    assert main(["train", str(run / "recipe.yaml"), "train.max_steps=4", "--allow-change"]) == 0
    shutil.move(run.parents[1] / "tokens", tmp_path / "elsewhere")
    capsys.readouterr()
    assert main(["evaluate", "--run", str(run), "--device", "cpu"]) == 3
    assert "tokens does not exist" in capsys.readouterr().err
    assert main(["evaluate", "--run", str(run), "--device", "cpu", "--data", "nowhere"]) == 3
    assert f"nowhere does not exist ({tmp_path / 'nowhere'})" in capsys.readouterr().err


def test_another_length_keeps_the_stored_number_of_buckets(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "data.seq_len=512")
    longer = tiny_recipe(run, "data.seq_len=2048", "train.max_steps=4")
    with pytest.raises(StorageError, match="pass --allow-change") as refused:
        list(train(longer))
    assert "n_buckets" not in str(refused.value)
    before = RunFolder.open(run)
    list(train(longer, allow_change=True))
    assert load_recipe(before.recipe).model.n_buckets == (16, 64)
    with pytest.raises(StorageError, match="no longer fit the model") as unfit:
        list(train(tiny_recipe(run, "model.d_model=32")))
    assert "--allow-change" not in str(unfit.value)


def test_the_numbers_of_buckets_of_each_round_are_stored(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "model.n_buckets=[16, 128]")
    list(train(tiny_recipe(run, "train.max_steps=4"), allow_change=True))
    assert load_recipe(RunFolder.open(run).recipe).model.n_buckets == (16, 128)
    with pytest.raises(StorageError, match=r"model.n_buckets: \[16, 128\] -> \[16, 256\]"):
        list(train(tiny_recipe(run, "train.max_steps=4", "model.n_buckets=[16, 256]")))
    with pytest.raises(StorageError, match=r"no longer fit the model \(.*model.n_rounds: 2 -> 3"):
        list(train(tiny_recipe(run, "train.max_steps=5", "model.n_rounds=3"), allow_change=True))


def test_a_finished_run_says_so(tmp_path: Path) -> None:
    run, said = write_run(tmp_path / "run"), []
    assert list(train(tiny_recipe(run), said.append)) == []
    assert "has finished at step 3: nothing is left to train; raise train.max_steps" in said[-1]
    assert list(train(tiny_recipe(run, "train.max_steps=2"), said.append, allow_change=True)) == []
    assert any("is past train.max_steps, which is 2, at step 3" in text for text in said)


def test_what_computes_the_operations_is_kept_and_a_change_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = write_run(tmp_path / "run"), []
    kept = load_checkpoint(list_checkpoints(run)[-1]).state["settings"]["operations"]
    monkeypatch.setattr(trainer, "operations_on", lambda device: "another library's")
    list(train(tiny_recipe(run), said.append))
    assert any(f"operations: {kept} -> another library's" in text for text in said)


def test_a_run_whose_recipe_is_damaged_resumes_with_its_number_of_buckets(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "run", "data.seq_len=512"))
    run.recipe.write_text(run.recipe.read_text("utf-8").replace("n_buckets:", "n_bockets:"), "utf-8")
    list(train(tiny_recipe(run.path, "data.seq_len=2048", "train.max_steps=4"), allow_change=True))
    assert load_run_recipe(run).model.n_buckets == (16, 64)
