"""Every table of fintel, in one place: columns, types, units, ISO 20022 paths, sensitivity.

Conforming, storage schemas, masking, rule checking and the reference pages are all derived from
here. Names are ISO 20022's, spelt out (https://www.iso20022.org/). Three kinds of table:

* **canonical**: what feeds are conformed to and the lake keeps;
* **derived**: computed from canonical tables and never stored by hand (``entries``, ``entry_graph``);
* **run**: what one detection run writes, frozen with its manifest.
"""

from __future__ import annotations

from fintel.domain.column import (
    MONEY_SCALE,
    MONEY_UNITS,
    Column,
    Sensitivity,
    Table,
    Type,
)
from fintel.domain.column import column as _c
from fintel.domain.graph_schema import ENTRY_GRAPH
from fintel.domain.run_schema import (
    ALERTS,
    CLAUSES,
    EPISODES,
    EVIDENCE,
    HOLDINGS,
    REASONS,
    RULE_RESULTS,
    RUNS,
)

__all__ = [
    "ACCOUNTS", "AGE_BANDS", "ALERTS", "BOOKKEEPING", "CANONICAL", "CHANNELS", "CLAUSES", "DIRECTIONS", "ENTRIES", "ENTRY_GRAPH", "EPISODES",
    "EVIDENCE", "FEEDS", "HOLDINGS", "IDENTIFIERS", "IDENTIFIER_TYPES", "INSTRUMENTS", "INTEL", "KINDS", "LABELS",
    "MONEY_SCALE", "MONEY_UNITS", "PARTIES", "PROVENANCE", "QUARANTINE", "RATES", "REASONS", "RULE_RESULTS", "RUNS",
    "RUN_TABLES", "SEEN_ENTRIES", "STATUSES", "TABLES", "TRANSACTIONS", "Column", "Sensitivity", "Table", "Type",
]  # fmt: skip

CHANNELS = (
    "branch", "atm", "online", "app", "agent", "card_present", "card_not_present", "p2p", "mobile_transfer", "wire", "vasp", "kiosk", "unknown",
)  # fmt: skip
INSTRUMENTS = (
    "cash", "credit_transfer", "direct_debit", "card", "prepaid", "cheque", "draft", "money_order", "gift_card", "crypto", "fx", "fee", "reinvestment", "other",
)  # fmt: skip
STATUSES = ("booked", "pending", "rejected", "returned", "reversed", "reversal")
KINDS = ("person", "organisation", "institution", "unknown")
DIRECTIONS = ("in", "out")
AGE_BANDS = ("under 18", "18-24", "25-34", "35-44", "45-54", "55-64", "65+")

_P = Sensitivity.PERSONAL
_X = Sensitivity.PROTECTED

# One column a line, so that a table reads as a table.
# fmt: off

#: Where a row came from. Every canonical table ends with these; the reader fills them.
PROVENANCE = (
    _c("source", Type.STRING, "Name of the source system; the first part of every derived id", required=True),
    _c("feed_id", Type.STRING, "First 16 hex digits of the feed file's SHA-256", required=True),
    _c("source_file", Type.STRING, "File name the row was read from", required=True),
    _c("source_row", Type.INT, "Line of the file (CSV, JSON Lines; the header is line 1) or row (Parquet, from 1)", required=True),
)


def _side(side: str, tag: str) -> tuple[Column, ...]:
    return (
        _c(f"{side}_account_id", Type.STRING, f"Account of the {side}: IBAN, else 'agent|account'; empty for cash", path=f"CdtTrfTxInf/{tag}Acct/Id"),
        _c(f"{side}_name", Type.STRING, f"Name of the {side} as the feed has it", path=f"CdtTrfTxInf/{tag}/Nm", sensitivity=_P),
        _c(f"{side}_agent", Type.STRING, f"Bank or agent of the {side}", path=f"CdtTrfTxInf/{tag}Agt/FinInstnId"),
        _c(f"{side}_country", Type.STRING, f"Country of the {side}, ISO 3166-1 alpha-2", path=f"CdtTrfTxInf/{tag}/PstlAdr/Ctry"),
    )


TRANSACTIONS = Table(
    "transactions",
    "One row a payment: one movement of value from a debtor side to a creditor side.",
    ("transaction_id",),
    (
        _c("transaction_id", Type.STRING, "'source:reference', or 'source:~hash' where the feed has no reference", required=True),
        _c("booked_at", Type.TIMESTAMP, "Best available instant, UTC", required=True, unit="µs", path="Ntry/BookgDt"),
        _c("local_offset_minutes", Type.INT, "Customer's offset from UTC if known, never guessed", unit="min"),
        _c("amount", Type.MONEY, "Amount of value moved, greater than zero; direction lives in the sides", required=True, path="CdtTrfTxInf/IntrBkSttlmAmt"),
        _c("currency", Type.STRING, "ISO 4217", required=True, path="CdtTrfTxInf/IntrBkSttlmAmt/@Ccy"),
        _c("amount_base", Type.MONEY, "Amount in the base currency of the installation; empty without a rate"),
        *_side("debtor", "Dbtr"),
        *_side("creditor", "Cdtr"),
        _c("channel", Type.STRING, "How the payment was made", values=CHANNELS),
        _c("instrument", Type.STRING, "What moved the value", values=INSTRUMENTS),
        _c("status", Type.STRING, "Only 'booked' rows become entries; returns and reversals keep their link", required=True, path="Ntry/Sts", values=STATUSES),
        _c("reversal_of", Type.STRING, "transaction_id that this row returns or reverses"),
        _c("purpose_code", Type.STRING, "ISO 20022 external purpose code", path="CdtTrfTxInf/Purp/Cd"),
        _c("remittance_information", Type.STRING, "Free text of the payment", path="CdtTrfTxInf/RmtInf/Ustrd", sensitivity=_P),
        _c("merchant_name", Type.STRING, "Merchant as the card record has it", path="Ntry/CardTx/POI"),
        _c("merchant_category_code", Type.STRING, "ISO 18245, four digits as text"),
        _c("merchant_country", Type.STRING, "ISO 3166-1 alpha-2"),
        _c("place_id", Type.STRING, "Branch, ATM, agent or kiosk where it happened"),
        _c("place_city", Type.STRING, "City of that place"),
        _c("place_country", Type.STRING, "Country of that place, ISO 3166-1 alpha-2"),
        _c("place_latitude", Type.FLOAT, "Of that place, WGS 84, -90 to 90", unit="°"),
        _c("place_longitude", Type.FLOAT, "Of that place, WGS 84, -180 to 180", unit="°"),
        _c("device_id", Type.STRING, "Device that ordered it", sensitivity=_P),
        _c("ip_address", Type.STRING, "Address that ordered it", sensitivity=_P),
        _c("ip_country", Type.STRING, "Country of that address as the feed has it, ISO 3166-1 alpha-2"),
        _c("relationship", Type.STRING, "Declared relationship of the two sides, as the feed has it", sensitivity=_P),
        _c("end_to_end_id", Type.STRING, "End-to-end reference", path="CdtTrfTxInf/PmtId/EndToEndId"),
        _c("uetr", Type.STRING, "Unique end-to-end transaction reference", path="CdtTrfTxInf/PmtId/UETR"),
        *PROVENANCE,
    ),
)

ACCOUNTS = Table(
    "accounts",
    "One row an account that the feed describes.",
    ("account_id",),
    (
        _c("account_id", Type.STRING, "As in transactions", required=True, path="Acct/Id"),
        _c("party_id", Type.STRING, "Holder, as in parties"),
        _c("name", Type.STRING, "Name of the holder or the account", sensitivity=_P),
        _c("kind", Type.STRING, "What the holder is", values=KINDS),
        _c("holding", Type.STRING, "'own' customers are ranked first; 'external' ones on request", values=HOLDINGS),
        _c("agent", Type.STRING, "Bank or agent that keeps it"),
        _c("country", Type.STRING, "ISO 3166-1 alpha-2"),
        _c("currency", Type.STRING, "ISO 4217"),
        _c("product", Type.STRING, "What kind of account it is"),
        _c("opened_on", Type.DATE, "Day it was opened"),
        _c("closed_on", Type.DATE, "Day it was closed"),
        *PROVENANCE,
    ),
)

PARTIES = Table(
    "parties",
    "One row a person or organisation.",
    ("party_id",),
    (
        _c("party_id", Type.STRING, "Customer number or the like", required=True),
        _c("name", Type.STRING, "Full name", sensitivity=_P, path="Pty/Nm"),
        _c("given_name", Type.STRING, "First name, if the feed splits names", sensitivity=_P),
        _c("family_name", Type.STRING, "Last name, if the feed splits names", sensitivity=_P),
        _c("kind", Type.STRING, "What it is", values=KINDS),
        _c("birth_date", Type.DATE, "Of a person", sensitivity=_P, path="Pty/Id/PrvtId/DtAndPlcOfBirth"),
        _c("country", Type.STRING, "Country of residence or seat, ISO 3166-1 alpha-2"),
        _c("city", Type.STRING, "City of residence or seat", sensitivity=_P),
        _c("state", Type.STRING, "State, province or region code", sensitivity=_P),
        _c("address", Type.STRING, "Street and number", sensitivity=_P),
        _c("postcode", Type.STRING, "Postal code", sensitivity=_P),
        _c("latitude", Type.FLOAT, "Of the residence or seat, WGS 84, -90 to 90", unit="°", sensitivity=_P),
        _c("longitude", Type.FLOAT, "Of the residence or seat, WGS 84, -180 to 180", unit="°", sensitivity=_P),
        _c("phone", Type.STRING, "Main phone", sensitivity=_P),
        _c("email", Type.STRING, "Main e-mail", sensitivity=_P),
        _c("tax_id", Type.STRING, "Tax number", sensitivity=_P),
        _c("occupation", Type.STRING, "Declared occupation", sensitivity=_P),
        _c("industry", Type.STRING, "Line of business, for organisations"),
        _c("annual_income", Type.MONEY, "Declared yearly income or turnover, base currency", unit="base", sensitivity=_P),
        _c("sex", Type.STRING, "Never used by a rule or model", sensitivity=_X),
        _c("nationality", Type.STRING, "Never used by a rule or model", sensitivity=_X),
        *PROVENANCE,
    ),
)

IDENTIFIER_TYPES = ("phone", "email", "address", "device", "wallet", "handle", "ip", "document")

IDENTIFIERS = Table(
    "identifiers",
    "Phones, e-mails, addresses, devices, wallets and handles of a party.",
    ("party_id", "type", "value"),
    (
        _c("party_id", Type.STRING, "As in parties", required=True),
        _c("type", Type.STRING, "What kind of identifier", required=True, values=IDENTIFIER_TYPES),
        _c("value", Type.STRING, "Normalised value", required=True, sensitivity=_P),
        _c("first_seen", Type.TIMESTAMP, "When it was first known"),
        *PROVENANCE,
    ),
)

RATES = Table(
    "rates",
    "Exchange rates: how many units of the base currency one unit of a currency buys.",
    ("date", "currency", "base"),
    (
        _c("date", Type.DATE, "Day the rate holds from, until the next one", required=True),
        _c("currency", Type.STRING, "ISO 4217", required=True),
        _c("base", Type.STRING, "ISO 4217", required=True),
        _c("rate", Type.RATE, "Units of base for one unit of currency", required=True),
        *PROVENANCE,
    ),
)

LABELS = Table(
    "labels",
    "What is known about who was suspicious: who said so, and when it was known.",
    ("subject_type", "subject_id", "label_source", "known_at"),
    (
        _c("subject_type", Type.STRING, "What the label is about", required=True, values=("transaction", "account", "party")),
        _c("subject_id", Type.STRING, "Id of the transaction, account or party", required=True),
        _c("suspicious", Type.BOOL, "The label itself", required=True),
        _c("typology", Type.STRING, "Typology it was filed under"),
        _c("scheme_id", Type.STRING, "Groups subjects of one scheme"),
        _c("label_source", Type.STRING, "Who said so", required=True),
        _c("known_at", Type.TIMESTAMP, "When it was known; a model trained as of T sees labels known by T", required=True),
        _c("confidence", Type.FLOAT, "0 to 1"),
        *PROVENANCE,
    ),
)

INTEL = Table(
    "intel",
    "Identifiers and keywords from partners.",
    ("type", "value", "issuer"),
    (
        _c("type", Type.STRING, "Kind of identifier, or 'keyword', 'account'", required=True, values=(*IDENTIFIER_TYPES, "keyword", "account")),
        _c("value", Type.STRING, "Normalised value", required=True, sensitivity=_P),
        _c("issuer", Type.STRING, "Who gave it", required=True),
        _c("legal_basis", Type.STRING, "Why it may be used"),
        _c("received_on", Type.DATE, "Day it came"),
        *PROVENANCE,
    ),
)

QUARANTINE = Table(
    "quarantine",
    "Rows that did not conform, kept with the reason. Nothing is dropped in silence.",
    ("feed_id", "target", "source_file", "source_row", "code"),
    (
        _c("feed_id", Type.STRING, "As in provenance", required=True),
        _c("source", Type.STRING, "Name of the source system", required=True),
        _c("target", Type.STRING, "Table the row was meant for", required=True),
        _c("source_file", Type.STRING, "File name", required=True),
        _c("source_row", Type.INT, "Line or row in the file", required=True),
        _c("code", Type.STRING, "Reason code, F001 and on", required=True),
        _c("column", Type.STRING, "Canonical column that could not be filled"),
        _c("value", Type.STRING, "What stood there, at most 200 characters", sensitivity=_P),
        _c("message", Type.STRING, "In words", required=True),
        _c("hint", Type.STRING, "What to do"),
    ),
)

FEEDS = Table(
    "feeds",
    "Every feed ever read, with its reconciliation: read = accepted + duplicates + rejected + skipped.",
    ("feed_id", "target"),
    (
        _c("feed_id", Type.STRING, "First 16 hex digits of the SHA-256 of file and mapping", required=True),
        _c("target", Type.STRING, "Table it filled", required=True),
        _c("source", Type.STRING, "Name of the source system", required=True),
        _c("mapping", Type.STRING, "Mapping used", required=True),
        _c("source_file", Type.STRING, "File name", required=True),
        _c("sha256", Type.STRING, "Of the file", required=True),
        _c("bytes", Type.INT, "Size of the file", required=True, unit="B"),
        _c("rows_read", Type.INT, "Rows in the file", required=True),
        _c("rows_accepted", Type.INT, "Rows added to the table", required=True),
        _c("rows_duplicate", Type.INT, "Rows whose key was there already", required=True),
        _c("rows_rejected", Type.INT, "Rows in quarantine", required=True),
        _c("rows_skipped", Type.INT, "Rows that the mapping says to leave out (e.g. not a label)", required=True),
        _c("read_at", Type.TIMESTAMP, "When it was committed", required=True),
    ),
)

ENTRIES = Table(
    "entries",
    "One side of a booked payment on one account. What windows partition and rules look at.",
    ("entry_id",),
    (
        _c("entry_id", Type.STRING, "'transaction_id/in' or 'transaction_id/out'", required=True),
        _c("transaction_id", Type.STRING, "As in transactions", required=True),
        _c("account_id", Type.STRING, "Account this side is on", required=True),
        _c("direction", Type.STRING, "Seen from the account", required=True, values=DIRECTIONS),
        _c("booked_at", Type.TIMESTAMP, "UTC", required=True, unit="µs"),
        _c("local_hour", Type.INT, "0 to 23 on the customer's clock; empty if the offset is unknown", unit="h"),
        _c("local_date", Type.DATE, "Day on the customer's calendar; empty if the offset is unknown"),
        _c("amount", Type.MONEY, "In the currency of the payment", required=True, unit="currency"),
        _c("currency", Type.STRING, "ISO 4217", required=True),
        _c("amount_base", Type.MONEY, "In the base currency; empty without a rate", unit="base"),
        _c("channel", Type.STRING, "As in transactions", values=CHANNELS),
        _c("instrument", Type.STRING, "As in transactions", values=INSTRUMENTS),
        _c("purpose_code", Type.STRING, "ISO 20022 external purpose code"),
        _c("remittance_information", Type.STRING, "Free text", sensitivity=_P),
        _c("merchant_name", Type.STRING, "As in transactions"),
        _c("merchant_category_code", Type.STRING, "ISO 18245"),
        _c("merchant_country", Type.STRING, "ISO 3166-1 alpha-2"),
        _c("place_id", Type.STRING, "Branch, ATM, agent or kiosk"),
        _c("place_city", Type.STRING, "City of that place"),
        _c("place_country", Type.STRING, "ISO 3166-1 alpha-2"),
        _c("place_latitude", Type.FLOAT, "The payment's, else that of the city if the gazetteer has it", unit="°"),
        _c("place_longitude", Type.FLOAT, "As place_latitude", unit="°"),
        _c("device_id", Type.STRING, "Device that ordered it", sensitivity=_P),
        _c("ip_address", Type.STRING, "Address that ordered it", sensitivity=_P),
        _c("ip_country", Type.STRING, "Country of that address, ISO 3166-1 alpha-2"),
        _c("relationship", Type.STRING, "Declared relationship to the other side, as the feed has it", sensitivity=_P),
        _c("counterparty_id", Type.STRING, "Account on the other side, else 'name:…', else empty (cash)"),
        _c("counterparty_name", Type.STRING, "Name on the other side", sensitivity=_P),
        _c("counterparty_agent", Type.STRING, "Bank or agent on the other side"),
        _c("counterparty_country", Type.STRING, "Country on the other side: the payment's, else its account's"),
        _c("counterparty_kind", Type.STRING, "What the other side is, if described", values=KINDS),
        _c("counterparty_age", Type.INT, "Age of the other side's holder on that day, if described", unit="years"),
        _c("counterparty_industry", Type.STRING, "Line of business of the other side's holder, if described"),
        _c("counterparty_age_days", Type.INT, "Days since the other side's account was opened, on that day", unit="days"),
        _c("counterparty_is_own", Type.BOOL, "Whether both accounts have one holder; empty if either holder is unknown"),
        _c("counterparty_intel", Type.BOOL, "As account_intel, of the other side"),
        _c("account_name", Type.STRING, "Name on this side: the payment's, else the account's, else the holder's", sensitivity=_P),
        _c("account_agent", Type.STRING, "Bank or agent of this side"),
        _c("account_country", Type.STRING, "Country of this side: the payment's, else the account's"),
        _c("account_kind", Type.STRING, "What the holder is", values=KINDS),
        _c("account_product", Type.STRING, "What kind of account it is"),
        _c("account_age_days", Type.INT, "Days since it was opened, on that day", unit="days"),
        _c("account_intel", Type.BOOL, "Whether partners named the account or an identifier of its holder; empty if they told nothing"),
        _c("party_id", Type.STRING, "Holder of this side"),
        _c("party_age", Type.INT, "Age of the holder on that day", unit="years"),
        _c("party_age_band", Type.STRING, "Age of the holder on that day", values=AGE_BANDS),
        _c("party_city", Type.STRING, "Home city of the holder", sensitivity=_P),
        _c("party_occupation", Type.STRING, "Declared occupation of the holder", sensitivity=_P),
        _c("party_industry", Type.STRING, "Line of business of the holder"),
        _c("party_income", Type.MONEY, "Declared yearly income, base currency", unit="base", sensitivity=_P),
        _c("party_address", Type.STRING, "Street, number and city of the holder: letters and digits, lower case", sensitivity=_P),
        _c("party_phone", Type.STRING, "Main phone of the holder: digits only", sensitivity=_P),
        _c("party_email", Type.STRING, "Main e-mail of the holder, lower case", sensitivity=_P),
        _c("shared_address", Type.INT, "Parties that share the holder's address, the holder included; empty without one, and above 50", unit="parties"),
        _c("shared_phone", Type.INT, "The same for phones", unit="parties"),
        _c("shared_email", Type.INT, "The same for e-mails", unit="parties"),
        _c("shared_device", Type.INT, "The same for devices", unit="parties"),
        _c("home_distance_km", Type.FLOAT, "From the holder's home to the place; by coordinates, else by cities in the gazetteer", unit="km"),
    ),
)

#: What rules see of an entry: its own columns, and beside them what the graph says of it.
SEEN_ENTRIES = Table(
    "seen entries",
    ENTRIES.doc,
    ENTRIES.key,
    (*ENTRIES.columns, *(c for c in ENTRY_GRAPH.columns if c.name not in ENTRIES)),
)

CANONICAL = (TRANSACTIONS, ACCOUNTS, PARTIES, IDENTIFIERS, RATES, LABELS, INTEL)
BOOKKEEPING = (QUARANTINE, FEEDS)
RUN_TABLES = (RULE_RESULTS, EPISODES, CLAUSES, EVIDENCE, ALERTS, REASONS)
TABLES: dict[str, Table] = {t.name: t for t in (*CANONICAL, *BOOKKEEPING, ENTRIES, ENTRY_GRAPH, *RUN_TABLES, RUNS)}
