"""Page, pictures, attachment and files of a draft: readable, safe with hostile text, whole or absent."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import os
import re
import stat
from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree, html
from reports_cases import ALEX, AT, FILER, STORIES, Story, osec, structuring, victim

from fintel.config import Filer
from fintel.domain.detection import Reason
from fintel.errors import ReportError
from fintel.reports import pictures
from fintel.reports.attachment import _line, attachment, safe_cell
from fintel.reports.bundle import write_draft
from fintel.reports.text import ascii_file_name

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)> \u202e=cmd|' /C calc'!A0"


def hostile(text: str = HOSTILE) -> Story:
    story = Story("hostile", "OSEC", parties=[{**ALEX, "name": text, "family_name": text, "occupation": text}])
    for n in range(3):
        story.pay(n, "10.00", "out", f"X|{text}", other_name=text, other_country="PH", remittance_information=text,
                  merchant_name=text, place_id=text, channel="app", instrument="credit_transfer")  # fmt: skip
    return story


def page_of(story: Story, folder, **more) -> str:
    return write_draft(story.case(), folder, filer=FILER, at=AT, version="0", **more).html.read_text("utf-8")


def is_safe(text: str) -> bool:
    """No script, no handler, no outside resource, by a parser and not by eye."""
    tree = html.document_fromstring(text)
    for element in tree.iter(etree.Element):
        if element.tag in ("script", "img", "link", "iframe", "object", "embed", "form", "base", "foreignobject"):
            return False
        for name, value in element.attrib.items():
            if name.startswith("on") or name == "style":
                return False
            if name in ("href", "src", "xlink:href") and not re.fullmatch(r"#t\d+", value):
                return False
    return True


def test_the_safety_check_itself_finds_what_it_looks_for():
    for bad in ("<script>1</script>", "<p onclick='x'>a</p>", "<a href='http://x'>a</a>", "<p style='x'>a</p>"):
        assert not is_safe(f"<html><body>{bad}</body></html>")


@pytest.mark.parametrize("name", STORIES)
def test_pages_are_self_contained(name, tmp_path):
    assert is_safe(page_of(STORIES[name](), tmp_path))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=120) | st.just(HOSTILE))
def test_hostile_text_is_shown_and_never_run(tmp_path, text):
    page = page_of(hostile(text), tmp_path)
    assert is_safe(page)
    assert "\u202e" not in page


def test_hostile_text_is_still_readable(tmp_path):
    shown = html.document_fromstring(page_of(hostile(), tmp_path)).text_content()
    assert "<script>alert('x')</script>" in shown


def test_policy_allows_exactly_the_styles_in_the_page(tmp_path):
    tree = html.document_fromstring(page_of(osec(), tmp_path))
    policy = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    styles = {s.text for s in tree.iter("style")}
    hashes = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in styles}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_every_citation_leads_to_a_row(tmp_path):
    story = structuring()
    for n in range(400):
        story.pay(n * 0.01, "9000.00", "in", instrument="cash", channel="branch", place_id="B1", place_city="T")
    tree = html.document_fromstring(page_of(story, tmp_path))
    targets = {f"#{i}" for i in tree.xpath("//tr/@id")}
    links = set(tree.xpath("//a/@href"))
    assert links and links <= targets
    assert "104 more payments not shown" in tree.text_content()


def test_page_says_what_is_missing_and_protects(tmp_path):
    draft = write_draft(osec().case(), tmp_path, filer=Filer(), at=AT, version="0")
    text = html.document_fromstring(draft.html.read_text("utf-8")).text_content()
    assert not draft.complete
    assert "The XML cannot be filed as it is" in text and "filer.transmitter_control_code" in text
    assert "none was given" in text and "DRAFT. Not filed." in text
    text = html.document_fromstring(page_of(STORIES["sextortion"](), tmp_path)).text_content()
    assert "Safeguarding" in text and "Jo Minor" in text and "presumed to be a victim" in text


def test_numbers_stand_beside_threshold_own_normal_and_peers(tmp_path):
    tree = html.document_fromstring(page_of(structuring(), tmp_path))
    rows = [[c.text_content() for c in r.iter("td")] for r in tree.iter("tr")]
    assert ["total", "38,150.50".rstrip("0"), ">= 10,000", "1,200 (9 earlier)", "99.9 %"] in rows


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"), (" =x", "'=x"), ("\t=x", "'=x"),
        ("\u200b=x", "'=x"), ("\ufeff=x", "'=x"), ("plain", "plain"), (None, ""), ("a\nb", "a b"),
        ("\uff1d1", "'\uff1d1"), ("\uff0b1", "'\uff0b1"), ("\uff0d1", "'\uff0d1"), ("\uff20x", "'\uff20x"),
        ("a;=1", "a;'=1"), ("a; +1;b", "a;' +1;b"), ('a;"=1', "a;'\"=1"), (";;\uff20x", ";;'\uff20x"), ("a;b", "a;b"),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(cell, safe):
    assert safe_cell(cell) == safe


@given(st.text(max_size=100))
def test_no_text_makes_a_cell_that_begins_like_a_formula(text):
    assert not safe_cell(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@given(st.lists(st.text(alphabet=';,"=+-@\uff1d\t ax', max_size=12), min_size=1, max_size=4))
def test_no_cell_is_a_formula_where_a_semicolon_separates(texts):
    line = _line([safe_cell(t) for t in texts]).decode()
    for separator in (",", ";"):
        for cell in next(csv.reader([line], delimiter=separator)):
            shown = cell.strip().strip('"').strip()
            assert not shown.startswith(("=", "+", "-", "@", "\uff1d")), (separator, line)


def test_attachment_has_all_evidence_and_no_context():
    case = osec().case()
    made = attachment(case)
    rows = list(csv.DictReader(io.StringIO(made.data.decode())))
    assert [r["payment"] for r in rows] == [t.transaction_id for t in case.evidence]
    assert sum(Decimal(r["amount_usd"]) for r in rows) == case.total
    assert made.rows == made.of == 6


def test_attachment_keeps_the_victims_account_out():
    text = attachment(victim().case()).data.decode()
    assert "A1" not in text and "Beispiel" not in text


def test_attachment_stops_whole_at_its_limit(tmp_path):
    case = osec().case()
    made = attachment(case, 700)
    assert len(made.data) <= 700 and 0 < made.rows < made.of
    assert made.data.endswith(b"\n")


def test_files_are_private_whole_and_the_same_each_time(tmp_path):
    case = osec().case()
    first = write_draft(case, tmp_path / "a", filer=FILER, at=AT, version="9")
    second = write_draft(case, tmp_path / "b", filer=FILER, at=AT, version="9")
    for name in ("xml", "html", "csv", "json"):
        one, two = getattr(first, name), getattr(second, name)
        assert one.read_bytes() == two.read_bytes()
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
    side = json.loads(first.json.read_text("utf-8"))
    assert side["status"] == "draft" and side["made_at"] == "2026-01-15T09:30:00+00:00" and side["fintel"] == "9"
    assert side["files"] == {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (first.xml, first.html, first.csv)
    }
    assert side["validation"]["schema_valid"] is None
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "alert-osec.DRAFT.xml", "alert-osec.DRAFT.html", "alert-osec.DRAFT.json", "alert-osec.transactions.csv",
    }  # fmt: skip
    assert first.complete


def test_a_new_folder_of_drafts_is_private_with_its_parents(tmp_path):
    write_draft(osec().case(), tmp_path / "drafts/may", filer=FILER, at=AT, version="9")
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "drafts", tmp_path / "drafts/may")} == {0o700}


def test_sidecar_says_what_the_schema_said(tmp_path, shared):
    schema = shared / "reference/schemas/fincen-sar/EFL_SARXBatchSchema.xsd"
    good = write_draft(osec().case(), tmp_path, filer=FILER, at=AT, version="0", schema=schema)
    side = json.loads(good.json.read_text("utf-8"))["validation"]
    assert side["schema_valid"] is True
    assert side["schema_sha256"] == hashlib.sha256(schema.read_bytes()).hexdigest()
    with pytest.raises(ReportError):
        write_draft(osec().case(), tmp_path, filer=FILER, at=AT, version="0", schema=tmp_path / "none.xsd")


def test_a_failed_write_leaves_no_half_file(tmp_path, monkeypatch):
    case = osec().case()
    write_draft(case, tmp_path, filer=FILER, at=AT, version="old")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    moved = os.replace

    def full(source, target):
        if str(target).endswith(".xml"):
            raise OSError(28, "No space left on device")
        moved(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ReportError, match="No space"):
        write_draft(case, tmp_path, filer=FILER, at=AT, version="new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_time_needs_a_zone(tmp_path):
    with pytest.raises(ReportError):
        write_draft(osec().case(), tmp_path, filer=FILER, at=datetime(2026, 1, 1), version="0")


@given(st.text(max_size=300))
def test_any_id_makes_a_safe_file_name(identifier):
    name = ascii_file_name(identifier, hashlib.sha256(identifier.encode("utf-8", "replace")).hexdigest())
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,73}", name)


def test_hostile_ids_stay_in_the_folder_and_apart(tmp_path):
    story = osec()
    seen = set()
    for n, identifier in enumerate(("../../etc/passwd", "..", "a/b", "a\\b", "a_b", "", "x" * 500)):
        frames = story.frames()
        from fintel.reports.draft import build_case

        case = build_case(**{**frames, "alert_row": {**frames["alert_row"], "alert_id": identifier}})
        draft = write_draft(case, tmp_path, filer=FILER, at=AT, version="0")
        assert draft.xml.parent == tmp_path
        seen.add(draft.xml.name)
        assert len(seen) == n + 1


def reasons(*bits: float) -> list[Reason]:
    return [Reason("rule", f"r{i}", f"Reason {i} <b>", b, 1.0, b) for i, b in enumerate(bits)]


def numbers(svg: str, name: str) -> list[float]:
    root = etree.fromstring(svg.encode())
    return [float(r.get(name)) for r in root.iter("{http://www.w3.org/2000/svg}rect")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-8, 12), max_size=30), st.floats(-15, -1))
def test_waterfall_bars_add_up_to_the_score(bits, prior):
    score = prior + math.fsum(bits)
    svg = pictures.waterfall(prior, reasons(*bits), score)
    root = etree.fromstring(svg.encode())
    shown = [
        t.text for t in root.iter("{http://www.w3.org/2000/svg}text") if re.fullmatch(r"[+-]\d+\.\d\d", t.text or "")
    ]
    assert len(shown) == min(len(bits), pictures.MAX_STEPS) + 2
    assert abs(math.fsum(map(float, shown[:-1])) - float(shown[-1])) <= 0.005 * len(shown) + 1e-9
    assert all(w > 0 and 0 <= x and x + w <= 760 for x, w in zip(numbers(svg, "x"), numbers(svg, "width"), strict=True))
    lines = pictures.waterfall_text(prior, reasons(*bits), score, width=80).split("\n")
    assert [float(line.split()[-1]) for line in lines] == [float(s) for s in shown]
    assert all(len(line) <= 80 for line in lines)


def test_reasons_that_do_not_add_up_are_refused():
    with pytest.raises(ReportError):
        pictures.waterfall(-10, reasons(3.0), -6.0)
    with pytest.raises(ReportError):
        pictures.waterfall_text(-10, reasons(3.0), -6.0)


def test_waterfall_without_reasons_is_the_prior():
    assert "-9.96" in pictures.waterfall(-9.96, [], -9.96)


def circles(svg: str) -> list[tuple[float, float, str]]:
    root = etree.fromstring(svg.encode())
    space = "{http://www.w3.org/2000/svg}"
    return [(float(c.get("cx")), float(c.get("cy")), g.get("class")) for g in root.iter(f"{space}g") for c in g.iter(f"{space}circle")]  # fmt: skip


def test_timeline_tells_in_from_out_and_evidence_from_context_without_colour():
    svg = pictures.timeline(osec().case().transactions, "USD")
    marks = circles(svg)
    assert len(marks) == 7
    inward = [m for m in marks if "in" in m[2].split()]
    assert [m[2] for m in inward] == ["in hollow"]
    assert all(y < 130 for _, y, k in marks if k.startswith("in"))
    assert all(y > 130 for _, y, k in marks if k.startswith("out"))
    assert [x for x, *_ in sorted(marks)] == sorted(x for x, *_ in marks)
    assert "<title>" in svg and "<desc>" in svg and 'role="img"' in svg and "prefers-color-scheme:dark" in svg


def test_timeline_is_bounded_and_counts_what_it_cannot_draw():
    story = structuring()
    for n in range(1500):
        blank = n % 100 == 0
        story.pay(n / 4, "5.00", "in" if n % 2 else "out", "X|1", evidence=not blank and n % 3 == 0,
                  **({"amount_base": None, "currency": "EUR"} if blank else {}))  # fmt: skip
    rows = story.case().transactions
    svg = pictures.timeline(rows, "USD")
    assert 100 < len(circles(svg)) <= pictures.MAX_MARKS
    assert "15 payments without a value" in svg
    assert len(svg) < 150_000


def test_timeline_of_nothing_and_of_one_day():
    assert "No payment has a value" in pictures.timeline([], "USD")
    one = [t for t in osec().case().transactions if t.day == date(2025, 11, 3)]
    assert len(circles(pictures.timeline(one, "USD"))) == 1


def test_pictures_escape_hostile_text():
    svg = pictures.waterfall(-1.0, [Reason("rule", "r", HOSTILE, 1.0, 1.0, 1.0)], 0.0)
    root = etree.fromstring(svg.encode())
    assert not [e for e in root.iter() if etree.QName(e).localname in ("script", "img", "foreignObject")]
    assert "onerror" not in {a for e in root.iter() for a in e.attrib}
    assert pictures.timeline(hostile().case().transactions, "<b>").count("<b>") == 0
