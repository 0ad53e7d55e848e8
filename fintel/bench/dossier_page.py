"""Chapters of sections as Markdown files and as one HTML page: no script, no network, the same bytes for the same text.

What stands in a card or a record may come from elsewhere: it is written as text, never as markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fintel.reports.text import clean

_LONGEST = 2_000
_STYLE = (
    "body{font-family:sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;line-height:1.45;color:#222}"
    "table{border-collapse:collapse;margin:.6rem 0 1.2rem;font-size:.9rem}td,th{border:1px solid #ccc;"
    "padding:.25rem .5rem;text-align:left;vertical-align:top}th{background:#f2f4f7}"
    "h1{margin-top:3rem;border-bottom:2px solid #1f4e79}"
    "nav li{margin:.1rem 0}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Section:
    """A heading with sentences, a list and a table below it, all plain text. ``picture``: SVG of our own making."""

    heading: str
    sentences: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    picture: str = ""

    @property
    def anchor(self) -> str:
        """As in a link to the heading."""
        return re.sub(r"[^a-z0-9]+", "-", self.heading.lower()).strip("-")


@dataclass(frozen=True)
class Chapter:
    """A file of the dossier. ``name``: without ending."""

    name: str
    title: str
    sections: tuple[Section, ...]


def markdown(chapter: Chapter) -> str:
    """One chapter as Markdown; pictures are files beside it."""
    lines = [f"# {_md(chapter.title)}", ""]
    for section in chapter.sections:
        lines += [f"## {_md(section.heading)}", ""]
        for sentence in section.sentences:
            lines += [_md(sentence), ""]
        if section.items:
            lines += [*(f"- {_md(item)}" for item in section.items), ""]
        if section.rows:
            lines += [_row(section.columns), _row("---" for _ in section.columns), *map(_row, section.rows), ""]
        if section.picture:
            lines += [f"![{_md(section.heading)}]({picture_name(chapter, section)})", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def picture_name(chapter: Chapter, section: Section) -> str:
    """File of a section's picture."""
    return f"{chapter.name}-{section.anchor}.svg"


def page(title: str, chapters: Sequence[Chapter]) -> str:
    """All chapters as one HTML page."""
    contents = "".join(f'<li><a href="#{c.name}">{_html(c.title)}</a></li>' for c in chapters)
    body = "\n".join(_chapter(c) for c in chapters)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<title>{_html(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<p><strong>{_html(title)}</strong></p>\n<nav><ul>{contents}</ul></nav>\n"
        f"{body}\n</body>\n</html>\n"
    )


def _chapter(chapter: Chapter) -> str:
    parts = [f'<h1 id="{chapter.name}">{_html(chapter.title)}</h1>']
    for section in chapter.sections:
        parts.append(f'<h2 id="{chapter.name}-{section.anchor}">{_html(section.heading)}</h2>')
        parts += [f"<p>{_html(sentence)}</p>" for sentence in section.sentences]
        if section.items:
            parts.append("<ul>" + "".join(f"<li>{_html(item)}</li>" for item in section.items) + "</ul>")
        if section.rows:
            head = "".join(f"<th>{_html(c)}</th>" for c in section.columns)
            rows = "".join("<tr>" + "".join(f"<td>{_html(v)}</td>" for v in row) + "</tr>" for row in section.rows)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
        parts.append(section.picture)
    return "\n".join(part for part in parts if part)


def files(title: str, chapters: Sequence[Chapter]) -> Mapping[str, str]:
    """Every file by its name: chapters, their pictures and the page."""
    made = {f"{c.name}.md": markdown(c) for c in chapters}
    made |= {picture_name(c, s): s.picture for c in chapters for s in c.sections if s.picture}
    return {**made, "dossier.html": page(title, chapters)}


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_md(cell) for cell in cells) + " |"


def _md(text: str) -> str:
    """Text that Markdown takes as text: no link, no HTML, no end of a cell or line."""
    plain = " ".join(clean(text, _LONGEST).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|\[\]`])", r"\\\1", plain)


def _html(text: str) -> str:
    return html.escape(" ".join(clean(text, _LONGEST).split()))
