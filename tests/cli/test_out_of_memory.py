"""A real allocation that fails in the middle of a step."""

import subprocess
import sys
from pathlib import Path

import pytest

from revlm.corpus import tokenize_corpus
from revlm.planning import longest_seq_len, plan_memory
from revlm.recipe import load_recipe

TOKENS = 2**17
# Of addresses, which the plan does not look at: enough for the imports, not for a step.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))
from revlm.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are kept on Linux")
@pytest.mark.parametrize("dry", [False, True])
def test_the_error_names_what_holds_the_most_and_what_would_fit(tmp_path: Path, dry: bool) -> None:
    (tmp_path / "text.txt").write_text("It was a long walk home along the river. " * (TOKENS // 40 + 1000))
    tokenize_corpus(tmp_path / "text.txt", tmp_path / "tokens", tokenizer="bytes")
    overrides = [
        *("model.d_model=512", "model.n_layers=1", "model.d_ff=64", f"data.seq_len={TOKENS}", "train.device=cpu"),
        *(f"data.path={tmp_path / 'tokens'}", f"output_dir={tmp_path / 'run'}", "data.packing=fixed"),
    ]
    arguments = [sys.executable, "-c", LIMITED, "train", "demo", *overrides, *(["--dry-run"] if dry else [])]
    ended = subprocess.run(arguments, capture_output=True, text=True)
    assert ended.returncode == 4, ended.stderr
    sentence = ended.stderr.strip().splitlines()[-1]
    recipe = load_recipe("demo", overrides)
    assert f"most of it {plan_memory(recipe, 257, 'cpu').largest_category[0]}, " in sentence
    proposed = int(sentence.rpartition("lower data.seq_len to ")[2].removesuffix(" or less").replace(",", ""))
    assert 1024 <= proposed <= longest_seq_len(recipe, 257, "cpu", 2_000_000_000)
