"""The demo takes the first novel that can be had, goes through every command, and judges the losses."""

import os

import pytest

from tests.scripts.conftest import Project


def test_the_first_novel_goes_through_every_command(project: Project) -> None:
    done = project.run("demo.sh")
    name = "crime-and-punishment"
    assert done.returncode == 0, done.stderr
    assert project.calls[:4] == [
        ["fetch", name, "-o", f"data/texts/demo/{name}"],
        ["tokenize", f"data/texts/demo/{name}", "-o", f"data/demo-{name}", "--vocab-size", "4096"],
        ["train", "demo", f"data.path=data/demo-{name}", f"output_dir=runs/demo-{name}"],
        ["report", f"runs/demo-{name}"],
    ]
    assert project.calls[4][:3] == ["generate", "--run", f"runs/demo-{name}"]
    assert "It was calm at sea." in done.stdout
    assert "loss: 4.000 at first, 3.000 over the last five of 7 steps (-25%)" in done.stdout
    assert "longest steps: 65,536 tokens, 7 of them" in done.stdout
    assert "held out: 2.000 bits per byte" in done.stdout
    assert "peak memory: 1.00 GiB" in done.stdout
    assert f"{project.folder}/runs/demo-{name}/loss.png" in done.stdout
    assert "total time: 0 min" in done.stdout
    assert f"the novel is {name}" in done.stderr


def test_the_next_novel_is_taken_and_named(project: Project) -> None:
    project.exits = {"crime-and-punishment": [3]}
    done = project.run("demo.sh")
    assert [call[1] for call in project.calls if call[0] == "fetch"] == ["crime-and-punishment", "moby-dick"]
    assert "the novel is moby-dick" in done.stderr
    assert done.returncode == 0


def test_no_novel_is_exit_3_and_names_the_remedy(project: Project) -> None:
    project.exits = {"fetch": [3]}
    done = project.run("demo.sh")
    assert done.returncode == 3
    assert "make demo CORPUS=" in done.stderr
    assert len(project.calls) == 3


def test_run_again_it_takes_what_is_there(project: Project) -> None:
    project.exits = {"crime-and-punishment": [3]}
    project.run("demo.sh")
    project.exits = {}
    calls = len(project.calls)
    done = project.run("demo.sh")
    assert done.returncode == 0
    assert [call[0] for call in project.calls[calls:]] == ["train", "report", "generate"]
    assert "resuming runs/demo-moby-dick" in done.stderr


def test_own_texts_are_tokenized_again_when_they_have_changed(project: Project) -> None:
    texts = project.folder / "my texts"
    texts.mkdir()
    (texts / "calm.txt").write_text("It was calm.\n")
    assert project.run("demo.sh", "my texts").returncode == 0
    assert project.calls[0] == ["tokenize", str(texts), "-o", "data/demo-my texts", "--vocab-size", "4096"]
    manifest = project.folder / "data/demo-my texts/manifest.json"
    os.utime(texts / "calm.txt", ns=(0, manifest.stat().st_mtime_ns + 10**9))
    project.run("demo.sh", "my texts")
    assert [call[0] for call in project.calls].count("tokenize") == 2


def test_another_corpus_of_the_same_name_is_tokenized(project: Project) -> None:
    for author in ("a", "b"):
        (project.folder / author / "novels").mkdir(parents=True)
        text = project.folder / author / "novels" / "calm.txt"
        text.write_text("It was calm.\n")
        os.utime(text, (0, 0))
        os.utime(text.parent, (0, 0))
    project.exits = {"tokenize": [0, 3, 0]}
    statuses = [project.run("demo.sh", f"{author}/novels").returncode for author in "aabaa"]
    assert statuses == [0, 0, 3, 0, 0]
    tokenized = [call[1] for call in project.calls if call[0] == "tokenize"]
    assert tokenized == [f"{project.folder}/{author}/novels" for author in "aba"]


def test_a_single_file_is_a_corpus(project: Project) -> None:
    (project.folder / "calm.txt").write_text("It was calm.\n")
    project.run("demo.sh", "calm.txt")
    assert project.calls[1][2:] == ["data.path=data/demo-calm", "output_dir=runs/demo-calm"]


def test_a_missing_corpus_is_named(project: Project) -> None:
    done = project.run("demo.sh", "nowhere")
    assert done.returncode == 3
    assert "nowhere" in done.stderr
    assert project.calls == []


@pytest.mark.parametrize("losses", [[4.0, 3.9, 3.3, 3.3, 3.3, 3.3, 3.3], [4.0, 1.0]])
def test_a_loss_that_fell_too_little_or_too_few_steps_fail(project: Project, losses: list[float]) -> None:
    project.losses = losses
    done = project.run("demo.sh")
    assert done.returncode == 1
    assert "pictures: " in done.stdout


@pytest.mark.parametrize(("command", "status"), [("tokenize", 3), ("train", 75), ("train", 4), ("report", 6)])
def test_a_command_that_fails_ends_the_demo_with_its_exit_code(project: Project, command: str, status: int) -> None:
    project.exits = {command: [status]}
    assert project.run("demo.sh").returncode == status
    assert project.calls[-1][0] == command
