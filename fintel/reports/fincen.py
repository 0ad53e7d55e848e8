"""A DRAFT FinCEN SAR (form type SARX) of a case: valid by the XSD once the filer's facts are complete.

Nothing is sent anywhere. Sources: EFL_SARXBatchSchema.xsd v1.2 of 12/17/2021; FinCEN SAR XML Schema
User Guide v1.6 (August 2021); victims are no subjects: FIN-2020-A008.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path
from typing import Any

from lxml import etree

from fintel.config import Filer
from fintel.domain.case import Case, CaseTransaction, Missing
from fintel.errors import Diagnostic, ReportError
from fintel.reports.fincen_codes import assets, classifications, field_two, key_terms
from fintel.reports.fincen_parties import write_parties
from fintel.reports.fincen_sheet import YES, Sheet, tag
from fintel.reports.narrative import Narrative
from fintel.reports.text import clean, whole_dollars

BLOCK = 4000
MAX_BLOCKS = 5
MAX_IPS = 99


@dataclass(frozen=True, slots=True)
class Rendered:
    """The XML, what was missing for it, and what each SeqNum stands for."""

    xml: bytes
    missing: tuple[Missing, ...]
    seqnums: dict[str, str]


def blocks(text: str) -> tuple[str, ...]:
    """``text`` cut into pieces of at most 4,000 characters that give it back when joined; no piece
    begins or ends with a space, which the receiver would drop.

    Raises ReportError when it does not fit into five, or is nowhere two characters without a space.
    """
    rest, made = clean(text), []
    while len(rest) > BLOCK:
        inside = (c for c in range(BLOCK, 0, -1) if " " not in rest[c - 1 : c + 1])
        cut = next(inside, None)
        if cut is None:
            raise ReportError("the narrative cannot be cut into blocks: every other character is a space")
        made.append(rest[:cut])
        rest = rest[cut:]
    made = [*made, rest] if rest else made
    if len(made) > MAX_BLOCKS:
        raise ReportError(f"the narrative has {len(text)} characters, more than {MAX_BLOCKS} blocks hold")
    return tuple(made)


def render(
    case: Case, narrative: Narrative, filer: Filer, *, filing_date: date, attachment: str | None = None
) -> Rendered:
    """The batch XML of one draft, an initial report.

    Parameters
    ----------
    filer: facts of ``fintel.toml``; what is absent is left out and named in ``missing``.
    filing_date: given by the caller, never the clock's.
    attachment: file name of the CSV beside the draft.

    Raises
    ------
    ReportError: the narrative is too long.
    """
    sheet = Sheet()
    sheet.put(sheet.root, "FormTypeCode", "SARX")
    activity = sheet.open(sheet.root, "Activity", f"case {case.case_id}")
    sheet.put(activity, "FilingDateText", filing_date.strftime("%Y%m%d"))
    sheet.put(activity, "FilingInstitutionNotetoFinCEN", field_two(key_terms(case, filing_date)))
    kind = sheet.open(activity, "ActivityAssociation", "report kind")
    sheet.put(kind, "InitialReportIndicator", YES)
    if attachment:
        document = sheet.open(activity, "ActivitySupportDocument", "attachment")
        sheet.put(document, "OriginalAttachmentFileName", clean(attachment, 150))
    write_parties(sheet, activity, case, filer, filing_date)
    total = _suspicious(sheet, activity, case, filing_date)
    _addresses(sheet, activity, case)
    for subtype, asset_type, words in assets(case):
        element = sheet.open(activity, "Assets", f"instrument {words or subtype}")
        sheet.put(element, "AssetSubtypeID", str(subtype))
        sheet.put(element, "AssetTypeID", str(asset_type))
        sheet.put(element, "OtherAssetSubtypeText", words)
    for number, block in enumerate(blocks(narrative.text), 1):
        element = sheet.open(activity, "ActivityNarrativeInformation", f"narrative block {number}")
        sheet.put(element, "ActivityNarrativeSequenceNumber", str(number))
        sheet.put(element, "ActivityNarrativeText", block)
    subjects = activity.findall(f"{tag('Party')}[{tag('ActivityPartyTypeCode')}='33']")
    counts = {
        "TotalAmount": total or "0",
        "PartyCount": str(len(subjects)),
        "ActivityCount": "1",
        "ActivityAttachmentCount": "1" if attachment else "0",
        "AttachmentCount": "1" if attachment else "0",
    }
    for name, value in counts.items():
        sheet.root.set(name, value)
    xml = etree.tostring(sheet.root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return Rendered(xml, tuple(sheet.missing), sheet.seqnums)


def dollars(case: Case) -> str | None:
    """Total in whole US dollars; None when it is not known in them."""
    if case.base_currency == "USD":
        return None if case.total is None else whole_dollars(case.total)
    if {t.currency for t in case.payments} == {"USD"}:
        return whole_dollars(sum((t.amount for t in case.payments[1:]), case.payments[0].amount))
    return None


def _suspicious(sheet: Sheet, activity: etree._Element, case: Case, on: date) -> str | None:
    element = sheet.open(activity, "SuspiciousActivity", "period and amount")
    total = dollars(case)
    if total is None:
        sheet.put(element, "AmountUnknownIndicator", YES)
        why = "some payments have no value in US dollars; load rates or set base_currency to USD"
        sheet.lacks("rates", "suspicious activity, total amount", why)
    elif case.truncated:
        why = "a lower bound: the run kept fewer rows than made its values"
        sheet.lacks("evidence", "suspicious activity, total amount", why)
    first, last = case.period
    sheet.put(element, "SuspiciousActivityFromDateText", first.strftime("%Y%m%d"))
    sheet.put(element, "SuspiciousActivityToDateText", last.strftime("%Y%m%d"))
    sheet.put(element, "TotalSuspiciousAmountText", total)
    for code in classifications(case, on):
        made = sheet.open(element, "SuspiciousActivityClassification", f"classification {code.subtype}")
        sheet.put(made, "OtherSuspiciousActivityTypeText", code.other_text)
        sheet.put(made, "SuspiciousActivitySubtypeID", str(code.subtype))
        sheet.put(made, "SuspiciousActivityTypeID", str(code.type))
    return total


def filed_addresses(case: Case) -> dict[str, CaseTransaction]:
    """IP addresses of form field 43 with the payment that first used them.

    A presumed victim's own orders are left out: a victim's data belong in the narrative only.
    """
    found: dict[str, CaseTransaction] = {}
    for row in case.evidence:
        own_order = row.direction == "out"
        if row.ip_address is None or (own_order and not case.holder.role.may_be_subject):
            continue
        try:
            address = str(ipaddress.ip_address(row.ip_address.strip()))
        except ValueError:
            continue
        found.setdefault(address, row)
    return found


def _addresses(sheet: Sheet, activity: etree._Element, case: Case) -> None:
    for address, row in list(filed_addresses(case).items())[:MAX_IPS]:
        element = sheet.open(activity, "ActivityIPAddress", f"payment {row.transaction_id}")
        at = row.booked_at.astimezone(UTC)
        sheet.put(element, "ActivityIPAddressDateText", at.strftime("%Y%m%d"))
        sheet.put(element, "ActivityIPAddressTimeStampText", at.strftime("%H:%M:%S"))
        sheet.put(element, "IPAddressText", address)


def schema_errors(xml: bytes, schema: Path) -> tuple[Diagnostic, ...]:
    """Findings of FinCEN's own XSD (not shipped; https://www.fincen.gov/base/EFL_SARXBatchSchema.xsd).

    Raises ReportError when the schema cannot be read, or nothing can be checked against it.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        checker = etree.XMLSchema(etree.parse(str(schema), parser))
    except (OSError, etree.XMLSyntaxError, etree.XMLSchemaParseError) as error:
        raise ReportError(f"not a readable XSD: {error}", location=schema) from error
    try:
        checker.validate(etree.fromstring(xml, parser))
    except etree.XMLSchemaValidateError as error:  # a pattern that never ends, for one
        raise ReportError(f"not a usable XSD: {error}", location=schema) from error
    findings: Any = checker.error_log
    return tuple(
        Diagnostic("S120", f"schema, line {e.line}: {e.message.replace('{www.fincen.gov/base}', '')}") for e in findings
    )
