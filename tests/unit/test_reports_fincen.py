"""The FinCEN draft: valid by the official schema, by our own checks, and true to the case."""

from __future__ import annotations

import copy
from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from reports_cases import ALEX, AT, FILER, STORIES, Story, osec, party, structuring, unknown, victim

from fintel.config import Address, Filer
from fintel.domain.case import Case, Role, RuleMeta
from fintel.errors import ReportError, Severity
from fintel.reports import narrative
from fintel.reports.draft import build_case
from fintel.reports.fincen import Rendered, blocks, render, schema_errors
from fintel.reports.fincen_checks import check
from fintel.reports.fincen_codes import SUBTYPES, assets, classifications, field_two, key_terms
from fintel.reports.fincen_read import read
from fintel.reports.fincen_sheet import tag
from fintel.reports.text import clean, whole_dollars

DAY = AT.date()


@pytest.fixture(scope="session")
def xsd(shared):
    return shared / "reference/schemas/fincen-sar/EFL_SARXBatchSchema.xsd"


def drawn(case: Case, filer: Filer = FILER) -> Rendered:
    return render(case, narrative.write(case, filer, DAY), filer, filing_date=DAY, attachment="a.csv")


def found(xml: bytes) -> set[str]:
    return {d.code for d in check(xml, today=DAY, attachments={"a.csv": 100}) if d.severity is Severity.ERROR}


@pytest.mark.parametrize("name", STORIES)
def test_every_kind_of_case_is_valid_by_schema_and_own_checks(name, xsd):
    xml = drawn(STORIES[name]().case()).xml
    assert [str(e) for e in schema_errors(xml, xsd)] == []
    assert found(xml) == set()


def test_schema_check_does_find_faults(xsd):
    xml = drawn(osec().case()).xml.replace(b"<fc2:FormTypeCode>SARX", b"<fc2:FormTypeCode>SARY")
    assert {e.code for e in schema_errors(xml, xsd)} == {"S120"}


def test_a_schema_that_never_ends_is_refused(tmp_path):
    made = drawn(osec().case()).xml
    space = etree.fromstring(made).nsmap["fc2"]
    pattern = "(a*)*(a*)*(a|aa)+(a|aa)+b"
    hostile = tmp_path / "hostile.xsd"
    hostile.write_text(
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{space}">'
        f'<xs:element name="EFilingBatchXML"><xs:simpleType><xs:restriction base="xs:string">'
        f'<xs:pattern value="{pattern}"/></xs:restriction></xs:simpleType></xs:element></xs:schema>'
    )
    with pytest.raises(ReportError, match="not a usable XSD"):
        schema_errors(f'<EFilingBatchXML xmlns="{space}">{"a" * 40}c</EFilingBatchXML>'.encode(), hostile)


@pytest.mark.parametrize("value", ["abc", "-1", "\u00b2", "1" * 5000])
@pytest.mark.parametrize("name", ["SuspiciousActivitySubtypeID", "ActivityNarrativeSequenceNumber"])
def test_a_code_that_is_no_number_is_refused_by_name(name, value):
    root = etree.fromstring(drawn(osec().case()).xml)
    next(root.iter(tag(name))).text = value
    with pytest.raises(ReportError, match=f"{name} is not a number"):
        read(etree.tostring(root))


def test_own_checks_pass_a_batch_not_made_here(shared):
    xml = (shared / "reference/schemas/fincen-sar/sar_batch.synthetic.xml").read_bytes()
    assert check(xml, today=DAY, attachments={"transactions.csv": 10}) == ()
    (filed,) = read(xml)
    assert filed.subjects[0].last_name == "SPECIMEN"
    assert filed.classifications == ((927, 9, None), (824, 8, None))
    assert filed.attachment == "transactions.csv"


@pytest.mark.parametrize("name", STORIES)
def test_round_trip_gives_the_case_back(name):
    case = STORIES[name]().case()
    (filed,) = read(drawn(case).xml)
    assert filed.period == case.period
    assert filed.total == int(whole_dollars(case.total))
    assert filed.note == field_two(key_terms(case, DAY))
    assert filed.classifications == tuple((c.subtype, c.type, c.other_text) for c in classifications(case, DAY))
    assert filed.assets == assets(case)
    assert filed.narrative == narrative.write(case, FILER, DAY).text
    assert len(filed.subjects) == len(case.subjects)
    for given_, back in zip(case.subjects, filed.subjects, strict=True):
        assert back.organisation == given_.is_organisation
        assert back.last_name == (given_.family_name or given_.name)
        assert back.first_name == given_.given_name
        assert back.birth_date == given_.birth_date
        assert back.accounts == tuple(a.number for a in given_.accounts)
        assert back.flow == given_.flow


def put(path: str, text: str):
    """A fault: the element at ``path`` (below Activity) says something else."""

    def mutate(root):
        element = root.find("/".join(tag(p) for p in ["Activity", *path.split("/")]))
        element.text = text

    return mutate


def drop(path: str):
    def mutate(root):
        element = root.find("/".join(tag(p) for p in ["Activity", *path.split("/")]))
        element.getparent().remove(element)

    return mutate


def add(path: str, name: str, text: str):
    def mutate(root):
        element = root.find("/".join(tag(p) for p in ["Activity", *path.split("/")]))
        etree.SubElement(element, tag(name)).text = text

    return mutate


def attribute(name: str, text: str):
    return lambda root: root.set(name, text)


def of_party(code: str, mutate):
    def inner(root):
        for p in root.findall(f"{tag('Activity')}/{tag('Party')}"):
            if p.findtext(tag("ActivityPartyTypeCode")) == code:
                mutate(p)

    return inner


def twin(root):
    """One subject twice, but counted once."""
    activity = root.find(tag("Activity"))
    subject = [p for p in activity.findall(tag("Party")) if p.findtext(tag("ActivityPartyTypeCode")) == "33"][0]
    activity.insert(activity.index(subject), copy.deepcopy(subject))


def shift_narrative(root):
    """Numbered from 2."""
    root.find(
        f"{tag('Activity')}/{tag('ActivityNarrativeInformation')}/{tag('ActivityNarrativeSequenceNumber')}"
    ).text = "2"


FAULTS = [
    ("S101", put("SuspiciousActivity/TotalSuspiciousAmountText", "18450.55")),
    ("S101", put("SuspiciousActivity/TotalSuspiciousAmountText", "$18,450")),
    ("S101", add("SuspiciousActivity", "AmountUnknownIndicator", "Y")),
    ("S101", drop("SuspiciousActivity/TotalSuspiciousAmountText")),
    ("S102", put("SuspiciousActivity/SuspiciousActivityClassification/SuspiciousActivityTypeID", "9")),
    ("S102", lambda r: [e.getparent().remove(e) for e in r.iter(tag("OtherSuspiciousActivityTypeText"))]),
    ("S103", attribute("TotalAmount", "1")),
    ("S103", attribute("PartyCount", "2")),
    ("S103", attribute("ActivityCount", "0")),
    ("S103", attribute("ActivityAttachmentCount", "0")),
    ("S103", attribute("AttachmentCount", "3")),
    ("S103", twin),
    ("S104", put("SuspiciousActivity/SuspiciousActivityFromDateText", "20250231")),
    ("S104", put("SuspiciousActivity/SuspiciousActivityFromDateText", "20270101")),
    ("S104", put("SuspiciousActivity/SuspiciousActivityToDateText", "20200101")),
    ("S104", of_party("33", lambda p: setattr(p.find(tag("IndividualBirthDateText")), "text", "20260101"))),
    ("S105", shift_narrative),
    ("S105", lambda r: setattr(next(r.iter(tag("ActivityNarrativeText"))), "text", " OCSE-FIN-2021-NTC3 x")),
    ("S105", lambda r: setattr(next(r.iter(tag("ActivityNarrativeText"))), "text", "OCSE-FIN-2021-NTC3\nx")),
    ("S106", of_party("33", lambda p: setattr(p.find(tag("PartyName")).find(tag("PartyNameTypeCode")), "text", "AKA"))),
    ("S106", of_party("33", lambda p: etree.SubElement(p.find(tag("PartyName")), tag("FirstNameUnknownIndicator")).__setattr__("text", "Y"))),
    ("S106", of_party("33", lambda p: p.find(tag("Address")).remove(p.find(f"{tag('Address')}/{tag('RawCityText')}")))),
    ("S106", of_party("33", lambda p: p.remove(p.find(tag("IndividualBirthDateText"))))),
    ("S107", lambda r: r.find(tag("Activity")).insert(0, _element("EFilingPriorDocumentNumber", "31000000000001"))),
    ("S107", lambda r: setattr(r.find(f"{tag('Activity')}/{tag('ActivityAssociation')}/{tag('InitialReportIndicator')}"), "tag", tag("ContinuingActivityReportIndicator"))),
    ("S108", drop("ActivityAssociation/InitialReportIndicator")),
    ("S108", add("ActivityAssociation", "JointReportIndicator", "Y")),
    ("S109", of_party("37", lambda p: p.getparent().remove(p))),
    ("S109", of_party("35", lambda p: p.remove(p.find(tag("PartyIdentification"))))),
    ("S109", of_party("30", lambda p: p.remove(p.find(tag("OrganizationClassificationTypeSubtype"))))),
    ("S109", of_party("33", lambda p: p.remove(p.find(tag("PartyAccountAssociation"))))),
    ("S109", of_party("33", lambda p: p.remove(p.find(tag("MaleGenderIndicator"))))),
    ("S110", put("FilingInstitutionNotetoFinCEN", "OCSE-FIN-2021-NTC3 AND MORE")),
    ("S110", drop("FilingInstitutionNotetoFinCEN")),
    ("S110", put("FilingInstitutionNotetoFinCEN", "FIN-2025-SEXTORTION")),
    ("S111", put("ActivitySupportDocument/OriginalAttachmentFileName", "a.pdf")),
    ("S111", drop("ActivitySupportDocument")),
    ("S112", lambda r: r),
    ("S113", of_party("33", lambda p: setattr(p.find(f"{tag('PartyName')}/{tag('RawIndividualFirstName')}"), "text", "N/A"))),
]  # fmt: skip


def _element(name: str, text: str):
    element = etree.Element(tag(name))
    element.text = text
    return element


@pytest.mark.parametrize(("code", "fault"), FAULTS, ids=[f"{c}-{i}" for i, (c, _) in enumerate(FAULTS)])
def test_each_fault_the_schema_may_let_through_is_found(code, fault):
    root = etree.fromstring(drawn(osec().case()).xml)
    fault(root)
    xml = etree.tostring(root)
    if code == "S112":
        xml = xml.replace(b"fc2:", b"").replace(b"xmlns:fc2=", b"xmlns=")
    assert code in found(xml)


def test_a_large_attachment_and_a_long_narrative_are_found():
    xml = drawn(osec().case()).xml
    assert {d.code for d in check(xml, today=DAY, attachments={"a.csv": 1_000_001})} == {"S111"}
    root = etree.fromstring(xml)
    last = list(root.iter(tag("ActivityNarrativeInformation")))[-1]
    last.find(tag("ActivityNarrativeText")).text = "OCSE-FIN-2021-NTC3" + "x" * 20_000
    assert "S105" in found(etree.tostring(root))


def test_broken_or_expanding_xml_is_a_finding_not_a_crash():
    assert [d.code for d in check(b"<a", today=DAY)] == ["S100"]
    bomb = b'<!DOCTYPE a [<!ENTITY x "yyyy">]><a>&x;</a>'
    assert {d.code for d in check(bomb, today=DAY)} >= {"S112", "S103"}
    with pytest.raises(ReportError):
        read(b"<other/>")


def test_missing_filer_facts_are_named_and_never_invented():
    made = drawn(osec().case(), Filer())
    assert {m.setting for m in made.missing} == {
        "filer.name", "filer.address.city", "filer.address.street", "filer.address.country",
        "filer.address.postcode", "filer.phone", "filer.transmitter_control_code", "filer.tin", "filer.ein",
        "filer.contact_office", "filer.contact_phone", "filer.regulator", "filer.organisation_type",
    }  # fmt: skip
    root = etree.fromstring(made.xml)
    for party_ in root.iter(tag("Party")):
        if party_.findtext(tag("ActivityPartyTypeCode")) in ("35", "37", "8"):
            assert len(party_) == 1, "only the type code: nothing is known"
    assert {"S106", "S109"} <= found(made.xml)


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"tin": "123"}, "filer.tin"),
        ({"ein": "12-34"}, "filer.ein"),
        ({"regulator": "OCC"}, "filer.regulator"),
        ({"organisation_type": "bank"}, "filer.organisation_type"),
        ({"phone": "call us"}, "filer.phone"),
        ({"name": "N/A"}, "filer.name"),
        ({"address": Address(street="1 Test Street", city="Anytown", state="VA", postcode="220", country="US")}, "filer.address.postcode"),
        ({"address": Address(street="1 Test Street", city="Anytown", postcode="22000", country="US")}, "filer.address.state"),
    ],
)  # fmt: skip
def test_a_wrong_filer_fact_counts_as_missing(change, setting):
    assert setting in {m.setting for m in drawn(osec().case(), FILER.model_copy(update=change)).missing}


@pytest.mark.parametrize("make", [victim, unknown])
def test_a_presumed_victim_stands_in_the_narrative_and_nowhere_else(make):
    story = make()
    person = story.parties[0]
    case = story.case()
    assert case.holder.role is Role.PRESUMED_VICTIM
    root = etree.fromstring(drawn(case).xml)
    text = next(root.iter(tag("ActivityNarrativeText"))).text
    assert person["name"] in text and person["address"] in text
    for element in list(root.iter(tag("ActivityNarrativeInformation"))):
        element.getparent().remove(element)
    rest = etree.tostring(root, encoding="unicode")
    private = [person[k] for k in ("given_name", "family_name", "address", "email", "tax_id")]
    private += [person["birth_date"].strftime("%Y%m%d"), ">A1<", "198.51.100.7"]
    assert [p for p in private if p in rest] == []


def test_nobody_known_uses_the_formats_own_flag():
    root = etree.fromstring(drawn(unknown().case()).xml)
    (subject,) = [p for p in root.iter(tag("Party")) if p.findtext(tag("ActivityPartyTypeCode")) == "33"]
    assert subject.findtext(tag("AllCriticalSubjectInformationUnavailableIndicator")) == "Y"


def test_neither_the_victims_own_account_nor_a_child_nor_a_payer_becomes_subject():
    story = victim()
    story.parties += [party("P3", name="Child Recipient", kind="person", birth_date=date(2012, 1, 1))]
    story.accounts += [
        {"account_id": "B|own", "party_id": "P1", "holding": "external", **STORY_FEED},
        {"account_id": "B|child", "party_id": "P3", "holding": "external", **STORY_FEED},
    ]
    story.pay(5, "900.00", "out", "B|own", instrument="credit_transfer")
    story.pay(5, "901.00", "out", "B|child", instrument="credit_transfer")
    story.pay(5, "902.00", "out", "B|namesake", other_name="KIM  Beispiel", instrument="credit_transfer")
    story.pay(5, "903.00", "in", "B|payer", other_name="Some Payer", instrument="credit_transfer")
    case = story.case()
    assert [p.key for p in case.subjects] == ["P2"]
    assert {a.account_id for a in case.holder.accounts} == {"A1", "B|own"}
    assert [p.key for p in case.minors] == ["P3"]


STORY_FEED = {"source": "t", "feed_id": "f", "source_file": "made_up.csv", "source_row": 9}


def test_a_minor_is_never_proposed_as_offender():
    story = structuring()
    story.parties = [{**ALEX, "birth_date": date(2009, 1, 1)}]
    case = story.case()
    assert case.holder.role is Role.POSSIBLE_BOTH
    assert case.subjects == ()


def test_mixed_roles_wait_for_a_person():
    story = osec()
    frames = story.frames()
    second = frames["reasons"].row(0, named=True) | {"reason": 2, "name": "x/victim", "bits": 5.0}
    frames["reasons"] = frames["reasons"].vstack(pl.DataFrame([second], schema=frames["reasons"].schema))
    frames["rules_meta"] = {**frames["rules_meta"], "x/victim": RuleMeta("v", "OSEC", "victim")}
    frames["alert_row"] = {**frames["alert_row"], "score": frames["alert_row"]["score"] + 5.0}
    assert build_case(**frames).holder.role is Role.POSSIBLE_BOTH


def test_evidence_that_is_not_there_stops_the_draft():
    frames = osec().frames()
    frames["transactions"] = frames["transactions"].head(3)
    with pytest.raises(ReportError, match="not there"):
        build_case(**frames)
    frames = osec().frames()
    frames["evidence"] = frames["evidence"].clear()
    with pytest.raises(ReportError, match="no evidence"):
        build_case(**frames)


def test_what_the_activity_is_measured_against_is_not_reported_as_activity():
    """Last month's wages make this month's credits unusual; the report's amount and period are the credits'."""
    story = osec()
    story.pay(-40, "5000.00", "in", "A9", other_name="Employer Ltd", instrument="credit_transfer", evidence=False)
    frames = story.frames()
    wage = f"{story.payments[-1]['transaction_id']}/in"
    sends = frames["clauses"].row(0, named=True)
    at = sends["window_to"]
    extra = [
        {"measure": "wage_before", "kind": "sum", "column": "amount_base", "window_to": at - timedelta(days=30), "operator": ">=", "threshold": 1.0},
        {"measure": "wages", "kind": "count", "operator": "<=", "threshold": 1.0},
        {"measure": "known", "kind": "distinct", "column": "counterparty_id", "window_from": at - timedelta(days=300), "operator": ">="},
        {"measure": "known_days", "kind": "first", "column": "booked_at", "operator": ">="},
        {"measure": "all", "kind": "count", "operator": None, "threshold": None},
    ]  # fmt: skip
    rows = [sends | {"clause": n, "evidence_rows": 1, "own_normal": None} | e for n, e in enumerate(extra, 10)]
    proof = [
        {"run_id": "r1", "episode_id": "e1", "measure": e["measure"], "entry_id": wage, "transaction_id": wage[:-3]}
        for e in extra
    ]
    frames["clauses"] = frames["clauses"].vstack(pl.DataFrame(rows, schema=frames["clauses"].schema))
    frames["evidence"] = frames["evidence"].vstack(pl.DataFrame(proof, schema=frames["evidence"].schema))
    case = build_case(**frames)
    plain = osec().case()
    assert (case.total, case.period) == (plain.total, plain.period)
    assert {c.measure for r in case.reasons for c in r.clauses if not c.baseline} == {"sends", "recipients"}
    assert wage in {t.entry_id for t in case.transactions}, "still there to look at"
    assert "5,000" not in narrative.write(case, FILER, DAY).text


def test_money_received_joins_the_money_sent_on_from_the_same_window():
    story = victim()
    frames = story.frames()
    sent = frames["clauses"].row(0, named=True)
    outs = [e for e in frames["evidence"]["entry_id"] if e.endswith("/out")]
    ins = [e for e in frames["evidence"]["entry_id"] if e.endswith("/in")]
    clauses = [
        sent | {"measure": "sent", "kind": "sum", "column": "amount_base", "operator": ">=", "evidence_rows": 4},
        sent | {"measure": "received", "kind": "sum", "column": "amount_base", "operator": None, "clause": 2, "evidence_rows": 4},
        sent | {"measure": "year", "kind": "sum", "column": "amount_base", "operator": None, "clause": 3, "evidence_rows": 4,
                "window_from": sent["window_from"] - timedelta(days=50)},
    ]  # fmt: skip
    proof = [
        {"run_id": "r1", "episode_id": "e1", "measure": m, "entry_id": e, "transaction_id": e.rsplit("/", 1)[0]}
        for m, ids in (("sent", outs), ("received", ins), ("year", outs))
        for e in ids
    ]
    frames["clauses"] = pl.DataFrame(clauses, schema=frames["clauses"].schema)
    frames["evidence"] = pl.DataFrame(proof, schema=frames["evidence"].schema)
    case = build_case(**frames)
    assert [c.baseline for c in case.reasons[0].clauses] == [False, False, True]
    assert len(case.evidence) == 8


def test_a_reason_that_only_measures_against_still_has_its_payments():
    frames = osec().frames()
    frames["clauses"] = frames["clauses"].with_columns(operator=pl.lit("<="))
    assert len(build_case(**frames).evidence) == 6


def test_amounts_not_in_dollars_are_unknown_not_guessed(xsd):
    story = osec()
    story.base = "EUR"
    case = story.case()
    made = drawn(case)
    (filed,) = read(made.xml)
    assert filed.total is None
    assert "rates" in {m.setting for m in made.missing}
    assert b"AmountUnknownIndicator" in made.xml
    assert schema_errors(made.xml, xsd) == ()


def test_a_branch_is_named_and_no_branch_is_said_only_when_so():
    def location(story: Story):
        root = etree.fromstring(drawn(story.case()).xml)
        return [p for p in root.iter(tag("Party")) if p.findtext(tag("ActivityPartyTypeCode")) == "34"][0]

    at_branch = location(structuring())
    assert len(at_branch.findall(f"{tag('PartyAssociation')}/{tag('Party')}")) == 3
    assert at_branch.find(tag("NoBranchActivityInvolvedIndicator")) is None
    assert location(osec()).findtext(tag("NoBranchActivityInvolvedIndicator")) == "Y"
    assert location(unknown()).find(tag("NoBranchActivityInvolvedIndicator")) is None


def test_seqnums_lead_back_to_the_case():
    case = osec().case()
    made = drawn(case)
    numbers = [e.get("SeqNum") for e in etree.fromstring(made.xml).iter() if e.get("SeqNum")]
    assert numbers == [str(n) for n in range(1, len(numbers) + 1)] == list(made.seqnums)
    assert f"subject {case.holder.key}" in made.seqnums.values()


def test_subtypes_are_the_ninety_of_the_schema(xsd):
    tree = etree.parse(str(xsd))
    space = {"x": "http://www.w3.org/2001/XMLSchema"}
    listed = tree.xpath(
        "//x:simpleType[@name='ValidateSuspiciousActivitySubtypeID']//x:enumeration/@value", namespaces=space
    )
    ours = {str(s) for group in SUBTYPES.values() for s in group}
    assert ours == set(listed) and len(ours) == 90


def test_several_advisories_leave_only_identifiers_and_child_exploitation_stands_alone():
    both = structuring()
    frames = both.frames()
    base = frames["reasons"].row(0, named=True)

    def terms(*typologies: str) -> str | None:
        rows = [base | {"reason": i, "typology": t} for i, t in enumerate(typologies, 1)]
        reasons = pl.DataFrame(rows, schema=frames["reasons"].schema)
        return field_two(key_terms(build_case(**{**frames, "reasons": reasons}), DAY))

    assert terms("HT-SEX") == "HUMAN TRAFFICKING FIN-2020-A008"
    assert terms("HT-SEX", "SEXTORTION") == "FIN-2020-A008 FIN-2025-SEXTORTION"
    assert terms("HT-SEX", "OSEC") == "OCSE-FIN-2021-NTC3"
    assert terms("ML-GENERAL") is None


def test_a_key_term_is_used_from_its_own_day_on():
    case = STORIES["sextortion"]().case()
    assert key_terms(case, date(2025, 9, 7)) == ()
    assert [t.term for t in key_terms(case, date(2025, 9, 8))] == ["FIN-2025-SEXTORTION"]


@given(st.lists(st.text(min_size=2, max_size=60), min_size=1, max_size=40), st.integers(1, 12))
def test_blocks_join_to_the_text_and_lose_nothing(words, repeat):
    whole = clean(" ".join(["When."] + words) * repeat)[:19_000].strip()
    made = blocks((whole * (1 + 9_000 // len(whole)))[:19_000])
    assert "".join(made) == (whole * (1 + 9_000 // len(whole)))[:19_000].strip()
    assert all(0 < len(b) <= 4000 and b == b.strip() for b in made)


@pytest.mark.parametrize("text", ["x" * 20_001, "x " * 4_000])
def test_what_cannot_be_cut_is_refused(text):
    with pytest.raises(ReportError):
        blocks(text)


@given(st.decimals(min_value=0, max_value=10**12, places=5))
def test_dollars_are_rounded_up_and_whole(amount):
    text = whole_dollars(amount)
    assert text.isdigit()
    assert 0 <= Decimal(text) - amount < 1


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.text(max_size=200), text=st.text(max_size=80), code=st.text(max_size=6), number=st.text(max_size=60))
def test_any_text_in_any_field_still_makes_a_valid_file(xsd, name, text, code, number):
    story = Story("hostile", "OSEC", parties=[
        {**ALEX, "name": name, "given_name": text, "family_name": name, "city": text, "state": code, "country": code,
         "postcode": number, "phone": number, "email": text, "tax_id": number, "address": name, "occupation": text},
    ])  # fmt: skip
    for n in range(2):
        story.pay(n, "10.00", "out", f"X|{number}", other_name=name, other_country=code, remittance_information=text,
                  channel=code, instrument=code, ip_address=number, place_city=text, place_id=number, place_country=code)  # fmt: skip
    made = drawn(story.case())
    assert schema_errors(made.xml, xsd) == ()
    assert not found(made.xml) - {"S104"}


def test_local_days_are_used_where_the_offset_is_known():
    story = osec()
    for payment in story.payments:
        payment["local_offset_minutes"] = 11 * 60
    case = story.case()
    first = min(p["booked_at"] for p in story.payments if p["evidence"])
    assert case.period[0] == first.date() + timedelta(days=1)
