"""The script that a term is written in, by ISO 15924 code, as the Unicode names of its letters tell it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

#: What stands for no script of its own (digits, emoji, signs), and for letters of a script that is not below.
COMMON, UNKNOWN = "Zyyy", "Zzzz"
#: Scripts by the first word of the Unicode names of their letters.
_BY_NAME: Mapping[str, str] = MappingProxyType(
    {
        "ARABIC": "Arab", "ARMENIAN": "Armn", "BENGALI": "Beng", "BOPOMOFO": "Bopo", "CHEROKEE": "Cher", "CJK": "Hani",
        "CYRILLIC": "Cyrl", "DEVANAGARI": "Deva", "ETHIOPIC": "Ethi", "GEORGIAN": "Geor", "GREEK": "Grek",
        "GUJARATI": "Gujr", "GURMUKHI": "Guru", "HANGUL": "Hang", "HEBREW": "Hebr", "HIRAGANA": "Hira",
        "IDEOGRAPHIC": "Hani", "JAVANESE": "Java", "KANNADA": "Knda", "KATAKANA": "Kana", "KHMER": "Khmr",
        "LAO": "Laoo", "LATIN": "Latn", "MALAYALAM": "Mlym", "MONGOLIAN": "Mong", "MYANMAR": "Mymr", "ORIYA": "Orya",
        "SINHALA": "Sinh", "SYRIAC": "Syrc", "TAGALOG": "Tglg", "TAMIL": "Taml", "TELUGU": "Telu", "THAANA": "Thaa",
        "THAI": "Thai", "TIBETAN": "Tibt", "TIFINAGH": "Tfng",
    }
)  # fmt: skip
#: Letters whose names begin otherwise and that every script may use.
_SHARED = frozenset(("COMBINING", "MODIFIER", "KATAKANA-HIRAGANA", "VARIATION"))
#: Written with several scripts at once: the code for the mixture.
_MIXTURES = (({"Hira", "Kana"}, {"Hira", "Kana", "Hani"}, "Jpan"), ({"Hang"}, {"Hang", "Hani"}, "Kore"))
#: Codes that a list may give: those above, mixtures, and what no letter tells (Chinese simplified, traditional; emoji).
SCRIPTS = tuple(sorted({*_BY_NAME.values(), "Jpan", "Kore", "Hans", "Hant", "Zsye", COMMON, UNKNOWN}))


def script_of(text: str) -> str:
    """ISO 15924 code of the script of most of the letters; of several as many, the first.

    Forms of presentation (full width, mathematical) count as the letters that they stand for. Chinese is ``Hani``,
    for no letter tells simplified from traditional; ``Jpan`` and ``Kore`` where kana or hangul stands with it.
    """
    found: Counter[str] = Counter()
    for letter in unicodedata.normalize("NFKC", text):
        word = unicodedata.name(letter, "").partition(" ")[0]
        if unicodedata.category(letter)[0] in "LM" and word not in _SHARED:
            found[_BY_NAME.get(word, UNKNOWN)] += 1
    for needed, members, mixture in _MIXTURES:
        if len(found) > 1 and needed & found.keys() and found.keys() <= members:
            return mixture
    return found.most_common(1)[0][0] if found else COMMON
