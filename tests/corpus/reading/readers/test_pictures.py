"""`--tokenizer pixels`: a picture is a document, pixel by pixel; what is no such picture is named in a sentence."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from revlm.cli import main
from revlm.corpus import Tokenizer, open_tokenizer, tokenize_corpus
from revlm.corpus.reading.readers.picture import picture_document
from revlm.corpus.store import decoded
from revlm.corpus.store.token_store import TokenStore
from revlm.corpus.tokenizing.tokenizer import PixelTokenizer
from revlm.errors import DataError, UsageError
from revlm.limits import Limits
from revlm.pictures import PictureShape, document_of, pixels_of

GENERATOR = np.random.default_rng(0)
COLOUR = GENERATOR.integers(0, 256, (7, 11, 3), dtype=np.uint8)
GREY = COLOUR[:, :, 0]


def stored(folder: Path, place: Path, **options: object) -> list[np.ndarray]:
    """The pictures of the store of a folder."""
    tokenize_corpus(folder, place, tokenizer="pixels", workers=1, replace=True, **options)  # type: ignore[arg-type]
    store = TokenStore(place)
    return [pixels_of(b"".join(decoded(store, number))) for number in range(len(store))]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


def test_pixels_are_exact_row_by_row_and_channel_by_channel(pictures: Path, tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(pictures / "a colour.PNG")
    Image.fromarray(GREY).save(pictures / "b.png")
    Image.fromarray(COLOUR).save(pictures / "c.webp", lossless=True)
    Image.fromarray(COLOUR).save(pictures / "d.jpg", quality=95)
    Image.fromarray(COLOUR).quantize(8).save(pictures / "e.png")
    Image.fromarray(GREY > 127).save(pictures / "f.png")
    (pictures / "notes.txt").write_text("no picture")
    found = stored(pictures, tmp_path / "store")
    expected = [COLOUR, GREY[:, :, None], COLOUR]
    expected += [np.asarray(Image.open(pictures / "d.jpg")), np.asarray(Image.open(pictures / "e.png").convert("RGB"))]
    expected += [np.where(GREY > 127, 255, 0)[:, :, None]]
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    store = TokenStore(tmp_path / "store")
    assert store.titles[0] == "a colour"
    tokens = np.concatenate([np.asarray(part) for part in store.texts[0].parts])
    assert tokens[:11].tolist() == [0, 7, 0, 11, 3, *COLOUR[0, :2].flatten().tolist()]
    [skipped] = store.skipped()
    assert (skipped.path, skipped.reason) == ("notes.txt", "not a picture file (.png, .jpg, .jpeg or .webp)")


def test_documented_conversions(pictures: Path, tmp_path: Path) -> None:
    transparent = np.dstack([COLOUR, np.where(GREY > 127, 255, 0).astype(np.uint8)])
    Image.fromarray(transparent).save(pictures / "a.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(COLOUR).save(pictures / "b.png", exif=turned)
    palette = Image.fromarray(COLOUR).quantize(8)
    palette.save(pictures / "c.png", transparency=0)
    Image.fromarray(transparent).convert("LA").save(pictures / "d.png")
    on_white, upright, of_palette, of_grey = stored(pictures, tmp_path / "store")
    assert np.array_equal(on_white, np.where((GREY > 127)[:, :, None], COLOUR, 255))
    assert np.array_equal(upright, np.rot90(COLOUR, -1))
    colours = np.asarray(palette.convert("RGB"))
    assert np.array_equal(of_palette, np.where((np.asarray(palette) == 0)[:, :, None], 255, colours))
    greys = np.asarray(Image.fromarray(COLOUR).convert("L"))
    assert np.array_equal(of_grey[:, :, 0], np.where(GREY > 127, greys, 255))


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_that_of_pillow(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(pixels_of(picture_document(tmp_path / "a.png", PictureShape())), expected)


@pytest.mark.parametrize("size", [5, 7, 20])
def test_a_size_is_fitted_and_cropped_and_kept_with_the_tokenizer(pictures: Path, tmp_path: Path, size: int) -> None:
    Image.fromarray(COLOUR).save(pictures / "a.png")
    Image.fromarray(COLOUR[:7, :7]).save(pictures / "b.png")
    first, second = stored(pictures, tmp_path / "store", size=size, grey=True)
    assert first.shape == second.shape == (size, size, 1)
    if size == 7:  # needs no scaling
        assert np.array_equal(second[:, :, 0], np.asarray(Image.fromarray(COLOUR[:7, :7]).convert("L")))
    tokenizer = open_tokenizer(tmp_path / "store")
    assert tokenizer.pictures == PictureShape(size, is_grey=True)
    again = tokenize_corpus(pictures, tmp_path / "again", tokenizer=tmp_path / "store")
    assert again.bytes == 2 * (5 + size * size)


def test_a_damaged_tag_beside_the_orientation_changes_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a title"
    tags = exif.tobytes().replace(b"\x01\x0e\x00\x02", b"\x01\x00\x00\x02")  # a width that is a text
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=tags)
    assert np.array_equal(pixels_of(picture_document(tmp_path / "a.png", PictureShape())), np.rot90(COLOUR, -1))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, kind: int, data: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def saved(picture: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose frame header says this size."""
    content = bytearray(saved(SMALL, "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of_size(width: int, height: int) -> bytes:
    """A lossy WebP whose frame header says this size."""
    content = bytearray(saved(SMALL, "WEBP"))
    frame = content.index(b"\x9d\x01\x2a")
    content[frame + 3 : frame + 7] = struct.pack("<HH", width, height)
    return bytes(content)


def with_chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG with another chunk behind its header."""
    whole = saved(SMALL, "PNG")
    return whole[:33] + chunk(kind, content) + whole[33:]


def with_scans(count: int) -> bytes:
    """A progressive JPEG with its last scan many times."""
    progressive = saved(SMALL, "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    return progressive[:last] + count * progressive[last:-2] + progressive[-2:]


SMALL = Image.fromarray(COLOUR)
BAD: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "empty": ("png", lambda: b"", "is not a PNG, JPEG or WebP picture"),
    "text": ("jpg", lambda: b"not a picture", "is not a PNG, JPEG or WebP picture"),
    "another format": ("png", lambda: saved(SMALL, "GIF"), "is not a PNG, JPEG or WebP picture"),
    "truncated": ("png", lambda: saved(SMALL, "PNG")[:-60], "is damaged or truncated"),
    "truncated jpeg": ("jpeg", lambda: saved(SMALL, "JPEG")[:-80], "is damaged or truncated"),
    "flipped": ("png", lambda: saved(SMALL, "PNG").replace(b"IDAT", b"IDAX"), "is not a PNG, JPEG or WebP picture"),
    "bomb": ("png", lambda: png(60_000, 60_000, 8, 2), "has (too many pixels|60,000 x 60,000 pixels)"),
    "bomb beside pillow's bound": ("png", lambda: png(9_000, 9_000, 8, 0), "has 9,000 x 9,000 pixels, more than"),
    "too wide": ("png", lambda: png(70_000, 1, 8, 0), "has 70,000 x 1 pixels"),
    "no pixels": ("png", lambda: png(4, 4, 8, 2), "is damaged or truncated"),
    "16 bits": ("png", lambda: saved(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"), "has 16 bits a channel"),
    "16 bits of colour": ("png", lambda: png(1, 1, 16, 2, b"\0" + b"abcdef"), "has 16 bits a channel"),
    "cmyk": ("jpg", lambda: saved(SMALL.convert("CMYK"), "JPEG"), r"has colours that are not RGB \(CMYK\)"),
    "bomb of a jpeg": ("jpg", lambda: jpeg_of_size(60_000, 60_000), "has (too many pixels|60,000 x 60,000 pixels)"),
    "bomb of a webp": ("webp", lambda: webp_of_size(16_383, 16_383), "has (too many pixels|16,383 x 16,383 pixels)"),
    "bomb in a text": ("png", lambda: with_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26))), "is damaged"),
    "inverted cmyk": ("jpg", lambda: saved(SMALL.convert("CMYK"), "JPEG", quality=30), "colours that are not RGB"),
    "thousands of scans": ("jpg", lambda: with_scans(5_000), "has more than 100 scans"),
    "16 bits of grey and alpha": ("png", lambda: png(1, 1, 16, 4, b"\0abcd"), "has 16 bits a channel"),
    "animated png": ("png", lambda: saved(SMALL, "PNG", save_all=True, append_images=[SMALL.rotate(180)]), "animated"),
    "animated webp": (
        "webp",
        lambda: saved(SMALL, "WEBP", save_all=True, append_images=[SMALL.rotate(180)]),
        "animated",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_a_document_is_named_in_one_sentence(pictures: Path, tmp_path: Path, case: str) -> None:
    ending, content, message = BAD[case]
    (pictures / f"bad.{ending}").write_bytes(content())
    SMALL.save(pictures / "good.png")
    with pytest.raises(DataError, match=message) as raised:
        stored(pictures, tmp_path / "store")
    assert f"bad.{ending}" in str(raised.value)
    assert "--errors skip" in str(raised.value)
    assert "\n" not in str(raised.value)
    [found] = stored(pictures, tmp_path / "store", errors="skip")
    assert np.array_equal(found, COLOUR)


def test_a_progressive_jpeg_keeps_its_pixels(pictures: Path, tmp_path: Path) -> None:
    (pictures / "a.jpg").write_bytes(with_scans(1))
    [found] = stored(pictures, tmp_path / "store")
    assert np.array_equal(found, np.asarray(Image.open(pictures / "a.jpg")))


def test_a_higher_limit_reads_a_larger_picture(pictures: Path, tmp_path: Path) -> None:
    SMALL.save(pictures / "a.png")
    with pytest.raises(
        DataError, match=r"has 11 x 7 pixels, more than 300 bytes hold at 4 a pixel; .*--max-line-bytes"
    ):
        stored(pictures, tmp_path / "store", limits=Limits(max_line_bytes=300))
    assert len(stored(pictures, tmp_path / "store", limits=Limits(max_line_bytes=308))) == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_fuzzed_pictures_are_read_or_named(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "a title", 72.0
    draws, whole = random.Random(kind), saved(SMALL, kind, exif=exif)
    path = tmp_path / "a"
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(draws.randint(1, 4)):
            content[draws.randrange(len(content))] = draws.choice((0, 1, 255, draws.randrange(256)))
        path.write_bytes(content[: draws.randint(1, len(content))] if draws.random() < 0.2 else content)
        said = ""
        try:
            pixels_of(picture_document(path, PictureShape()))
        except DataError as error:
            said = str(error)
        assert len(said.splitlines()) <= 1


def test_wrong_use_is_one_sentence(pictures: Path, tmp_path: Path) -> None:
    SMALL.save(pictures / "a.png")
    for options, message in (
        ({"tokenizer": "bytes", "size": 8}, "--size and --grey apply to --tokenizer pixels"),
        ({"grey": True}, "--size and --grey apply to --tokenizer pixels"),
        ({"tokenizer": "pixels", "binary": True}, "leave one out"),
        ({"tokenizer": "pixels", "size": 70_000}, "--size 70000 is not a number of pixels"),
    ):
        with pytest.raises(UsageError, match=message):
            tokenize_corpus(pictures, tmp_path / "store", **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="save them to a folder"):
        tokenize_corpus("-", tmp_path / "store", tokenizer="pixels")
    assert main(["tokenize", str(pictures), "-o", str(tmp_path / "store"), "--tokenizer", "pixels", "--size", "4"]) == 0
    assert main(["tokenize", str(pictures), "--show-removed", "--tokenizer", "pixels"]) == 2
    assert main(["tokenize", str(pictures), "--show-removed", "--grey"]) == 2
    assert main(["tokenize", str(pictures), "--only-tokenizer", "--size", "4"]) == 2


@pytest.mark.parametrize(
    "content", [b'{"kind": "pixels"}\n', b'{"kind": "pixels", "begin_id": 256, "size": 0, "grey": true}\n', b"{}"]
)
def test_a_tokenizer_of_pictures_is_read_strictly(tmp_path: Path, content: bytes) -> None:
    PixelTokenizer(PictureShape(64, is_grey=True)).save(tmp_path)
    assert Tokenizer.load(tmp_path).pictures == PictureShape(64, is_grey=True)
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(DataError, match="is not a byte tokenizer"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("document", [b"", b"\0\1\0\1\2..", document_of(COLOUR)[:-1], document_of(COLOUR) + b"x"])
def test_only_the_document_of_a_picture_is_one(document: bytes) -> None:
    with pytest.raises(DataError, match="not a picture"):
        pixels_of(document)
