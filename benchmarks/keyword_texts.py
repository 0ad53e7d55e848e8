"""Texts in which words of the shipped lists are disguised: written once by this, kept in ``tests/data``.

    python benchmarks/keyword_texts.py          write the disguised part of tests/data/keyword_texts.yaml anew

The innocent part is written by hand and kept. Words come from lists of neutral published purposes only.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from fintel.rules.list_types import KeywordList
from fintel.rules.loader import load
from fintel.rules.model import Library

FILE = Path(__file__).resolve().parents[1] / "tests" / "data" / "keyword_texts.yaml"
SEED = 20251101
EACH = 40
#: Lists whose words are disguised.
NEUTRAL = (
    "innocuous_purpose", "wages", "recruitment", "scam_fees", "scam_release", "vasp_merchants", "rent_words",
    "tuition_living", "loans", "benefits", "payroll_charges", "recovery", "wage_deductions",
)  # fmt: skip
FRAMES = (
    "{}", "for {}", "{} march", "{} for maria", "re {} ok", "pmt {} 2025", "{} thank you", "ref 20331 {}", "my {}",
    "{} - june", "here is the {}, kisses", "2nd {}", "{} as agreed",
)  # fmt: skip
_DIGITS = {"o": "0", "i": "1", "l": "1", "e": "3", "a": "4", "s": "5", "t": "7", "b": "8"}
_SIGNS = {"s": "$", "a": "@"}
_CYRILLIC = {"a": "а", "c": "с", "e": "е", "i": "і", "j": "ј", "o": "о", "p": "р", "s": "ѕ", "x": "х", "y": "у"}
_GREEK = {"a": "α", "i": "ι", "k": "κ", "o": "ο", "p": "ρ", "t": "τ", "u": "υ", "v": "ν"}
_SMALL = dict(zip("abcdefghijklmnoprstuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", strict=True))
_MARKS = ("\u0301", "\u0300", "\u0308", "\u0302", "\u030a", "\u0327")
_UNSEEN = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\ufe0f")
_EMOJI = ("\U0001f34e", "\U0001f338", "⭐", "❤️", "\U0001f60a", "\U0001f44d\U0001f3fd", "\U0001f4b8")

_WORD = r"[^\W_]+"

Trick = Callable[[str, random.Random], str]


def _mixed_case(text: str, rng: random.Random) -> str:
    return "".join(c.upper() if rng.random() < 0.5 else c for c in text)


def _accents(text: str, rng: random.Random) -> str:
    marked = "".join(c + rng.choice(_MARKS) if c.isalpha() and rng.random() < 0.5 else c for c in text)
    return unicodedata.normalize(rng.choice(("NFC", "NFD")), marked)


def _full_width(text: str, rng: random.Random) -> str:
    del rng
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _unseen(text: str, rng: random.Random) -> str:
    return "".join(c + rng.choice(_UNSEEN) if rng.random() < 0.6 else c for c in text)


def _swap(text: str, rng: random.Random, swaps: Mapping[str, str]) -> str:
    """Up to half of each word's letters: more, and nobody can read it. At least one in all."""
    words = []
    for word in text.split(" "):
        places = [n for n, c in enumerate(word) if c in swaps]
        chosen = rng.sample(places, min(len(places), max(1, rng.randint(1, max(1, len(word) // 3)))))
        # '1' for i and for l in one word is read one way only
        if {word[n] for n in chosen} >= {"i", "l"}:
            chosen = [n for n in chosen if word[n] != "l"]
        words.append("".join(swaps[c] if n in chosen else c for n, c in enumerate(word)))
    return " ".join(words)


def _digits(text: str, rng: random.Random) -> str:
    return _swap(text, rng, _DIGITS)


def _signs(text: str, rng: random.Random) -> str:
    return _swap(text, rng, _SIGNS)


def _homoglyphs(text: str, rng: random.Random) -> str:
    swaps = rng.choice((_CYRILLIC, _GREEK))
    return _swap(text, rng, swaps)


def _small_capitals(text: str, rng: random.Random) -> str:
    del rng
    return "".join(_SMALL.get(c, c) for c in text)


def _mathematical(text: str, rng: random.Random) -> str:
    base = rng.choice((0x1D41A, 0x1D4EA, 0x1D586, 0x1D5BA, 0x1D68A))
    return "".join(chr(base + ord(c) - 97) if "a" <= c <= "z" else c for c in text)


def _between(text: str, sign: Callable[[], str]) -> str:
    return " ".join("".join(c + sign() for c in word[:-1]) + word[-1] for word in text.split(" "))


def _spaced(text: str, rng: random.Random) -> str:
    return rng.choice((" ", "  ", " \u00a0")).join(text.replace(" ", ""))


def _punctuated(text: str, rng: random.Random) -> str:
    sign = rng.choice(".-_*/~")
    return _between(text, lambda: sign)


def _one_point(text: str, rng: random.Random) -> str:
    """One sign inside the longest word."""
    word = max(text.split(" "), key=len)
    cut = rng.randint(1, len(word) - 1)
    return text.replace(word, word[:cut] + rng.choice(".-_*'") + word[cut:], 1)


def _around(text: str, rng: random.Random) -> str:
    before, between, after = rng.choice("([*#>'"), rng.choice("-_./+"), rng.choice(")]*!?…")
    return f"{before}{text.replace(' ', between)}{after}"


def _emoji_letters(text: str, rng: random.Random) -> str:
    sign = rng.choice(_EMOJI)
    return _between(text, lambda: sign)


def _emoji_inside(text: str, rng: random.Random) -> str:
    word = max(text.split(" "), key=len)
    cut = rng.randint(1, len(word) - 1)
    return text.replace(word, word[:cut] + rng.choice(_EMOJI) + word[cut:], 1)


def _emoji_words(text: str, rng: random.Random) -> str:
    sign = rng.choice(_EMOJI)
    return sign + text + sign


def _repeated(text: str, rng: random.Random) -> str:
    words = []
    for word in text.split(" "):
        at = rng.randrange(len(word))
        words.append(word[:at] + word[at] * rng.randint(2, 4) + word[at:])
    return " ".join(words)


def _joined(text: str, rng: random.Random) -> str:
    return rng.choice(("", "#")) + text.replace(" ", "")


def _capital_digits(text: str, rng: random.Random) -> str:
    return _digits(text, rng).upper()


TRICKS: Mapping[str, Trick] = {
    "none": lambda text, rng: text,
    "capitals mixed": _mixed_case,
    "accents": _accents,
    "full width": _full_width,
    "mathematical letters": _mathematical,
    "small capitals": _small_capitals,
    "zero width": _unseen,
    "digits for letters": _digits,
    "digits, capitals": _capital_digits,
    "signs for letters": _signs,
    "homoglyphs": _homoglyphs,
    "letters apart": _spaced,
    "points between letters": _punctuated,
    "a point inside": _one_point,
    "signs around and between words": _around,
    "emoji between letters": _emoji_letters,
    "an emoji inside": _emoji_inside,
    "emoji around": _emoji_words,
    "repeated letters": _repeated,
    "words joined": _joined,
}
#: Tricks that need letters to be there, or some length to be read at all.
_WANTS: Mapping[str, Callable[[str], bool]] = {
    "signs for letters": lambda t: all(set(w) & set(_SIGNS) for w in t.split(" ")),
    "digits for letters": lambda t: all(set(w) & set(_DIGITS) and len(w) > 3 for w in t.split(" ")),
    "digits, capitals": lambda t: all(set(w) & set(_DIGITS) and len(w) > 3 for w in t.split(" ")),
    "homoglyphs": lambda t: all(set(w) & set(_CYRILLIC) & set(_GREEK) for w in t.split(" ")),
    "words joined": lambda t: " " in t and len(t) > 6,
    "a point inside": lambda t: max(map(len, t.split(" "))) > 4,
    "an emoji inside": lambda t: max(map(len, t.split(" "))) > 4,
}


def said(text: str, lists: Mapping[str, KeywordList]) -> list[str]:
    """Lists that a text names in so many words: plain reading, with no code of the matcher."""
    words = _words(text)
    return sorted(name for name, found in lists.items() if any(_in(t.term, text, words) for t in found.terms))


def _words(text: str) -> str:
    return f" {' '.join(re.findall(_WORD, text.lower()))} "


def _in(term: str, text: str, words: str) -> bool:
    return _words(term) in words if term.isascii() else term in text


def keyword_lists(library: Library) -> dict[str, KeywordList]:
    """All lists of words."""
    return {name: found for name, found in library.lists.items() if isinstance(found, KeywordList)}


def disguised(library: Library, seed: int = SEED, each: int = EACH) -> list[dict[str, object]]:
    """The texts of each trick, with the list and term that stand in each, and the text undisguised."""
    rng = random.Random(seed)
    lists = keyword_lists(library)
    terms = sorted(
        {(name, t.term) for name in NEUTRAL for t in lists[name].terms if re.fullmatch("[a-z][a-z ]{3,}", t.term)}
    )
    made = []
    for trick, change in TRICKS.items():
        usable = [pair for pair in terms if _WANTS.get(trick, lambda t: True)(pair[1])]
        for name, term in (rng.choice(usable) for _ in range(each)):
            frame = rng.choice(FRAMES)
            text = frame.format(change(term, rng))
            made.append({"trick": trick, "list": name, "term": term, "plain": frame.format(term), "text": text})
    return made


def write(path: Path, innocent: list[dict[str, object]], made: list[dict[str, object]]) -> None:
    """One text a line, so that a change shows."""
    lines = [
        "# Texts for the matching of keyword lists; docs/reference/keywords.md has what is measured on them.",
        "# innocent: written by hand. disguised: written by benchmarks/keyword_texts.py, which keeps the rest.",
    ]
    for part, rows in (("innocent", innocent), ("disguised", made)):
        lines.append(f"{part}:")
        for row in rows:
            pairs = ", ".join(f"{key}: {_scalar(value)}" for key, value in row.items())
            lines.append(f"  - {{{pairs}}}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _scalar(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    shown = (
        c if c.isprintable() and not unicodedata.combining(c) and ord(c) < 0xFE00 else f"\\U{ord(c):08x}" for c in text
    )
    return '"' + "".join(shown) + '"'


def main() -> None:
    """Write the file anew."""
    kept = yaml.safe_load(FILE.read_text(encoding="utf-8"))["innocent"]
    write(FILE, kept, disguised(load()[0]))


if __name__ == "__main__":
    main()
