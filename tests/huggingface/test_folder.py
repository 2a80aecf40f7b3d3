"""An exported folder: opened by transformers and by revlm, saved again, and refused where it is not whole."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from revlm.errors import DataError, RevlmError, StorageError, UsageError
from revlm.generation import TrainedModel, load_model
from revlm.huggingface import RevlmConfig, RevlmForCausalLM, RevlmTokenizer, export_model
from revlm.huggingface.card import model_card
from revlm.model import RevLM
from revlm.model.kinds.lsh import HashAttention
from revlm.model.shape import buckets_of_rounds
from revlm.runs import is_exported
from revlm.storage import digest_of_json
from tests.tiny_run import write_run

IDS = torch.tensor([[256, *b"The old clerk walked"]])


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """An exported folder that a test may damage."""
    return shutil.copytree(exported, tmp_path / "copy")


@pytest.mark.parametrize(
    "values",
    [
        *({"precision": "x"}, {"seed": -1}, {"seq_len": 10**30}, {"vocab_size": 10**30}, {"vocab_size": 300}),
        *({"model": {"d_model": 1 << 16}}, {"model": {"d_ff": 1 << 20}}, {"model": {"n_layers": 1 << 20}}),
    ],
    ids=str,
)
def test_forged_values(copy: Path, values: dict[str, Any]) -> None:
    """Although their digest is right; a model of any size takes no memory before its weights are found to be others."""
    config = json.loads((copy / "config.json").read_text())
    section = config["revlm"] | values | {"model": config["revlm"]["model"] | values.get("model", {})}
    del section["sha256"]
    digest = digest_of_json(json.loads(json.dumps(section, sort_keys=True)))
    (copy / "config.json").write_text(json.dumps(config | {"revlm": section | {"sha256": digest}}))
    with pytest.raises(StorageError, match=r"^(?!.* changed since).* export (it|the checkpoint) again"):
        load_model(copy, "cpu")


def test_values_that_no_digest_has(copy: Path) -> None:
    (copy / "config.json").write_text('{"revlm": {"sha256": "0", "step": NaN}}')
    with pytest.raises(StorageError, match="changed since it was written"):
        load_model(copy, "cpu")


def test_a_full_disk_and_a_kill_leave_nothing(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, foreign = tmp_path / f".new.{'0' * 16}.staging", tmp_path / f".new.{'1' * 16}.staging"
    for folder in (own, foreign):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"")
    (foreign / "mine.txt").write_text("")

    def fail(*arguments: object, **options: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr(RevlmForCausalLM, "save_pretrained", fail)
        with pytest.raises(StorageError, match=r"disk full while writing .*new"):
            export_model(trained, "runs/x", tmp_path / "new", "unknown")
    assert sorted(path.name for path in tmp_path.iterdir()) == [foreign.name]
    assert [path.name for path in foreign.iterdir()] == ["mine.txt"]


@torch.no_grad()
@pytest.mark.parametrize("trust", [True, False])
def test_transformers_opens_it(exported: Path, trained: TrainedModel, trust: bool) -> None:
    """By the module in the folder, or by the classes that the import of revlm.huggingface has registered."""
    model = AutoModelForCausalLM.from_pretrained(exported, trust_remote_code=trust)
    tokenizer = AutoTokenizer.from_pretrained(exported, trust_remote_code=trust)
    assert isinstance(AutoConfig.from_pretrained(exported, trust_remote_code=trust), RevlmConfig)
    assert isinstance(model, RevlmForCausalLM)
    assert isinstance(tokenizer, RevlmTokenizer)
    assert tokenizer.encode("The") == IDS[0, :4].tolist()
    logits = trained.model.logits(trained.model(IDS[0]))
    torch.testing.assert_close(model(IDS).logits[0], logits, rtol=0, atol=1e-5)


def test_its_configuration_has_the_names_that_clients_read(exported: Path, trained: TrainedModel) -> None:
    values = json.loads((exported / "config.json").read_text())
    recipe = trained.recipe
    assert values["model_type"] == "revlm"
    assert values["architectures"] == ["RevlmForCausalLM"]
    assert values["vocab_size"] == trained.tokenizer.vocab_size
    assert values["max_position_embeddings"] == recipe.data.seq_len
    assert values["num_hidden_layers"] == recipe.model.n_layers
    assert values["auto_map"]["AutoModelForCausalLM"] == "modeling_revlm.RevlmForCausalLM"
    code = (exported / "modeling_revlm.py").read_text()
    assert "from revlm.huggingface import" in code
    assert len(code.splitlines()) < 10


def test_saving_again_gives_an_equal_model(exported: Path, trained: TrainedModel, tmp_path: Path) -> None:
    """In several files, too; and revlm opens what transformers has saved."""
    model = AutoModelForCausalLM.from_pretrained(exported)
    with torch.no_grad():
        model.model.embedding.weight.mul_(1.5)
    model.save_pretrained(tmp_path / "again", max_shard_size="10KB")
    AutoTokenizer.from_pretrained(exported).save_pretrained(tmp_path / "again")
    assert len(list((tmp_path / "again").glob("model-*.safetensors"))) > 1
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again", trust_remote_code=True)
    assert again.generation_config.suppress_tokens == [256]
    opened = load_model(tmp_path / "again")
    for name, value in model.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
        assert torch.equal(value, opened.model.state_dict()[name])


@torch.no_grad()
def test_it_is_saved_with_the_rounds_that_it_uses(exported: Path, trained: TrainedModel, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported)
    model.use_rounds(5, buckets=128)
    model.save_pretrained(tmp_path / "more")
    AutoTokenizer.from_pretrained(exported).save_pretrained(tmp_path / "more")
    again, opened = AutoModelForCausalLM.from_pretrained(tmp_path / "more"), load_model(tmp_path / "more", "cpu")
    ids = torch.arange(120)[None] % 50
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert not torch.equal(again(ids).logits, AutoModelForCausalLM.from_pretrained(exported)(ids).logits)
    assert opened.recipe.model.n_rounds == 5
    assert max(buckets_of_rounds(opened.recipe.model)) == 128
    with pytest.raises(UsageError, match="rounds is 65: give a number of rounds of hashing from 1 to 64"):
        model.use_rounds(65)


@torch.no_grad()
def test_it_reads_with_scaled_attention_and_is_saved_without(exported: Path, tmp_path: Path) -> None:
    model, ids = AutoModelForCausalLM.from_pretrained(exported), torch.arange(120)[None] % 50
    as_trained = model(ids).logits
    model.scale_attention(1.5)
    scaled = load_model(exported, "cpu", attention_scale=1.5).model
    assert torch.equal(model(ids).logits[0], scaled.logits(scaled(ids[0])))
    assert not torch.equal(model(ids).logits, as_trained)
    model.save_pretrained(tmp_path / "saved")
    assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path / "saved")(ids).logits, as_trained)
    with pytest.raises(UsageError, match="attention_scale is 0: give a factor above 0"):
        model.scale_attention(0.0)


def test_revlm_opens_it_as_a_run(exported: Path, trained: TrainedModel) -> None:
    assert is_exported(exported)
    opened = load_model(exported)
    assert opened.step == trained.step
    assert opened.recipe.model == trained.recipe.model
    assert opened.recipe.data.seq_len == trained.recipe.data.seq_len
    assert opened.corpus_fingerprint == trained.corpus_fingerprint
    with torch.no_grad():
        assert torch.equal(opened.model(IDS[0]), trained.model(IDS[0]))
    with pytest.raises(StorageError, match="only the weights of step 3"):
        load_model(exported, step=2)


@torch.no_grad()
@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_bfloat16_is_the_precision_of_training(exported: Path, trained: TrainedModel, key: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported, **{key: torch.bfloat16})
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            assert module.weight.dtype == torch.bfloat16, name
    assert torch.equal(model.model.rotations_1, trained.model.rotations_1)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        expected = trained.model.logits(trained.model(IDS[0]))
    assert torch.equal(model(IDS).logits[0], expected.float())
    cached = model(IDS, use_cache=True).logits
    torch.testing.assert_close(cached[0], expected.float(), rtol=0, atol=0.05)
    with pytest.raises(UsageError, match="float32"):
        model.to(torch.bfloat16)(IDS)
    with pytest.raises(UsageError, match="bfloat16"):
        AutoModelForCausalLM.from_pretrained(exported, **{key: torch.float16})


@torch.no_grad()
def test_one_device_can_be_chosen_automatically(exported: Path, trained: TrainedModel) -> None:
    pytest.importorskip("accelerate")
    model = AutoModelForCausalLM.from_pretrained(exported, device_map="auto")
    torch.testing.assert_close(
        model(IDS).logits[0].cpu(), trained.model.logits(trained.model(IDS[0])), rtol=0, atol=1e-4
    )


def flip(path: Path, place: float = 0.9) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)


def change_config(folder: Path, change: dict[str, object], *, sealed: bool) -> None:
    """Changes values that config.json seals, with the seal that they should have, or without."""
    from revlm.runs import exported

    path = folder / "config.json"
    values = json.loads(path.read_text())
    section = {**values["revlm"], **change}
    if sealed:
        del section["sha256"]
        section["sha256"] = exported._digest(section)
    path.write_text(json.dumps({**values, "revlm": section}))


DAMAGE = {
    "weights with another bit": (lambda folder: flip(folder / "model.safetensors"), "damaged"),
    "weights with another header": (lambda folder: flip(folder / "model.safetensors", 0.0), "damaged"),
    "weights cut short": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "damaged",
    ),
    "a changed seed": (
        lambda folder: change_config(
            folder,
            {"model": json.loads((folder / "config.json").read_text())["revlm"]["model"] | {"window": 9}},
            sealed=False,
        ),
        "changed since",
    ),
    "another version": (lambda folder: change_config(folder, {"format": 2}, sealed=True), "another version"),
    "a key of a later version": (lambda folder: change_config(folder, {"later": 1}, sealed=True), "another version"),
    "no description": (lambda folder: change_config(folder, {"sha256": "0"}, sealed=False), "changed since"),
    "weights of another model": (lambda folder: change_config(folder, {"vocab_size": 300}, sealed=True), "weights"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_refused_in_one_sentence(copy: Path, damage: str) -> None:
    change, words = DAMAGE[damage]
    change(copy)
    for read in (RevlmForCausalLM.from_pretrained, load_model):
        with pytest.raises(StorageError, match=words) as caught:
            read(copy)
        assert "\n" not in str(caught.value)
        assert str(copy) in str(caught.value)


def test_a_tokenizer_that_does_not_fit_is_refused(copy: Path, tmp_path: Path) -> None:
    from revlm.corpus import Tokenizer, write_tokenizer

    (tmp_path / "text.txt").write_text("the old clerk walked slowly home along a frozen river at night " * 200)
    write_tokenizer(tmp_path / "text.txt", tmp_path / "other", vocab_size=300)
    other = Tokenizer.load(tmp_path / "other")
    RevlmTokenizer(tokenizer=other).save_pretrained(copy)
    for read in (RevlmTokenizer.from_pretrained, load_model):
        with pytest.raises(RevlmError, match=r"tokenizer in .* is not the one"):
            read(copy)
    (copy / other.file_name).unlink()
    for read in (RevlmTokenizer.from_pretrained, load_model):
        with pytest.raises((DataError, OSError), match="tokenizer"):
            read(copy)


def test_nothing_is_unpickled(copy: Path) -> None:
    torch.save({}, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises((OSError, StorageError), match=r"model\.safetensors"):
        RevlmForCausalLM.from_pretrained(copy)
    with pytest.raises(StorageError, match=r"model\.safetensors"):
        load_model(copy)


def test_links_in_a_folder_are_not_followed_by_revlm(copy: Path, exported: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").symlink_to(exported / "model.safetensors")
    with pytest.raises(StorageError, match="symbolic link"):
        load_model(copy)


def test_an_export_writes_a_new_folder_or_nothing(
    run: Path, exported: Path, trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="exists"):
        export_model(trained, run, exported, "unknown")
    with pytest.raises(UsageError, match="licence"):
        export_model(trained, run, tmp_path / "new", "My own\nlicence: x")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RevlmTokenizer, "save_pretrained", fail)
    with pytest.raises(StorageError, match="disk full"):
        export_model(trained, run, tmp_path / "new", "unknown")
    assert list(tmp_path.iterdir()) == []


def test_the_card_tells_of_the_run(exported: Path, tmp_path: Path) -> None:
    card = (exported / "README.md").read_text()
    assert "license: cc0-1.0" in card
    assert "| steps | 3 |" in card
    assert "layers: [local, lsh, full]" in card
    assert str(exported.parent) not in card
    assert "weights at the start" not in card
    run = write_run(tmp_path / "a|run `x` <b>", "evaluate.every=3")
    hostile = export_model(load_model(run), run, tmp_path / "out", "unknown")
    card = (hostile / "README.md").read_text()
    assert r"# a\|run \`x\` \<b\>" in card
    assert "bits per byte at step 3" in card


def test_the_card_tells_where_the_weights_came_from(tmp_path: Path) -> None:
    """By name: where folders lie is of the machine. What a run folder tells of its start may also be wrong."""
    first = write_run(tmp_path / "first")
    for start, name in ((first, "first"), (first / "checkpoints" / "step-00000003", "first")):
        run = write_run(tmp_path / f"from-{start.name}", f"train.start_from={start}", "train.max_steps=1")
        card = model_card(load_model(run), run, "unknown")
        assert f"| weights at the start | step 3 of {name} |" in card
        assert str(tmp_path) not in card
    for told in ("[]", '{"started_from": 3}', '{"started_from": {"path": 1, "step": "x"}}', "{", "[" * 100_000):
        (run / "environment.json").write_text(told)
        assert "weights at the start" not in model_card(load_model(run), run, "unknown")


SHAPES = {
    "own keys": ("model.layers=[lsh, full]", "model.predecessor_keys=false"),
    "a number of buckets for each round": ("model.layers=[local, lsh]", "model.n_buckets=[4, 64]"),
    "hashes of pairs": ("model.layers=[local, lsh]", "model.n_buckets=[4, 64]", "model.pair_rounds=1"),
    "no successors": ("model.layers=[lsh, full]", "model.successor_values=false"),
    "a head of its own": ("model.layers=[lsh, local]", "model.tie_embeddings=false", "model.n_buckets=[64, 16]"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_its_logits_with_several_documents_in_a_batch(tmp_path: Path, shape: str) -> None:
    run = write_run(tmp_path / "run", *SHAPES[shape])
    trained = load_model(run)
    folder = export_model(trained, run, tmp_path / "out", "unknown")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = ["the old clerk walked slowly home along a frozen river " * 3, "at night", "a é 🐋"]
    with torch.no_grad():
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        logits = model(**batch).logits
        ids = [torch.tensor([trained.tokenizer.begin_id, *trained.tokenizer.encode(text).tolist()]) for text in texts]
        documents = torch.repeat_interleave(torch.tensor([len(each) for each in ids]))
        together = trained.model.logits(trained.model(torch.cat(ids), documents))
        torch.testing.assert_close(logits[batch["attention_mask"].bool()], together, rtol=0, atol=1e-4)
        for row, of_row, own in zip(logits, batch["attention_mask"].bool(), ids, strict=True):
            alone = trained.model.logits(trained.model(own))
            torch.testing.assert_close(row[of_row], alone, rtol=0, atol=1e-4)
        assert torch.equal(load_model(folder).model(ids[0]), trained.model(ids[0]))


@torch.no_grad()
def test_bfloat16_changes_few_hashes(exported: Path, trained: TrainedModel) -> None:
    """They are computed in float32 from keys that products in bfloat16 have rounded."""
    halved = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.bfloat16)
    text = "the old clerk walked slowly home along a frozen river at night " * 8
    ids = torch.tensor([trained.tokenizer.begin_id, *trained.tokenizer.encode(text).tolist()])
    own, other = _buckets(trained.model, ids, half=False), _buckets(halved.model, ids, half=True)
    assert torch.equal(other, _buckets(trained.model, ids, half=True)), "those of training in bf16"
    assert 0 < float((own != other).float().mean()) < 0.05


def _buckets(model: RevLM, ids: torch.Tensor, *, half: bool) -> torch.Tensor:
    """The hashes of all tokens in the hash layer of a model."""
    found: list[torch.Tensor] = []
    mix = model.attention(1).mix
    assert isinstance(mix, HashAttention)
    buckets = mix.buckets

    def noted(*arguments: torch.Tensor) -> torch.Tensor:
        found.append(buckets(*arguments))
        return found[-1]

    with pytest.MonkeyPatch.context() as patched, torch.autocast("cpu", torch.bfloat16, half, cache_enabled=False):
        patched.setattr(mix, "buckets", noted)
        model(ids)
    return found[0].clone()
