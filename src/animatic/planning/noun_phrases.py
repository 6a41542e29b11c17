"""Noun phrases: "three small red cars" is 3 x car, red, small. Which words end one is decided word by word.

A phrase is determiner, number, attributes, nouns. No dictionary of nouns is needed: what can be a verb of motion ends a
phrase where the grammar lets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import forms, lexicon
from .tokens import Token

PLURAL_COUNT = 3  # what "several" or a bare plural means
_VAGUE = {
    "many": 5, "countless": 5, "numerous": 5, "several": 3, "few": 3, "various": 3, "multiple": 3, "some": 0,
}  # fmt: skip
_UNITS = frozenset("year years month months day days mm fps minute minutes second seconds inch foot feet meter".split())
_SAME = frozenset("sheep fish deer moose bison salmon trout aircraft shrimp squid swine police".split())
_EXACT = frozenset("pair couple duo trio quartet half dozen".split())
_SIDES = frozenset("left right top bottom upper lower middle".split())


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


class PhraseReader:
    """Reads noun phrases of a sentence; `taken` are tokens that belong to something else already."""

    def __init__(self, tokens: Sequence[Token], taken: set[int]) -> None:
        self.tokens = tokens
        self.taken = taken

    def low(self, i: int) -> str:
        """The lower-case word at an index, "" where there is none to read."""
        return self.tokens[i].low if 0 <= i < len(self.tokens) and i not in self.taken else ""

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
        if self.low(i + 1) == "of" and number and not self._quantity(i + 2) == (number, 1):
            return number
        return 0

    # ---- determiners and numbers

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
            elif low == "next" and i > first and not self._goes_on(i + 1):
                i += 1
            elif low in lexicon.DETERMINERS and not (low == "her" and not following):
                i += 1
            else:
                return i, i > first, count, is_vague

    def _quantity(self, i: int) -> tuple[int, int] | None:
        """A number at token `i` and how many tokens it takes: "half a dozen", "ten thousand", "herd of"."""
        low, following = self.low(i), self.low(i + 1)
        groups = lexicon.sizes("group")
        if low == "half" and self.low(i + 2) == "dozen":
            return 6, 3
        if low == "dozen":
            return 12, 1
        if following in lexicon.words("much") and (
            low in lexicon.NUMBERS or low.isdecimal() or low in ("a", "several")
        ):
            return 6, 2
        if low in lexicon.words("much"):
            return 6, 1
        if low.isdecimal():
            return max(1, int(low[:4])), 1
        if low in lexicon.NUMBERS:
            return lexicon.NUMBERS[low], 1
        if low in groups and following == "of":
            return int(groups[low]), 1
        if low in ("large", "small", "big", "huge", "whole") and following in groups and self.low(i + 2) == "of":
            return int(groups[following]), 2
        return None

    # ---- attributes and nouns

    def _run(self, i: int, count: int, determined: bool, coordinated: bool) -> tuple[list[int], int]:
        """Tokens of attributes and nouns from `i` on, and the index after them."""
        run: list[int] = []
        while low := self.low(i):
            if not self._continues(i, run, count, determined, coordinated):
                break
            run.append(i)
            i += 1
            joins = self.low(i) in ("and", ",") and not self._has_noun(run)
            if joins and self._is_attribute(run[-1]) and self._is_attribute(i + 1) and self._goes_on(i + 2):
                if not (low in _SIDES or forms.is_plural(self.low(i + 1))):
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
        if not token.is_word or (low in _SIDES and run):
            return False
        if low in _SIDES:
            return determined and forms.can_be_noun(self.low(i + 1)) and self._is_no_verb(i + 1)
        if token.is_possessive:
            return True
        if low in ("fast", "second", "first", "last", "next", "same", "whole", "entire", "other") and not run:
            return determined and bool(self.low(i + 1))
        if low in lexicon.words("filler") or low in _CLOSED:
            return False
        if forms.is_adverb(low) and low not in lexicon.words("adjective"):
            return not self._has_noun(run) and (determined or bool(run)) and self._is_attribute(i + 1)
        if not self._has_noun(run):
            return determined or bool(run) or not self._is_verb_alone(i)
        if f"{self.low(i - 1)} {forms.singular(low)}" in lexicon.words("compound"):
            return True
        return not self._ends(i, run, count, coordinated)

    def _ends(self, i: int, run: list[int], count: int, coordinated: bool) -> bool:
        """Whether the word at `i`, after a noun, is no noun of the same phrase."""
        low, before = self.low(i), self.low(run[-1])
        parts = forms.parts_of_speech(low)
        lemma = forms.verb_lemma(low)
        is_known = lemma in lexicon.verbs()
        if self.tokens[run[-1]].is_possessive:
            return False
        if low in lexicon.words("adjective") and not self._goes_on(i + 1):
            return "NOUN" not in parts or self.low(i + 1) == "of"
        if low.endswith("ing") and (lemma or not parts) and low not in _NOT_PARTICIPLES:
            return True
        if low.endswith("ed") and lemma:
            return True
        if parts == {"ADJ"} or parts == {"ADV"} or parts == {"ADJ", "ADV"}:
            return not self._is_attribute(i + 1) and not self._goes_on(i + 1) or bool(run) and not parts
        if count == 1 and forms.is_plural(low):
            return True
        if not lemma:
            return False

        # a finite verb agrees with the noun before it: "dogs run", "dog runs"
        if forms.is_plural(before) or (forms.singular(before) == before and before in _SAME and count != 1):
            return lemma == low or is_known or "NOUN" not in parts
        if low.endswith("s") and low != lemma:
            return is_known or "NOUN" not in parts
        if lemma != low:
            return is_known or "NOUN" not in parts  # an irregular past: "dog ran"
        return (coordinated and is_known and not self._finite_follows(i + 1)) or "NOUN" not in (parts or {"NOUN"})

    def _has_noun(self, run: Sequence[int]) -> bool:
        """Whether a run has a word that can only be its noun so far: no attribute, no participle."""
        return any(not self._is_attribute(i) for i in run if self.low(i) not in ("and", ","))

    def _is_attribute(self, i: int) -> bool:
        low = self.low(i)
        if not low or not self.tokens[i].is_word or low in _CLOSED:
            return False
        if self.tokens[i].is_possessive or low in _SIDES or low == "and":
            return True
        if forms.is_adjective(low) or forms.is_adverb(low):
            # "orange" and "light" are nouns where nothing follows that they could describe
            is_noun = "NOUN" in forms.parts_of_speech(low) or not forms.parts_of_speech(low)
            following = self.low(i + 1)
            participle = following.endswith(("ing", "ed")) and bool(forms.verb_lemma(following))
            if low not in lexicon.words("adjective") and participle and following not in _NOT_PARTICIPLES:
                return not is_noun or self._goes_on(i + 2)  # "warm glowing lamps", but "a dress walking down"
            return not is_noun or self._goes_on(i + 1)
        if low.endswith(("ing", "ed")) and forms.verb_lemma(low) and low not in _NOT_PARTICIPLES:
            return True
        irregular = forms.verb_lemma(low) not in ("", low) and "NOUN" not in forms.parts_of_speech(low)
        hyphenated = "-" in low and (low.endswith(("ed", "ing", "sized", "old")) or self._goes_on(i + 1))
        return hyphenated or (irregular and not low.endswith("s"))

    def _goes_on(self, i: int) -> bool:
        """Whether a noun, or an attribute of one, may stand at `i`."""
        low = self.low(i)
        if not low or not self.tokens[i].is_word or low in _CLOSED or low in lexicon.words("filler") or low in _SIDES:
            return False
        if forms.is_adverb(low) and not self._is_attribute(i + 1):
            return False
        return self._is_no_verb(i)

    def _is_no_verb(self, i: int) -> bool:
        """Whether the word at `i` is no finite verb of motion."""
        low = self.low(i)
        lemma = forms.verb_lemma(low)
        return (
            not lemma
            or lemma not in lexicon.verbs()
            or (lemma == low and "NOUN" in forms.parts_of_speech(low))
            or (low.endswith(("ing", "ed")))
        )

    def _is_verb_alone(self, i: int) -> bool:
        """Whether the word at `i`, without a determiner, is rather a verb: "walking", "is"."""
        low = self.low(i)
        lemma = forms.verb_lemma(low)
        if low.endswith("ing") and lemma and low not in _NOT_PARTICIPLES:
            return not (self._goes_on(i + 1) and forms.is_plural(self.low(i + 1)))
        return bool(lemma) and not forms.can_be_noun(low) and not forms.is_adjective(low)

    def _finite_follows(self, i: int) -> bool:
        """Whether a verb of the third person follows before the clause ends."""
        while low := self.low(i):
            if not self.tokens[i].is_word or low in ("and", "while", "as", "but"):
                return False
            lemma = forms.verb_lemma(low)
            if low in lexicon.AUXILIARIES or (lemma in lexicon.verbs() and low != lemma and low.endswith("s")):
                return True
            i += 1
        return False

    def _may_begin(self, first: int, run: list[int]) -> bool:
        """Whether a phrase without a determiner begins here."""
        low = self.low(first)
        lemma = forms.verb_lemma(low)
        if len(run) == 1 and forms.is_adjective(low) and "NOUN" not in forms.parts_of_speech(low):
            return False
        return not (lemma in lexicon.verbs() and low.endswith("ing")) or len(run) > 1

    # ---- the phrase

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
        if (
            not is_titled
            and lows[-1] in ("one", "ones")
            or (not is_titled and len(lows) <= 2 and colours[-1:] == [lows[-1]] and lows[-1] != "orange")
        ):
            if len(lows) == 1 or lows[-1] in ("one", "ones") or forms.is_colour(lows[-1]):
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
        side = next((w for w in lows[:-1] if w in _SIDES), "")
        actions = [w for w in lows[:-1] if w.endswith("ing") and forms.verb_lemma(w) in lexicon.verbs()]
        spoken = [self.low(i) for i in name_run]
        modifiers = _modifiers([w for w in spoken if w not in _SIDES])
        compound = f"{lows[-2]} {noun}" if len(lows) > 1 else ""
        if compound in lexicon.words("compound"):
            modifiers = [*_modifiers([w for w in spoken[:-1] if w not in _SIDES]), spoken[-1]]
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
    for k, word in enumerate(spoken):
        if word == "and" or forms.is_colour(word):
            kept.append(word)
        elif word in sizes or forms.is_adverb(word) or word in lexicon.words("adjective"):
            continue
        elif "NOUN" in forms.parts_of_speech(word) and not (word.endswith("ing") and k < len(spoken)):
            kept.append(word)
        elif not forms.parts_of_speech(word) and not word.endswith(("ed", "ing")):
            kept.append(word)
    while kept and kept[0] == "and":
        kept = kept[1:]
    while kept and kept[-1] == "and":
        kept = kept[:-1]
    if "and" in kept and not all(forms.is_colour(kept[kept.index("and") + d]) for d in (-1, 1)):
        kept = [word for word in kept if word != "and"]
    return kept


_CLOSED = (
    lexicon.DETERMINERS | lexicon.PRONOUNS | lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS | lexicon.AUXILIARIES
    | lexicon.NEGATIONS | frozenset("there then than away back apart forth together up down".split())
) - {"like"} | {"like"}  # fmt: skip
_NOT_PARTICIPLES = frozenset(
    """king ring wing building painting string thing ceiling swing spring sibling duckling darling pudding wedding
    clothing earring herring bed seed weed shed sled reed lightning evening morning being sibling viking hummingbird
    railing housing""".split()
)
