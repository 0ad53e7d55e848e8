"""Keyword lists against payment texts: one normal form, one Aho–Corasick pass over distinct texts.

Terms and texts go through the same ``normalise``. On top of it a text is also read with its tricks
undone (``_readings``). A term is a whole word or phrase: ``cp`` is not found in ``cpr``. Scripts that are
written without blanks (Thai, Chinese, …) have no such edges, so their terms are found anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product

import polars as pl

from fintel.rules.list_types import KeywordList

#: Accents and points that people leave out. Vowel signs of Thai, Hindi and the like stay: without
#: them, words that differ would look alike.
_ACCENTS = (
    r"[\x{0300}-\x{036F}\x{1AB0}-\x{1AFF}\x{1DC0}-\x{1DFF}\x{20D0}-\x{20FF}\x{FE20}-\x{FE2F}"
    r"\x{0591}-\x{05C7}\x{0610}-\x{061A}\x{064B}-\x{065F}\x{0670}\x{0640}]"
)
#: Not seen on a screen: zero-width signs, soft hyphens, variation selectors, skin tones.
_UNSEEN = r"[\p{Cf}\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}\x{1F3FB}-\x{1F3FF}]"
_EMOJI = r"([\p{Extended_Pictographic}\p{So}])"
_SIGNS_FOR_LETTERS = "$@"
_NOT_WORD = r"[^\p{L}\p{M}\p{N}\p{So}\p{Extended_Pictographic}$@]+"
#: Letters that fold together: what small and capital letters of one word would differ in.
_FOLDS: dict[str, str] = {
    "ß": "ss", "ς": "σ", "ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ɡ": "g", "ɑ": "a",
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz", strict=True)),
}  # fmt: skip
_SWAPS: dict[str, str] = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "$": "s", "@": "a"}
_SWAPPED = r"[0134578$@]"
_SPELT_OUT = r"(?:^| )[\p{L}\p{N}$@](?: [\p{L}\p{N}$@]){2,}(?: |$)"
#: Cyrillic and Greek small letters that look like Latin ones.
_LOOKALIKES: dict[str, str] = dict(
    zip("аеорсухіјѕһԁԛԝктмнвαβγεηικνορτυχω", "aeopcyxijshdqwktmhbabyenikvoptuxw", strict=True)
)
_MIXED = r"[a-z][\p{Cyrillic}\p{Greek}]|[\p{Cyrillic}\p{Greek}][a-z]"
#: A whole word that only looks Latin; shorter ones may well be words of their own.
_DISGUISED = r"^[аеорсухіјѕһԁԛԝ]{5,}$"
_SIGN_INSIDE = rf"\p{{L}}[^\p{{L}}\p{{M}}\p{{N}}\s]+\p{{L}}|[\p{{L}}\p{{N}}]{_EMOJI}+[\p{{L}}\p{{N}}]"
#: Letters that a word with signs inside needs to be read without them: with points, ``t.ax`` may be an abbreviation.
_LETTERS_WITH_POINTS, _LETTERS_WITH_EMOJI = 5, 3
_LATIN = "abcdefghijklmnopqrstuvwxyz"
_REPEATED = "|".join(f"{c}{{3,}}" for c in _LATIN)
#: Stands before a word whose repeated letters were made one: only words that had three alike are read so.
_SQUEEZED = "\x01"
#: Words of a phrase, each of which may have repeated letters or not.
_MAX_SQUEEZED = 4
_WITHOUT_BLANKS = r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]"
#: A phrase is also found written as one word, if that word is at least this long.
_MIN_JOINED = 6


def normalise(expr: pl.Expr) -> pl.Expr:
    """Small letters without accents, full width, invisible signs or punctuation; one blank between
    words, none at the ends; each emoji a word of its own. Applying it twice changes nothing."""
    return _without_signs(_words(expr))


def _words(expr: pl.Expr) -> pl.Expr:
    """As ``normalise``, with the signs that may stand for letters left in."""
    return _apart(_folded(expr))


def _folded(expr: pl.Expr) -> pl.Expr:
    """Small letters without accents, full width and invisible signs."""
    return (
        expr.str.normalize("NFKD")
        .str.to_lowercase()
        .str.replace_all(_UNSEEN, "")
        .str.replace_all(_ACCENTS, "")
        .str.replace_many(list(_FOLDS), list(_FOLDS.values()))
        .str.normalize("NFC")
    )


def _apart(folded: pl.Expr) -> pl.Expr:
    """Words with one blank between them, each emoji one of its own."""
    return _single_blanks(folded.str.replace_all(_EMOJI, " $1 ").str.replace_all(_NOT_WORD, " "))


def _without_signs(expr: pl.Expr) -> pl.Expr:
    return _single_blanks(expr.str.replace_all(f"[{_SIGNS_FOR_LETTERS}]", " "))


def _single_blanks(expr: pl.Expr) -> pl.Expr:
    return expr.str.replace_all(r" {2,}", " ").str.strip_chars(" ")


def match(texts: pl.Series, lists: Sequence[KeywordList]) -> pl.DataFrame:
    """Which lists each text mentions.

    Returns
    -------
    One boolean column a list, named as the list; one row a text; null where the text is null.
    Give distinct texts: the work is per row.
    """
    found = terms(texts, lists)
    empty = pl.DataFrame({"row": pl.Series(range(texts.len()), dtype=pl.UInt32)})
    columns = []
    for keyword_list in lists:
        rows = found.filter(pl.col("list") == keyword_list.name)["row"].unique()
        mentioned = empty.select(pl.col("row").is_in(rows.implode()))["row"]
        columns.append(
            pl.select(pl.when(texts.is_null()).then(None).otherwise(mentioned)).to_series().alias(keyword_list.name)
        )
    return pl.DataFrame(columns)


def terms(texts: pl.Series, lists: Sequence[KeywordList]) -> pl.DataFrame:
    """Which terms each text mentions.

    Returns
    -------
    Columns ``row`` (place in ``texts``, from 0), ``list``, ``term`` (as the list has it); each
    once, ordered by all three.
    """
    patterns = _patterns(lists)
    schema = {"row": pl.UInt32, "list": pl.String, "term": pl.String}
    if patterns.is_empty() or texts.len() == 0:
        return pl.DataFrame(schema=schema)
    wanted = patterns["pattern"].unique().sort()
    hits = _readings(texts).select(
        "row", pattern=pl.col("text").str.extract_many(wanted.implode(), overlapping=True).list.unique()
    )
    return (
        hits.filter(pl.col("pattern").list.len() > 0)
        .explode("pattern")
        .join(patterns, on="pattern")
        .select("row", "list", "term")
        .unique()
        .sort("row", "list", "term")
    )


def unmatchable(keyword_list: KeywordList) -> tuple[str, ...]:
    """Terms of which nothing is left to look for, or a single letter or digit."""
    given = pl.Series([t.term for t in keyword_list.terms], dtype=pl.String)
    normal = given.to_frame("term").select("term", normal=normalise(pl.col("term")))
    bare = normal.filter(pl.col("normal").str.contains(r"^[\p{L}\p{N}]?$") & ~_edge("normal", "^"))
    return tuple(bare["term"].to_list())


def _edge(column: str, side: str) -> pl.Expr:
    """The first (``^``) or last (``$``) letter belongs to a script without blanks."""
    pattern = f"^{_WITHOUT_BLANKS}" if side == "^" else rf"{_WITHOUT_BLANKS}\p{{M}}*$"
    return pl.col(column).str.contains(pattern)


def _patterns(lists: Sequence[KeywordList]) -> pl.DataFrame:
    """What to look for in a text with a blank at both ends: columns ``pattern``, ``list``, ``term``."""
    frame = pl.DataFrame(
        [(found.name, term.term) for found in lists for term in found.terms],
        schema={"list": pl.String, "term": pl.String},
        orient="row",
    ).with_columns(normal=normalise(pl.col("term")))
    frame = frame.filter(pl.col("normal") != "")
    left = pl.when(_edge("normal", "^")).then(pl.lit("")).otherwise(pl.lit(" "))
    right = pl.when(_edge("normal", "$")).then(pl.lit("")).otherwise(pl.lit(" "))
    joined = frame.with_columns(whole=pl.col("normal").str.replace_all(" ", "")).filter(
        pl.col("normal").str.contains(" ") & (pl.col("whole").str.len_chars() >= _MIN_JOINED)
    )
    plain = pl.concat(
        [
            frame.select(pl.concat_str(left, "normal", right).alias("pattern"), "list", "term"),
            joined.select(pl.concat_str(left, "whole", right).alias("pattern"), "list", "term"),
        ]
    ).unique()
    squeezed = [
        (pattern, name, term)
        for text, name, term in plain.filter(pl.col("pattern").str.contains(r"^ [a-z ]+ $")).iter_rows()
        for pattern in _squeezed_forms(text.strip())
    ]
    return pl.concat([plain, pl.DataFrame(squeezed, schema=plain.schema, orient="row")]).unique()


def _squeezed_forms(phrase: str) -> list[str]:
    """What a phrase looks like if letters of some of its words were repeated, all runs made one."""
    words = phrase.split(" ")
    if len(words) > _MAX_SQUEEZED:
        return []
    forms = [(word, _SQUEEZED + re.sub(r"(.)\1+", r"\1", word)) for word in words]
    return [f" {' '.join(form)} " for form in product(*forms) if any(w[0] == _SQUEEZED and len(w) > 2 for w in form)]


def _readings(texts: pl.Series) -> pl.DataFrame:
    """Each text in every way it can be read: columns ``row``, ``text`` (a blank at both ends), some rows several times.

    As it stands; without emoji; without the signs inside its words (``sch.ool``, an emoji between letters); with
    words spelt out letter by letter put together (``s c h o o l``); with Cyrillic and Greek letters among Latin
    ones read as what they look like; with digits and signs inside words read as letters (``5ch00l``); with
    letters that are repeated three times or more made one. Each trick is undone in all readings so far, so
    that they may come together.
    """
    folded = pl.DataFrame({"row": pl.Series(range(texts.len()), dtype=pl.UInt32), "text": texts.cast(pl.String)})
    folded = folded.drop_nulls("text").select("row", text=_folded(pl.col("text")))
    found = folded.select("row", words=_apart(pl.col("text")))
    found = _with(found, _without_emoji(found.filter(pl.col("words").str.contains(_EMOJI))))
    found = _with(found, _closed(folded.filter(pl.col("text").str.contains(_SIGN_INSIDE))))
    found = _with(found, _join_spelt_out(found.filter(pl.col("words").str.contains(_SPELT_OUT))))
    found = _with(found, _latinised(found.filter(pl.col("words").str.contains(r"[\p{Cyrillic}\p{Greek}]"))))
    found = _with(found, _swapped(found.filter(pl.col("words").str.contains(rf"\p{{L}}{_SWAPPED}|{_SWAPPED}\p{{L}}"))))
    found = _with(found, _squeezed(found.filter(pl.col("words").str.contains(_REPEATED))))
    return found.select("row", text=pl.concat_str(pl.lit(" "), _without_signs(pl.col("words")), pl.lit(" ")))


def _with(found: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    return found if more.is_empty() else pl.concat([found, more.unique()])


def _tokens(frame: pl.DataFrame, column: str = "words") -> pl.DataFrame:
    """Columns ``reading``, ``row``, ``word``: one row a word."""
    split = pl.col(column).str.split(" ")
    return frame.with_row_index("reading").select("reading", "row", word=split).explode("word")


def _together(tokens: pl.DataFrame) -> pl.DataFrame:
    """Columns ``row``, ``words`` of each reading."""
    grouped = tokens.group_by("reading", "row", maintain_order=True)
    return grouped.agg(words=pl.col("word").str.join(" ")).select("row", "words")


def _without_emoji(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("row", words=_single_blanks(pl.col("words").str.replace_all(_EMOJI, " ")))


def _closed(folded: pl.DataFrame) -> pl.DataFrame:
    """Words without the signs inside them, where enough letters are left."""
    tokens = _tokens(folded.with_columns(text=pl.col("text").str.replace_all(r"\s+", " ")), "text")
    bare = pl.col("word").str.replace_all(r"[^\p{L}\p{M}\p{N}$@]+", "")
    least = pl.when(pl.col("word").str.contains(_EMOJI)).then(_LETTERS_WITH_EMOJI).otherwise(_LETTERS_WITH_POINTS)
    tricky = pl.col("word").str.contains(_SIGN_INSIDE) & (bare.str.count_matches(r"\p{L}") >= least)
    some = tokens.with_columns(tricky=tricky).filter(pl.col("tricky").any().over("reading"))
    read = some.with_columns(word=pl.when("tricky").then(bare).otherwise("word"))
    return _together(read).select("row", words=_apart(pl.col("words")))


def _latinised(frame: pl.DataFrame) -> pl.DataFrame:
    """Words of mixed scripts, and those that only look Latin, in Latin letters."""
    latin = pl.col("word").str.replace_many(list(_LOOKALIKES), list(_LOOKALIKES.values()))
    tricky = pl.col("word").str.contains(_MIXED) | pl.col("word").str.contains(_DISGUISED)
    return _together(_tokens(frame).with_columns(word=pl.when(tricky).then(latin).otherwise("word")))


def _squeezed(frame: pl.DataFrame) -> pl.DataFrame:
    """Words in which a letter stands three times or more: marked, with all runs made one."""
    single = pl.col("word")
    for letter in _LATIN:
        single = single.str.replace_all(f"{letter}{{2,}}", letter)
    tricky = pl.col("word").str.contains(_REPEATED)
    marked = pl.concat_str(pl.lit(_SQUEEZED), single)
    return _together(_tokens(frame).with_columns(word=pl.when(tricky).then(marked).otherwise("word")))


def _join_spelt_out(frame: pl.DataFrame) -> pl.DataFrame:
    """Runs of three or more single letters become one word."""
    single = pl.col("word").str.contains(r"^[\p{L}\p{N}$@]$")
    runs = (
        _tokens(frame)
        .with_columns(single=single)
        .with_columns(run=pl.struct("reading", "single").rle_id())
        .group_by("reading", "row", "run", "single", maintain_order=True)
        .agg("word")
        .with_columns(letters=pl.col("word").list.eval(pl.element().str.contains(r"\p{L}")).list.sum())
    )
    as_one = pl.col("single") & (pl.col("word").list.len() >= 3) & (pl.col("letters") >= 2)
    piece = pl.when(as_one).then(pl.col("word").list.join("")).otherwise(pl.col("word").list.join(" "))
    return _together(runs.select("reading", "row", word=piece))


def _swapped(frame: pl.DataFrame) -> pl.DataFrame:
    """Digits and signs inside words read as letters: two readings, for ``1`` may be i or l.

    A word needs two letters, and at least as many letters as digits: ``inv20250301`` and ``4g``
    stay, and a number alone is never touched. A sign may make up a word of two (``s@``).
    """
    letters = pl.col("word").str.count_matches(r"\p{L}")
    is_word = (letters >= 2) & (letters >= pl.col("word").str.count_matches(_SWAPPED))
    is_word |= pl.col("word").str.contains(r"^(?:\p{L}[$@]|[$@]\p{L})$")
    tokens = _tokens(frame)
    readings = []
    for one in ("i", "l"):
        swaps: Mapping[str, str] = {**_SWAPS, "1": one}
        swapped = pl.col("word").str.replace_many(list(swaps), list(swaps.values()))
        readings.append(_together(tokens.with_columns(word=pl.when(is_word).then(swapped).otherwise("word"))))
    return pl.concat(readings)
