"""A model and its tokenizer go to the hub and come back, by the means of transformers alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpus.reading.hub.loopback_hub import open_hub

pytestmark = pytest.mark.slow  # a process of its own: the library reads the address of the hub when it is imported

CODE = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, name = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model.push_to_hub(name, token="hf_none")
tokenizer.push_to_hub(name, token="hf_none")
again = AutoModelForCausalLM.from_pretrained(name, trust_remote_code=True)
read = AutoTokenizer.from_pretrained(name, trust_remote_code=True)
same = all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
print(json.dumps({"same": same, "ids": read.encode("The old clerk"), "text": read.decode(read.encode("A \u00e9"))}))
"""


def test_what_is_pushed_is_read_again(exported: Path, tmp_path: Path) -> None:
    with open_hub() as hub:
        done = subprocess.run(
            [sys.executable, "-c", CODE, exported, "someone/novels"],
            env={
                **os.environ,
                "HF_ENDPOINT": hub.url,
                "HF_HOME": str(tmp_path),
                "HF_HUB_DISABLE_XET": "1",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"same": True, "ids": [256, *b"The old clerk"], "text": "A \u00e9"}
    pushed = hub.repositories["someone/novels"].revisions["main"]
    for name in ("model.safetensors", "modeling_revlm.py", "tokenizer.json"):
        assert pushed[name] == (exported / name).read_bytes()
    assert len(hub.large_files) == 1
