"""Keyword lists against payment texts: one normal form, one Aho–Corasick pass over distinct texts.

Terms and texts go through the same ``normalise``. On top of it a text is also read with its tricks
undone: digits and signs that stand for letters inside a word (``5ch00l``), and words spelt out
letter by letter (``s c h o o l``). A term is a whole word or phrase: ``cp`` is not found in
``cpr``. Scripts that are written without blanks (Thai, Chinese, …) have no such edges, so their
terms are found anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from fintel.rules.model import KeywordList

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
_FOLDS: dict[str, str] = {"ß": "ss", "ς": "σ", "ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe"}
_SWAPS: dict[str, str] = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "$": "s", "@": "a"}
_SWAPPED = r"[0134578$@]"
_SPELT_OUT = r"(?:^| )[\p{L}\p{N}$@](?: [\p{L}\p{N}$@]){2,}(?: |$)"
_WITHOUT_BLANKS = r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]"
#: A phrase is also found written as one word, if that word is at least this long.
_MIN_JOINED = 6


def normalise(expr: pl.Expr) -> pl.Expr:
    """Small letters without accents, full width, invisible signs or punctuation; one blank between
    words, none at the ends; each emoji a word of its own. Applying it twice changes nothing."""
    return _without_signs(_words(expr))


def _words(expr: pl.Expr) -> pl.Expr:
    """As ``normalise``, with the signs that may stand for letters left in."""
    folded = (
        expr.str.normalize("NFKD")
        .str.to_lowercase()
        .str.replace_all(_UNSEEN, "")
        .str.replace_all(_ACCENTS, "")
        .str.replace_many(list(_FOLDS), list(_FOLDS.values()))
        .str.normalize("NFC")
    )
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
    hits = pl.DataFrame({"row": pl.Series(range(texts.len()), dtype=pl.UInt32), "text": _readings(texts)}).select(
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
    return pl.concat(
        [
            frame.select(pl.concat_str(left, "normal", right).alias("pattern"), "list", "term"),
            joined.select(pl.concat_str(left, "whole", right).alias("pattern"), "list", "term"),
        ]
    ).unique()


def _readings(texts: pl.Series) -> pl.Series:
    """Each text in every way it can be read, a blank at both ends of each reading."""
    frame = (
        texts.alias("text")
        .to_frame()
        .with_row_index("row")
        .with_columns(words=_words(pl.col("text")))
        .with_columns(plain=_without_signs(pl.col("words")))
    )
    spelt = _join_spelt_out(frame.filter(pl.col("words").str.contains(_SPELT_OUT)).select("row", "words"))
    frame = frame.join(spelt, on="row", how="left", maintain_order="left").with_columns(
        source=pl.coalesce("joined", "words")
    )
    tricky = pl.col("source").str.contains(rf"\p{{L}}{_SWAPPED}|{_SWAPPED}\p{{L}}")
    swapped = _swap(frame.filter(tricky).select("row", "source"))
    frame = frame.join(swapped, on="row", how="left", maintain_order="left")
    frame = frame.with_columns(_without_signs(pl.col("joined")))
    readings = [pl.concat_str(pl.lit(" "), name, pl.lit(" ")) for name in ("plain", "joined", "as_i", "as_l")]
    # a line break between readings: no term has one, so none is found across two readings
    return frame.select(pl.concat_str(readings, separator="\n", ignore_nulls=True).alias("text"))["text"]


def _join_spelt_out(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns ``row``, ``joined``: runs of three or more single letters become one word."""
    single = pl.col("word").str.contains(r"^[\p{L}\p{N}$@]$")
    tokens = frame.with_columns(word=pl.col("words").str.split(" ")).explode("word").with_columns(single=single)
    runs = (
        tokens.with_columns(run=pl.struct("row", "single").rle_id())
        .group_by("row", "run", "single", maintain_order=True)
        .agg("word")
        .with_columns(letters=pl.col("word").list.eval(pl.element().str.contains(r"\p{L}")).list.sum())
    )
    as_one = pl.col("single") & (pl.col("word").list.len() >= 3) & (pl.col("letters") >= 2)
    return (
        runs.with_columns(
            piece=pl.when(as_one).then(pl.col("word").list.join("")).otherwise(pl.col("word").list.join(" "))
        )
        .group_by("row", maintain_order=True)
        .agg(joined=pl.col("piece").str.join(" "))
    )


def _swap(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns ``row``, ``as_i``, ``as_l``: digits and signs inside words read as letters.

    A word needs two letters, and at least as many letters as digits: ``inv20250301`` and ``4g``
    stay, and a number alone is never touched. ``1`` is read as i and, in the other column, as l.
    """
    tokens = frame.with_columns(word=pl.col("source").str.split(" ")).explode("word")
    letters = pl.col("word").str.count_matches(r"\p{L}")
    is_word = (letters >= 2) & (letters >= pl.col("word").str.count_matches(_SWAPPED))
    columns = []
    for name, one in (("as_i", "i"), ("as_l", "l")):
        swaps: Mapping[str, str] = {**_SWAPS, "1": one}
        swapped = pl.col("word").str.replace_many(list(swaps), list(swaps.values()))
        columns.append(pl.when(is_word).then(swapped).otherwise(pl.col("word")).alias(name))
    return (
        tokens.with_columns(columns)
        .group_by("row", maintain_order=True)
        .agg(pl.col("as_i").str.join(" "), pl.col("as_l").str.join(" "))
        .with_columns(_without_signs(pl.col("as_i")), _without_signs(pl.col("as_l")))
    )
