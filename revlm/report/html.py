"""The shell of a page: one file with its style inside, which may load nothing from anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from typing import Any

from revlm.report.pictures import Picture, picture_html
from revlm.report.theme import DARK, LIGHT, Theme
from revlm.report.units import ABSENT, visible_text


def document(title: str, body: Sequence[str]) -> str:
    """A whole HTML page, light or dark as the reader's system is."""
    style = files("revlm.report").joinpath("page.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            # A sample of text could hold markup that we failed to escape: even then nothing is loaded or run.
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
            f"<title>{text(title)}</title>",
            "<style>",
            f":root {{ {_variables(LIGHT)} }}",
            f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}",
            style + "</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>\n",
        ]
    )


def section(heading: str, *content: str) -> str:
    """A part of the page under its heading."""
    return "\n".join([f"<section>\n<h2>{text(heading)}</h2>", *content, "</section>"])


def figure(picture: Picture, caption: str) -> str:
    """A picture with its caption."""
    return f"<figure>\n{picture_html(picture)}\n<figcaption>{text(caption)}</figcaption>\n</figure>"


def text(content: object) -> str:
    """Content as text of a page, control characters made visible."""
    return escape(visible_text(str(content)))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """A table of cells that are HTML already; with `numbers` all columns but the first stand to the right."""

    def row(tag: str, cells: Sequence[str]) -> str:
        number = ' class="number"' if numbers else ""
        columns = (f"<{tag}{number if place else ''}>{cell}</{tag}>" for place, cell in enumerate(cells))
        return f"<tr>{''.join(columns)}</tr>"

    head = f"<thead>{row('th', header)}</thead>" if header else ""
    body = "\n".join(row("td", cells) for cells in rows)
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested keys joined by dots, with values as text; a null value is shown as absent."""
    result: dict[str, str] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            result[f"{prefix}{key}"] = ", ".join(map(str, value))
        else:
            result[f"{prefix}{key}"] = ABSENT if value is None else str(value)
    return result


def _variables(theme: Theme) -> str:
    colors = {name: value for name, value in asdict(theme).items() if isinstance(value, str)}
    colors |= {f"run-{place}": color for place, color in enumerate(theme.runs)}
    return " ".join(f"--{name}: {color};" for name, color in colors.items())
