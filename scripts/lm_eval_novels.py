"""Scores an exported model with lm-evaluation-harness on novels, and compares with `revlm evaluate`.

    pip install 'revlm[huggingface]' lm-eval accelerate
    scripts/lm_eval_novels.py data/texts/northanger-abbey.txt --model novels-model --output /tmp/lm-eval

Two tasks are made from the texts: novels_rolling, the log-likelihood of whole texts, and novels_last_word, the last
word of passages. The bits per byte of the first must equal those of `revlm evaluate`, since both give a token the same
context: at most data.seq_len tokens of its text.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.command import run
from revlm.corpus import read_documents, tokenize_corpus
from revlm.errors import RevlmError, UsageError
from revlm.evaluation import evaluate_run
from revlm.generation import load_model

ROLLING, LAST_WORD = "novels_rolling", "novels_last_word"
MAX_DIFFERENCE = 0.001  # bits per byte
_PASSAGE_WORDS = 100
_WORD = re.compile(r"\w+$")
_TASKS: dict[str, dict[str, Any]] = {
    ROLLING: {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
    LAST_WORD: {
        "output_type": "loglikelihood",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{' ' + word}}",
        "metric_list": [
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    },
}


def main(
    texts: Annotated[Path, typer.Argument(help="A text, or a folder of texts.")],
    model: Annotated[Path, typer.Option(help="A folder of `revlm checkpoint export --format huggingface`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to create for tasks and results.")],
    passages: Annotated[int, typer.Option(min=1, help="Passages of novels_last_word, at most.")] = 100,
) -> None:
    """Score a model with lm-evaluation-harness, and compare with revlm; exit code 1 if the scores differ."""
    if output.exists():
        raise UsageError(f"{output} exists: give the name of a new folder")
    output.mkdir(parents=True)
    trained = load_model(model, "cpu")
    documents = [document.text for document in read_documents(texts)]
    write_tasks(output, documents, passages)
    command = [
        *("lm_eval", "run", "--model", "hf"),
        *("--model_args", f"pretrained={model},trust_remote_code=True"),
        *("--tasks", f"{ROLLING},{LAST_WORD}", "--include_path", str(output)),
        *("--device", "cpu", "--batch_size", "1", "--output_path", str(output / "results")),
    ]
    print(" ".join(command), flush=True)
    # By module: the program beside another Python may be another version.
    subprocess.run([sys.executable, "-m", "lm_eval", *command[1:]], check=True)
    results = results_of(output / "results")
    tokenize_corpus(texts, output / "tokens", tokenizer=str(model))
    own = evaluate_run(trained, output / "tokens").total.bits_per_byte
    theirs = results[ROLLING]["bits_per_byte,none"]
    print(f"bits per byte: lm-evaluation-harness {theirs:.5f}, revlm evaluate {own:.5f}")
    print(
        f"last word: {results[LAST_WORD]['acc,none']:.2%} right, perplexity {results[LAST_WORD]['perplexity,none']:.1f}"
    )
    if abs(own - theirs) > MAX_DIFFERENCE:
        raise RevlmError(f"they differ by {abs(own - theirs):.5f} bits per byte, more than {MAX_DIFFERENCE}")


def write_tasks(folder: Path, documents: list[str], passages: int) -> None:
    """Writes the tasks as lm-evaluation-harness reads them, each a YAML file (JSON is YAML) and its examples."""
    examples = {ROLLING: [{"text": text} for text in documents], LAST_WORD: last_words(documents, passages)}
    for task, described in _TASKS.items():
        data = folder / f"{task}.jsonl"
        data.write_text("".join(json.dumps(example) + "\n" for example in examples[task]), encoding="utf-8")
        place = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data.resolve())}}}
        task_text = json.dumps({"task": task, "test_split": "test", **place, **described}, indent=1)
        (folder / f"{task}.yaml").write_text(task_text, encoding="utf-8")


def last_words(documents: list[str], passages: int) -> list[dict[str, str]]:
    """Returns passages of a hundred words, from evenly spread places, and the word that ends each."""
    found = []
    for text in documents:
        words = text.split(" ")
        for start in range(0, len(words) - _PASSAGE_WORDS, _PASSAGE_WORDS):
            *context, last = words[start : start + _PASSAGE_WORDS]
            if _WORD.fullmatch(last):
                found.append({"context": " ".join(context), "word": last})
    return found[:: max(1, -(-len(found) // passages))]


def results_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the results of each task."""
    [path] = folder.rglob("results_*.json")
    results: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return results


if __name__ == "__main__":
    run(main)
