"""JSON Schemas (draft 2020-12) of the YAML files of packs, for completion and hints in editors.

Made from the words that the loader knows, so that both know the same. A schema cannot see into
conditions: ``fintel rules check`` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fintel.domain.detection import Level
from fintel.domain.schema import (
    ACCOUNTS,
    ENTRIES,
    IDENTIFIERS,
    INTEL,
    PARTIES,
    PROVENANCE,
    TRANSACTIONS,
    Sensitivity,
    Table,
)
from fintel.rules import model
from fintel.rules.cases import CASE_KEYS, ENTRY_KEYS
from fintel.rules.exclusions import KEYS as EXCLUSION_KEYS
from fintel.rules.lists import AMOUNT_KEYS, INDICATOR_KEYS, LIST_CONTENT, PATTERN_KEYS, TERM_KEYS, TYPOLOGIES
from fintel.rules.rule_file import KEYS, LOGIC_KEYS, MEASURE_KEYS, PARAMETER_KEYS, REQUIRED_KEYS, STEP_KEYS
from fintel.rules.scope import entry_columns
from fintel.rules.scripts import SCRIPTS

#: The folder of schemas beside packs, and inside fintel.
SCHEMA_FOLDER = "schemas"
Schema = dict[str, Any]
_PACK_KEYS = ("name", "title", "description")
_TEXT: Schema = {"type": ["string", "number", "boolean"]}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_NUMBER: Schema = {"type": "number"}
_SPAN: Schema = {"type": "string", "pattern": "^[0-9]{1,9}[smhd]$", "description": "such as 10s, 30m, 12h, 7d"}
_NAME: Schema = {"pattern": "^[a-z][a-z0-9_]{0,62}$"}
_RATES: Schema = {
    "type": "object",
    "propertyNames": {"pattern": "^[A-Z]{3}$"},
    "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
}
_COUNT: Schema = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^(:[a-z][a-z0-9_]*|[1-9][0-9]*)$"}]
}
_ABOUT = {
    "id": "<pack>/<file name>",
    "version": "whole number from 1; raise it with the logic",
    "level": "how much one hit says",
    "indicators": "ids of the catalogue, at least one",
    "techniques": "AMLTRIX ids such as T0058.003",
    "role": "victim: the holder is probably exploited",
    "per": "whose entries stand in a window",
    "budget": "tolerable false alarms: accounts per 10,000 and 30 days on a lawful population",
    "anchor": "condition over entries, or the name of a step: where the rule looks",
    "when": "condition over measures: what makes a hit",
    "reason": "a sentence with {measure} and {parameter}",
    "conditions": "conditions of the rule's own, by name",
    "steps": "links of a chain: A, then B, then C",
    "correlation": "what other rules must have found, instead of per to when",
}


def schemas() -> dict[str, Schema]:
    """Every schema by its name: rule, cases, list, conditions, indicators, pack, exclusions."""
    made = {
        "rule": _rule(), "cases": _cases(), "list": _list(), "conditions": _conditions(),
        "indicators": _indicators(), "pack": _object(_PACK_KEYS, _PACK_KEYS), "exclusions": _exclusions(),
    }  # fmt: skip
    titles = {"rule": "a rule", "cases": "cases of a rule", "list": "a list", "pack": "a pack"}
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": f"fintel: {titles.get(name, name)}",
            **schema,
        }
        for name, schema in made.items()
    }


def written_schemas() -> dict[str, str]:
    """The schemas as text of JSON files."""
    return {name: json.dumps(schema, indent=1, ensure_ascii=True) + "\n" for name, schema in schemas().items()}


def _object(keys: Iterable[str], required: Iterable[str] = (), known: dict[str, Schema] | None = None) -> Schema:
    """Keys and values: nothing else allowed; what ``known`` does not tell is a text."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {key: (known or {}).get(key, _TEXT) for key in keys},
    }


def _mapping(values: Schema) -> Schema:
    return {"type": "object", "propertyNames": _NAME, "additionalProperties": values}


def _one_of(words: Iterable[str]) -> Schema:
    return {"enum": list(words)}


def _columns() -> Schema:
    return _one_of(sorted(entry_columns()))


def _same() -> Schema:
    return {"anyOf": [{"type": "array", "items": _columns()}, {"type": "object", "additionalProperties": _columns()}]}


def _rule() -> Schema:
    parameter = _object(
        PARAMETER_KEYS,
        ("default", "basis"),
        {
            "default": _NUMBER,
            "basis": _one_of(model.BASES),
            "range": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
            "unit": {**_TEXT, "description": "three capitals are a currency: converted before use"},
        },
    )
    step = _object(STEP_KEYS, ("where",), {"within": _SPAN, "at_least": _COUNT, "same": _same()})
    known: dict[str, Schema] = {
        "version": {"type": "integer", "minimum": 1},
        "status": _one_of(model.STATUSES),
        "level": _one_of(level.value for level in Level),
        "typology": _one_of(TYPOLOGIES),
        "indicators": {**_TEXTS, "minItems": 1},
        "techniques": {"type": "array", "items": {"type": "string", "pattern": r"^T\d{4}(\.\d{3})?$"}},
        "subject": _one_of(model.SUBJECTS),
        "role": _one_of(model.ROLES),
        "per": {"type": "array", "items": _columns(), "minItems": 1},
        "parameters": _mapping(parameter),
        "budget": {"type": "number", "minimum": 0, "maximum": 10_000},
        "conditions": _mapping(_TEXT),
        "steps": _mapping(step),
        "measures": _mapping(_measure()),
        "falsepositives": _TEXTS,
        "changelog": _TEXTS,
        "correlation": _correlation(),
    }
    for key, text in _ABOUT.items():
        known[key] = {**known.get(key, _TEXT), "description": text}
    schema = _object(KEYS, REQUIRED_KEYS, known)
    forbidden = {"not": {"anyOf": [{"required": [key]} for key in LOGIC_KEYS]}}
    schema["if"] = {"required": ["correlation"]}
    schema["then"] = forbidden
    schema["else"] = {
        "required": ["per", "anchor", "when"],
        "anyOf": [{"required": ["measures"]}, {"required": ["steps"]}],
    }
    return schema


def _measure() -> Schema:
    numbers = sorted({*entry_columns(), *model.BETWEEN})
    known: dict[str, Schema] = {kind: _one_of(numbers) for kind in model.KINDS}
    known |= {"count": _one_of(["*"]), "peers": {**_TEXT, "description": "the name of a measure"}}
    known |= {
        "timespan": _SPAN,
        "offset": _SPAN,
        "where": {**_TEXT, "description": 'which entries count: default the anchor; "true": every entry'},
        "same": _same(),
        "at": _one_of(["counterparty"]),
        "of": _one_of(["amount", "amount_base"]),
        "quantile": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "by": {"type": "array", "items": _one_of(model.PEER_COLUMNS)},
    }
    schema = _object(MEASURE_KEYS, ("timespan",), known)
    schema["oneOf"] = [{"required": [kind]} for kind in model.KINDS]
    return schema


def _correlation() -> Schema:
    some = {"anyOf": [_TEXTS, _object(("at_least", "of"), ("of",), {"at_least": _COUNT, "of": _TEXTS})]}
    known = {"timespan": _SPAN, "all": _TEXTS, "any": some, "ordered": _TEXTS, "across": _one_of(model.GROUPS)}
    schema = _object(("timespan", *model.GROUPS, "across"), ("timespan",), known)
    schema["anyOf"] = [{"required": [group]} for group in model.GROUPS]
    return schema


def _cases() -> Schema:
    values = {"type": ["string", "number", "boolean", "null"]}
    closed = {c.name: {"enum": [*c.values, None]} for c in TRANSACTIONS.columns if c.values}
    repeat = _object(
        ("times", "every"), ("times", "every"), {"times": {"type": "integer", "minimum": 1}, "every": _SPAN}
    )
    entry = {key: closed.get(key, values) for key in ENTRY_KEYS}
    entry |= {"direction": _one_of(ENTRIES["direction"].values or ("in", "out")), "repeat": repeat}
    entries = _object(ENTRY_KEYS, (), entry)
    expect = _object(
        ("hit", "observed", "outcome"),
        (),
        {
            "hit": {"anyOf": [_TEXT, _TEXTS]},
            "observed": {"type": "object", "additionalProperties": _NUMBER},
            "outcome": _one_of(["cannot_tell"]),
        },
    )
    expect["oneOf"] = [{"required": ["hit"]}, {"required": ["outcome"]}]
    known: dict[str, Schema] = {
        "near_miss": {"type": "boolean"},
        "rates": _RATES,
        "defaults": entries,
        "accounts": {"type": "object", "additionalProperties": _row(ACCOUNTS, ACCOUNTS.key)},
        "parties": {"type": "object", "additionalProperties": _row(PARTIES, PARTIES.key)},
        "identifiers": {"type": "array", "items": _row(IDENTIFIERS, ())},
        "intel": {"type": "array", "items": _row(INTEL, ())},
        "entries": {"type": "array", "items": entries},
        "expect": expect,
    }
    case = _object(CASE_KEYS, ("name", "entries", "expect"), known)
    top = {"cases": {"type": "array", "items": case, "minItems": 1}, "defaults": entries, "rates": _RATES}
    return _object(("cases", "defaults", "base", "rates"), ("cases",), top)


def _row(table: Table, key: tuple[str, ...]) -> Schema:
    """Columns that a case may tell of a table."""
    provenance = {c.name for c in PROVENANCE}
    told = [
        c for c in table.columns
        if c.name not in provenance and c.name not in key and c.sensitivity is not Sensitivity.PROTECTED
    ]  # fmt: skip
    value: Schema = {"type": ["string", "number", "boolean", "null"]}
    return _object(
        (c.name for c in told), (), {c.name: {"enum": [*c.values, None]} if c.values else value for c in told}
    )


def _list() -> Schema:
    line = {"amount": _NUMBER}
    contents: dict[str, Schema] = {
        "values": _TEXTS,
        "terms": {"type": "array", "items": _object(TERM_KEYS, ("term",), {"script": _one_of(SCRIPTS)})},
        "patterns": {"type": "array", "items": _object(PATTERN_KEYS, ("pattern",))},
    }
    amounts = {"type": "array", "items": _object(AMOUNT_KEYS, ("key", "amount"), line)}
    forms = []
    for kind, (content, about_column) in LIST_CONTENT.items():
        column = ("column",) if about_column else ()
        shape = amounts if kind == "amounts" else contents[content]
        known = {"kind": _one_of([kind]), content: shape}
        forms.append(
            _object(
                ("name", "kind", *column, "description", "source", content), ("name", "kind", *column, content), known
            )
        )
    keys = ("name", "kind", "description", "source", "date", "base", "rates")
    forms.append(_object(keys, ("name", "kind", "rates"), {"kind": _one_of(["rates"]), "rates": _RATES}))
    return {"oneOf": forms}


def _conditions() -> Schema:
    inner = _mapping(_object(("text", "description"), ("text", "description")))
    return _object(("conditions",), ("conditions",), {"conditions": inner})


def _indicators() -> Schema:
    empty = {"type": ["string", "number", "boolean", "null"]}
    known: dict[str, Schema] = dict.fromkeys(INDICATOR_KEYS, empty)
    known["typology"] = _one_of(TYPOLOGIES)
    one = _object(INDICATOR_KEYS, ("typology", "issuer", "document", "text"), known)
    return _object(("indicators",), ("indicators",), {"indicators": {"type": "object", "additionalProperties": one}})


def _exclusions() -> Schema:
    one = _object(
        EXCLUSION_KEYS,
        ("rule", "code", "reason"),
        {
            "code": {"type": "string", "pattern": r"^R\d{3}$"},
            "until": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        },
    )
    return _object(("exclude",), ("exclude",), {"exclude": {"type": "array", "items": one}})
