"""What columns are called, in the languages that bank exports come in. Folded: lower case, no accents.

Words of one entry are tried as the whole header first, then as a run of whole words inside it. Order
matters where headers are alike: longer names win over shorter ones.
"""

from __future__ import annotations

BOOKED_AT = (
    "booked at", "booking date", "booking time", "timestamp", "date time", "datetime", "transaction date",
    "transaction time", "trans date", "trans date trans time", "tran timestamp", "posting date", "posted date",
    "post date", "created at", "create time", "createtime", "date", "value date", "time stamp", "executed at",
    "completed date", "started date", "payment date", "buchungstag", "buchungsdatum", "buchung", "datum",
    "valuta", "wertstellung", "date operation", "date de l operation", "date comptable", "date valeur", "fecha",
    "fecha operacion", "fecha valor", "data", "data operazione", "data contabile", "data movimento",
    "data da transacao", "data lancamento", "data operacji", "data ksiegowania", "transactiedatum", "boekdatum",
    "bokforingsdag", "dato", "bogforingsdato", "paivamaara", "tarih", "islem tarihi", "дата", "дата операции",
    "petsa",
)  # fmt: skip
TIME = (
    "time", "transaction time", "uhrzeit", "zeit", "heure", "hora", "ora", "godzina", "tijd", "saat",
    "время",
)  # fmt: skip
AMOUNT = (
    "amount", "transaction amount", "payment amount", "amount paid", "send amount", "sent amount", "amt",
    "base amt", "value", "sum", "total", "betrag", "umsatz", "betrag eur", "betrag in eur", "montant", "importe",
    "monto", "cantidad", "importo", "valor", "quantia", "kwota", "kwota operacji", "bedrag", "belopp", "belob",
    "maara", "tutar", "islem tutari", "сумма", "halaga",
)  # fmt: skip
DEBIT = (
    "debit", "debit amount", "withdrawal", "withdrawals", "money out", "paid out", "soll", "lastschrift",
    "debit eur", "cargo", "debe", "dare", "addebiti", "debito", "obciazenia", "af", "uit",
)  # fmt: skip
CREDIT = (
    "credit", "credit amount", "deposit", "deposits", "money in", "paid in", "haben", "gutschrift", "abono",
    "haber", "avere", "accrediti", "credito", "uznania", "bij",
)  # fmt: skip
FLAG = (
    "debit credit", "dr cr", "cr dr", "d c", "debit credit indicator", "soll haben", "s h", "sens", "signo",
    "cdt dbt ind", "credit debit indicator", "af bij", "type d c",
)  # fmt: skip
CURRENCY = (
    "currency", "ccy", "payment currency", "send currency", "currency code", "acct rptng crncy", "wahrung",
    "waehrung", "devise", "monnaie", "moneda", "divisa", "valuta", "moeda", "waluta", "munt", "para birimi",
    "валюта",
)  # fmt: skip
OWN_ACCOUNT = (
    "account", "account number", "account no", "account id", "own account", "iban", "acct id", "konto",
    "kontonummer", "auftragskonto", "iban auftragskonto", "compte", "numero de compte", "cuenta",
    "numero de cuenta", "conto", "conta", "rachunek", "numer rachunku", "rekening", "rekeningnummer",
    "tili", "hesap", "hesap no", "счет",
)  # fmt: skip
COUNTERPARTY_ACCOUNT = (
    "counterparty account", "counterparty iban", "counter account", "contra account", "other account",
    "partner account", "gegenkonto", "kontonummer iban", "iban zahlungsbeteiligter", "tegenrekening",
    "compte contrepartie", "cuenta contraparte", "rachunek kontrahenta", "konto kontrahenta", "motkonto",
)  # fmt: skip
COUNTERPARTY_NAME = (
    "counterparty", "counterparty name", "payee", "name", "description name",
    "beguenstigter zahlungspflichtiger", "begunstigter zahlungspflichtiger", "name zahlungsbeteiligter",
    "auftraggeber empfanger", "auftraggeber empfaenger", "naam tegenpartij", "contrepartie", "contraparte",
    "controparte", "kontrahent", "nazwa kontrahenta",
)  # fmt: skip
DEBTOR_ACCOUNT = (
    "debtor account", "debtor account id", "debtor iban", "sender account", "from account",
    "from account id", "from acct", "fromid", "from id", "source account", "source", "sourcenodeid",
    "orig acct", "originator account", "originator", "payer account", "nameorig", "name orig", "sender id",
    "sender", "from", "ordering account", "absender konto", "auftraggeber iban", "compte emetteur",
    "compte debiteur", "cuenta origen", "cuenta ordenante", "conto ordinante", "conta origem",
    "rachunek nadawcy", "van rekening",
)  # fmt: skip
CREDITOR_ACCOUNT = (
    "creditor account", "creditor account id", "creditor iban", "receiver account", "recipient account",
    "beneficiary account", "bene acct", "to account", "to account id", "to acct", "toid", "to id",
    "target account", "destination account", "target", "targetnodeid", "payee account", "namedest",
    "name dest", "receiver id", "recipient id", "beneficiary", "receiver", "recipient", "to",
    "empfanger iban", "empfangerkonto", "compte beneficiaire", "cuenta destino", "cuenta beneficiario",
    "conto beneficiario", "conta destino", "rachunek odbiorcy", "naar rekening",
)  # fmt: skip
DEBTOR_NAME = (
    "debtor name", "sender name", "payer name", "originator name", "ordering customer", "remitter",
    "remitter name", "from name", "auftraggeber", "absender", "donneur d ordre", "ordenante", "ordinante",
    "remetente", "nadawca", "afzender", "отправитель",
)  # fmt: skip
CREDITOR_NAME = (
    "creditor name", "receiver name", "recipient name", "beneficiary name", "payee name", "to name",
    "empfanger", "empfaenger", "beneficiaire", "beneficiario", "destinatario", "odbiorca", "ontvanger",
    "получатель",
)  # fmt: skip
DEBTOR_AGENT = (
    "debtor agent", "sender bank", "from bank", "from bank id", "originator bank", "payer bank",
    "sending bank", "debtor bic", "sender bic", "originator bank id",
)  # fmt: skip
CREDITOR_AGENT = (
    "creditor agent", "receiver bank", "to bank", "to bank id", "beneficiary bank", "receiving bank",
    "creditor bic", "receiver bic", "bic", "beneficiary bank id",
)  # fmt: skip
DEBTOR_COUNTRY = (
    "debtor country", "sender country", "from country", "origin country", "originator country",
    "send country", "sender bank location", "country from", "originator iso",
)  # fmt: skip
CREDITOR_COUNTRY = (
    "creditor country", "receiver country", "recipient country", "to country", "destination country",
    "beneficiary country", "receive country", "payout country", "receiver bank location", "country to",
    "beneficiary iso",
)  # fmt: skip
REFERENCE = (
    "transaction id", "transactionid", "transaction reference", "transaction number", "trans num",
    "transaction no", "tran id", "txn id", "tx id", "payment id", "reference", "reference number", "ref",
    "ref no", "id", "uuid", "mtcn", "referenz", "transaktionsnummer", "numero operation", "referencia",
    "riferimento", "numer transakcji", "numer referencyjny", "referentie",
)  # fmt: skip
TEXT = (
    "remittance information", "memo", "message", "description", "details", "payment details", "narrative",
    "narration", "note", "purpose", "payment purpose", "comment", "verwendungszweck", "buchungstext",
    "zahlungsgrund", "libelle", "motif", "concepto", "descripcion", "causale", "descrizione", "descricao",
    "historico", "tytul", "tytulem", "opis operacji", "omschrijving", "mededelingen", "meddelande",
    "viesti", "aciklama", "назначение платежа",
)  # fmt: skip
MERCHANT = (
    "merchant",
    "merchant name",
    "merchant descriptor",
    "handler",
    "handlername",
    "marchand",
    "comercio",
    "esercente",
)
MCC = ("mcc", "merchant category code", "mcc code", "category code")
INSTRUMENT = (
    "payment type", "payment format", "transaction type", "tx type", "tran type", "type", "instrument",
    "payment method", "pay in method", "method", "art", "umsatzart", "buchungsart", "vorgang",
    "type operation", "tipo", "tipo operacion", "tipo operazione", "rodzaj", "rodzaj transakcji",
    "mutatiesoort",
)  # fmt: skip
CHANNEL = ("channel", "payment channel", "source channel", "kanal", "canal", "canale")
DEVICE = ("device", "device id", "deviceid", "device fingerprint")
IP = ("ip", "ip address", "ipaddress", "ip addr")
IP_COUNTRY = ("ip country", "ip geo country", "ip location country", "login country")
RELATIONSHIP = (
    "relationship", "relationship to beneficiary", "relationship to receiver", "beneficiary relationship",
    "beziehung", "verwandtschaft", "lien de parente", "parentesco", "relacion", "relazione",
)  # fmt: skip
# Bare 'lat' and 'long' may be the customer's home: not taken.
LATITUDE = ("place latitude", "merch lat", "merchant latitude", "atm latitude", "terminal latitude", "branch latitude")
LONGITUDE = (
    "place longitude", "merch long", "merchant longitude", "atm longitude", "terminal longitude",
    "branch longitude",
)  # fmt: skip
PLACE = (
    "branch",
    "branch id",
    "agent id",
    "agent location",
    "atm id",
    "terminal id",
    "location id",
    "filiale",
    "agence",
    "sucursal",
)
END_TO_END = ("end to end id", "endtoendid", "end to end reference", "e2e id", "kundenreferenz")
UETR = ("uetr",)
LABEL = (
    "is laundering", "is sar", "is fraud", "isfraud", "fraud", "label", "laundering", "suspicious",
    "is suspicious", "sar flag", "is flagged", "target label", "class",
)  # fmt: skip

#: Canonical column of a payment to what it may be called. ``own_*`` and ``counterparty_*`` are the two
#: sides of a statement; they become creditor and debtor for money coming in.
PAYMENT: dict[str, tuple[str, ...]] = {
    "transaction_id": REFERENCE, "booked_at": BOOKED_AT, "_time": TIME, "amount": AMOUNT, "_debit": DEBIT,
    "_credit": CREDIT, "_flag": FLAG, "currency": CURRENCY, "own_account_id": OWN_ACCOUNT,
    "counterparty_account_id": COUNTERPARTY_ACCOUNT, "counterparty_name": COUNTERPARTY_NAME,
    "debtor_account_id": DEBTOR_ACCOUNT, "creditor_account_id": CREDITOR_ACCOUNT, "debtor_name": DEBTOR_NAME,
    "creditor_name": CREDITOR_NAME, "debtor_agent": DEBTOR_AGENT, "creditor_agent": CREDITOR_AGENT,
    "debtor_country": DEBTOR_COUNTRY, "creditor_country": CREDITOR_COUNTRY, "remittance_information": TEXT,
    "merchant_name": MERCHANT, "merchant_category_code": MCC, "instrument": INSTRUMENT, "channel": CHANNEL,
    "device_id": DEVICE, "ip_address": IP, "ip_country": IP_COUNTRY, "relationship": RELATIONSHIP,
    "place_id": PLACE, "place_latitude": LATITUDE, "place_longitude": LONGITUDE,
    "end_to_end_id": END_TO_END, "uetr": UETR, "_label": LABEL,
}  # fmt: skip

#: Beginning of a word that says what moved the value, and of one that says how.
INSTRUMENT_WORDS: dict[str, str] = {
    "cash": "cash", "bar": "cash", "efectivo": "cash", "especes": "cash", "contant": "cash", "atm": "cash",
    "cheque": "cheque", "check": "cheque", "scheck": "cheque", "card": "card", "credit card": "card",
    "debit card": "card", "karte": "card", "pos": "card", "carte": "card", "tarjeta": "card", "prepaid": "prepaid",
    "gift": "gift_card", "direct debit": "direct_debit", "lastschrift": "direct_debit",
    "prelevement": "direct_debit", "domiciliacion": "direct_debit", "transfer": "credit_transfer",
    "wire": "credit_transfer", "ach": "credit_transfer", "sepa": "credit_transfer",
    "credit transfer": "credit_transfer",
    "cross border": "credit_transfer", "uberweisung": "credit_transfer", "ueberweisung": "credit_transfer",
    "virement": "credit_transfer", "transferencia": "credit_transfer", "bonifico": "credit_transfer",
    "przelew": "credit_transfer", "overboeking": "credit_transfer", "payment": "credit_transfer",
    "bitcoin": "crypto", "crypto": "crypto", "fee": "fee", "gebuhr": "fee", "frais": "fee", "comision": "fee",
    "money order": "money_order", "fx": "fx", "exchange": "fx", "reinvestment": "reinvestment",
}  # fmt: skip
CHANNEL_WORDS: dict[str, str] = {
    "branch": "branch", "filiale": "branch", "atm": "atm", "online": "online", "web": "online", "internet": "online",
    "app": "app", "mobile": "app", "agent": "agent", "pos": "card_present", "ecommerce": "card_not_present",
    "p2p": "p2p", "wire": "wire", "kiosk": "kiosk",
}  # fmt: skip
DEBIT_WORDS = ("d", "dr", "debit", "dbit", "s", "soll", "out", "af", "withdrawal", "-")
CREDIT_WORDS = ("c", "cr", "credit", "crdt", "h", "haben", "in", "bij", "deposit", "+")
