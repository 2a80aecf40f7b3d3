"""The page that compares runs: losses in one picture, peak memory, key figures, and differences between recipes."""

from collections.abc import Iterator, Sequence
from functools import partial

from revlm.evaluation.probes import PROBES
from revlm.evaluation.score_views import position_chart
from revlm.evaluation.views import Chart
from revlm.report.history import History
from revlm.report.page import POSITIONS, Section
from revlm.report.pictures.charts import draw_compared
from revlm.report.pictures.overlay import draw_losses, draw_peaks, run_names
from revlm.report.pictures.picture import Picture
from revlm.report.rendering import page
from revlm.report.summary import summarize
from revlm.text import ABSENT


def comparison_page(histories: Sequence[History]) -> str:
    """The self-contained HTML page that compares runs."""
    names = run_names(histories)
    return page(
        "comparison.html.j2",
        title=f"{len(histories)} revlm runs compared",
        names=names,
        sections=[
            Section("Loss", comparison_picture(histories), ""),
            *compared_evaluations(histories).values(),
            Section("Peak memory", peaks_picture(histories), ""),
        ],
        summaries=[summarize(history) for history in histories],
        differences=list(_differences(histories)),
    )


def comparison_picture(histories: Sequence[History]) -> Picture:
    """The losses of all runs in one picture."""
    words = f"Training losses of {', '.join(run_names(histories))} over each other"
    return Picture(lambda canvas: draw_losses(histories, canvas), words)


def peaks_picture(histories: Sequence[History]) -> Picture:
    """The peak memory of each run."""
    return Picture(lambda canvas: draw_peaks(histories, canvas), "Peak memory of each run")


def compared_evaluations(histories: Sequence[History]) -> dict[str, Section]:
    """Sections that compare the evaluations of at least two runs, by picture name; a run has the same colour in all."""
    names = run_names(histories)
    sections = {}
    for name, heading, charts in _compared_charts(histories):
        if sum(chart is not None for chart in charts) > 1:
            drawing = partial(draw_compared, dict(zip(names, charts, strict=True)))
            picture = Picture(drawing, f"{heading} of {', '.join(names)}")
            sections[name] = Section(heading, picture, "")
    return sections


def _compared_charts(histories: Sequence[History]) -> Iterator[tuple[str, str, list[Chart | None]]]:
    evaluations = [history.evaluation for history in histories]
    yield (
        POSITIONS,
        "Loss by position in the document",
        [None if each is None else position_chart(each) for each in evaluations],
    )
    for name, probe in PROBES.items():
        if probe.compared:
            found = [getattr(each, name, None) for each in evaluations]
            panels = [() if each is None else probe.panels(each) for each in found]
            charts = [next((panel for panel in each if isinstance(panel, Chart)), None) for each in panels]
            yield name, probe.title, charts


def _differences(histories: Sequence[History]) -> Iterator[tuple[str, list[str]]]:
    """Yields the recipe keys whose values differ between runs, with their values."""
    for key in dict.fromkeys(key for history in histories for key in history.settings):
        values = [str(history.settings.get(key, ABSENT)) for history in histories]
        if key != "output_dir" and len(set(values)) > 1:
            yield key, values
