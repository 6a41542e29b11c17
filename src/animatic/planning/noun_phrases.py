"""Noun phrases: "three small red cars" is 3 x car, red, small. Which words end one is decided word by word.

A phrase is determiner, number, attributes, nouns. No dictionary of nouns is needed: what can be a verb of motion ends a
phrase where the grammar lets it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import forms, lexicon
from .phrase_words import CLOSED, SIDES, PhraseWords

PLURAL_COUNT = 3  # what "several" or a bare plural means
_VAGUE = {
    "many": 5, "countless": 5, "numerous": 5, "several": 3, "few": 3, "various": 3, "multiple": 3, "some": 0,
}  # fmt: skip
_UNITS = frozenset("year years month months day days mm fps minute minutes second seconds inch foot feet meter".split())
_EXACT = frozenset("pair couple duo trio quartet half dozen".split())


@dataclass(frozen=True)
class NounPhrase:
    """A noun phrase of the tokens `first` up to `stop`. `noun` is singular, "" where it is elided."""

    first: int
    stop: int
    noun: str
    words: str  # from the first colour or unknown attribute to the noun, singular
    head: str  # the noun as it stands
    count: int
    is_vague: bool = False  # whether the number is a guess: a bare plural, "several"
    definite: bool = False  # "the car": may name an object that was named before
    unwanted: bool = False  # "no car"
    colour: str = ""
    size: float = 1.0
    action: str = ""  # a participle before the noun: "flying"
    side: str = ""  # "the left car"
    part: int = 0  # "one of three cars": how many of them
    owner: tuple[int, ...] = ()  # tokens of a possessor before the noun


class PhraseReader(PhraseWords):
    """Reads noun phrases of a sentence."""

    def read(self, i: int, coordinated: bool = False, bare: bool = True) -> NounPhrase | None:
        """The phrase that begins at token `i`, None if none does.

        `coordinated`: it follows "and" or a comma, so a verb in the plural may come after a singular noun. `bare`: it
        needs no determiner.
        """
        first = i
        if part := self._part(i):
            whole = self.read(i + 2)
            return replace(whole, first=first, part=part) if whole else None
        i, determined, count, is_vague = self._determined(i)
        run, i = self._run(i, count, determined, coordinated)
        if not run:
            return self._elided(first, i, count) if determined else None
        if not determined and not (bare and self._may_begin(first, run)):
            return None
        return self._phrase(first, run, count, is_vague)

    def _part(self, i: int) -> int:
        """How many "one of", "two of" take out of the phrase that follows; 0 where nothing is taken out."""
        low = self.low(i)
        number = lexicon.NUMBERS.get(low, 0)
        if self.low(i + 1) == "of" and number and self._quantity(i + 2) != (number, 1):
            return number
        return 0

    def _determined(self, i: int) -> tuple[int, bool, int, bool]:
        """Index after determiners and numbers, whether there are any, the number (0: none), whether it is vague."""
        first = i
        count, is_vague = 0, False
        while True:
            low, following = self.low(i), self.low(i + 1)
            if low in ("a", "an", "the", "some") and self._quantity(i + 1):
                i += 1
            elif low.isdecimal() and following in _UNITS:
                i += 3 if self.low(i + 2) == "old" else 2
            elif quantity := self._quantity(i):
                number, length = quantity
                is_vague |= low not in lexicon.NUMBERS and not low.isdecimal() and low not in _EXACT
                count = max(count, number)
                i += length
                if self.low(i) == "of":
                    i += 1
            elif low in ("a", "an", "another", "each", "every") or (low == "single" and i > first):
                count = max(count, 1)
                i += 1
            elif low == "both":
                count, i = 2, i + 1
            elif low in _VAGUE and (i + 1 < len(self.tokens) or i > first):
                count, is_vague = _VAGUE[low], True
                i += 1
            elif (low == "next" and i > first and not self._goes_on(i + 1)) or (
                low in lexicon.DETERMINERS and not (low == "her" and not following)
            ):
                i += 1
            else:
                return i, i > first, count, is_vague

    def _run(self, i: int, count: int, determined: bool, coordinated: bool) -> tuple[list[int], int]:
        """Tokens of attributes and nouns from `i` on, and the index after them."""
        run: list[int] = []
        while low := self.low(i):
            if not self._continues(i, run, count, determined, coordinated):
                break
            run.append(i)
            i += 1
            joins = self.low(i) in ("and", ",") and not self._has_noun(run)
            joins = joins and low not in SIDES and not forms.is_plural(self.low(i + 1))
            if joins and self._is_attribute(run[-1]) and self._is_attribute(i + 1) and self._goes_on(i + 2):
                run += [i, i + 1] if self.low(i) == "and" else [i + 1]
                i += 2

        # a phrase ends in a noun, unless the noun is elided: "a red and a blue car"
        while len(run) > 1 and not forms.can_be_noun(self.low(run[-1])) and self._has_noun(run[:-1]):
            i = run.pop()
        return run, i

    def _continues(self, i: int, run: list[int], count: int, determined: bool, coordinated: bool) -> bool:
        """Whether token `i` belongs to the phrase whose attributes and nouns so far are `run`."""
        low = self.low(i)
        token = self.tokens[i]
        if run and f"{self.low(i - 1)} {low}" in lexicon.words("compound"):
            return True
        if not token.is_word or (low in SIDES and run):
            return False
        if low in SIDES:
            return determined and forms.can_be_noun(self.low(i + 1)) and self._is_no_verb(i + 1)
        if token.is_possessive:
            return True
        if low in ("fast", "second", "first", "last", "next", "same", "whole", "entire", "other") and not run:
            return determined and bool(self.low(i + 1))
        if low in lexicon.words("filler") or low in CLOSED:
            return False
        if forms.is_adverb(low) and low not in lexicon.words("adjective"):
            return not self._has_noun(run) and (determined or bool(run)) and self._is_attribute(i + 1)
        if not self._has_noun(run):
            return determined or bool(run) or not self._is_verb_alone(i)
        if f"{self.low(i - 1)} {forms.singular(low)}" in lexicon.words("compound"):
            return True
        return not self._ends(i, run, count, coordinated)

    def _may_begin(self, first: int, run: list[int]) -> bool:
        """Whether a phrase without a determiner begins here."""
        low = self.low(first)
        lemma = forms.verb_lemma(low)
        if len(run) == 1 and forms.is_adjective(low) and "NOUN" not in forms.parts_of_speech(low):
            return False
        return not (lemma in lexicon.verbs() and low.endswith("ing")) or len(run) > 1

    def _elided(self, first: int, stop: int, count: int) -> NounPhrase | None:
        """A number alone ("one", "the other", "both"): out of what was named before."""
        lows = [self.low(k) for k in range(first, stop)]
        if {"other", "another", "others", "next"}.intersection(lows):
            return NounPhrase(first, stop, "", "other", "", max(1, count), definite=True)
        if lows[-1] in lexicon.NUMBERS or lows[-1] in ("both", "all"):
            return NounPhrase(first, stop, "", lows[-1], "", max(1, count))
        return None

    def _phrase(self, first: int, run: list[int], count: int, is_vague: bool) -> NounPhrase:
        stop = run[-1] + 1
        lows = [self.low(k) for k in run]
        is_titled = lows[0] in ("mr", "mrs", "ms", "dr", "st")
        before = [self.low(k) for k in range(first, run[0])]
        sizes = lexicon.sizes("size")
        colours = [w for w in lows if forms.is_colour(w)]
        size = next((sizes[w] for w in lows if w in sizes), 1.0)
        unwanted = "no" in before
        definite = bool(lexicon.DEFINITE.intersection(before))

        # all attributes: the noun is elided ("a red and a blue car"), or it is "one"
        is_colour = len(lows) <= 2 and colours[-1:] == [lows[-1]] and lows[-1] != "orange"
        if not is_titled and (is_colour or lows[-1] in ("one", "ones")):
            kept = " ".join(w for w in lows if w not in ("one", "ones") and w not in sizes)
            return NounPhrase(
                first, stop, "", kept, "", max(1, count), is_vague, definite, unwanted, " ".join(colours), size
            )

        head = lows[-1]
        is_whole = count <= 1 and head in lexicon.words("whole")
        many = count > 1 or (count == 0 and forms.is_plural(head) and not is_whole)
        noun = forms.singular(head) if many or (forms.is_plural(head) and count != 1 and not is_whole) else head
        name_run = run[:-1]
        owner: tuple[int, ...] = ()
        for k, i in enumerate(run[:-1]):
            if self.tokens[i].is_possessive:
                owner = tuple(range(first, i + 1))
                name_run = run[k + 1 : -1]
                definite = False
        side = next((w for w in lows[:-1] if w in SIDES), "")
        actions = [w for w in lows[:-1] if w.endswith("ing") and forms.verb_lemma(w) in lexicon.verbs()]
        spoken = [self.low(i) for i in name_run]
        modifiers = _modifiers([w for w in spoken if w not in SIDES])
        compound = f"{lows[-2]} {noun}" if len(lows) > 1 else ""
        if compound in lexicon.words("compound"):
            modifiers = [*_modifiers([w for w in spoken[:-1] if w not in SIDES]), spoken[-1]]
        name = " ".join([*modifiers, noun])
        if any(compound in lexicon.words(kind) for kind in ("compound", "place", "clothes")):
            noun = compound
        if not count and not many and lexicon.is_any(noun, "part") and forms.is_plural(head):
            noun = forms.singular(head)
        vague = is_vague or (many and not count)
        number = count or (PLURAL_COUNT if many else 1)
        return NounPhrase(
            first, stop, noun, name, head, number, vague, definite, unwanted, " ".join(colours), size,
            actions[0] if actions else "", side, owner=owner,
        )  # fmt: skip


def _modifiers(spoken: list[str]) -> list[str]:
    """The words before the noun that belong to the name: colours and nouns, neither sizes nor other attributes."""
    sizes = lexicon.sizes("size")
    kept = []
    for word in spoken:
        parts = forms.parts_of_speech(word)
        is_participle = word.endswith("ing") or (not parts and word.endswith("ed"))
        if word == "and" or forms.is_colour(word):
            kept.append(word)
        elif word in sizes or forms.is_adverb(word) or word in lexicon.words("adjective"):
            continue
        elif ("NOUN" in parts or not parts) and not is_participle:
            kept.append(word)
    while kept and kept[0] == "and":
        kept = kept[1:]
    while kept and kept[-1] == "and":
        kept = kept[:-1]
    if "and" in kept and not all(forms.is_colour(kept[kept.index("and") + d]) for d in (-1, 1)):
        kept = [word for word in kept if word != "and"]
    return kept
