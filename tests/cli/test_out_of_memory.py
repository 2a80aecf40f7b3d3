"""A real allocation that fails in the middle of a step."""

import resource
import sys
from pathlib import Path

import psutil
import pytest

from revlm.corpus import tokenize_corpus
from revlm.planning import longest_seq_len, plan_memory
from revlm.recipe import load_recipe
from tests.several import run_revlm

TOKENS = 2**17
# Of addresses beyond those of the imports, which the plan does not look at: not enough for a step.
MORE_BYTES = 600_000_000


def limit_addresses() -> None:
    most = psutil.Process().memory_info().vms + MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "text.txt").write_text("It was a long walk home along the river. " * (TOKENS // 40 + 1000))
    tokenize_corpus(folder / "text.txt", folder / "tokens", tokenizer="bytes")
    return folder / "tokens"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are kept on Linux")
@pytest.mark.parametrize("dry", [False, True])
def test_the_error_names_what_holds_the_most_and_what_would_fit(tokens: Path, tmp_path: Path, dry: bool) -> None:
    overrides = [
        *("model.d_model=512", "model.n_layers=1", "model.d_ff=64", f"data.seq_len={TOKENS}", "train.device=cpu"),
        *(f"data.path={tokens}", f"output_dir={tmp_path / 'run'}", "data.packing=fixed"),
    ]
    options = ["--dry-run"] if dry else []
    ended = run_revlm(tmp_path, "train", "demo", *overrides, *options, before=limit_addresses)
    assert ended.code == 4, ended.stderr
    sentence = ended.stderr.strip().splitlines()[-1]
    recipe = load_recipe("demo", overrides)
    assert f"most of it {plan_memory(recipe, 257, 'cpu').largest_category[0]}, " in sentence
    proposed = int(sentence.rpartition("lower data.seq_len to ")[2].removesuffix(" or less").replace(",", ""))
    assert 1024 <= proposed <= longest_seq_len(recipe, 257, "cpu", 2_000_000_000)
