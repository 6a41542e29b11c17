"""Noun phrases: "three small red cars" is 3 x car, red, small. Which words end one is decided word by word.

A phrase is determiner, number, attributes, nouns. No dictionary of nouns is needed: what can be a verb of motion ends a
phrase where the grammar lets it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import forms, lexicon
from .modifiers import modifiers_of
from .phrase_words import CLOSED, SIDES, PhraseWords

PLURAL_COUNT = 3  # what "several" or a bare plural means
_VAGUE = {
    "many": 5, "countless": 5, "numerous": 5, "several": 3, "few": 3, "various": 3, "multiple": 3, "some": 0,
}  # fmt: skip
_UNITS = frozenset("year years month months day days mm fps minute minutes second seconds inch foot feet meter".split())
_PRONOUN_HEADS = ("one", "ones")
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
    bare: bool = False  # without determiner or number


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
        acts = self.low(i).endswith("ing") and forms.verb_lemma(self.low(i)) in lexicon.verbs()
        if acts and self.low(first) == "both" and i == first + 1:
            return self._elided(first, i, count)  # "both heading left"
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
        if not number or self.low(i + 1) != "of":
            return 0

        # "two of two cars" takes all of them
        if self._quantity(i + 2) == (number, 1):
            return 0
        return number

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
                count = 2
                i += 1
            elif low in _VAGUE and (i + 1 < len(self.tokens) or i > first):
                count = _VAGUE[low]
                is_vague = True
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

            # attributes may be joined: "a red and blue ball", "a small, red car"
            joint = self.low(i)
            joins = joint in ("and", ",") and not self._has_noun(run)
            joins = joins and low not in SIDES and not forms.is_plural(self.low(i + 1))
            if joins and self._is_attribute(run[-1]) and self._is_attribute(i + 1) and self._goes_on(i + 2):
                if joint == "and":
                    run.append(i)
                run.append(i + 1)
                i += 2

        # a phrase ends in a noun, unless the noun is elided: "a red and a blue car"
        while len(run) > 1 and not forms.can_be_noun(self.low(run[-1])) and self._has_noun(run[:-1]):
            i = run.pop()
        return run, i

    def _continues(self, i: int, run: list[int], count: int, determined: bool, coordinated: bool) -> bool:
        """Whether token `i` belongs to the phrase whose attributes and nouns so far are `run`."""
        low = self.low(i)
        token = self.tokens[i]
        acts = coordinated and forms.verb_lemma(low) in lexicon.verbs() and self.low(i + 1) in lexicon.PREPOSITIONS
        if run and not acts and f"{self.low(i - 1)} {low}" in lexicon.words("compound"):
            return True
        if not token.is_word or (low in SIDES and run):
            return False
        if low in SIDES:
            return determined and forms.can_be_noun(self.low(i + 1)) and self._is_no_verb(i + 1)
        if token.is_possessive:
            return True

        # "the red one" ends there: what follows is what it does
        if run and self.low(run[-1]) in _PRONOUN_HEADS:
            return False
        if run and low in _PRONOUN_HEADS:
            return determined and all(forms.is_adjective(self.low(k)) for k in run)
        if low in ("fast", "second", "first", "last", "next", "same", "whole", "entire", "other") and not run:
            return determined and bool(self.low(i + 1))
        if low in lexicon.words("filler") or low in CLOSED:
            return False
        if forms.is_adverb(low) and low not in lexicon.words("adjective"):
            return not self._has_noun(run) and (determined or bool(run)) and self._is_attribute(i + 1)
        if not self._has_noun(run):
            return determined or bool(run) or not self._is_verb_alone(i)
        one = low if count == 1 or coordinated else forms.singular(low)
        if not acts and f"{self.low(i - 1)} {one}" in lexicon.words("compound"):
            return True
        return not self._ends(i, run, count, coordinated)

    def _may_begin(self, first: int, run: list[int]) -> bool:
        """Whether a phrase without a determiner begins here."""
        low = self.low(first)
        lemma = forms.verb_lemma(low)
        if len(run) > 1:
            return True
        if forms.is_adjective(low) and "NOUN" not in forms.parts_of_speech(low):
            return False

        # "running" alone is what happens, not who does it
        is_action = lemma in lexicon.verbs() and low.endswith("ing")
        return not is_action

    def _elided(self, first: int, stop: int, count: int) -> NounPhrase | None:
        """A number alone ("one", "the other", "both"): out of what was named before."""
        lows = [self.low(k) for k in range(first, stop)]
        number = max(1, count)
        if {"other", "another", "others", "next"}.intersection(lows):
            return NounPhrase(first, stop, "", "other", "", number, definite=True)
        last = lows[-1]
        if last in lexicon.NUMBERS or last in ("both", "all"):
            return NounPhrase(first, stop, "", last, "", number)
        return None

    def _phrase(self, first: int, run: list[int], count: int, is_vague: bool) -> NounPhrase:
        """The phrase of a run of attributes and nouns, and of the determiners from `first` up to the run."""
        stop = run[-1] + 1
        lows = [self.low(k) for k in run]
        before = [self.low(k) for k in range(first, run[0])]
        unwanted = "no" in before
        definite = bool(lexicon.DEFINITE.intersection(before))

        # colours and size, wherever they stand in the phrase
        colours = [low for low in lows if forms.is_colour(low)]
        colour = " ".join(colours)
        sizes = lexicon.sizes("size")
        named_sizes = [sizes[low] for low in lows if low in sizes]
        size = named_sizes[0] if named_sizes else 1.0

        # all attributes: the noun is elided ("a red and a blue car"), or it is "one"
        head = lows[-1]
        ends_in_colour = colours[-1:] == [head] and head != "orange"
        is_colour = len(lows) <= 2 and ends_in_colour
        is_titled = lows[0] in ("mr", "mrs", "ms", "dr", "st")
        if not is_titled and (is_colour or head in _PRONOUN_HEADS):
            kept = [low for low in lows if low not in _PRONOUN_HEADS and low not in sizes]
            words = " ".join(kept)
            number = max(1, count)
            return NounPhrase(first, stop, "", words, "", number, is_vague, definite, unwanted, colour, size)

        # number: "scissors" are one object, though they have the form of a plural
        is_plural = forms.is_plural(head)
        is_whole = count <= 1 and head in lexicon.words("whole")
        many = count > 1
        if count == 0 and is_plural and not is_whole:
            many = True
        noun = head
        if many or (is_plural and count != 1 and not is_whole):
            noun = forms.singular(head)

        # a possessor is no part of the name: "the girl's red hat" is a red hat
        name_run = run[:-1]
        owner: tuple[int, ...] = ()
        for k, i in enumerate(run[:-1]):
            if self.tokens[i].is_possessive:
                owner = tuple(range(first, i + 1))
                name_run = run[k + 1 : -1]
                definite = False

        # what the attributes say of side and action
        attributes = lows[:-1]
        sides = [low for low in attributes if low in SIDES]
        side = sides[0] if sides else ""
        participles = [low for low in attributes if low.endswith("ing")]
        actions = [low for low in participles if forms.verb_lemma(low) in lexicon.verbs()]
        action = actions[0] if actions else ""

        # the name; the first half of a compound stays in it even where it is an adjective: "polar bear"
        spoken = [self.low(i) for i in name_run]
        named = [low for low in spoken if low not in SIDES]
        modifiers = modifiers_of(named)
        compound = f"{lows[-2]} {noun}" if len(lows) > 1 else ""
        if compound in lexicon.words("compound"):
            before_compound = [low for low in spoken[:-1] if low not in SIDES]
            modifiers = [*modifiers_of(before_compound), spoken[-1]]
        name = " ".join([*modifiers, noun])

        # the noun as the word lists have it
        for kind in ("compound", "place", "clothes"):
            if compound in lexicon.words(kind):
                noun = compound
        if not count and not many and lexicon.is_any(noun, "part") and is_plural:
            noun = forms.singular(head)

        # a bare plural has no number of its own
        vague = is_vague or (many and not count)
        if not count:
            count = PLURAL_COUNT if many else 1
        return NounPhrase(
            first, stop, noun, name, head, count, vague, definite, unwanted, colour, size, action, side, owner=owner,
            bare=not before,
        )  # fmt: skip
