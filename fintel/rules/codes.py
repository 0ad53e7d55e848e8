"""Every code of a finding about rules, in few words: the table of docs/reference/rules.md (a test holds them equal).

``W:`` marks a warning (a rule with it still runs), ``info:`` what asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: Where the codes are explained, from the root of the repository.
PAGE = "docs/reference/rules.md#findings"
CODES: Mapping[str, str] = MappingProxyType(
    {
        "R001": "a file or folder cannot be read, is too large, is not UTF-8, or has more findings than are shown",
        "R002": "not valid YAML, or not keys and values at the top",
        "R003": "anchors, aliases, tags, or nesting too deep",
        "R004": "a key given twice",
        "R005": "unknown key",
        "R006": "missing or empty key",
        "R007": "a value of the wrong kind",
        "R010": "id or name does not fit the file or folder",
        "R011": "an id that another file has",
        "R012": "the very logic of another rule",
        "R013": "not one of the allowed words",
        "R014": "no citation, or one that the catalogue lacks",
        "R015": "info: a rule of a higher version replaces one of another folder",
        "R016": "W: a rule that was to replace another has errors: the other runs on",
        "R017": "not a technique id",
        "R018": "windows cannot partition by this",
        "R020": "syntax of a condition",
        "R021": "a construct that the language leaves out, or is nested too deep (15), joins more than 100 "
        'conditions, or has two "not" in a row',
        "R022": "unknown column",
        "R023": "protected trait",
        "R024": "unknown parameter",
        "R025": "unknown list",
        "R026": "unknown function or field of `extract`",
        "R027": "a value of another type",
        "R028": "a condition that does not give true or false",
        "R029": "unknown measure",
        "R030": "keyword list where values are wanted, or the reverse",
        "R031": "W: a column looked up in a list of something else",
        "R032": "a value that the column never has",
        "R033": "a comparison that names no column or measure",
        "R034": "a condition that polars refuses",
        "R036": "W: a condition that never holds: bounds that do not meet, more different ones than there are",
        "R037": "W: a share outside 0 to 1",
        "R038": "W: an engineering parameter without a range",
        "R039": "W: an amount compared with a parameter whose unit is no currency",
        "R040": "W: unused parameter",
        "R041": "default outside its range",
        "R042": "a threshold in a currency compared with `amount`",
        "R043": "a measure without timespan",
        "R044": "a span that cannot be read or is out of bounds",
        "R045": "what a measure measures",
        "R046": "W: `amount` of several currencies added up",
        "R047": "one name for a measure and a parameter",
        "R048": "W: unused measure",
        "R049": "`when` names no measure",
        "R050": "unknown name in the reason",
        "R051": "a step after none, or without `within`",
        "R052": "a correlation that names no rule, itself a correlation, more than there are, or an empty group",
        "R053": "an option that does not go with the measure",
        "R054": "W: no false-positive budget",
        "R055": "a condition named like a column, parameter or step; W: one that nothing uses",
        "R056": "W: a measure of payments both ways, where the anchor looks one way",
        "R057": "W: a rule that differs from another in its parameters' values alone",
        "R058": "W: a correlation of a deprecated rule",
        "R059": "W: a budget above what the level allows: 100 for low, 30 medium, 10 high, 3 critical",
        "R060": "no cases",
        "R061": "no case that hits",
        "R062": "no near miss",
        "R063": "a case that cannot be read",
        "R064": "W: cases of no rule",
        "R065": "W: no case of a feed that blinds the rule",
        "R066": "W: no hit says what is observed",
        "R067": "W: stable without a budget, false positives, or a verified indicator",
        "R068": "W: a number from the source, of indicators that are all unverified",
        "R070": "W: a value twice in a list",
        "R071": "one name for lists of two kinds",
        "R072": "a threshold rate that cannot be read",
        "R073": "W: a term that finds nothing, or a single letter",
        "R074": "a pattern that cannot be looked for",
        "R075": "another folder of packs has a list, rate, condition or indicator of this name and says something else",
        "R076": "W: an anchor that asks for nothing but words of very high false-positive risk",
        "R077": "W: a list that a rule names is empty",
        "R080": "W: no threshold rate for a currency",
        "R090": "W: an exclusion that excludes nothing",
        "R091": "W: an exclusion that has ended",
        "R092": "an exclusion that cannot be read, or without a reason",
        "R093": "W: an exclusion of an error, which keeps the rule out and cannot be excluded",
        "R100": "an entry of `filters.local` that means no rule",
        "R101": "a day that cannot be read, or lies more than a year ahead",
        "R102": "W: an entry that has ended",
        "R103": "a suppression that is not about one account, party or counterparty",
        "R104": "a filter on a correlation",
    }
)


def short(code: str) -> str:
    """A code in few words, without the mark of a warning."""
    return CODES[code].removeprefix("W: ").removeprefix("info: ")
