"""`revlm generate`: where a prompt comes from, how tokens are drawn and text ends, and what is printed where."""

import codecs
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from revlm.cli import main
from revlm.cli.terminal import progress as progress_module
from revlm.cli.terminal.streams import guarded_streams, print_content
from revlm.generation import Decoder, Sampling, TextGenerator, load_model, text_generator
from revlm.generation.sampling import SampleRng
from revlm.model.decoding import CachedStack
from tests.tiny_run import write_run

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("folder") / "run"
    return write_run(place, "train.max_steps=40", "checkpoint.every=20", "checkpoint.keep_last=2")


@pytest.fixture
def generate(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; returns exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["generate", "--run", str(folder), "--device", "cpu", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def described(generate: Run) -> Callable[..., dict]:
    """Runs the command with --json; returns the object."""

    def run(*arguments: object) -> dict:
        code, out, err = generate(*arguments, "--json")
        assert code == 0, err
        assert out.count("\n") == 1
        return json.loads(out)

    return run


def standard_input(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="ascii")


def whole_characters(content: bytes) -> str:
    """The text of bytes, without a character that is cut off at their end."""
    return codecs.getincrementaldecoder("utf-8")(errors="replace").decode(content)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_text_follows_its_prompt_and_speeds_go_to_standard_error(generate: Run) -> None:
    code, out, err = generate("--prompt", "the old", "--max-tokens", 5)
    assert code == 0
    assert out.startswith("the old")
    assert out.endswith("\n")
    speed = r"{} tokens? in [\d.]+ s, [\d.,]+ tokens/s"
    assert re.fullmatch(f"prompt: {speed.format(7)}; generated: {speed.format(5)}\n", err)


def test_json_holds_tokens_and_their_log_probabilities(
    described: Callable[..., dict], generate: Run, folder: Path
) -> None:
    options = ("--prompt", "the old", "--max-tokens", 20, "--seed", 3, "--top-k", 5)
    result = described(*options)
    assert generate(*options)[1] == "the old" + result["samples"][0]["text"] + "\n"
    assert {name: result[name] for name in ("run", "step", "prompt", "prompt_tokens", "seed")} == {
        "run": str(folder),
        "step": 40,
        "prompt": "the old",
        "prompt_tokens": 7,
        "seed": 3,
    }
    assert result["sampling"] == {
        "temperature": 0.8,
        "top_k": 5,
        "top_p": 1.0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
    [sample] = result["samples"]
    assert whole_characters(bytes(sample["tokens"])) == sample["text"]
    assert sample["stopped_by"] is None
    assert len(sample["log_probabilities"]) == len(sample["tokens"]) == 20
    assert all(value < 0 for value in sample["log_probabilities"])
    for name, tokens in (("prefill", 8), ("decoding", 20)):
        assert result[name]["tokens"] == tokens
        assert result[name]["tokens_per_second"] == pytest.approx(tokens / result[name]["seconds"])


def test_a_prompt_comes_from_an_argument_a_file_or_standard_input(
    described: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "the “old”\nclerk"
    expected = described("--prompt", text, "--max-tokens", 9)["samples"]
    for content in (text, f"{text}\n", "\ufeff" + text.replace("\n", "\r\n") + "\r\n"):
        (tmp_path / "prompt.txt").write_bytes(content.encode())
        result = described("--prompt-file", tmp_path / "prompt.txt", "--max-tokens", 9)
        assert (result["prompt"], result["samples"]) == (text, expected)
        for arguments in ((), ("--prompt", "-"), ("--prompt-file", "-")):
            monkeypatch.setattr("sys.stdin", standard_input(content.encode()))
            assert described(*arguments, "--max-tokens", 9)["samples"] == expected


def test_what_was_read_is_not_printed_again(generate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompted = generate("--prompt", "the old", "--max-tokens", 9)[1]
    (tmp_path / "prompt.txt").write_text("the old\n")
    assert generate("--prompt-file", tmp_path / "prompt.txt", "--max-tokens", 9)[1] == prompted.removeprefix("the old")
    monkeypatch.setattr("sys.stdin", standard_input(b"the old\n"))
    assert generate("--max-tokens", 9)[1] == prompted.removeprefix("the old")


def test_only_one_newline_at_the_end_is_left_out(described: Callable[..., dict], tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("the old\n\n")
    assert described("--prompt-file", tmp_path / "prompt.txt", "--max-tokens", 1)["prompt"] == "the old\n"
    assert described("--prompt", "the old\n", "--max-tokens", 1)["prompt"] == "the old\n"


def test_a_novel_as_it_was_downloaded_is_a_prompt_without_its_licence(
    described: Callable[..., dict], generate: Run, tmp_path: Path
) -> None:
    start, end = (f"*** {word} OF THE PROJECT GUTENBERG EBOOK A ***" for word in ("START", "END"))
    (tmp_path / "novel.txt").write_text(
        f"Title: A\n\n{start}\n\nthe old clerk\n\n{end}\n\nThe Project Gutenberg licence.\n"
    )
    assert described("--prompt-file", tmp_path / "novel.txt", "--max-tokens", 1)["prompt"].strip() == "the old clerk"
    assert "left out" in generate("--prompt-file", tmp_path / "novel.txt", "--max-tokens", 1)[2]


@pytest.mark.parametrize("arguments", [("--prompt", ""), ("--prompt-file", os.devnull)])
def test_an_empty_prompt_begins_a_text(generate: Run, described: Callable[..., dict], arguments: tuple) -> None:
    result = described(*arguments, "--max-tokens", 6)
    assert result["prompt_tokens"] == 0
    assert result["prefill"]["tokens"] == 1
    assert generate(*arguments, "--max-tokens", 6)[1] == result["samples"][0]["text"] + "\n"


def test_each_way_of_drawing_does_what_it_says(described: Callable[..., dict]) -> None:
    def text(*arguments: object) -> str:
        return described("--prompt", "the ", "--max-tokens", 24, *arguments)["samples"][0]["text"]

    likeliest = text("--temperature", 0)
    assert likeliest not in {text(), text("--temperature", 5)}
    for option in (("--top-k", 1), ("--top-p", 1e-6), ("--min-p", 1)):
        assert text(*option) == text(*option, "--seed", 9) == likeliest
    assert text() == text("--top-k", 0, "--top-p", 1, "--min-p", 0, "--repetition-penalty", 1, "--seed", 0)
    assert text() != text("--seed", 1)
    assert text("--temperature", 0, "--repetition-penalty", 50) != likeliest


def test_a_stop_text_is_found_across_tokens_and_cut(described: Callable[..., dict], generate: Run) -> None:
    [whole] = described("--prompt", "the", "--max-tokens", 60)["samples"]
    # ASCII alone: that bytes are no character shows only in the byte after them.
    stop = next(text for at in range(20, 50) if (text := whole["text"][at : at + 4]).isascii())
    options = ("--prompt", "the", "--max-tokens", 60, "--stop", "never here", "--stop", stop)
    [sample] = described(*options)["samples"]
    assert sample["text"] == whole["text"][: whole["text"].index(stop)]
    assert sample["stopped_by"] == stop
    assert sample["tokens"] == whole["tokens"][: len(sample["tokens"])]
    assert bytes(sample["tokens"]).decode(errors="replace") == sample["text"] + stop
    assert generate(*options)[1] == f"the{sample['text']}\n"


def test_what_may_have_become_a_stop_text_is_shown_at_the_end(described: Callable[..., dict], generate: Run) -> None:
    options = ("--prompt", "the", "--max-tokens", 12, "--samples", 2)
    whole = [sample["text"] for sample in described(*options)["samples"]]
    stops = [part for text in whole for part in ("--stop", f"{text[-2:]}#")]
    assert [sample["text"] for sample in described(*options, *stops)["samples"]] == whole
    assert generate(*options, *stops)[1] == generate(*options)[1]


def test_samples_are_printed_under_headings_and_the_first_is_that_of_one(
    generate: Run, described: Callable[..., dict]
) -> None:
    options = ("--prompt", "the old", "--max-tokens", 12, "--seed", 5)
    texts = [sample["text"] for sample in described(*options, "--samples", 3)["samples"]]
    assert len(set(texts)) == 3
    code, out, err = generate(*options, "--samples", 3)
    assert code == 0
    assert out == "\n".join(f"--- sample {number} of 3 ---\nthe old{text}\n" for number, text in enumerate(texts, 1))
    assert "generated: 36 tokens" in err
    assert generate(*options)[1] == f"the old{texts[0]}\n"
    assert [sample["text"] for sample in described(*options, "--samples", 2)["samples"]] == texts[:2]


def test_only_the_stopped_sample_stops(described: Callable[..., dict]) -> None:
    options = ("--prompt", "the", "--max-tokens", 30, "--samples", 3)
    whole = described(*options)["samples"]
    stop = whole[1]["text"][3:6]
    for one, before in zip(described(*options, "--stop", stop)["samples"], whole, strict=True):
        assert one["text"] == before["text"].partition(stop)[0]
        assert one["stopped_by"] == (stop if stop in before["text"] else None)
        assert one["tokens"] == before["tokens"][: len(one["tokens"])]


def test_samples_without_chance_are_said_to_be_the_same(generate: Run) -> None:
    _, out, err = generate("--prompt", "the", "--temperature", 0, "--samples", 2, "--max-tokens", 3)
    assert "at temperature 0 all 2 samples are the same" in err
    first, second = re.split("--- sample . of 2 ---\n", out)[1:]
    assert first.strip() == second.strip()


def test_a_step_chooses_its_checkpoint(described: Callable[..., dict], generate: Run) -> None:
    newest, older = (described("--prompt", "the", "--max-tokens", 20, *step) for step in ((), ("--step", 20)))
    assert (newest["step"], older["step"]) == (40, 20)
    assert (
        described("--prompt", "the", "--max-tokens", 20, "--step", 40)["samples"]
        == newest["samples"]
        != older["samples"]
    )
    code, out, err = generate("--prompt", "the", "--step", 30)
    assert (code, out) == (6, "")
    assert "no checkpoint of step 30" in err
    assert "it has 20, 40" in err


def test_a_checkpoint_that_is_passed_over_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", "checkpoint.every=1")
    (run / "checkpoints" / "step-00000003" / "state.json").unlink()
    assert main(["generate", "--run", str(run), "--prompt", "a", "--max-tokens", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["step"] == 2
    assert "skipped the checkpoint" in err
    assert main(["generate", "--run", str(run), "--prompt", "a", "--step", "3"]) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--prompt", "a", "--prompt-file", "b"], 2, "--prompt and --prompt-file are both given: give one of them"),
        (["--prompt", "a\udcff"], 2, "--prompt is not UTF-8 at character 1"),
        (["--prompt-file", "missing.txt"], 3, "the prompt file missing.txt cannot be read (no such file or directory)"),
        (["--prompt-file", "."], 3, "the prompt file . cannot be read"),
        (["--prompt-file", "latin.txt"], 3, "latin.txt is not UTF-8: byte 0xe9 at byte offset 3"),
        (["--prompt-file", "nul.txt"], 3, "nul.txt contains a NUL at character 1"),
        (["--prompt", "a", "--temperature", "-1"], 2, "temperature is -1.0: give 0"),
        (["--prompt", "a", "--top-k", "-1"], 2, "top-k is -1"),
        (["--prompt", "a", "--top-p", "1.5"], 2, "top-p is 1.5: give a probability above 0 and at most 1"),
        (["--prompt", "a", "--min-p", "2"], 2, "min-p is 2.0"),
        (["--prompt", "a", "--repetition-penalty", "0"], 2, "repetition-penalty is 0.0"),
        (["--prompt", "a", "--max-tokens", "0"], 2, "--max-tokens"),
        (["--prompt", "a", "--seed", "-1"], 2, "--seed"),
        (["--prompt", "a", "--seed", str(2**64)], 2, "--seed"),
        (["--prompt", "a", "--samples", "0"], 2, "--samples"),
        (["--prompt", "a", "--stop", ""], 2, "a stop text is empty"),
        (["--prompt", "a", "--step", "x"], 2, "--step"),
        (["--prompt", "a", "--device", "tpu"], 2, "--device is 'tpu'"),
        (["--interactive", "--samples", "2"], 2, "--samples cannot be combined with --interactive"),
        (["--interactive", "--json"], 2, "--json cannot be combined with --interactive"),
        (["--interactive", "--prompt", "-"], 2, "--prompt - cannot be combined with --interactive"),
        (["--interactive", "--prompt-file", "-"], 2, "--prompt-file - cannot be combined with --interactive"),
    ],
)
def test_bad_input_is_one_sentence_and_its_exit_code(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin.txt").write_bytes("café".encode("latin-1"))
    Path("nul.txt").write_bytes(b"a\0b")
    found = main(["generate", "--run", str(folder), *arguments])
    out, err = capsys.readouterr()
    assert (found, out) == (code, "")
    assert words in err
    assert err.startswith("revlm: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("stdin", [Terminal(), None])
def test_no_prompt_at_a_terminal_says_how_to_give_one(
    generate: Run, monkeypatch: pytest.MonkeyPatch, stdin: Terminal | None
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    code, out, err = generate()
    assert (code, out) == (2, "")
    assert "give --prompt TEXT, --prompt-file FILE, text on standard input, or --interactive" in err


@pytest.mark.parametrize("arguments", [("--prompt", "-"), ("--prompt-file", "-"), ("--interactive",)])
def test_closed_standard_input_is_wrong_use(
    generate: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    code, out, err = generate(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("revlm: standard input is closed: ")


def test_standard_input_that_is_no_text_is_refused(generate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", standard_input(b"ab\xff"))
    code, _, err = generate()
    assert code == 3
    assert "standard input is not UTF-8: byte 0xff at byte offset 2" in err


def test_lines_are_continued_in_turns_with_all_that_stands_before(
    generate: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one text would be: what was typed and what was drawn, in one cache."""
    monkeypatch.setattr("sys.stdin", standard_input("the “old” \r\n\nclerk\\\n went\n".encode()))
    code, out, err = generate("--interactive", "--temperature", 0, "--max-tokens", 5)
    assert code == 0
    trained = load_model(folder, "cpu")
    text, expected = b"", ""
    for line in ("the “old” ", "", "clerk\n went"):
        generator = TextGenerator(trained.model, trained.tokenizer, Sampling(0))
        generator.append([*text, *line.encode()])
        drawn = bytes(each.token for [each] in generator.continue_tokens(5) if each)
        text += line.encode() + drawn
        expected += whole_characters(drawn) + "\n"
    assert out == expected
    # With the last token of each continuation but the last, which is taken in with the next line.
    given = "the “old” clerk\n went".encode()
    assert f"prompt: {len(given) + 2} tokens" in err
    assert "generated: 15 tokens" in err
    assert "Ctrl-D" not in err  # nobody sits there


def test_a_prompt_is_the_first_line(generate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", standard_input(b"the old\n went\n"))
    lines = generate("--interactive", "--temperature", 0, "--max-tokens", 5)[1]
    monkeypatch.setattr("sys.stdin", standard_input(b" went\n"))
    assert (
        generate("--interactive", "--prompt", "the old", "--temperature", 0, "--max-tokens", 5)[1] == f"the old{lines}"
    )


def test_a_stop_text_ends_a_continuation_and_not_the_turns(generate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", standard_input(b"the\n" * 3))
    out = generate("--interactive", "--max-tokens", 200, "--stop", " ", "--stop", "e")[1]
    assert out.count("\n") == 3
    assert not set(" e") & set(out)


def test_a_line_that_is_no_text_is_named(generate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", standard_input(b"the\n\xff\n"))
    code, _, err = generate("--interactive", "--max-tokens", 1)
    assert code == 3
    assert "line 2 of standard input is not UTF-8" in err


def test_no_line_at_all_writes_nothing(generate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", standard_input(b""))
    assert generate("--interactive") == (0, "", "")


def test_an_interrupted_text_ends_its_line(generate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate("--prompt", "the", "--max-tokens", 9)[1]
    numbers = iter(range(5))
    uniform = SampleRng.uniform

    def interrupted(chance: SampleRng) -> float:
        if next(numbers) == 4:
            raise KeyboardInterrupt
        return uniform(chance)

    monkeypatch.setattr(SampleRng, "uniform", interrupted)
    code, out, err = generate("--prompt", "the", "--max-tokens", 9)
    assert code == 130
    assert out.endswith("\n")
    assert out.startswith("the")
    assert len(out) > len("the\n")
    assert whole.startswith(out[:-1])
    assert err == "revlm: interrupted\n"


class Screen(io.BytesIO):
    """A terminal's bytes."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("is_terminal", "expected"), [(True, b"a\xef\xbf\xbd[2J\n"), (False, b"a\x1b[2J\n")])
def test_control_characters_do_not_reach_a_terminal(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, expected: bytes
) -> None:
    content = Screen() if is_terminal else io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="utf-8")
    monkeypatch.setattr("sys.stdout", stream)
    with guarded_streams():
        print_content("a\x1b[2J\n")
    assert content.getvalue() == expected


def test_a_long_prompt_tells_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_PROMPT_LINES", 0.0)
    with progress_module.PrefillProgress() as progress:
        for done in (4096, 8192, 10000):
            progress.show(done, 10000)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["prompt: 4", "prompt: 8"]
    assert re.fullmatch(r"prompt: 4,096 of 10,000 tokens, \d+:\d\d left", lines[0])


def test_a_long_prompt_has_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_module.PrefillProgress() as progress:
        progress.show(10, 10)
        assert sys.stderr.getvalue() == ""  # taken in at once
        progress.show(4096, 10000)
        progress.show(10000, 10000)
    assert "10000/10000" in sys.stderr.getvalue()


@pytest.mark.parametrize(("samples", "words"), [(1, "give a shorter prompt"), (2, "give fewer --samples or a shorter")])
def test_memory_that_runs_out_has_a_remedy(
    generate: Run, monkeypatch: pytest.MonkeyPatch, samples: int, words: str
) -> None:
    def take(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(TextGenerator, "append", take)
    code, _, err = generate("--prompt", "a", "--samples", samples)
    assert code == 4
    assert f"out of memory: {words}" in err


def test_ctrl_c_leaves_out_the_rest_of_a_long_line(generate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", standard_input(b"the old clerk walked home\n"))
    extend = CachedStack.extend

    def interrupted(stack: CachedStack, inputs: torch.Tensor) -> torch.Tensor:
        if stack.length == 8:
            signal.raise_signal(signal.SIGINT)
        return extend(stack, inputs)

    monkeypatch.setattr(CachedStack, "extend", interrupted)
    monkeypatch.setattr(text_generator, "Decoder", partial(Decoder, block=8))
    code, out, err = generate("--interactive", "--max-tokens", 5)
    assert (code, out) == (0, "\n")
    assert "the first 15 of this line's 25 tokens were appended, the rest was dropped" in err


def test_a_prompt_is_counted_alike_for_people_and_programs(generate: Run, folder: Path) -> None:
    given = ("--prompt", "the old", "--max-tokens", 2)
    counted = json.loads(generate(*given, "--json")[1])["prompt_tokens"]
    assert f"prompt: {counted} tokens in" in generate(*given)[2]


@pytest.mark.parametrize("options", [(), ("--interactive",)])
def test_a_prompt_longer_than_any_example_is_reported(generate: Run, folder: Path, options: tuple[str, ...]) -> None:
    given = ("--max-tokens", 1, *options)
    assert "no training example had more than 512" in generate(*given, "--prompt", "the old " * 80)[2]
    assert "no training example" not in generate(*given, "--prompt", "the old")[2]
