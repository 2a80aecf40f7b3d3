import json
from pathlib import Path

import pytest

from revlm.cli import main
from revlm.corpus import tokenize_corpus

TEXT = "The keeper counted the ships twice — once at dusk [and] once before sleep.\n"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, name in enumerate(("dusk", "harbour_[one]", "harbour_two", "night")):
        (folder / f"{name}.txt").write_text(TEXT * (1 + 5 * number), "utf-8")
    (folder / "zz.txt").write_text(TEXT, "utf-8")
    (folder / "notes.csv").touch()
    return folder


@pytest.fixture
def store(corpus: Path) -> Path:
    tokenize_corpus(corpus, "data/texts", tokenizer="bytes")
    return Path("data/texts")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    exit_code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return exit_code, captured.out, captured.err


def test_show_tells_what_is_in_a_store(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, out, _ = run(capsys, "data", "show", store)
    assert exit_code == 0
    tokens = 35 * len(TEXT.encode())
    for words in (
        f"data/texts: 5 documents, {tokens:,} tokens, {tokens:,} bytes, 1.00 bytes per token",
        "tokenizer: bytes, vocabulary 257",
        "64 to 127",
        "harbour [one]",
        "duplicates: 1\n  4 zz (zz.txt): the same text as dusk.txt",
        "skipped: 1\n  notes.csv: not a text file",
    ):
        assert words in out
    rows = [line for line in out.splitlines() if " to " in line and "│" in line]
    counts = [[int(cell.replace(",", "")) for cell in row.split("│")[2:4]] for row in rows]
    assert [sum(column) for column in zip(*counts, strict=True)] == [5, tokens]
    assert all(("█" in row) == (count[0] > 0) for row, count in zip(rows, counts, strict=True))
    assert "\x1b" not in out


def test_titles_and_names_of_files_reach_the_terminal_without_control_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts").mkdir()
    rows = [{"title": f"\x1b[31m{number}", "text": TEXT * 5} for number in range(2)]
    Path("texts/\x1b[2J.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("texts/\x1b[1m.csv").touch()
    for command in (("tokenize", "texts", "--tokenizer", "bytes"), ("data", "show", "data/texts")):
        exit_code, out, _ = run(capsys, *command)
        assert exit_code == 0
        assert "\x1b" not in out
        for words in ("\N{REPLACEMENT CHARACTER}[31m1", "\N{REPLACEMENT CHARACTER}[2J.jsonl", "[1m.csv"):
            assert words in out


def test_show_as_json_agrees_with_the_manifest(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(run(capsys, "data", "show", store, "--json")[1])
    manifest = json.loads((store / "manifest.json").read_text())
    assert [shown[name] for name in ("documents", "tokens", "bytes")] == [
        manifest[name] for name in ("documents", "tokens", "bytes")
    ]
    assert shown["bytes_per_token"] == 1
    assert shown["fingerprint"] == manifest["tokenizer"]["fingerprint"]
    assert (shown["longest"][0]["title"], shown["longest"][0]["document"]) == ("night", 3)
    assert [each["source"] for each in shown["duplicates"]] == ["zz.txt"]
    assert shown["skipped"][0]["path"] == "notes.csv"
    assert (shown["shard"], shown["verified"]) == (None, False)
    assert json.loads(run(capsys, "data", "show", store, "--verify", "--json")[1])["verified"] is True


def test_a_document_is_printed_as_it_is_stored(store: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for choice, repeats in (("3", 16), ("NIGHT", 16), ("[one]", 6)):
        assert main(["data", "show", str(store), "--document", choice]) == 0
        assert capfdbinary.readouterr().out == (TEXT * repeats).encode()


def test_a_document_as_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(run(capsys, "data", "show", store, "--document", "dusk", "--json")[1])
    assert (shown["document"], shown["title"], shown["text"]) == (0, "dusk", TEXT)
    assert "sketch" not in shown


def test_titles_that_are_not_one_are_wrong_use(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, out, err = run(capsys, "data", "show", store, "--document", "harbour")
    assert (exit_code, out) == (2, "")
    assert err == "revlm: 2 titles contain 'harbour'; give one of these numbers: 1 harbour [one]; 2 harbour two\n"
    assert run(capsys, "data", "show", store, "--document", "whale")[0] == 2


def test_verify_names_what_is_damaged_and_ends_with_exit_code_3(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code, _, err = run(capsys, "data", "show", store, "--verify")
    assert exit_code == 0
    assert "every file and every document's text has its sha256" in err
    lines = (store / "documents.jsonl").read_text()
    (store / "documents.jsonl").write_text(lines.replace("dusk", "dust"))
    exit_code, out, err = run(capsys, "data", "show", store)
    assert (exit_code, out) == (3, "")
    assert err.startswith("revlm: documents.jsonl in data/texts changed since the store was written")
    exit_code, out, err = run(capsys, "data", "show", store, "--verify")
    assert (exit_code, out) == (3, "")
    assert err == "revlm: data/texts is damaged in documents.jsonl; tokenize it again\n"
    exit_code, out, _ = run(capsys, "data", "show", store, "--verify", "--json")
    assert exit_code == 3
    assert json.loads(out)["damaged_files"] == ["documents.jsonl"]
    assert run(capsys, "data", "show", "nowhere")[0] == 3


def test_shards_are_made_shown_and_merged(store: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "tokenize", "texts", "--only-tokenizer", "--vocab-size", 300)[0] == 0
    assert run(capsys, "tokenize", "texts", "--vocab-size", 300, "-o", "data/whole")[0] == 0
    shards = [f"data/texts-{number}-of-2" for number in (1, 2)]
    for number in (1, 2):
        shard = ("--shard", f"{number}/2", "--tokenizer", "data/texts-tokenizer")
        assert run(capsys, "tokenize", "texts", *shard)[0] == 0
    assert "data/texts-2-of-2: shard 2 of 2: " in run(capsys, "data", "show", shards[1])[1]
    exit_code, out, _ = run(capsys, "data", "merge", *shards, "-o", "data/merged", "--verify")
    assert exit_code == 0
    assert "5 documents" in out
    for path in Path("data/whole").iterdir():
        assert (Path("data/merged") / path.name).read_bytes() == path.read_bytes()
    merged = json.loads(run(capsys, "data", "merge", *shards, "-o", "data/merged", "--deduplicate", "--json")[1])
    assert (len(merged["documents"]), merged["duplicates"]) == (4, [])


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("data", "merge", "data/texts"), 2, "Missing option '-o'"),
        (("data", "merge", "data/texts", "nowhere", "-o", "data/merged"), 3, "the token store nowhere does not exist"),
        (("data", "merge", "data/texts", "-o", "data/texts"), 2, "would be replaced by what it is merged into"),
        (("tokenize", "texts", "--shard", "1-2"), 2, "--shard 1-2 should be the number of the shard, a slash"),
        (("tokenize", "texts", "--shard", "1/2"), 2, "--only-tokenizer -o DIR"),
        (("tokenize", "texts", "--shard", "1/9", "--tokenizer", "bytes"), 2, "give at most 5"),
        (("tokenize", "texts", "--shard", "1/2", "--tokenizer", "bytes", "--deduplicate"), 2, "revlm data merge"),
        (("tokenize", "hf:a/b", "--shard", "1/2", "--tokenizer", "bytes"), 2, "hf:a/b is a dataset on the hub"),
        (("tokenize", "texts", "--only-tokenizer", "--tokenizer", "bytes"), 2, "leave --tokenizer out"),
        (("tokenize", "texts", "--only-tokenizer", "--shard", "1/2"), 2, "leave --shard out"),
        (("tokenize", "texts", "--show-removed", "--json"), 2, "leave --json out"),
        (("recipes", "demo", "--schema"), 2, "leave demo out"),
        (("tokenize", "texts", "--only-tokenizer", "-o", "data/texts"), 6, "is a token store"),
    ],
)
def test_wrong_use_is_one_sentence(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (exit_code, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_only_the_tokenizer_as_json(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(run(capsys, "tokenize", "texts", "--only-tokenizer", "--vocab-size", 300, "--json")[1])
    assert (shown["output_dir"], shown["vocab_size"]) == ("data/texts-tokenizer", 300)
    assert [path.name for path in Path("data/texts-tokenizer").iterdir()] == ["tokenizer.model"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "a folder"])
@pytest.mark.parametrize("file", ["manifest.json", "tokenizer.json", "documents.jsonl", "data-00000-of-00001.arrow"])
def test_every_command_names_a_damaged_file(
    store: Path, capsys: pytest.CaptureFixture[str], file: str, damage: str
) -> None:
    path = store / file
    content = path.read_bytes()
    path.unlink()
    if damage == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "a folder":
        path.mkdir()
    Path("recipe.yaml").write_text("data: {path: data/texts, seq_len: 64}\noutput_dir: run\n")
    commands = [("data", "show", store), ("data", "show", store, "--verify"), ("data", "merge", store, "-o", "merged")]
    commands += [("data", "show", store, "--document", "0")]
    is_whole_but_for_content = damage == "flipped" and file in {"documents.jsonl", "data-00000-of-00001.arrow"}
    if not is_whole_but_for_content:  # these read neither
        commands += [("tokenize", "texts", "--tokenizer", store, "-o", "other")]
        if file != "tokenizer.json":
            commands += [("plan", "recipe.yaml")]
    for command in commands:
        exit_code, out, err = run(capsys, *command)
        assert (exit_code, out) == (3, ""), command
        assert file in err
        assert len(err.strip().splitlines()) == 1
    assert not Path("merged").exists()
