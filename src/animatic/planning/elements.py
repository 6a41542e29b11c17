"""A prompt as a sequence of elements: noun phrases, verbs, prepositions, set phrases and what joins them.

Here a verb is told from a noun by what stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import forms, lexicon
from .account import Role
from .adverbials import Adverbial, adverbials
from .noun_phrases import NounPhrase, PhraseReader
from .openers import CAUSING
from .styles import StyleWords
from .verb_groups import VerbGroup, VerbReader, is_verb_form

_LINKING = frozenset("be become get look seem appear".split())


@dataclass(frozen=True)
class Element:
    """`kind` is noun, verb, adverbial, or the word class of `word`: preposition, particle, and, comma, stop, ..."""

    kind: str
    first: int
    stop: int
    word: str = ""
    noun: NounPhrase | None = None
    verb: VerbGroup | None = None
    adverbial: Adverbial | None = None

    @property
    def tokens(self) -> range:
        return range(self.first, self.stop)


@dataclass
class Elements(StyleWords):
    """Splits tokens into elements; words that are style, whatever stands around them, get that role in the ledger."""

    def read(self) -> list[Element]:
        self._markers()
        self._opener()
        self._idioms()
        self._comparisons()
        self._style_segments()
        self._asides()
        lows = ["§" if i in self.taken else token.low for i, token in enumerate(self.tokens)]
        phrases = {found.first: found for found in adverbials(lows) if self._may_be(found)}
        for found in phrases.values():
            self.taken.update(range(found.first, found.stop))

        out: list[Element] = []
        reader = PhraseReader(self.tokens, self.taken)
        i = 0
        while i < len(self.tokens):
            element = self._next(i, phrases, reader, out)
            out.append(element)
            i = element.stop
        return [element for element in out if element.kind != "skip"]

    def _may_be(self, found: Adverbial) -> bool:
        """Whether a set phrase is one here: "the left" is none in "the left cat"."""
        if found.kind not in ("from spot", "to spot", "at spot", "from to", "begin", "go left", "go right"):
            return True

        # before a noun it is that one's side: "the left cat"
        ends = found.stop >= len(self.tokens) or found.stop in self.taken
        following = "" if ends else self.tokens[found.stop].low
        if not following or not following[0].isalpha() or following in lexicon.FUNCTION | lexicon.words("filler"):
            return True
        if forms.verb_lemma(following) in lexicon.verbs():
            return True
        words = found.value.split()
        if words[-1] in ("corner", "side", "edge", "part", "half", "end", "third", "frame", "screen"):
            return True
        return words[0] == "the" or not forms.can_be_noun(following)

    def _next(self, i: int, phrases: dict[int, Adverbial], reader: PhraseReader, out: list[Element]) -> Element:
        """The element that begins at token `i`; `out` are those before it."""
        token = self.tokens[i]

        # set phrases and style were found before; nothing else may take their words
        if found := phrases.get(i):
            if found.kind == "then":
                return Element("then", i, found.stop, "then")
            if found.kind == "filler":
                self.ledger.set(Role.RELATION, *range(i, found.stop))  # "right" of "right below"
                return Element("skip", i, found.stop)
            return Element("adverbial", i, found.stop, found.value, adverbial=found)
        if i in self.taken:
            kind = "exists" if i in self.existential else "skip"
            if i in self.refusals:
                kind = "without"
            elif i in self.breaks:
                kind = "stop"
            return Element(kind, i, i + 1)
        if not token.is_word:
            kind = "skip"
            if token.is_stop:
                kind = "stop"
            elif token.text in ",:()\u2014\u2013":
                kind = "comma"
            elif token.text in "+&/":
                kind = "and"
            return Element(kind, i, i + 1, token.text)

        # after a noun a word that can be a verb is one; elsewhere it depends on what it follows
        before = out[-1] if out else None
        after_noun = before is not None and before.kind in ("noun", "pronoun", "relative")
        verb = VerbReader(reader).read(i)
        if before and before.verb and before.verb.lemma in _LINKING and self._describes(i, reader):
            return Element("adjective", i, i + 1, token.low)
        if verb and (after_noun or self._expects_verb(i, verb, reader, out)):
            return Element("verb", i, verb.stop, verb=verb)
        low = token.low
        if low == "of" and after_noun:
            return Element("of", i, i + 1, low)
        if kind := self._closed(i, low, reader):
            stop = i + 2 if low in ("instead", "rather") and kind == "without" else i + 1
            return Element(kind, i, stop, low)

        # what is neither verb nor function word may begin a noun phrase
        coordinated = before is not None and (before.kind in ("and", "comma") or before.word == "by")
        coordinated |= before is not None and before.verb is not None and before.verb.lemma in CAUSING
        noun = reader.read(i, coordinated=coordinated or i == self.caused)
        if noun and noun.stop > i:
            return Element("noun", i, noun.stop, noun=noun)
        if verb:
            return Element("verb", i, verb.stop, verb=verb)
        if low in ("left", "right", "up", "down"):
            return Element("particle", i, i + 1, low)
        if forms.is_adverb(low):
            return Element("adverb", i, i + 1, low)
        if forms.is_adjective(low):
            return Element("adjective", i, i + 1, low)
        return Element("skip", i, i + 1)

    def _acts_on(self, i: int, reader: PhraseReader) -> bool:
        """Whether an unknown verb at `i` has an object, after a particle or not: "and knocks over a glass"."""
        after = i + 1
        if reader.low(after) in lexicon.PARTICLES:
            after += 1
        return forms.is_finite_before(reader.low(i), reader.low(after))

    def _describes(self, i: int, reader: PhraseReader) -> bool:
        """Whether the word at `i` is an adjective that no noun follows: "is old"."""
        low = reader.low(i)
        if low in lexicon.PREPOSITIONS | lexicon.DETERMINERS:
            return False
        if "ADJ" not in forms.parts_of_speech(low) or low in lexicon.words("filler"):
            return False
        return not reader._goes_on(i + 1)

    def _closed(self, i: int, low: str, reader: PhraseReader) -> str:
        """The kind of a word of a closed class, "" for any other."""
        following = reader.low(i + 1)
        if low in ("who", "which") or (low == "that" and is_verb_form(following)):
            return "relative"
        if low in ("it", "he", "she", "they", "them", "him", "itself", "himself", "herself", "themselves", "everyone"):
            return "pronoun"
        bare = following in lexicon.PARTICLES | lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS
        if low == "her" and (bare or not (following[:1].isalnum() and forms.can_be_noun(following))):
            return "pronoun"
        if low in ("and", "plus", "or", "nor"):
            return "or" if low in ("or", "nor") else "and"
        if low in ("not", "never", "neither", "nobody", "nothing", "none"):
            return "not" if low in ("not", "never", "neither") else "skip"
        if low == "but":
            return "but"
        if low == "without" or (low in ("instead", "rather") and following in ("of", "than")):
            return "without"
        if low in lexicon.PREPOSITIONS and low not in ("like",):
            if low in ("before", "after", "until") and is_verb_form(following):
                return "then"

            # without a noun after it, it says the direction alone: "walks past"
            is_bare = not following[:1].isalnum() or i + 1 in self.taken
            is_bare |= following in lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS
            if low in lexicon.PARTICLES and is_bare:
                return "particle"
            return "preposition"
        if low == "both" and following.endswith("ing"):
            return ""  # "both heading right"
        if low in lexicon.words("filler") and low not in lexicon.NUMBERS:
            return "skip"
        if low in lexicon.PARTICLES:
            return "particle"
        if low in lexicon.CONJUNCTIONS or low == "like":
            return (
                "while" if low in ("while", "as", "when", "whereas", "where", "though", "although") else "preposition"
            )
        if low in ("us", "we", "me", "you", "i", "there", "then", "than"):
            return "skip"
        return ""

    def _expects_verb(self, i: int, verb: VerbGroup, reader: PhraseReader, out: list[Element]) -> bool:
        """Whether a word that can be a verb is one, where no noun phrase stands right before it."""
        if reader.low(i) in lexicon.AUXILIARIES or reader.low(i) == "to":
            return True
        known = verb.lemma in lexicon.verbs()
        low = reader.low(i)
        can_be_noun = "NOUN" in forms.parts_of_speech(low)
        before = out[-1] if out else None

        # at the beginning of a sentence, where the subject of the one before goes on: "Walks left."
        if before is None or before.kind == "stop":
            if low.endswith("ing"):
                return not reader.read(i)
            if not out or not known:
                return False
            is_finite = verb.form == "finite" or not can_be_noun
            return is_finite and not reader._finite_follows(verb.stop)

        # in a list the second may be of the kind of the first
        if before.kind in ("and", "comma", "or", "then", "but", "not"):
            sentence = _same_sentence(out)
            had_verb = any(e.kind == "verb" or (e.adverbial and e.adverbial.kind == "begin") for e in sentence)
            subject = next((e.noun for e in sentence if e.noun), None)
            if known and verb.form == "finite" and subject and forms.is_plural(subject.head):
                return False  # "trees and leaves"
            if low.endswith("ing") or verb.form == "past":
                return not reader.read(i) or verb.form == "past"
            if not known:
                return had_verb and self._acts_on(i, reader)
            if had_verb or before.kind == "then":
                return True
            return subject is not None and not can_be_noun

        # "while running", but "while running dogs bark"
        if before.kind in ("while", "preposition", "without"):
            return low.endswith("ing") and not reader.read(i)
        if before.kind in ("adverbial", "adverb", "adjective", "particle", "skip"):
            if low.endswith("ing"):
                return not reader.read(i) or before.kind == "adverb"
            has_subject = any(e.kind in ("noun", "pronoun") for e in _same_sentence(out))
            return has_subject and (known or not can_be_noun or self._acts_on(i, reader))
        return False


def _same_sentence(out: Sequence[Element]) -> list[Element]:
    """The elements after the last stop."""
    begin = 0
    for k, element in enumerate(out):
        if element.kind == "stop":
            begin = k + 1
    return list(out[begin:])
