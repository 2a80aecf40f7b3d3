"""Pictures and bytes from Python: what `revlm generate` writes, and what is no picture is a sentence."""

import random
from pathlib import Path

import numpy as np
import pytest

from revlm.corpus.tokenizing.tokenizer import PixelTokenizer
from revlm.errors import DataError, UsageError
from revlm.generation import Sampling, TextGenerator, generate_bytes, generate_pictures, sample_pictures
from revlm.model import RevLM
from revlm.pictures import PictureShape, document_bytes, document_of, header_of, pixels_of
from revlm.recipe import Model
from tests.tiny_pictures import write_picture_run
from tests.tiny_run import write_run

GREY = np.random.default_rng(0).integers(0, 256, (6, 5, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    return write_picture_run(place, "evaluate.prompts=[]", size=5, grey=True)


def test_pictures_are_whole_or_completed_and_a_seed_gives_them_again(run: Path) -> None:
    whole = generate_pictures(run, samples=2, device="cpu")
    assert [picture.shape for picture in whole] == [(5, 5, 1)] * 2
    [first] = generate_pictures(run, device="cpu")
    assert np.array_equal(first, whole[0])
    file = run.parent / "files" / "1.png"
    [completed] = generate_pictures(run, file, rows=4, seed=3, sampling=Sampling(temperature=2.0), device="cpu")
    [given] = generate_pictures(run, file, rows=4, seed=4, sampling=Sampling(temperature=2.0), device="cpu")
    assert np.array_equal(completed[:4], given[:4])
    assert not np.array_equal(completed[4], given[4])


def test_bytes_go_on_as_text_does(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "train.max_steps=1")
    found = b"".join(generate_bytes(b"\xff\0the", run, max_tokens=20, seed=1, device="cpu"))
    assert len(found) == 20
    assert found == b"".join(generate_bytes(b"\xff\0the", run, max_tokens=20, seed=1, device="cpu"))
    assert b"".join(generate_bytes(b"", run, max_tokens=0, device="cpu")) == b""
    with pytest.raises(UsageError, match="is not a model of pictures"):
        generate_pictures(run, device="cpu")


def test_wrong_use_is_one_sentence(run: Path) -> None:
    for options, kind, words in (
        ({"samples": 0}, UsageError, "samples is 0"),
        ({"picture": run.parent / "files" / "0.png", "rows": 5}, UsageError, "leaves nothing to complete"),
        ({"picture": run.parent / "files"}, DataError, "cannot be read"),
        ({"picture": run.parent / "none.png"}, DataError, "cannot be read"),
        ({"picture": run / "recipe.yaml"}, DataError, "is not a PNG, JPEG or WebP picture"),
    ):
        with pytest.raises(kind, match=words) as raised:
            generate_pictures(run, device="cpu", **options)  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)


def test_a_fuzzed_header_is_a_picture_or_one_sentence() -> None:
    draws, document = random.Random(0), document_of(GREY)
    edges = [header_of(*shape) for shape in ((0, 5, 1), (6, 0, 1), (6, 5, 0), (6, 5, 2), (6, 5, 4), (65535, 65535, 3))]
    found, said = 0, set[str]()
    for number in range(3000):
        content = bytearray(document)
        for _ in range(draws.randint(1, 3)):
            content[draws.randrange(5)] = draws.choice((0, 1, 3, 5, 6, 15, 30, draws.randrange(256)))
        if number < len(edges):
            content[:5] = edges[number]
        whole = bytes(content[: draws.choice((len(content), 5, draws.randrange(len(content) + 1)))])
        try:
            height, width, channels = pixels_of(whole).shape
        except DataError as error:
            said.add(str(error))
        else:
            found += 1
            assert 5 + height * width * channels == len(whole)
            assert min(height, width) > 0
            assert channels in (1, 3)
    assert found  # 5 x 6 is one of 6 x 5
    [sentence] = said
    assert sentence.startswith("these bytes are not a picture")


@pytest.mark.parametrize("prompt", [b"", b"\0\6\0\5", header_of(0, 5, 1), header_of(5, 5, 2)])
def test_a_prompt_that_begins_no_picture_is_refused_before_anything_is_sampled(prompt: bytes) -> None:
    model = RevLM(
        Model(d_model=8, n_layers=1, n_heads=2, d_ff=8, window=4, n_rounds=1, n_buckets=4), vocab_size=257, seed=0
    )
    tokenizer = PixelTokenizer(PictureShape(5, is_grey=True))
    generator = TextGenerator(model.eval(), tokenizer, Sampling())
    with pytest.raises(DataError, match="not a picture"):
        sample_pictures(generator, tokenizer, prompt)
    assert not generator.prefill.tokens


def test_a_document_says_how_long_it_is() -> None:
    assert document_bytes(header_of(65535, 65535, 3)) == 5 + 3 * 65535**2
