# ruff: noqa: RUF001 - texts in their own scripts
"""A guess at an encoding shows the words it gives, and is none where nothing fits."""

import json
from pathlib import Path

import pytest

from revlm.corpus.reading.readers.charsets import guess_of
from tests.corpus.reading.readers.reading import refused_or_skipped

TEXTS = {
    "Все счастливые семьи похожи друг на друга, каждая несчастливая по-своему.": "cp1251 koi8_r iso8859_5 cp866",
    "Στην αρχή ήταν ο λόγος και ο λόγος ήταν προς τον Θεό, και Θεός ήταν ο λόγος.": "cp1253 iso8859_7",
    "בראשית ברא אלהים את השמים ואת הארץ והארץ היתה תהו ובהו": "cp1255 iso8859_8",
    "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。": "gbk gb18030",
    "話說天下大勢，分久必合，合久必分。周末七國分爭，并入於秦。": "big5",
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。": "shift_jis euc_jp iso2022_jp",
    "나랏말이 중국과 달라 한자와 서로 통하지 아니하므로 어리석은 백성이": "euc_kr cp949",
    "กาลครั้งหนึ่งนานมาแล้ว มีเจ้าหญิงองค์หนึ่งอาศัยอยู่ในปราสาทใหญ่": "tis_620",
    "Kdysi dávno žil v malém městečku příšerně žluťoučký kůň, který úpěl ďábelské ódy.": "cp1250 iso8859_2",
    "Longtemps, je me suis couché de bonne heure. Parfois, à peine ma bougie éteinte": "latin1 cp1252",
}
WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize(("text", "encoding"), [(text, name) for text in TEXTS for name in TEXTS[text].split()])
def test_the_first_words_are_shown_as_they_are(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(f"A line.\n{text}\n".encode(encoding))
    refused_or_skipped(path, f"is not UTF-8: .*; perhaps .*“{text[:20]}.*”, confidence \\d\\d%", [])


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("text", [next(iter(TEXTS)), "A text of plain letters. " * 9])
def test_wider_encodings_are_told_apart(tmp_path: Path, text: str, encoding: str) -> None:
    name = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    for path, content in ((tmp_path / "a.txt", text), (tmp_path / "a.jsonl", json.dumps({"text": text}))):
        path.write_bytes(content.encode(encoding))
        refused_or_skipped(path, f"perhaps {name} \\(“.*iconv -f {name} -t utf-8", [])


@pytest.mark.parametrize("raw", [b"caf\xe9", bytes(range(1, 256)), b"\xff\0\1", b""])
def test_what_nothing_fits_is_not_known(raw: bytes) -> None:
    guess = guess_of(raw)
    assert guess.clause.startswith("its encoding is unknown")
    assert "iconv" not in guess.remedy
