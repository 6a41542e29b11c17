"""Verbs with their auxiliaries and particles: "does not start to run", "takes off"."""

from __future__ import annotations

from dataclasses import dataclass

from . import forms, lexicon
from .noun_phrases import PhraseReader

_BEFORE_NOUNS = frozenset("a an the its his their my your our no every each some".split())


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
        passive = negated = False
        be = False
        while (low := reader.low(i)) and (
            low in lexicon.AUXILIARIES or self._is_passive_get(i) or (i > first and low in ("not", "never", "to"))
        ):
            be |= low in ("is", "are", "was", "were", "be", "been", "being", "gets", "getting", "am")
            negated |= low in ("not", "never")
            i += 1
            while reader.low(i) not in lexicon.NEGATIONS and (
                forms.is_adverb(reader.low(i)) or reader.low(i) in ("still", "only", "both")
            ):
                i += 1
        if i == first and low == "to" and is_verb_form(reader.low(i + 1)):
            i += 1
        has_auxiliary = i > first
        low = reader.low(i)
        closed = low in lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS | lexicon.PRONOUNS | lexicon.DETERMINERS
        lemma = forms.verb_lemma(low) if low and not closed and reader.tokens[i].is_word else ""
        if not lemma or low in ("left", "right"):
            stop = i
            while has_auxiliary and stop > first and reader.low(stop - 1) not in lexicon.AUXILIARIES | {"not", "never"}:
                stop -= 1
            kept = {"has": "have", "have": "have", "had": "have", "do": "do", "does": "do", "did": "do"}
            return (
                VerbGroup(first, stop, kept.get(reader.low(first), "be"), "finite", negated=negated)
                if be or (has_auxiliary)
                else None
            )
        ending = _form(low, lemma)
        passive = ending == "past" and (be or reader.low(i + 1) == "by" or _by_follows(i, reader))
        i += 1

        # "starts to run", "goes swimming": the last verb is the one that moves
        chain: list[str] = []
        while True:
            skip = 1 if reader.low(i) == "to" else 0
            following = reader.low(i + skip)
            inner = forms.verb_lemma(following)
            is_link = lexicon.verbs().get(lemma) == "aux" or (lemma in ("go", "come") and following.endswith("ing"))
            if not (inner and is_link and (skip or following.endswith("ing"))) or following in ("the", "left", "right"):
                break
            chain.append(lemma)
            lemma, i = inner, i + skip + 1
        lemma, particle, i = self._with_particle(lemma, i)
        return VerbGroup(first, i, lemma, ending, passive, negated, particle, tuple(chain))

    def _is_passive_get(self, i: int) -> bool:
        """Whether "gets" stands for "is": "gets chased"."""
        reader = self.reader
        following = reader.low(i + 1)
        lemma = forms.verb_lemma(following)
        return reader.low(i) in ("get", "gets", "got", "getting") and bool(lemma) and _form(following, lemma) == "past"

    def _with_particle(self, lemma: str, i: int) -> tuple[str, str, int]:
        """The verb with the particles after it, where the two are a verb of their own."""
        reader = self.reader
        low = reader.low(i)
        joined = f"{lemma} {low}"
        if low not in lexicon.PARTICLES and joined not in lexicon.verbs():
            return lemma, "", i
        kind = lexicon.verbs().get(joined)
        following = reader.low(i + 1)
        is_bare = (
            not following[:1].isalnum() or following in lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS | lexicon.PARTICLES
        )
        is_bare |= low not in lexicon.PARTICLES or forms.is_adverb(following) or following in lexicon.words("filler")
        if kind and (is_bare or kind in ("no path", "chase", "overtake", "grow", "shrink", "meet")):
            return joined, low, i + 1
        return lemma, "", i


def _by_follows(i: int, reader: PhraseReader) -> bool:
    """Whether "by" follows within two words: "followed closely by"."""
    return reader.low(i + 2) == "by" and forms.is_adverb(reader.low(i + 1))


def _form(low: str, lemma: str) -> str:
    if low == lemma:
        return "plural"
    if low.endswith("ing"):
        return "ing"
    return "finite" if low.endswith("s") and not low.endswith("ss") else "past"


def is_verb_form(low: str) -> bool:
    """Whether a word can be a form of a verb that the planner knows, or an auxiliary."""
    return low in lexicon.AUXILIARIES or forms.verb_lemma(low) in lexicon.verbs()
