"""How well disguised words are found, and how often innocent texts are taken for them.

    python benchmarks/keywords.py                                        print the page
    python benchmarks/keywords.py --page docs/reference/keywords.md      write it

Over ``tests/data/keyword_texts.yaml``: words of neutral published purposes under each trick, and innocent texts in
several languages. All shipped keyword lists are looked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from keyword_texts import disguised, keyword_lists, said

from fintel.bench.explain_page import table
from fintel.bench.intervals import Share
from fintel.rules.keywords import terms
from fintel.rules.loader import load
from fintel.rules.model import Library

FILE = Path(__file__).resolve().parents[1] / "tests" / "data" / "keyword_texts.yaml"
INNOCENT = "innocent texts"
FRESH_SEED, FRESH_EACH = 20260217, 500


@dataclass(frozen=True)
class Trick:
    """``recall``: planted terms that were found. ``precision``: of the lists found, those that the plain text names.
    ``missed`` and ``wrong`` show what went amiss: text and term, text and list."""

    name: str
    recall: Share
    precision: Share
    missed: tuple[tuple[str, str], ...]
    wrong: tuple[tuple[str, str], ...]


def texts(path: Path = FILE) -> dict[str, list[dict[str, Any]]]:
    """The texts: ``innocent`` and ``disguised``."""
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def measure(library: Library, given: dict[str, list[dict[str, Any]]]) -> list[Trick]:
    """Each trick, then the innocent texts, whose recall counts the words that they hold in plain sight."""
    named = keyword_lists(library)
    rows = [
        {"trick": INNOCENT, "plain": row["text"], **row, "mentions": said(row.get("plain", row["text"]), named)}
        for part in ("disguised", "innocent")
        for row in given[part]
    ]
    hits = terms(pl.Series([row["text"] for row in rows]), list(named.values()))
    found: list[set[tuple[str, str]]] = [set() for _ in rows]
    for row, name, term in hits.iter_rows():
        found[row].add((name, term))
    return [
        _judge(trick, [(row, found[n]) for n, row in enumerate(rows) if row["trick"] == trick])
        for trick in dict.fromkeys(str(row["trick"]) for row in rows)
    ]


def _judge(trick: str, rows: list[tuple[dict[str, Any], set[tuple[str, str]]]]) -> Trick:
    wanted = right = told = hit = 0
    missed, wrong = [], []
    for row, found in rows:
        lists = {name for name, _ in found}
        # of an innocent text every list that it names is wanted, of a disguised one the term that was planted
        planted = [(row["list"], row["term"])] if "term" in row else [(name, "") for name in row["mentions"]]
        for name, term in planted:
            there = (name, term) in found if term else name in lists
            wanted, hit = wanted + 1, hit + there
            missed += [] if there else [(row["text"], term or name)]
        told += len(lists)
        right += len(lists & set(row["mentions"]))
        wrong += [(row["text"], name) for name in sorted(lists - set(row["mentions"]))]
    return Trick(trick, Share(hit, wanted), Share(right, told), tuple(missed), tuple(wrong))


def page(found: list[Trick], fresh: list[Trick], innocent: int) -> str:
    """The page as Markdown."""
    troubled = {text for text, _ in found[-1].wrong}
    lines = [
        "# Keyword matching, measured",
        "",
        "Made by `python benchmarks/keywords.py` on `tests/data/keyword_texts.yaml`: words of neutral published "
        "purposes (school, medical, wages, fees, rent, loans) disguised by a seeded generator, and innocent payment "
        "texts in several languages, chosen to come near: look-alike words, names, codes, invoice numbers. All shipped "
        "lists of words are looked for at once. Intervals are of 95 %. A test holds recall at 0.97, precision at 0.98 "
        "of each trick and false alarms at 2 % of the innocent texts.",
        "",
        "**Recall**: disguised terms that were found. **Precision**: of the lists found in the texts, those that the "
        "undisguised text names. The matcher was mended while the stored texts were looked at; *fresh* are "
        f"{FRESH_EACH} texts of each trick that the same generator wrote with another seed, and that nobody looked at. "
        "What disguises are really in use is not known to us.",
        "",
        *table(("trick", "found", "recall", "precision", "recall, fresh", "precision, fresh"), _rows(found, fresh)),
        "",
        f"{len(troubled)} of {innocent} innocent texts were taken for words that they do not hold "
        f"({Share(len(troubled), innocent)}).",
    ]
    for title, chosen in (("Missed", "missed"), ("Wrongly found", "wrong")):
        some = [(one.name, text, what) for one in found for text, what in getattr(one, chosen)]
        if some:
            lines += ["", f"## {title}", "", *table(("trick", "text", "term or list"), some)]
    return "\n".join(lines) + "\n"


def _rows(found: Iterable[Trick], fresh: Iterable[Trick]) -> Iterable[tuple[object, ...]]:
    again = {one.name: one for one in fresh}
    for one in found:
        other = again.get(one.name)
        more = ("–", "–") if other is None else (str(other.recall), str(other.precision))
        yield one.name, f"{one.recall.hits} of {one.recall.of}", str(one.recall), str(one.precision), *more


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="write the page here; default: print it")
    given = parser.parse_args()
    read = texts()
    library = load()[0]
    others = {"innocent": [], "disguised": disguised(library, FRESH_SEED, FRESH_EACH)}
    text = page(measure(library, read), measure(library, others), len(read["innocent"]))
    if given.page is None:
        print(text)
    else:
        given.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
