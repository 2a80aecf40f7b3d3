"""Other libraries train an exported model unpatched."""

from pathlib import Path

import pytest
import torch

from revlm.generation import load_model
from revlm.huggingface import RevlmForCausalLM, RevlmTokenizer
from tests.huggingface.conftest import LAYERS
from tests.tiny_run import write_run

TEXTS = ["the old clerk walked slowly home", "a frozen river at night", "along the river"] * 8

pytestmark = pytest.mark.slow


def train(model: torch.nn.Module, tokenizer: RevlmTokenizer, folder: Path) -> list[float]:
    """Ten steps of Trainer; returns their losses."""
    pytest.importorskip("accelerate", reason="Trainer needs accelerate")
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    settings = TrainingArguments(
        str(folder),
        max_steps=10,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
    )
    trainer = Trainer(
        model=model,
        args=settings,
        train_dataset=[tokenizer(text) for text in TEXTS],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model(str(folder))
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_trainer_fine_tunes_and_revlm_opens_the_result(
    exported: Path, tokenizer: RevlmTokenizer, tmp_path: Path
) -> None:
    model = RevlmForCausalLM.from_pretrained(exported)
    losses = train(model, tokenizer, tmp_path)
    assert len(losses) == 10
    assert losses[-1] < losses[0] - 0.5
    opened = load_model(tmp_path).model.state_dict()
    assert all(torch.equal(value, opened[name]) for name, value in model.model.state_dict().items())
    going_on = write_run(
        tmp_path / "going-on", *LAYERS, f"train.start_from={tmp_path}", "optimizer.lr=1e-8", "train.max_steps=1"
    )
    learned = load_model(going_on).model.state_dict()
    assert all(torch.allclose(value, opened[name], atol=1e-6) for name, value in learned.items())


def test_lora_learns_on_every_linear_map(exported: Path, tokenizer: RevlmTokenizer, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = RevlmForCausalLM.from_pretrained(exported)
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    lora = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, lora)
    losses = train(adapted, tokenizer, tmp_path / "adapter")
    assert losses[-1] < losses[0]
    learned = {name: value for name, value in adapted.named_parameters() if "lora_B" in name}
    assert {name.split(".lora_B")[0].rpartition(".")[2] for name in learned} == {
        "project",
        "successor",
        "widen",
        "narrow",
    }
    assert all(value.abs().max() > 0 for value in learned.values())
    prompt = tokenizer("the old", return_tensors="pt")
    text = adapted.generate(**prompt, max_new_tokens=8)
    merged = adapted.merge_and_unload()
    assert torch.equal(merged.generate(**prompt, max_new_tokens=8), text)
    assert not torch.equal(
        merged.model.stack.sublayers[0].read.project.weight, before["stack.sublayers.0.read.project.weight"]
    )
    merged.save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    load_model(tmp_path / "merged")
