"""The words before a noun that belong to its name: "red sports car", not "small flying car"."""

from __future__ import annotations

from collections.abc import Sequence

from . import forms, lexicon
from .phrase_words import NOT_PARTICIPLES


def modifiers_of(spoken: Sequence[str]) -> list[str]:
    """The words before the noun that belong to the name: colours and nouns, neither sizes nor other attributes."""
    sizes = lexicon.sizes("size")
    kept = []
    for word in spoken:
        parts = forms.parts_of_speech(word)
        # what no known verb has belongs to the name: "bowling pin", "watering can"
        acts = word.endswith("ing") and (word not in NOT_PARTICIPLES and forms.verb_lemma(word) in lexicon.verbs())
        is_participle = acts or (not parts and word.endswith("ed"))
        is_named = word.endswith("ing") and not acts and word not in lexicon.words("adjective")
        if word == "and" or is_named or forms.is_colour(word):
            kept.append(word)
        elif word in sizes or forms.is_adverb(word) or word in lexicon.words("adjective"):
            continue
        elif ("NOUN" in parts or not parts) and not is_participle:
            kept.append(word)

    # "and" stays between two colours alone: "black and white cat"
    while kept and kept[0] == "and":
        kept = kept[1:]
    while kept and kept[-1] == "and":
        kept = kept[:-1]
    if "and" not in kept:
        return kept
    joint = kept.index("and")
    joins_colours = forms.is_colour(kept[joint - 1]) and forms.is_colour(kept[joint + 1])
    if not joins_colours:
        kept = [word for word in kept if word != "and"]
    return kept
