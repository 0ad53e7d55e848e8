"""Parties of a FinCEN SAR: the filer in its five parts, and the subjects.

A filer's fact that is absent is left out and named; nothing is made up. A subject's fact that is
absent becomes the format's own "unknown" flag.
"""

from __future__ import annotations

from datetime import date

from lxml import etree

from fintel.config import Filer
from fintel.domain.case import Case, CaseAccount, Person
from fintel.reports.fincen_codes import MSB, ORGANISATION_TYPES, REGULATORS, STATED
from fintel.reports.fincen_sheet import ADDRESS, ASSOCIATION, NAME, YES, Sheet
from fintel.reports.text import digits, known

_BRANCH_CHANNELS = frozenset({"branch", "atm", "agent", "kiosk", "card_present", "unknown", ""})
MAX_BRANCHES = 99


def write_parties(sheet: Sheet, activity: etree._Element, case: Case, filer: Filer, on: date) -> None:
    """All parties in the order 35, 37, 30, 8, 34, 33."""
    _transmitter(sheet, activity, filer)
    contact = _need(sheet, filer.contact_office, 150, "filer.contact_office", "party 37 and 8, name", "whom to ask")
    _named(sheet, sheet.party(activity, "37", "filer.contact"), contact, "filer.contact_office")
    _institution(sheet, activity, case, filer)
    assistance = sheet.party(activity, "8", "filer.contact")
    _named(sheet, assistance, contact, "filer.contact_office")
    _phone(sheet, assistance, filer.contact_phone, "filer.contact_phone", "party 8, phone")
    _location(sheet, activity, case, filer)
    if not case.subjects:
        _unknown_subject(sheet, activity)
    for person in case.subjects:
        _subject(sheet, activity, case, person, filer, on)


def _need(sheet: Sheet, value: str | None, limit: int, setting: str, where: str, why: str) -> str | None:
    found = known(value)
    if found is None:
        sheet.lacks(setting, where, why)
        return None
    return sheet.limited(found, limit, setting, where)


def _tin(sheet: Sheet, value: str | None, setting: str, where: str) -> str | None:
    if known(value) is None:
        return None
    number = digits(value)
    if len(number) != 9:
        sheet.lacks(setting, where, "a tax number has 9 digits")
        return None
    return number


def _named(sheet: Sheet, party: etree._Element, name: str | None, about: str) -> None:
    if name:
        element = sheet.open(party, "PartyName", about)
        sheet.fill(element, NAME, {"PartyNameTypeCode": "L", "RawPartyFullName": name})


def _phone(sheet: Sheet, party: etree._Element, value: str | None, setting: str, where: str) -> None:
    number = digits(value)
    if not 7 <= len(number) <= 16:
        sheet.lacks(setting, where, "a phone number, 7 to 16 digits")
        return
    sheet.put(sheet.open(party, "PhoneNumber", setting), "PhoneNumberText", number)


def _filer_address(sheet: Sheet, party: etree._Element, filer: Filer, where: str) -> None:
    given = filer.address
    country = _country(given.country)
    values = {
        "RawCityText": _need(sheet, given.city, 50, "filer.address.city", where, "city"),
        "RawCountryCodeText": country,
        "RawStreetAddress1Text": _need(sheet, given.street, 100, "filer.address.street", where, "street"),
        "RawZIPCode": _zip(given.postcode, country),
    }
    if country is None:
        sheet.lacks("filer.address.country", where, "two-letter country code")
    if country in STATED:
        values["RawStateCodeText"] = _state(given.state)
        if values["RawStateCodeText"] is None:
            sheet.lacks("filer.address.state", where, "state code, two letters (Mexico: three)")
    if values["RawZIPCode"] is None:
        sheet.lacks("filer.address.postcode", where, "postal code; in the US 5 or 9 digits")
    if any(values.values()):
        sheet.fill(sheet.open(party, "Address", "filer.address"), ADDRESS, values)


def _country(value: str | None) -> str | None:
    code = (known(value) or "").upper()
    return code if len(code) == 2 and code.isascii() and code.isalpha() else None


def _state(value: str | None) -> str | None:
    code = (known(value) or "").upper()
    return code if 2 <= len(code) <= 3 and code.isascii() and code.isalnum() else None


def _zip(value: str | None, country: str | None) -> str | None:
    code = "".join(c for c in known(value) or "" if c.isascii() and c.isalnum()).upper()
    if country == "US":
        return code if code.isdigit() and len(code) in (5, 9) else None
    return code if 1 <= len(code) <= 9 else None


def _transmitter(sheet: Sheet, activity: etree._Element, filer: Filer) -> None:
    party = sheet.party(activity, "35", "filer")
    name = _need(sheet, filer.name, 150, "filer.name", "parties 35, 30, 34, name", "who files")
    _named(sheet, party, name, "filer.name")
    _filer_address(sheet, party, filer, "parties 35, 30, 34, address")
    _phone(sheet, party, filer.phone, "filer.phone", "party 35, phone")
    setting = "filer.transmitter_control_code"
    code = _need(sheet, filer.transmitter_control_code, 25, setting, "party 35, identification 28", "who may send")
    if code:
        sheet.identify(party, setting, PartyIdentificationNumberText=code, PartyIdentificationTypeCode="28")
    tin = _tin(sheet, filer.tin, "filer.tin", "party 35, identification 4")
    if tin:
        sheet.identify(party, "filer.tin", PartyIdentificationNumberText=tin, PartyIdentificationTypeCode="4")
    else:
        sheet.lacks("filer.tin", "party 35, identification 4", "tax number of the sender")


def _regulator(sheet: Sheet, filer: Filer) -> str | None:
    code = known(filer.regulator)
    if code in REGULATORS:
        return code
    listed = ", ".join(sorted(REGULATORS, key=int))
    sheet.lacks("filer.regulator", "parties 30, 34, regulator", f"one of FinCEN's codes {listed}")
    return None


def _ids_and_type(sheet: Sheet, party: etree._Element, filer: Filer, where: str, case_id: str | None) -> None:
    ein = _tin(sheet, filer.ein, "filer.ein", where)
    tin = None if ein else _tin(sheet, filer.tin, "filer.tin", where)
    if ein:
        sheet.identify(party, "filer.ein", PartyIdentificationNumberText=ein, PartyIdentificationTypeCode="2")
    elif tin:
        sheet.identify(party, "filer.tin", PartyIdentificationNumberText=tin, PartyIdentificationTypeCode="4")
    else:
        sheet.lacks("filer.ein", where, "tax number of the institution")
    if rssd := known(filer.rssd, 25):
        sheet.identify(party, "filer.rssd", PartyIdentificationNumberText=rssd, PartyIdentificationTypeCode="14")
    if case_id:
        number = case_id[:25].strip()
        sheet.identify(party, "case_id", PartyIdentificationNumberText=number, PartyIdentificationTypeCode="29")
    kind = known(filer.organisation_type)
    if kind in ORGANISATION_TYPES - {"999"}:
        element = sheet.open(party, "OrganizationClassificationTypeSubtype", "filer.organisation_type")
        sheet.put(element, "OrganizationTypeID", kind)
    else:
        why = "one of FinCEN's codes 1, 2, 3, 4, 5, 11, 12 (999 needs words and is not supported)"
        sheet.lacks("filer.organisation_type", "parties 30, 34, organisation type", why)


def _institution(sheet: Sheet, activity: etree._Element, case: Case, filer: Filer) -> None:
    party = sheet.party(activity, "30", "filer", PrimaryRegulatorTypeCode=_regulator(sheet, filer))
    _named(sheet, party, sheet.limited(known(filer.name), 150, "filer.name", "party 30"), "filer.name")
    _filer_address(sheet, party, filer, "parties 35, 30, 34, address")
    _ids_and_type(sheet, party, filer, "party 30, identification 2 or 4", known(case.case_id))


def _location(sheet: Sheet, activity: etree._Element, case: Case, filer: Filer) -> None:
    """Where the activity occurred. "No branch involved" is said only when every payment came through
    a channel that has none."""
    rows = case.evidence
    at_branch = [t for t in rows if (t.channel or "") in _BRANCH_CHANNELS or t.instrument == "cash"]
    flows = {t.direction for t in rows}
    role: dict[str, str] = {}
    if known(filer.organisation_type) == MSB:
        names = {"in": "PayLocationIndicator", "out": "SellingLocationIndicator"}
        role = {"SellingPayingLocationIndicator" if len(flows) > 1 else names[flows.pop()]: YES}
    party = sheet.party(
        activity,
        "34",
        "filer",
        NoBranchActivityInvolvedIndicator=None if at_branch else YES,
        PrimaryRegulatorTypeCode=_regulator(sheet, filer),
        **role,
    )
    _named(sheet, party, sheet.limited(known(filer.name), 150, "filer.name", "party 34"), "filer.name")
    _filer_address(sheet, party, filer, "parties 35, 30, 34, address")
    _ids_and_type(sheet, party, filer, "party 34, identification 2 or 4", None)
    places = {
        (known(t.place_city, 50), _country(t.place_country)): t.place_id
        for t in at_branch
        if known(t.place_city) and t.channel in ("branch", "agent")
    }
    if places:
        holder = sheet.open(party, "PartyAssociation", "places")
        for (city, country), place in sorted(places.items(), key=str)[:MAX_BRANCHES]:
            branch = sheet.party(holder, "46", f"place {place or city}")
            _address(sheet, branch, f"place {place or city}", city=city, country=country)
    elif at_branch:
        why = "cash, ATM or unplaced payments: name the branch, or say that none was involved"
        sheet.lacks("transactions.place_city", "party 34, branches", why)


def _address(
    sheet: Sheet,
    party: etree._Element,
    about: str,
    *,
    street: str | None = None,
    city: str | None = None,
    state: str | None = None,
    postcode: str | None = None,
    country: str | None = None,
) -> None:
    """Each part is a value or its unknown flag. The state is asked for where the form knows states."""
    land = _country(country)
    where = f"{about}, address"
    values: dict[str, str | None] = {
        "RawCityText": sheet.limited(known(city), 50, "city", where),
        "RawCountryCodeText": land,
        "RawStreetAddress1Text": sheet.limited(known(street), 100, "address", where),
        "RawZIPCode": _zip(postcode, land),
    }
    flags = {
        "RawCityText": "CityUnknownIndicator",
        "RawCountryCodeText": "CountryCodeUnknownIndicator",
        "RawStreetAddress1Text": "StreetAddressUnknownIndicator",
        "RawZIPCode": "ZIPCodeUnknownIndicator",
    }
    if land is None or land in STATED:
        values["RawStateCodeText"] = _state(state) if land else None
        flags["RawStateCodeText"] = "StateCodeUnknownIndicator"
    unknown = {flags[name]: YES for name in flags if values[name] is None}
    sheet.fill(sheet.open(party, "Address", about), ADDRESS, {**values, **unknown})


def _unknown_subject(sheet: Sheet, activity: etree._Element) -> None:
    party = sheet.party(
        activity,
        "33",
        "subject unknown",
        AllCriticalSubjectInformationUnavailableIndicator=YES,
        NoKnownAccountInvolvedIndicator=YES,
    )
    sheet.put(sheet.open(party, "PartyName", "subject unknown"), "PartyNameTypeCode", "L")
    sheet.open(party, "Address", "subject unknown")


def _gender(person: Person) -> str:
    code = (person.sex or "").strip().lower()
    named = {"f": "Female", "female": "Female", "m": "Male", "male": "Male"}
    return f"{named.get(code, 'Unknown')}GenderIndicator"


def _subject(sheet: Sheet, activity: etree._Element, case: Case, person: Person, filer: Filer, on: date) -> None:
    about = f"subject {person.key}"
    flow = {
        "sender": "PurchaserSenderIndicator",
        "receiver": "PayeeReceiverIndicator",
        "both": "BothPurchaserSenderPayeeReceiveIndicator",
    }
    fields: dict[str, str | None] = {"AdmissionConfessionNoIndicator": YES}
    if person.flow in flow:
        fields[flow[person.flow]] = YES
    if not person.accounts:
        fields["NoKnownAccountInvolvedIndicator"] = YES
    if person.is_organisation:
        fields["PartyAsEntityOrganizationIndicator"] = YES
    else:
        fields[_gender(person)] = YES
        born = person.birth_date
        if born is not None and date(1900, 1, 1) <= born <= on:
            fields["IndividualBirthDateText"] = born.strftime("%Y%m%d")
        else:
            fields["BirthDateUnknownIndicator"] = YES
    party = sheet.party(activity, "33", about, **fields)
    _subject_name(sheet, party, person, about)
    _address(
        sheet,
        party,
        about,
        street=person.address,
        city=person.city,
        state=person.state,
        postcode=person.postcode,
        country=person.country,
    )
    if 7 <= len(digits(person.phone)) <= 16:
        sheet.put(sheet.open(party, "PhoneNumber", about), "PhoneNumberText", digits(person.phone))
    _subject_ids(sheet, party, person, about)
    business = known(person.industry if person.is_organisation else person.occupation)
    if business:
        element = sheet.open(party, "PartyOccupationBusiness", about)
        sheet.put(element, "OccupationBusinessText", sheet.limited(business, 50, "occupation", about))
    mail = known(person.email)
    if mail and "@" in mail and len(mail) <= 517:
        element = sheet.open(party, "ElectronicAddress", about)
        sheet.put(element, "ElectronicAddressText", mail)
        sheet.put(element, "ElectronicAddressTypeCode", "E")
    _relation(sheet, party, person, filer, about)
    if person.accounts:
        _accounts(sheet, party, person.accounts, filer, on)


def _subject_name(sheet: Sheet, party: etree._Element, person: Person, about: str) -> None:
    where = f"{about}, name"
    whole, last, first = known(person.name), known(person.family_name), known(person.given_name)
    values: dict[str, str | None] = {"PartyNameTypeCode": "L"}
    if person.is_organisation:
        values["RawEntityIndividualLastName"] = sheet.limited(whole, 150, "parties.name", where)
    else:
        if last is None and whole is not None:
            # Where a name is not split by the feed, splitting it would be a guess.
            sheet.lacks("parties.family_name", where, "the whole name stands as last name: split it by hand")
            last, first = whole, None
        values["RawEntityIndividualLastName"] = sheet.limited(last, 150, "parties.family_name", where)
        values["RawIndividualFirstName"] = sheet.limited(first, 35, "parties.given_name", where)
        if first is None:
            values["FirstNameUnknownIndicator"] = YES
    if values["RawEntityIndividualLastName"] is None:
        values["EntityLastNameUnknownIndicator"] = YES
    sheet.fill(sheet.open(party, "PartyName", about), NAME, values)


def _subject_ids(sheet: Sheet, party: etree._Element, person: Person, about: str) -> None:
    if not person.is_organisation:
        sheet.identify(party, about, IdentificationPresentUnknownIndicator=YES)
    raw = known(person.tax_id)
    number = digits(raw)
    country = _country(person.country)
    if raw and country == "US" and len(number) == 9:
        code = "2" if person.is_organisation else "1"
        sheet.identify(party, about, PartyIdentificationNumberText=number, PartyIdentificationTypeCode=code)
    elif raw and country not in (None, "US") and len(raw) <= 25:
        sheet.identify(
            party,
            about,
            OtherIssuerCountryText=country,
            PartyIdentificationNumberText=raw,
            PartyIdentificationTypeCode="9",
        )
    else:
        sheet.identify(party, about, TINUnknownIndicator=YES)


def _relation(sheet: Sheet, party: etree._Element, person: Person, filer: Filer, about: str) -> None:
    if not person.customer and not any(a.holding == "external" for a in person.accounts):
        return
    values: dict[str, str | None] = {}
    if person.customer:
        open_ones = [a for a in person.accounts if a.closed_on is None]
        values["CustomerIndicator"] = YES
        values["RelationshipContinuesIndicator"] = YES if open_ones else None
        tin = digits(filer.ein) or digits(filer.tin)
        values["SubjectRelationshipFinancialInstitutionTINText"] = tin if len(tin) == 9 else None
    else:
        values["NoRelationshipToInstitutionIndicator"] = YES
    sheet.fill(sheet.open(party, "PartyAssociation", about), ASSOCIATION, values)


def _accounts(sheet: Sheet, party: etree._Element, accounts: tuple[CaseAccount, ...], filer: Filer, on: date) -> None:
    block = sheet.open(party, "PartyAccountAssociation", "accounts")
    sheet.put(block, "PartyAccountAssociationTypeCode", "7")
    for account in accounts:
        about = f"account {account.account_id}"
        country = _country(account.country)
        abroad = YES if country not in (None, "US") and account.holding != "own" else None
        bank = sheet.party(block, "41", about, NonUSFinancialInstitutionIndicator=abroad)
        tin = digits(filer.ein) or digits(filer.tin)
        if account.holding == "own" and len(tin) == 9:
            sheet.identify(bank, "filer.tin", PartyIdentificationNumberText=tin, PartyIdentificationTypeCode="4")
        number = known(account.number)
        if number is None or len(number) > 40:
            sheet.lacks("accounts.account_id", about, "an account number has at most 40 characters")
            continue
        element = sheet.open(bank, "Account", about)
        sheet.put(element, "AccountNumberText", number)
        link = sheet.open(element, "PartyAccountAssociation", about)
        closed = YES if account.closed_on is not None and account.closed_on <= on else None
        sheet.put(link, "AccountClosedIndicator", closed)
        sheet.put(link, "PartyAccountAssociationTypeCode", "5")
