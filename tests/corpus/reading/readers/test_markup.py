"""Every kind of markup that e-books hold, and what is to be read of it."""

import pytest

from revlm.corpus.reading.readers.markup import Markup, MarkupError
from revlm.corpus.reading.readers.raw import PLAIN_READING, Reading
from revlm.errors import Interrupted
from revlm.limits import Limits

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
SUBSET = '<!DOCTYPE html [<!ENTITY hero "Ishmael"> <!ENTITY bold "<b>Ahab</b>"> <!ENTITY nbsp "~">]>'
MATH = """<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow><mi>x</mi><mo>=</mo>
<mfrac><mn>1</mn><mn>2</mn></mfrac></mrow><annotation encoding="TeX">x=\\frac12</annotation>
<annotation-xml><ci>x</ci></annotation-xml></semantics></math>"""
CASES = {
    "MathML, once and with its fraction": (f"<p>where {MATH} is</p>", "where x= 1/2 is"),
    "the same in HTML": (f"<p>where {MATH}<br> is", "where x= 1/2\nis"),
    "a head that is not closed": ("<html><head><title>T</title><body><p>kept</p></html>", "kept"),
    "neither head nor body": ("<title>T</title><p>kept", "kept"),
    "declared entities": (f"{SUBSET}<html><p>&hero; &bold;&nbsp;&mdash;!</p></html>", "Ishmael Ahab~—!"),
    "declared entities of HTML": (f"{SUBSET}<html><p>&hero;&mdash;<br>!</html>", "Ishmael—\n!"),
    "names of characters": ("<p>a&nbsp;b &mdash; &amp; &lt;i&gt;</p>", "a\u00a0b — & <i>"),
    "an entity in marked text": ("<p><![CDATA[&mdash; < 3]]></p>", "&mdash; < 3"),
    "marked text in HTML": ("<p><![CDATA[&mdash; < 3]]><br>", "&mdash; < 3"),
    "tspan": ("<svg><text><tspan>One</tspan><tspan>Two</tspan></text></svg>", "One Two"),
    "tspan by place": ('<svg><text>One<tspan x="1" y="2">Two</tspan></text></svg>', "One Two"),
    "tspan within a word": ("<svg><text><tspan>wo</tspan>rd</text></svg>", "word"),
    "texts and titles of a drawing": ("<svg><title>no</title><text>a</text><text>b</text></svg>", "a\n\nb"),
    "options": ("<select><option>a</option><option>b</option></select>", "a b"),
    "elements of no standard": ("<p><x-a>c</x-a><x-a>d</x-a></p>", "c d"),
    "a drop cap": ("<p><span>O</span>nce <b>u</b><i>pon</i></p>", "Once upon"),
    "prefixes": (
        '<h:html xmlns:h="x"><h:head><h:title>T</h:title></h:head><h:body><h:p>a</h:p><h:p>b</h:p></h:body></h:html>',
        "a\n\nb",
    ),
    "ruby": ("<p><ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp>字<rtc><rt>ji</rt></rtc></ruby>。</p>", "漢字。"),
    "DTBook": (
        "<dtbook><book><frontmatter><doctitle>Book</doctitle></frontmatter><level1><h1>I</h1><pagenum>7</pagenum>"
        "<linegroup><line>one</line><line>two</line></linegroup></level1></book></dtbook>",
        "Book\n\nI\n\none\n\ntwo",
    ),
    "an element that is empty": ('<p>a<a id="x"/>b<script src="x"/>c<title/>d</p>', "abcd"),
    "script and style": ("<p>a<script>if (1 < 2) </script><style>p {}</style>b", "ab"),
    "preformatted": ("<div> a  b<pre>  as\n it  stands</pre></div>", "a b\n\n  as\n it  stands"),
    "an entity of a file": ('<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/hostname">]><p>x&a;y</p>', "x&a;y"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_read_of_markup(case: str) -> None:
    markup, text = CASES[case]
    assert Markup(markup, Reading()).text == text


def test_the_title_is_that_of_the_head() -> None:
    assert Markup("<html><head><title> A\n title</title></head><p>x<svg><title>no</title></svg>", Reading()).title == (
        "A title"
    )


BOMB = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    ("markup", "reason"),
    [
        ("<b>" * 1_000_000, "more than 1,000 deep"),
        ("<b>" * 1_001 + "</b>" * 1_001, "more than 1,000 deep"),
        ("<b>" * 500 + "</i>" * 300_000, ""),
        ("<a " * 350_000, ""),
        ("<p " + " ".join(f"a{n}='{n}'" for n in range(100_000)) + ">x</p>", ""),
        ("<![CDATA[" * 100_000, ""),
        ("<!--" * 250_000, ""),
        ("<!DOCTYPE [" * 90_000, ""),
        ("&" * 1_000_000, ""),
        ("<" * 300_000, ""),
        (f'<!DOCTYPE l [<!ENTITY a "ha">{BOMB}]><l>&j;</l>', "entities expand without bound"),
        ('<!DOCTYPE l [<!ENTITY a "&b;"><!ENTITY b "&a;">]><l>&a;</l>', "entities expand without bound"),
    ],
)
def test_markup_made_to_take_for_ever_does_not(markup: str, reason: str) -> None:
    calls = 0

    def count_call() -> None:
        nonlocal calls
        calls += 1

    if reason:
        with pytest.raises(MarkupError, match=reason):
            Markup(markup, Reading(raise_if_stopped=count_call))
    else:
        Markup(markup, Reading(raise_if_stopped=count_call))
    assert calls > 0


def test_the_limit_of_nesting_can_be_raised() -> None:
    markup = "<b>" * 2_000 + "x" + "</b>" * 2_000
    assert Markup(markup, Reading(limits=Limits(max_nesting=2_000))).text == "x"


def test_a_stop_interrupts_a_chapter() -> None:
    asked = iter(range(9))

    def stop_at_fourth_call() -> None:
        if next(asked) == 3:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        Markup("<p>word</p>" * 100_000, Reading(raise_if_stopped=stop_at_fourth_call))


def test_a_document_of_too_many_elements_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("revlm.corpus.reading.readers.markup._MAX_ELEMENTS", 6)
    assert Markup("<html><body><p>a</p><p>b</p><p>c<br/></p></body></html>", PLAIN_READING).text == "a\n\nb\n\nc"
    for ill_formed in ("", "<p>"):
        with pytest.raises(MarkupError, match="more than 6 elements"):
            Markup(f"<html><body>{'<p>a</p>' * 5}{ill_formed}</body></html>", PLAIN_READING)


def test_what_is_hidden_leaves_neither_strokes_of_fractions_nor_line_ends() -> None:
    hidden = "<annotation-xml><mfrac><mi>y</mi><mi>z</mi></mfrac></annotation-xml>"
    assert Markup(f"<p><math><mi>x</mi>{hidden}</math>a<rt>b<br/>c</rt>d</p>", PLAIN_READING).text == "xad"
