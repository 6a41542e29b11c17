"""Whether a prompt is English, which is all that the offline planner reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ..errors import AnimaticError
from . import forms, lexicon

PLANNERS = "openai:MODEL, completions:MODEL, local:PATH_OR_ID or paste"

# frequent function words, without those that are English words or prefixes of names
_FOREIGN = frozenset(
    """der die das ein eine einen einem einer und von vom nach zum zur mit auf ist im dem den des ueber über unter sich
    nicht wie läuft geht springt fliegt il le la les un une des du et dans sur vers avec sous est sont qui au aux el los
    las unos unas y con por hacia desde sobre en lo gli una che nel nella dal dalla verso di della sulla sul uno e o os
    um uma com para na da do em não het een naar op met van en de zijn och på från till med är av ett och w na z do się
    jest i po ze czerwona og fra til""".split()
)

_ALSO_ENGLISH = ("a", "i", "do", "die", "sur")


def check_english(prompt: str, lows: Sequence[str]) -> None:
    """Raise `AnimaticError` where a prompt is in another script or language; `lows` are its lower-case words."""
    letters = [letter for letter in prompt if letter.isalpha()]
    latin = [letter for letter in letters if "LATIN" in unicodedata.name(letter, "")]
    if len(latin) < 0.5 * len(letters):
        raise _refusal(prompt)

    words = [low for low in lows if low[0].isalpha()]
    english = 0
    foreign = 0
    accented = 0
    for word in words:
        is_foreign = word in _FOREIGN
        is_known = _is_known(word)
        if word in lexicon.FUNCTION or (is_known and not is_foreign):
            english += 1
        if is_foreign and word not in _ALSO_ENGLISH:
            foreign += 1
        if not word.isascii() and not is_known:
            accented += 1

    # an unknown word with accents counts twice, but one alone may be a name
    if foreign + accented >= 2 and foreign + 2 * accented > english:
        raise _refusal(prompt)
    if foreign >= 2 and foreign >= 0.34 * len(words):
        raise _refusal(prompt)
    if len(words) >= 3 and english < 0.25 * len(words):
        raise _refusal(prompt)


def _is_known(word: str) -> bool:
    return bool(forms.parts_of_speech(word)) or word in lexicon.PREPOSITIONS or word in lexicon.AUXILIARIES


def _refusal(prompt: str) -> AnimaticError:
    short = prompt if len(prompt) <= 40 else prompt[:39] + "…"
    short = " ".join(short.split())
    return AnimaticError(
        f"the prompt {short!r} is not in English, which is all that planner rules reads; want English, or planner "
        f"{PLANNERS}"
    )
