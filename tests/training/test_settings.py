from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.corpus import tokenize_corpus
from revlm.errors import StorageError
from revlm.recipe import Recipe
from revlm.runs import list_checkpoints, load_checkpoint, read_journal
from revlm.training import train
from revlm.training.settings import changes
from tests.tiny_run import tiny_recipe, write_texts, write_tokens


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """The recipe of a run that stands at step 2 of 4, with overrides."""
    write_tokens(tmp_path / "tokens")
    settings = ("train.max_steps=4", "checkpoint.every=1")

    def of(*overrides: str) -> Recipe:
        return tiny_recipe(tmp_path / "run", *settings, *overrides)

    records = train(of())
    while next(records)["step"] != 3:
        pass
    records.close()
    return of


CHANGES = {
    "optimizer.lr=2e-2": "optimizer.lr: 0.01 -> 0.02",
    "optimizer.betas=[0.8, 0.9]": r"optimizer.betas: \[0.9, 0.95\] -> \[0.8, 0.9\]",
    "lr_scheduler.warmup_steps=1": "lr_scheduler.warmup_steps: 0 -> 1",
    "train.max_steps=5": "train.max_steps: 4 -> 5",
    "train.gradient_accumulation_steps=2": "train.gradient_accumulation_steps: 1 -> 2",
    "model.dropout=0.5": "model.dropout: 0.0 -> 0.5",
    "data.seq_len=300": "data.seq_len: 512 -> 300",
    "data.packing=fixed": "data.packing: whole -> fixed",
    "seed=7": "seed: 42 -> 7",
}


@pytest.mark.parametrize("override", CHANGES)
def test_a_changed_recipe_is_refused_and_gone_on_with_where_that_is_asked_for(
    recipe: Callable[..., Recipe], override: str
) -> None:
    run = recipe(override, "model.n_buckets=[16, 64]")  # as it was derived from the first data.seq_len
    before = sorted(path.name for path in list_checkpoints(run.output_dir))
    with pytest.raises(StorageError, match=f"{CHANGES[override]}.*--allow-change") as refused:
        list(train(run))
    assert refused.value.exit_code == 6
    assert sorted(path.name for path in list_checkpoints(run.output_dir)) == before
    messages: list[str] = []
    records = list(train(run, messages.append, allow_change=True))
    assert [record["step"] for record in records] == list(range(3, run.train.max_steps + 1))
    (said,) = (message for message in messages if "settings that differ" in message)
    assert CHANGES[override].replace("\\", "") in said
    steps = [record["step"] for record in read_journal(run.output_dir / "metrics.jsonl")]
    assert steps == list(range(1, run.train.max_steps + 1))
    assert list(train(run)) == []  # its last checkpoint has the new settings


@pytest.mark.parametrize(
    "override",
    [
        "model.reversible=false",
        "model.attention_block=32",
        "data.workers=0",
        "optimizer.sharded=true",
        "train.on_nonfinite=skip",
        "train.max_skipped=3",
        "checkpoint.keep_last=1",
        "evaluate.every=2",
        "memory.limit=100GB",
    ],
)
def test_what_decides_no_weight_may_change(recipe: Callable[..., Recipe], override: str) -> None:
    messages: list[str] = []
    assert list(train(recipe(override), messages.append))[-1]["step"] == 4
    assert not [message for message in messages if "settings that differ" in message]


def test_another_shape_of_model_is_refused_in_any_case(recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(StorageError, match=r"no longer fit the model \(model.d_ff: 32 -> 64\)"):
        list(train(recipe("model.d_ff=64"), allow_change=True))


def test_other_tokens_are_refused_and_begun_anew_where_that_is_asked_for(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Weights and optimizer go on, the examples begin with the first epoch."""
    other = recipe(f"data.path={write_tokens(tmp_path / 'others', seed=3)}")
    with pytest.raises(StorageError, match=r"\(corpus: [0-9a-f]{12} -> [0-9a-f]{12}\)"):
        list(train(other))
    saved = load_checkpoint(list_checkpoints(other.output_dir)[-1])
    record = next(train(other, allow_change=True))
    assert (record["step"], record["epoch"]) == (saved.step + 1, 1)


def test_where_texts_and_tokenizer_lie_may_change_and_what_they_are_may_not(tmp_path: Path) -> None:
    texts, tokens = write_texts(tmp_path / "texts"), write_tokens(tmp_path / "tokens")

    def of(stream: str, tokenizer: Path | str, *overrides: str) -> Recipe:
        stream = f"data.stream={stream}"
        return tiny_recipe(tmp_path / "run", "data.path=", stream, f"data.tokenizer={tokenizer}", *overrides)

    assert len(list(train(of(str(texts), tokens, "train.max_steps=2")))) == 2
    same = f"{{corpus: {texts.parent}/./texts, errors: skip}}"
    assert list(train(of(same, "bytes", "train.max_steps=2"))) == []
    (texts / "one.txt").write_text("Another text.")
    changed = of(str(texts), "bytes", "train.max_steps=3")
    with pytest.raises(StorageError, match=r"corpus: \w+ -> \w+; train.max_steps: 2 -> 3\)"):
        list(train(changed))
    assert [record["epoch"] for record in train(changed, allow_change=True)] == [1]


def test_another_tokenizer_is_named(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts")
    tokenize_corpus(texts, tmp_path / "pieces", vocab_size=300)
    other = recipe(f"data.path={tmp_path / 'pieces'}")
    with pytest.raises(StorageError, match=r"corpus: \w+ -> \w+; tokenizer: [0-9a-f]{12} -> [0-9a-f]{12}"):
        list(train(other))
    with pytest.raises(StorageError, match="tokenizer"):
        list(train(other, allow_change=True))


def test_settings_that_an_older_checkpoint_has_not_are_told() -> None:
    assert changes({"a": 1, "b": None}, {"a": 1, "c": None}) == {"b": "None -> not known", "c": "not known -> None"}
    assert changes({"betas": [1, 2]}, {"betas": [1, 2]}) == {}
