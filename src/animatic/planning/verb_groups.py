"""Verbs with their auxiliaries and particles: "does not start to run", "takes off"."""

from __future__ import annotations

from dataclasses import dataclass

from . import forms, lexicon
from .noun_phrases import PhraseReader

_BEFORE_NOUNS = frozenset("a an the its his their my your our no every each some".split())
_BE = frozenset("is are was were be been being gets getting am".split())
_OTHER_AUXILIARIES = {"has": "have", "have": "have", "had": "have", "do": "do", "does": "do", "did": "do"}
_CLOSED = lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS | lexicon.PRONOUNS | lexicon.DETERMINERS
_AFTER_PARTICLES = lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS | lexicon.PARTICLES


@dataclass(frozen=True)
class VerbGroup:
    """A verb with its auxiliaries. `lemma` has the particle where the two mean a motion of their own: "take off"."""

    first: int
    stop: int
    lemma: str
    form: str  # finite, plural (the base form), ing, past
    passive: bool = False
    negated: bool = False
    particle: str = ""
    chain: tuple[str, ...] = ()  # verbs before it: "starts to run"


@dataclass(frozen=True)
class VerbReader:
    """Reads verb groups of a sentence; `reader` knows its words."""

    reader: PhraseReader

    def read(self, i: int) -> VerbGroup | None:
        """The verb group that begins at token `i`, if the words there can be one."""
        reader = self.reader
        first = i
        if reader.low(i - 1) in _BEFORE_NOUNS and reader.low(i) not in lexicon.AUXILIARIES:
            return None
        negated = False
        be = False

        # auxiliaries, with the adverbs between them: "is not really being"
        while (low := reader.low(i)) and (
            low in lexicon.AUXILIARIES or self._is_passive_get(i) or (i > first and low in ("not", "never", "to"))
        ):
            be |= low in _BE
            negated |= low in ("not", "never")
            i += 1
            while self._is_adverb(i):
                i += 1
        if i == first and low == "to" and is_verb_form(reader.low(i + 1)):
            i += 1

        # the verb itself; where none follows, the auxiliary is the verb: "is on the left"
        low = reader.low(i)
        lemma = ""
        if low and low not in _CLOSED and reader.tokens[i].is_word:
            lemma = forms.verb_lemma(low)
        if not lemma and i == first and i and reader._is_unknown_verb(i):
            return VerbGroup(first, i + 1, low, "ing" if low.endswith("ing") else "finite")
        if not lemma or low in ("left", "right", "lower"):
            return self._auxiliary_alone(first, i, negated)
        ending = _form(low, lemma)
        agent_follows = reader.low(i + 1) == "by" or _by_follows(i, reader)
        passive = ending == "past" and (be or agent_follows)
        i += 1

        # "starts to run", "goes swimming": the last verb is the one that moves
        chain: list[str] = []
        while True:
            skip = 1 if reader.low(i) == "to" else 0
            following = reader.low(i + skip)
            inner = forms.verb_lemma(following)
            is_participle = following.endswith("ing")
            is_link = lexicon.verbs().get(lemma) == "aux" or (lemma in ("go", "come") and is_participle)
            if not inner or not is_link or following in ("the", "left", "right"):
                break
            if not skip and not is_participle:
                break
            chain.append(lemma)
            lemma = inner
            i += skip + 1
        lemma, particle, i = self._with_particle(lemma, i)
        return VerbGroup(first, i, lemma, ending, passive, negated, particle, tuple(chain))

    def _is_adverb(self, i: int) -> bool:
        """Whether an adverb stands at token `i`; negations are read with the auxiliaries."""
        low = self.reader.low(i)
        if low in lexicon.NEGATIONS:
            return False
        return forms.is_adverb(low) or low in ("still", "only", "both")

    def _auxiliary_alone(self, first: int, stop: int, negated: bool) -> VerbGroup | None:
        """The group of the auxiliaries from `first` on as the verb; None where there are none."""
        reader = self.reader
        if stop == first:
            return None

        # adverbs after the last auxiliary belong to what follows
        while stop > first and reader.low(stop - 1) not in lexicon.AUXILIARIES | {"not", "never"}:
            stop -= 1
        lemma = _OTHER_AUXILIARIES.get(reader.low(first), "be")
        return VerbGroup(first, stop, lemma, "finite", negated=negated)

    def _is_passive_get(self, i: int) -> bool:
        """Whether "gets" stands for "is": "gets chased"."""
        reader = self.reader
        if reader.low(i) not in ("get", "gets", "got", "getting"):
            return False
        following = reader.low(i + 1)
        lemma = forms.verb_lemma(following)
        return bool(lemma) and _form(following, lemma) == "past"

    def _with_particle(self, lemma: str, i: int) -> tuple[str, str, int]:
        """The verb with the particles after it, where the two are a verb of their own."""
        reader = self.reader
        low = reader.low(i)
        joined = f"{lemma} {low}"
        if low not in lexicon.PARTICLES and joined not in lexicon.verbs():
            return lemma, "", i
        kind = lexicon.verbs().get(joined)
        if not kind:
            return lemma, "", i

        # "runs into a cat" meets it, "runs into the forest" goes there
        moves = lexicon.verbs().get(lemma, "no path") != "no path"
        if kind == "meet" and moves and self._is_place(i + 1):
            return lemma, "", i

        # before a noun most particles are prepositions: "runs up a hill", but "picks up a ball"
        following = reader.low(i + 1)
        is_bare = not following[:1].isalnum() or following in _AFTER_PARTICLES
        is_bare |= low not in lexicon.PARTICLES or forms.is_adverb(following)
        is_bare |= following in lexicon.words("filler")
        if is_bare or kind in ("no path", "chase", "overtake", "grow", "shrink", "meet", "raise"):
            return joined, low, i + 1
        return lemma, "", i

    def _is_place(self, i: int) -> bool:
        """Whether the noun phrase that begins at token `i` is a place."""
        phrase = self.reader.read(i)
        return phrase is not None and any(lexicon.is_any(noun, "place") for noun in (phrase.noun, phrase.head))


def _by_follows(i: int, reader: PhraseReader) -> bool:
    """Whether "by" follows within two words: "followed closely by"."""
    if reader.low(i + 2) != "by":
        return False
    return forms.is_adverb(reader.low(i + 1))


def _form(low: str, lemma: str) -> str:
    if low == lemma:
        return "plural"
    if low.endswith("ing"):
        return "ing"
    if low.endswith("s") and not low.endswith("ss"):
        return "finite"
    return "past"


def is_verb_form(low: str) -> bool:
    """Whether a word can be a form of a verb that the planner knows, or an auxiliary."""
    if low in lexicon.AUXILIARIES:
        return True
    return forms.verb_lemma(low) in lexicon.verbs()
