"""A trained model, exported; all of it needs transformers, which the tests install."""

from pathlib import Path

import pytest

pytest.importorskip("transformers")

from revlm.generation import TrainedModel, load_model
from revlm.huggingface import RevlmForCausalLM, RevlmTokenizer, export_model
from tests.tiny_run import write_run

LAYERS = ("model.layers=[local, lsh, full]", "model.n_layers=3", "model.n_buckets=[16, 64]")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("huggingface") / "run", *LAYERS)


@pytest.fixture(scope="session")
def trained(run: Path) -> TrainedModel:
    return load_model(run)


@pytest.fixture(scope="session")
def exported(run: Path, trained: TrainedModel) -> Path:
    return export_model(trained, run, run.parent / "exported", "cc0-1.0")


@pytest.fixture(scope="session")
def model(exported: Path) -> RevlmForCausalLM:
    return RevlmForCausalLM.from_pretrained(exported)


@pytest.fixture(scope="session")
def tokenizer(exported: Path) -> RevlmTokenizer:
    return RevlmTokenizer.from_pretrained(exported)
