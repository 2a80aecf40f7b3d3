import pytest

from revlm.report import Curve
from revlm.report.pictures.canvas import Canvas
from revlm.report.pictures.plan import draw_sweep
from revlm.report.pictures.theme import DARK, LIGHT
from tests.report.test_pictures import shown, texts

CURVES = [
    Curve("reversible", [8192, 65536, 524288], [10**8, 7 * 10**8, 5 * 10**9], [11 * 10**7, None, None]),
    Curve("stored", [8192, 65536, 524288], [10**9, 8 * 10**9, 6 * 10**10], [None, None, None]),
]


@pytest.mark.parametrize("canvas", [Canvas(LIGHT, title="Peak memory"), Canvas(DARK, 3.6)])
def test_no_text_is_clipped(canvas: Canvas) -> None:
    figure = draw_sweep("data.seq_len", CURVES, canvas)
    for text in texts(figure):
        box = text.get_window_extent()
        assert figure.bbox.x0 - 1 <= box.x0, text.get_text()
        assert box.x1 <= figure.bbox.x1 + 1, text.get_text()
        assert figure.bbox.y0 - 1 <= box.y0, text.get_text()


def test_measured_points_are_drawn_where_there_are_any() -> None:
    figure = draw_sweep("data.seq_len", CURVES, Canvas(LIGHT))
    words = shown(figure)
    for word in ("reversible, planned", "stored, planned", "reversible, measured", "data.seq_len", "GB", "500K"):
        assert word in words
    assert "stored, measured" not in words
    planned, measured, stored = figure.axes[0].lines
    assert list(measured.get_xdata()) == [8192]
    assert len(planned.get_xdata()) == len(stored.get_xdata()) == 3
