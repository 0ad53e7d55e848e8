"""What the XSD of FinCEN's SAR lets through: our own checks of a draft's XML.

One code a check, S101 to S113. They read the XML alone, so they serve for files from elsewhere too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from lxml import etree

from fintel.errors import Diagnostic, Severity
from fintel.reports.fincen_codes import FILLER, KEY_TERMS, STATED, SUBTYPES, type_of
from fintel.reports.fincen_sheet import NAMESPACE, PREFIX, tag
from fintel.reports.text import clean

MAX_ATTACHMENT = 1_000_000
NARRATIVE_WARN, NARRATIVE_MAX = 17_000, 20_000
_MONEY = ("CumulativeTotalViolationAmountText", "TotalSuspiciousAmountText", "LossToFinancialAmountText")
_CRITICAL = (
    "RawEntityIndividualLastName", "RawIndividualFirstName", "RawPartyFullName", "RawCityText",
    "RawCountryCodeText", "RawStateCodeText", "RawStreetAddress1Text", "RawZIPCode",
    "PartyIdentificationNumberText", "AccountNumberText", "OccupationBusinessText",
)  # fmt: skip
_SINGLE = ("35", "37", "30", "8")


def check(xml: bytes, *, today: date, attachments: dict[str, int] | None = None) -> tuple[Diagnostic, ...]:
    """All findings about a batch file.

    Parameters
    ----------
    today: filing day; no activity may start after it.
    attachments: file name → size in bytes of what lies beside the XML.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        return (Diagnostic("S100", f"not well-formed XML: {error}"),)
    found = [*_prefix(xml, root), *_counts(root)]
    for activity in root.findall(tag("Activity")):
        found += _amounts(activity)
        found += _codes(activity)
        found += _dates(activity, today)
        found += _narrative(activity)
        found += _unknowns(activity)
        found += _report_kind(activity)
        found += _parties(activity)
        found += _terms(activity)
        found += _attachment(activity, attachments or {})
        found += _fillers(activity)
    return tuple(found)


def _text(element: etree._Element, path: str) -> str:
    return element.findtext("/".join(tag(p) for p in path.split("/"))) or ""


def _all(element: etree._Element, path: str) -> list[etree._Element]:
    return element.findall("/".join(tag(p) for p in path.split("/")))


def _at(element: etree._Element) -> str:
    name = etree.QName(element).localname
    return f"{name}[{element.get('SeqNum', '?')}]"


def _parts(activity: etree._Element, code: str) -> list[etree._Element]:
    return [p for p in _all(activity, "Party") if _text(p, "ActivityPartyTypeCode") == code]


def _prefix(xml: bytes, root: etree._Element) -> Iterator[Diagnostic]:
    if root.nsmap.get(PREFIX) != NAMESPACE or root.prefix != PREFIX or root.tag != tag("EFilingBatchXML"):
        yield Diagnostic("S112", f"the root must be {PREFIX}:EFilingBatchXML in namespace {NAMESPACE}")
    if any(e.prefix != PREFIX for e in root.iter(etree.Element)):
        yield Diagnostic("S112", f"every element needs the prefix {PREFIX}:")


def _counts(root: etree._Element) -> Iterator[Diagnostic]:
    activities = root.findall(tag("Activity"))
    totals = [_text(a, "SuspiciousActivity/TotalSuspiciousAmountText") for a in activities]
    attached = [a for a in activities if _all(a, "ActivitySupportDocument")]
    expected = {
        "ActivityCount": len(activities),
        "TotalAmount": sum(int(t) for t in totals if t.isdigit()),
        "PartyCount": sum(len(_parts(a, "33")) for a in activities),
        "ActivityAttachmentCount": len(attached),
        "AttachmentCount": sum(len(_all(a, "ActivitySupportDocument")) for a in activities),
    }
    for name, value in expected.items():
        if root.get(name) != str(value):
            yield Diagnostic("S103", f"{name} is {root.get(name)}, the file has {value}")


def _amounts(activity: etree._Element) -> Iterator[Diagnostic]:
    for element in activity.iter(*(tag(n) for n in _MONEY)):
        if not re.fullmatch(r"[0-9]{1,15}", element.text or ""):
            name = etree.QName(element).localname
            yield Diagnostic("S101", f"{name} {element.text!r} is not whole dollars in digits")
    suspicious = activity.find(tag("SuspiciousActivity"))
    if suspicious is None:
        return
    names = ("TotalSuspiciousAmountText", "AmountUnknownIndicator", "NoAmountInvolvedIndicator")
    if sum(bool(_text(suspicious, n)) for n in names) != 1:
        yield Diagnostic("S101", "exactly one of total amount, amount unknown, no amount involved")


def _codes(activity: etree._Element) -> Iterator[Diagnostic]:
    for element in _all(activity, "SuspiciousActivity/SuspiciousActivityClassification"):
        kind, sub = _text(element, "SuspiciousActivityTypeID"), _text(element, "SuspiciousActivitySubtypeID")
        other = _text(element, "OtherSuspiciousActivityTypeText")
        if not sub.isdigit() or str(type_of(int(sub))) != kind:
            yield Diagnostic("S102", f"{_at(element)}: subtype {sub} does not belong to type {kind}")
        if sub in {f"{t}999" for t in SUBTYPES} and not other:
            yield Diagnostic("S102", f"{_at(element)}: subtype {sub} needs its text")
    for element in _all(activity, "Assets"):
        if _text(element, "AssetSubtypeID") in ("30", "41") and not _text(element, "OtherAssetSubtypeText"):
            yield Diagnostic("S102", f"{_at(element)}: 'other' needs its text")


def _calendar(text: str) -> date | None:
    if not re.fullmatch(r"[0-9]{8}", text):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _dates(activity: etree._Element, today: date) -> Iterator[Diagnostic]:
    for element in activity.iter():
        name = etree.QName(element).localname
        text = element.text or ""
        if not name.endswith("DateText") or not text or name == "IndividualBirthDateText":
            continue
        if _calendar(text) is None:
            yield Diagnostic("S104", f"{name} {text!r} is no day of the calendar")
    first = _calendar(_text(activity, "SuspiciousActivity/SuspiciousActivityFromDateText"))
    last = _calendar(_text(activity, "SuspiciousActivity/SuspiciousActivityToDateText"))
    if first and first > today:
        yield Diagnostic("S104", f"activity starts on {first}, after the filing day {today}")
    if first and last and last < first:
        yield Diagnostic("S104", f"activity ends on {last}, before it starts on {first}")
    for element in activity.iter(tag("IndividualBirthDateText")):
        text = element.text or ""
        # A day or month not known is written 00.
        born = _calendar(text[:4] + text[4:].replace("00", "01")) if text else None
        if born is None or (first and born >= first):
            yield Diagnostic("S104", f"birth date {text!r} is no day before the activity")


def _narrative(activity: etree._Element) -> Iterator[Diagnostic]:
    parts = _all(activity, "ActivityNarrativeInformation")
    numbers = [_text(p, "ActivityNarrativeSequenceNumber") for p in parts]
    if numbers != [str(n) for n in range(1, len(parts) + 1)]:
        yield Diagnostic("S105", f"narrative blocks are numbered {', '.join(numbers)}, not 1 and on")
    texts = [_text(p, "ActivityNarrativeText") for p in parts]
    for number, text in enumerate(texts, 1):
        if not text or text != text.strip():
            yield Diagnostic("S105", f"narrative block {number} is empty or has a space at an end")
        if re.search(r"[\r\n\t]", text):
            yield Diagnostic("S105", f"narrative block {number} has line breaks or tabs")
        if len(text) > 4000:
            yield Diagnostic("S105", f"narrative block {number} has {len(text)} characters")
    whole = sum(map(len, texts))
    if whole > NARRATIVE_WARN:
        severity = Severity.ERROR if whole > NARRATIVE_MAX else Severity.WARNING
        yield Diagnostic("S105", f"the narrative has {whole} characters", severity=severity)


def _either(element: etree._Element, value: str, flag: str) -> Iterator[Diagnostic]:
    given, unknown = bool(_text(element, value)), bool(_text(element, flag))
    if given == unknown:
        words = "both" if given else "neither"
        yield Diagnostic("S106", f"{_at(element)}: {words} {value} and {flag}")


def _unknowns(activity: etree._Element) -> Iterator[Diagnostic]:
    for party in _all(activity, "Party"):
        legal = [n for n in _all(party, "PartyName") if _text(n, "PartyNameTypeCode") == "L"]
        if len(legal) != 1:
            yield Diagnostic("S106", f"{_at(party)}: {len(legal)} names of type L, not one")
    for party in _parts(activity, "33"):
        if _text(party, "AllCriticalSubjectInformationUnavailableIndicator"):
            continue
        entity = bool(_text(party, "PartyAsEntityOrganizationIndicator"))
        for name in _all(party, "PartyName"):
            if _text(name, "PartyNameTypeCode") == "L":
                yield from _either(name, "RawEntityIndividualLastName", "EntityLastNameUnknownIndicator")
                if not entity:
                    yield from _either(name, "RawIndividualFirstName", "FirstNameUnknownIndicator")
        if not entity:
            yield from _either(party, "IndividualBirthDateText", "BirthDateUnknownIndicator")
        for address in _all(party, "Address"):
            yield from _address(address)


def _address(address: etree._Element) -> Iterator[Diagnostic]:
    yield from _either(address, "RawCityText", "CityUnknownIndicator")
    yield from _either(address, "RawCountryCodeText", "CountryCodeUnknownIndicator")
    yield from _either(address, "RawStreetAddress1Text", "StreetAddressUnknownIndicator")
    yield from _either(address, "RawZIPCode", "ZIPCodeUnknownIndicator")
    country = _text(address, "RawCountryCodeText")
    if not country or country in STATED:
        yield from _either(address, "RawStateCodeText", "StateCodeUnknownIndicator")


def _report_kind(activity: etree._Element) -> Iterator[Diagnostic]:
    names = ("ContinuingActivityReportIndicator", "CorrectsAmendsPriorReportIndicator", "InitialReportIndicator")
    continuing, corrects, initial = (bool(_text(activity, f"ActivityAssociation/{n}")) for n in names)
    prior = _text(activity, "EFilingPriorDocumentNumber")
    if initial == (continuing or corrects):
        yield Diagnostic("S108", "a report is either initial, or a continuation or correction")
    if (continuing or corrects) and not prior:
        yield Diagnostic("S107", "a continuing or correcting report needs the prior document number")
    if initial and prior:
        yield Diagnostic("S107", "an initial report has no prior document number")
    narrative = _story(activity).lower()
    if _text(activity, "ActivityAssociation/JointReportIndicator") and "joint" not in narrative:
        yield Diagnostic("S108", "a joint report names the joint filer in its narrative")


def _parties(activity: etree._Element) -> Iterator[Diagnostic]:
    for code in _SINGLE:
        if (n := len(_parts(activity, code))) != 1:
            yield Diagnostic("S109", f"{n} parties of type {code}, not one")
    for code, most in (("34", 99), ("33", 999)):
        if not 1 <= (n := len(_parts(activity, code))) <= most:
            yield Diagnostic("S109", f"{n} parties of type {code}, not 1 to {most}")
    for party in _parts(activity, "35"):
        if sorted(_ids(party)) != ["28", "4"]:
            yield Diagnostic("S109", f"{_at(party)}: the transmitter needs identifications 4 and 28")
    for code in ("35", "30", "34"):
        for party in _parts(activity, code):
            yield from _filled(party, ("RawCityText", "RawCountryCodeText", "RawStreetAddress1Text", "RawZIPCode"))
    for code in ("35", "8"):
        for party in _parts(activity, code):
            if not _text(party, "PhoneNumber/PhoneNumberText"):
                yield Diagnostic("S109", f"{_at(party)}: party {code} needs a phone number")
    for code in ("35", "37", "30", "8", "34"):
        for party in _parts(activity, code):
            if not _text(party, "PartyName/RawPartyFullName"):
                yield Diagnostic("S109", f"{_at(party)}: party {code} needs a name")
    for party in (*_parts(activity, "30"), *_parts(activity, "34")):
        if not _text(party, "PrimaryRegulatorTypeCode"):
            yield Diagnostic("S109", f"{_at(party)}: a regulator is needed (99: none)")
        if not _all(party, "OrganizationClassificationTypeSubtype"):
            yield Diagnostic("S109", f"{_at(party)}: a type of organisation is needed")
        if len(set(_ids(party)) & {"2", "4", "9"}) != 1:
            yield Diagnostic("S109", f"{_at(party)}: one tax number (identification 2, 4 or 9) is needed")
    for party in _parts(activity, "34"):
        branches = _all(party, "PartyAssociation/Party")
        if bool(branches) == bool(_text(party, "NoBranchActivityInvolvedIndicator")):
            message = f"{_at(party)}: either branches or 'no branch involved'"
            yield Diagnostic("S109", message, severity=Severity.WARNING)
    for party in _parts(activity, "33"):
        yield from _subject(party)


def _ids(party: etree._Element) -> list[str]:
    found = (_text(i, "PartyIdentificationTypeCode") for i in _all(party, "PartyIdentification"))
    return [code for code in found if code]


def _filled(party: etree._Element, names: tuple[str, ...]) -> Iterator[Diagnostic]:
    addresses = _all(party, "Address")
    if len(addresses) != 1:
        yield Diagnostic("S109", f"{_at(party)}: one address is needed")
        return
    for name in names:
        if not _text(addresses[0], name):
            yield Diagnostic("S109", f"{_at(party)}: the address lacks {name}")


def _subject(party: etree._Element) -> Iterator[Diagnostic]:
    accounts = _all(party, "PartyAccountAssociation")
    if bool(accounts) == bool(_text(party, "NoKnownAccountInvolvedIndicator")):
        yield Diagnostic("S109", f"{_at(party)}: either accounts or 'no known account'")
    if _text(party, "AllCriticalSubjectInformationUnavailableIndicator"):
        return
    genders = [n for n in ("Female", "Male", "Unknown") if _text(party, f"{n}GenderIndicator")]
    entity = bool(_text(party, "PartyAsEntityOrganizationIndicator"))
    if len(genders) != (0 if entity else 1):
        yield Diagnostic("S109", f"{_at(party)}: {len(genders)} gender flags")
    if not _all(party, "Address"):
        yield Diagnostic("S109", f"{_at(party)}: an address, if only with unknown flags, is needed")
    if not _all(party, "PartyIdentification"):
        yield Diagnostic("S109", f"{_at(party)}: identification or its unknown flag is needed")


def _story(activity: etree._Element) -> str:
    return "".join(_text(p, "ActivityNarrativeText") for p in _all(activity, "ActivityNarrativeInformation"))


def _terms(activity: etree._Element) -> Iterator[Diagnostic]:
    """Field 2, narrative and classification speak of the same advisory."""
    note, story = _text(activity, "FilingInstitutionNotetoFinCEN"), _story(activity)
    made = {
        (_text(c, "SuspiciousActivitySubtypeID"), _text(c, "OtherSuspiciousActivityTypeText"))
        for c in _all(activity, "SuspiciousActivity/SuspiciousActivityClassification")
    }
    codes = {code for code, _ in made}
    for term in {k.term: k for k in KEY_TERMS}.values():
        short = term.term.rsplit(" ", 1)[-1]
        in_note, in_story = short in note, term.term in story
        coded = str(term.code) in codes and all(
            (term.other_text or "") in text for code, text in made if code == str(term.code)
        )
        if in_note and not in_story:
            yield Diagnostic("S110", f"{term.term} stands in field 2 and not in the narrative")
        if (in_note or in_story) and not coded:
            yield Diagnostic("S110", f"{term.term} needs classification {term.code} {term.other_text or ''}")
        if term.alone and in_note and note != term.term:
            yield Diagnostic("S110", f"{term.term} stands alone in field 2")
    if not note and any(k.term in story for k in KEY_TERMS):
        yield Diagnostic("S110", "the narrative has a key term, field 2 has none")


def _attachment(activity: etree._Element, attachments: dict[str, int]) -> Iterator[Diagnostic]:
    names = [_text(d, "OriginalAttachmentFileName") for d in _all(activity, "ActivitySupportDocument")]
    if sorted(names) != sorted(attachments):
        yield Diagnostic("S111", f"attachments named {names}, supplied {sorted(attachments)}")
    for name in names:
        if not name.lower().endswith(".csv"):
            yield Diagnostic("S111", f"{name!r} is not a .csv")
        if attachments.get(name, 0) > MAX_ATTACHMENT:
            yield Diagnostic("S111", f"{name!r} is over 1 MB")


def _fillers(activity: etree._Element) -> Iterator[Diagnostic]:
    for element in activity.iter(*(tag(n) for n in _CRITICAL)):
        if clean(element.text).upper() in FILLER:
            name = etree.QName(element).localname
            yield Diagnostic("S113", f"{name} {element.text!r} is filler: use the unknown flag")
