"""Disguised words are found and innocent texts are not: floors under what docs/reference/keywords.md shows."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import polars as pl
import pytest

from fintel.config import Settings
from fintel.pipeline import load_library
from fintel.rules.keywords import match
from fintel.rules.loader import load

RECALL, PRECISION = 0.97, 0.98


@pytest.fixture(scope="module")
def bench(root) -> dict[str, ModuleType]:
    """The benchmark and what writes its texts."""
    found = {}
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    for name in ("keyword_texts", "keywords"):
        spec = importlib.util.spec_from_file_location(f"bench_{name}", root / "benchmarks" / f"{name}.py")
        found[name] = sys.modules[f"bench_{name}"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[name])
    monkeypatch.undo()
    return found


def test_no_trick_hides_a_word_and_no_trick_makes_one_up(bench):
    given = bench["keywords"].texts()
    assert len(given["innocent"]) >= 200 and len(given["disguised"]) >= 400
    *tricks, innocent = bench["keywords"].measure(load()[0], given)
    assert {t.name for t in tricks} == set(bench["keyword_texts"].TRICKS)
    assert {t.name: t.missed for t in tricks if t.recall.value < RECALL} == {}
    assert {t.name: t.wrong for t in tricks if t.precision.value < PRECISION} == {}
    troubled = {text for text, _ in innocent.wrong}
    assert len(troubled) <= 0.02 * len(given["innocent"]), innocent.wrong
    assert innocent.recall.value == 1, "words in plain sight"


def test_the_texts_hold_words_of_neutral_lists_alone(bench):
    """As many of each trick as were written, with terms that the lists still have."""
    library = load()[0]
    lists = bench["keyword_texts"].keyword_lists(library)
    for row in bench["keywords"].texts()["disguised"]:
        assert row["list"] in bench["keyword_texts"].NEUTRAL
        assert row["term"] in {t.term for t in lists[row["list"]].terms}
    counts = {}
    for row in bench["keywords"].texts()["disguised"]:
        counts[row["trick"]] = counts.get(row["trick"], 0) + 1
    assert set(counts.values()) == {bench["keyword_texts"].EACH}
    said, plain = bench["keyword_texts"].said, bench["keywords"].texts()["disguised"]
    restricted = {name: lists[name] for name in ("osec_restricted", "osec_coded")}
    assert [row["plain"] for row in plain if said(row["plain"], restricted)] == []


def test_words_of_ones_own_are_found_under_disguise(tmp_path):
    """``lists.local`` beside the settings joins the shipped list of that name, and is matched like it."""
    (tmp_path / "lists.local").mkdir()
    (tmp_path / "lists.local" / "wages.yaml").write_text("name: wages\nkind: keywords\nterms: [{term: blue heron}]\n")
    texts = pl.Series(["b.l.u.e h3ron", "blu\u0435heron", "blue horizon", "salary"])
    found = {}
    for home in (tmp_path, tmp_path / "elsewhere"):
        library, diagnostics = load_library(Settings(lake=tmp_path / "lake"), home)
        assert diagnostics == ()
        found[home] = match(texts, [library.lists["wages"]])["wages"].to_list()
    assert list(found.values()) == [[True, True, False, True], [False, False, False, True]]
