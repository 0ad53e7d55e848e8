"""Writing FinCEN's batch XML: numbered containers, fixed order of fields, gaps collected.

Element names, order and limits: EFL_SARXBatchSchema.xsd v1.2
(https://www.fincen.gov/base/EFL_SARXBatchSchema.xsd).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from fintel.domain.case import Missing
from fintel.reports.text import clean

NAMESPACE = "www.fincen.gov/base"
PREFIX = "fc2"
YES = "Y"

#: Leading fields of a Party, in the schema's order.
LEADING = (
    "ActivityPartyTypeCode", "AdmissionConfessionNoIndicator", "AdmissionConfessionYesIndicator",
    "AllCriticalSubjectInformationUnavailableIndicator", "BirthDateUnknownIndicator",
    "BothPurchaserSenderPayeeReceiveIndicator", "ContactDateText", "FemaleGenderIndicator",
    "IndividualBirthDateText", "LossToFinancialAmountText", "MaleGenderIndicator",
    "NoBranchActivityInvolvedIndicator", "NoKnownAccountInvolvedIndicator",
    "NonUSFinancialInstitutionIndicator", "PartyAsEntityOrganizationIndicator", "PayeeReceiverIndicator",
    "PayLocationIndicator", "PrimaryRegulatorTypeCode", "PurchaserSenderIndicator",
    "SellingLocationIndicator", "SellingPayingLocationIndicator", "UnknownGenderIndicator",
)  # fmt: skip
NAME = (
    "EntityLastNameUnknownIndicator", "FirstNameUnknownIndicator", "PartyNameTypeCode",
    "RawEntityIndividualLastName", "RawIndividualFirstName", "RawIndividualMiddleName",
    "RawIndividualNameSuffixText", "RawPartyFullName",
)  # fmt: skip
ADDRESS = (
    "CityUnknownIndicator", "CountryCodeUnknownIndicator", "RawCityText", "RawCountryCodeText",
    "RawStateCodeText", "RawStreetAddress1Text", "RawZIPCode", "StateCodeUnknownIndicator",
    "StreetAddressUnknownIndicator", "ZIPCodeUnknownIndicator",
)  # fmt: skip
IDENTIFICATION = (
    "IdentificationPresentUnknownIndicator", "OtherIssuerCountryText", "OtherIssuerStateText",
    "OtherPartyIdentificationTypeText", "PartyIdentificationNumberText", "PartyIdentificationTypeCode",
    "TINUnknownIndicator",
)  # fmt: skip
ASSOCIATION = (
    "CustomerIndicator", "NoRelationshipToInstitutionIndicator", "RelationshipContinuesIndicator",
    "SubjectRelationshipFinancialInstitutionTINText",
)  # fmt: skip


def tag(name: str) -> str:
    """Qualified name."""
    return f"{{{NAMESPACE}}}{name}"


@dataclass
class Sheet:
    """The file while it is written: SeqNums are given in document order and remember what they stand
    for, so that an acknowledgement's error path leads back to the case."""

    root: etree._Element = field(
        default_factory=lambda: etree.Element(tag("EFilingBatchXML"), nsmap={PREFIX: NAMESPACE})
    )
    seqnums: dict[str, str] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)

    def open(self, parent: etree._Element, name: str, about: str) -> etree._Element:
        """A container with the next SeqNum; ``about`` is the case object it shows."""
        number = str(len(self.seqnums) + 1)
        self.seqnums[number] = about
        return etree.SubElement(parent, tag(name), {"SeqNum": number})

    def put(self, parent: etree._Element, name: str, value: str | None) -> None:
        """A text element; nothing where there is no value."""
        if value:
            etree.SubElement(parent, tag(name)).text = value

    def fill(self, parent: etree._Element, order: tuple[str, ...], values: Mapping[str, str | None]) -> None:
        """Text elements in the schema's order, whatever the order of ``values``."""
        unknown = set(values) - set(order)
        if unknown:
            raise ValueError(f"not an element here: {sorted(unknown)}")
        for name in order:
            self.put(parent, name, values.get(name))

    def party(self, parent: etree._Element, code: str, about: str, **fields: str | None) -> etree._Element:
        """A Party with its leading fields."""
        party = self.open(parent, "Party", about)
        self.fill(party, LEADING, {"ActivityPartyTypeCode": code, **fields})
        return party

    def identify(self, party: etree._Element, about: str, **fields: str | None) -> None:
        """A PartyIdentification."""
        self.fill(self.open(party, "PartyIdentification", about), IDENTIFICATION, fields)

    def lacks(self, setting: str, where: str, why: str) -> None:
        """Remember a fact that is not there; each once."""
        gap = Missing(setting, where, why)
        if gap not in self.missing:
            self.missing.append(gap)

    def limited(self, value: str | None, limit: int, setting: str, where: str) -> str | None:
        """``value`` cleaned to ``limit`` characters; a cut is remembered."""
        whole = clean(value)
        short = clean(value, limit)
        if len(short) < len(whole):
            self.lacks(setting, where, f"longer than {limit} characters, cut")
        return short or None
