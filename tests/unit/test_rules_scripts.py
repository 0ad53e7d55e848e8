"""The script of a term: told by its letters, or by the list."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fintel.rules.list_types import KeywordList, Term
from fintel.rules.lists import Shelf, load_lists
from fintel.rules.loader import load
from fintel.rules.scripts import SCRIPTS, script_of
from fintel.rules.source import Findings

#: Languages of shipped terms that are not written in Latin letters.
OF_LANGUAGE = {"th": "Thai", "emoji": "Zyyy"}


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("school fees", "Latn"), ("Frais de scolarité №5", "Latn"), ("học phí", "Latn"), ("e\u0301cole", "Latn"),
        ("ｆｅｅ", "Latn"), ("𝐟𝐞𝐞", "Latn"), ("за учёбу", "Cyrl"), ("ค่าเทอม", "Thai"), ("学费", "Hani"),
        ("々", "Hani"), ("学校の費用", "Jpan"), ("スーパー", "Kana"), ("ﾃｽﾄ", "Kana"), ("がく", "Hira"),
        ("학비", "Hang"), ("學費 학비", "Kore"), ("رسوم المدرسة", "Arab"), ("फीस", "Deva"), ("δίδακτρα", "Grek"),
        ("שכר לימוד", "Hebr"), ("ថ្លៃសាលា", "Khmr"), ("ຄ່າຮຽນ", "Laoo"), ("ကျောင်းလခ", "Mymr"), ("fee เทอม", "Thai"),
        ("ab вг", "Latn"), ("🧀", "Zyyy"), ("👨‍👩‍👧", "Zyyy"), ("❤️", "Zyyy"), ("12-24", "Zyyy"), ("", "Zyyy"), ("ᚠᚢ", "Zzzz"),
    ],
)  # fmt: skip
def test_letters_tell_the_script(text: str, script: str) -> None:
    assert script_of(text) == script == Term(text).script


def test_every_shipped_term_has_the_script_of_its_language() -> None:
    terms = [t for found in load()[0].lists.values() if isinstance(found, KeywordList) for t in found.terms]
    assert [t for t in terms if t.script != OF_LANGUAGE.get(t.language, "Latn")] == []
    assert {t.script for t in terms} == {"Latn", *OF_LANGUAGE.values()}


def read_terms(folder: Path, line: str) -> tuple[tuple[Term, ...], list[str]]:
    (folder / "kw.yaml").write_text(f"name: kw\nkind: keywords\nterms:\n  - {line}\n", encoding="utf-8")
    findings, shelf = Findings(), Shelf()
    load_lists(folder, shelf, findings)
    found = shelf.lists.get("kw")
    return (found.terms if isinstance(found, KeywordList) else ()), [d.code for d in findings.items]


def test_a_list_may_say_what_letters_do_not_tell(tmp_path: Path) -> None:
    terms, faults = read_terms(
        tmp_path, "{term: 学费, language: zh, false_positive_risk: high, script: Hans, note: fees}"
    )
    assert (terms, faults) == ((Term("学费", "zh", false_positive_risk="high", script="Hans"),), [])
    terms, faults = read_terms(tmp_path, "{term: 学费, language: zh}")
    assert ([t.script for t in terms], faults) == (["Hani"], [])


@pytest.mark.parametrize("given_code", ["Latin", "latn", "Xxxx", "[Latn]"])
def test_a_script_that_is_no_code_is_refused(tmp_path: Path, given_code: str) -> None:
    terms, faults = read_terms(tmp_path, f"{{term: fees, script: {given_code}}}")
    assert (terms, faults) in (((), ["R013"]), ((), ["R007"]))


@given(st.text(max_size=30))
def test_any_text_has_one_of_the_codes(text: str) -> None:
    assert script_of(text) in SCRIPTS
    assert script_of(text + "12 🧀") == script_of(text)
