"""A new rule to begin with: a rule of each form, with cases, that passes check and test as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

from fintel.bench.schemas import SCHEMA_FOLDER, written_schemas
from fintel.errors import RuleError, did_you_mean
from fintel.rules.model import Library

FORMS = ("window", "sequence", "baseline", "peers", "keyword", "shared", "correlation")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
#: The indicator of a rule that cites none of the catalogue yet.
OWN_INDICATOR = "OWN-01"
_CATALOGUE = f"""\
indicators:
  {OWN_INDICATOR}:
    typology: ML-GENERAL
    issuer: "Change me: who published it"
    document: "Change me: where"
    reference: ""
    date: ""
    locator: "Change me: page, number of the indicator"
    url: ""
    grade: U                         # V1: read in the document; V2: in a second source; U: not verified
    text: "Change me: what it says, in your own words"
"""


def scaffold(folder: Path, rule_id: str, *, form: str, library: Library, indicator: str | None = None) -> list[Path]:
    """Write a rule and its cases (and what they need) into a folder of packs.

    Parameters
    ----------
    rule_id: ``pack/name``; the pack is made if it is not there.
    form: one of ``FORMS``.
    library: knows ``indicator``; without one the rule cites ``OWN_INDICATOR``, written into the folder's
        catalogue.

    Returns
    -------
    The files written. Files that are there already are never touched.

    Raises
    ------
    RuleError: no such form or indicator, not a name, or the rule is there already.
    """
    pack, _, name = rule_id.partition("/")
    if not (_NAME.fullmatch(pack) and _NAME.fullmatch(name)):
        raise RuleError(f"'{rule_id}' is no name for a rule", hint="pack/name, in small letters, digits and '-'")
    if form not in FORMS:
        raise RuleError(f"no form '{form}'", hint=did_you_mean(form, FORMS) or f"one of: {', '.join(FORMS)}")
    if indicator is not None and indicator not in library.indicators:
        hint = did_you_mean(indicator, library.indicators) or "fintel rules coverage --all"
        raise RuleError(f"no indicator '{indicator}' in the catalogue", hint=hint)
    typology = library.indicators[indicator].typology if indicator is not None else "ML-GENERAL"
    words = {
        "PACK": pack, "NAME": name, "WORDS": f"{name}-words".replace("-", "_"),
        "INDICATOR": indicator or OWN_INDICATOR, "TYPOLOGY": typology,
    }  # fmt: skip
    files = dict(_rules(folder / pack, name, form, words))
    taken = [path for path in files if path.exists()]
    if taken:
        raise RuleError(f"{taken[0]} is there already", hint="another name, or delete it")
    if indicator is None:
        files |= _own_indicator(folder)
    if form == "keyword":
        files[folder / "lists" / f"{words['WORDS']}.yaml"] = _filled("keyword.list", words, "list", "..")
    files[folder / pack / "pack.yaml"] = (
        f'{_editor("pack", "..")}name: {pack}\ntitle: "Change me: {pack}"\ndescription: "Change me"\n'
    )
    for schema, text in written_schemas().items():
        files[folder / SCHEMA_FOLDER / f"{schema}.json"] = text
    made = []
    for path, text in files.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            made.append(path)
    return made


def alike(made: Iterable[Path], library: Library) -> list[tuple[str, str]]:
    """Of the rules among some files, those that have the very logic of a rule elsewhere, each with that one (R012).

    Two scaffolds of one form do, until a number of one is changed.
    """
    names = {f"{path.parent.name}/{path.stem}" for path in made}
    before = {rule.fingerprint: rule.id for rule in library.rules if rule.id not in names}
    new = (rule for rule in library.rules if rule.id in names)
    return [(rule.id, before[rule.fingerprint]) for rule in new if rule.fingerprint in before]


def _rules(pack: Path, name: str, form: str, words: dict[str, str]) -> Iterator[tuple[Path, str]]:
    """The rule and its cases; a correlation brings the rules that it correlates."""
    parts = ((f"{name}-cash", "window"), (f"{name}-chain", "sequence")) if form == "correlation" else ()
    for part, its_form in (*parts, (name, form)):
        # a correlation names its parts by its own name
        filled = words | {"NAME": part}
        yield pack / f"{part}.yaml", _filled(its_form, filled, "rule", "..")
        yield pack / "cases" / f"{part}.yaml", _filled(f"{its_form}.cases", filled, "cases", "../..")


def _own_indicator(folder: Path) -> dict[Path, str]:
    path = folder / "indicators.yaml"
    if path.exists() and OWN_INDICATOR not in path.read_text(encoding="utf-8"):
        raise RuleError(f"{path} has no {OWN_INDICATOR}", hint="name an indicator: --indicator ID")
    return {path: _editor("indicators", ".") + _CATALOGUE}


def _editor(schema: str, up: str) -> str:
    return f"# yaml-language-server: $schema={up}/{SCHEMA_FOLDER}/{schema}.json\n"


def _filled(template: str, words: dict[str, str], schema: str, up: str) -> str:
    text = (resources.files("fintel.bench") / "templates" / f"{template}.yaml").read_text(encoding="utf-8")
    filled = re.sub("|".join(rf"\b{word}\b" for word in words), lambda m: words[m[0]], text)
    return _editor(schema, up) + filled
