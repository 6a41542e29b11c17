"""Words in and after noun phrases: which are attributes, which end the phrase."""

from __future__ import annotations

from collections.abc import Sequence

from . import forms, lexicon
from .tokens import Token

SIDES = frozenset("left right top bottom upper lower middle".split())
_SAME = frozenset("sheep fish deer moose bison salmon trout aircraft shrimp squid swine police".split())
CLOSED = (
    lexicon.DETERMINERS | lexicon.PRONOUNS | lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS | lexicon.AUXILIARIES
    | lexicon.NEGATIONS | frozenset("there then than away back apart forth together up down".split())
) - {"like"} | {"like"}  # fmt: skip
NOT_PARTICIPLES = frozenset(
    """king ring wing building painting string thing ceiling swing spring sibling duckling darling pudding wedding
    clothing earring herring bed seed weed shed sled reed lightning evening morning being sibling viking hummingbird
    railing housing""".split()
)
_AFTER_VERBS = (lexicon.PREPOSITIONS | lexicon.PARTICLES | lexicon.DETERMINERS | {"left", "right"}) - {"of", "with"}


class PhraseWords:
    """The words of a sentence as noun phrases ask for them; `taken` are tokens that belong to something else."""

    def __init__(self, tokens: Sequence[Token], taken: set[int]) -> None:
        self.tokens = tokens
        self.taken = taken

    def low(self, i: int) -> str:
        """The lower-case word at an index, "" where there is none to read."""
        return self.tokens[i].low if 0 <= i < len(self.tokens) and i not in self.taken else ""

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

    def _ends(self, i: int, run: list[int], count: int, coordinated: bool) -> bool:
        """Whether the word at `i`, after a noun, is no noun of the same phrase."""
        low, before = self.low(i), self.low(run[-1])
        parts = forms.parts_of_speech(low)
        lemma = forms.verb_lemma(low)
        is_verb = lemma in lexicon.verbs() or "NOUN" not in parts
        if self.tokens[run[-1]].is_possessive:
            return False
        if low in lexicon.words("adjective") and not self._goes_on(i + 1):
            return "NOUN" not in parts or self.low(i + 1) == "of"
        if low.endswith("ing") and (lemma or not parts) and low not in NOT_PARTICIPLES:
            return True
        if low.endswith("ed") and lemma:
            return "NOUN" not in parts  # "dandelion seed"
        if self._is_unknown_verb(i):
            return True

        # "seven paper cranes": the noun of several is a plural
        named = forms.is_plural(before) or before in _SAME
        if count > 1 and forms.is_plural(low) and "NOUN" in parts and not named:
            return False
        if parts == {"ADJ"} or parts == {"ADV"} or parts == {"ADJ", "ADV"}:
            return (not self._is_attribute(i + 1) and not self._goes_on(i + 1)) or (bool(run) and not parts)
        if count == 1 and forms.is_plural(low):
            return True
        if not lemma:
            return False

        # "player scores a goal": what an article follows is no noun of a list
        if forms.is_finite_before(low, self.low(i + 1)):
            return True

        # a finite verb agrees with the noun before it: "dogs run", "dog runs"
        if forms.is_plural(before) or (forms.singular(before) == before and before in _SAME and count != 1):
            return lemma == low or is_verb
        if lemma != low:
            return is_verb  # "dog runs", or an irregular past: "dog ran"

        # "a cat and a dog run"
        if coordinated and lemma in lexicon.verbs() and not self._finite_follows(i + 1):
            return True
        return bool(parts) and "NOUN" not in parts

    def _is_unknown_verb(self, i: int) -> bool:
        """Whether a word that the dictionary lacks has a verb's ending and place: "skateboarder ollies over"."""
        low, following = self.low(i), self.low(i + 1)
        if forms.parts_of_speech(low) or not low.endswith(("s", "ing")) or low.endswith("ss") or len(low) < 5:
            return False
        if forms.is_plural(self.low(i - 1)) and low.endswith("s"):
            return False
        return following in _AFTER_VERBS or forms.is_adverb(following)

    def _has_noun(self, run: Sequence[int]) -> bool:
        """Whether a run has a word that can only be its noun so far: no attribute, no participle."""
        return any(not self._is_attribute(i) for i in run if self.low(i) not in ("and", ","))

    def _is_attribute(self, i: int) -> bool:
        low = self.low(i)
        if not low or not self.tokens[i].is_word or low in CLOSED:
            return False
        if self.tokens[i].is_possessive or low in SIDES or low == "and":
            return True
        if forms.is_adjective(low) or forms.is_adverb(low):
            # "orange" and "light" are nouns where nothing follows that they could describe
            parts = forms.parts_of_speech(low)
            if parts and "NOUN" not in parts:
                return True
            following = self.low(i + 1)
            participle = following.endswith(("ing", "ed")) and bool(forms.verb_lemma(following))
            if low not in lexicon.words("adjective") and participle and following not in NOT_PARTICIPLES:
                return self._goes_on(i + 2)  # "warm glowing lamps", but "a dress walking down"
            return self._goes_on(i + 1)

        # participles: "flying", "broken", "red-haired"
        is_noun = low.endswith("ed") and "NOUN" in forms.parts_of_speech(low)  # "moped", "seed"
        if low.endswith(("ing", "ed")) and forms.verb_lemma(low) and low not in NOT_PARTICIPLES and not is_noun:
            return True
        if "-" in low and (low.endswith(("ed", "ing", "sized", "old")) or self._goes_on(i + 1)):
            return True
        if is_noun:
            return False
        is_form = forms.verb_lemma(low) not in ("", low) and not low.endswith("s")
        return is_form and "NOUN" not in forms.parts_of_speech(low)

    def _goes_on(self, i: int) -> bool:
        """Whether a noun, or an attribute of one, may stand at `i`."""
        low = self.low(i)
        if not low or not self.tokens[i].is_word or low in CLOSED or low in lexicon.words("filler") or low in SIDES:
            return False
        if forms.is_adverb(low) and not self._is_attribute(i + 1):
            return False
        return self._is_no_verb(i)

    def _is_no_verb(self, i: int) -> bool:
        """Whether the word at `i` is no finite verb of motion."""
        low = self.low(i)
        lemma = forms.verb_lemma(low)
        if not lemma or lemma not in lexicon.verbs():
            return True

        # a participle, or a noun with the form of the verb: "a walk"
        if low.endswith(("ing", "ed")):
            return True
        return lemma == low and "NOUN" in forms.parts_of_speech(low)

    def _is_verb_alone(self, i: int) -> bool:
        """Whether the word at `i`, without a determiner, is rather a verb: "walking", "is"."""
        low = self.low(i)
        lemma = forms.verb_lemma(low)
        if low.endswith("ing") and lemma and low not in NOT_PARTICIPLES:
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
