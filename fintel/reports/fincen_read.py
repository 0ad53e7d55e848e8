"""Reading a FinCEN SAR back into facts: the round trip of a draft, and a first look at others' files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from lxml import etree

from fintel.errors import ReportError
from fintel.reports.fincen_sheet import tag

# Longer numbers are none of the form's, and Python refuses thousands of digits.
_DIGITS = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class FiledSubject:
    """A subject as filed. Names are None where the unknown flag stands."""

    last_name: str | None
    first_name: str | None
    organisation: bool
    birth_date: date | None
    country: str | None
    accounts: tuple[str, ...]
    flow: str


@dataclass(frozen=True, slots=True)
class Filed:
    """The facts of one activity."""

    note: str | None
    subjects: tuple[FiledSubject, ...]
    period: tuple[date, date]
    total: int | None
    classifications: tuple[tuple[int, int, str | None], ...]
    assets: tuple[tuple[int, int, str | None], ...]
    addresses: tuple[str, ...]
    narrative: str
    attachment: str | None


def read(xml: bytes) -> tuple[Filed, ...]:
    """Activities of a batch file. Raises ReportError when it is not one."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        raise ReportError(f"not well-formed XML: {error}") from error
    if root.tag != tag("EFilingBatchXML"):
        raise ReportError(f"not a FinCEN batch file: {root.tag}")
    return tuple(_activity(a) for a in root.findall(tag("Activity")))


def _text(element: etree._Element, path: str) -> str | None:
    return element.findtext("/".join(tag(p) for p in path.split("/"))) or None


def _all(element: etree._Element, path: str) -> list[etree._Element]:
    return element.findall("/".join(tag(p) for p in path.split("/")))


def _day(text: str | None) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if text else None
    except ValueError:
        return None


def _coded(element: etree._Element, sub: str, kind: str, other: str) -> tuple[int, int, str | None]:
    return _number(element, sub), _number(element, kind), _text(element, other)


def _number(element: etree._Element, path: str) -> int:
    """A code or count, 0 where there is none."""
    text = _text(element, path) or "0"
    if not _DIGITS.fullmatch(text):
        raise ReportError(f"{path} is not a number: {text[:40]!r}")
    return int(text)


def _activity(activity: etree._Element) -> Filed:
    first = _day(_text(activity, "SuspiciousActivity/SuspiciousActivityFromDateText"))
    if first is None:
        raise ReportError("an activity without a first day")
    last = _day(_text(activity, "SuspiciousActivity/SuspiciousActivityToDateText"))
    total = _text(activity, "SuspiciousActivity/TotalSuspiciousAmountText")
    parties = [p for p in _all(activity, "Party") if _text(p, "ActivityPartyTypeCode") == "33"]
    story = _all(activity, "ActivityNarrativeInformation")
    ordered = sorted(story, key=lambda p: _number(p, "ActivityNarrativeSequenceNumber"))
    return Filed(
        note=_text(activity, "FilingInstitutionNotetoFinCEN"),
        subjects=tuple(
            _subject(p)
            for p in parties
            if not _text(p, "AllCriticalSubjectInformationUnavailableIndicator")
        ),
        period=(first, last or first),
        total=int(total) if total and _DIGITS.fullmatch(total) else None,
        classifications=tuple(
            _coded(c, "SuspiciousActivitySubtypeID", "SuspiciousActivityTypeID", "OtherSuspiciousActivityTypeText")
            for c in _all(activity, "SuspiciousActivity/SuspiciousActivityClassification")
        ),
        assets=tuple(
            _coded(a, "AssetSubtypeID", "AssetTypeID", "OtherAssetSubtypeText") for a in _all(activity, "Assets")
        ),
        addresses=tuple(_text(a, "IPAddressText") or "" for a in _all(activity, "ActivityIPAddress")),
        narrative="".join(_text(p, "ActivityNarrativeText") or "" for p in ordered),
        attachment=_text(activity, "ActivitySupportDocument/OriginalAttachmentFileName"),
    )  # fmt: skip


def _subject(party: etree._Element) -> FiledSubject:
    legal = [n for n in _all(party, "PartyName") if _text(n, "PartyNameTypeCode") == "L"]
    name = legal[0] if legal else party
    flows = {
        "PurchaserSenderIndicator": "sender",
        "PayeeReceiverIndicator": "receiver",
        "BothPurchaserSenderPayeeReceiveIndicator": "both",
    }
    return FiledSubject(
        last_name=_text(name, "RawEntityIndividualLastName"),
        first_name=_text(name, "RawIndividualFirstName"),
        organisation=_text(party, "PartyAsEntityOrganizationIndicator") is not None,
        birth_date=_day(_text(party, "IndividualBirthDateText")),
        country=_text(party, "Address/RawCountryCodeText"),
        accounts=tuple(
            _text(a, "AccountNumberText") or "" for a in _all(party, "PartyAccountAssociation/Party/Account")
        ),
        flow=next((word for flag, word in flows.items() if _text(party, flag)), ""),
    )
