"""A prompt as a sequence of elements: noun phrases, verbs, prepositions, set phrases and what joins them.

tokens.py gives the words, adverbials.py the set phrases, noun_phrases.py the noun phrases; here a verb is told from a
noun by what stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from . import forms, lexicon
from .account import Ledger, Role
from .adverbials import Adverbial, adverbials
from .lexicon import is_any
from .noun_phrases import NounPhrase, PhraseReader
from .tokens import Token

_BEFORE_NOUNS = frozenset("a an the its his their my your our no every each some".split())
_LINKING = frozenset("be become get look seem appear".split())
_CAMERA_MOVES = frozenset("pan tilt zoom dolly pedestal truck crane racking panning tilting zooming".split())
STYLISTIC = ("style", "camera", "light", "time", "weather", "medium")


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
class Elements:
    """Splits tokens into elements; words that are style, whatever stands around them, get that role in the ledger."""

    tokens: Sequence[Token]
    ledger: Ledger
    taken: set[int] = field(default_factory=set)
    times: list[str] = field(default_factory=list)  # "night" of "at night"
    existential: set[int] = field(default_factory=set)  # tokens of "there is"

    def read(self) -> list[Element]:
        self._idioms()
        self._comparisons()
        self._style_segments()
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

    # ---- what is style wherever it stands

    def _idioms(self) -> None:
        """Take set phrases of style, and those without content."""
        table = lexicon.idioms()
        longest = max(map(len, table))
        i = 0
        while i < len(self.tokens):
            for length in range(min(longest, len(self.tokens) - i), 0, -1):
                words = tuple(token.low for token in self.tokens[i : i + length])
                kind = table.get(words) or table.get(tuple(" ".join(words).replace("-", " ").split()))
                if kind and (length > 1 or "-" in words[0]):
                    where = range(i, i + length)
                    if kind != "filler":
                        self.ledger.set(Role.STYLE, *where)
                    if kind == "time":
                        self.times.append(words[-1])
                    if words[0] == "there":
                        self.existential.add(i)
                    self.taken.update(where)
                    i += length - 1
                    while words[-1] == "of" and i + 1 < len(self.tokens) and self.tokens[i + 1].is_word:
                        i += 1  # whose style it is
                        self.ledger.set(Role.STYLE, i)
                        self.taken.add(i)
                    break
            i += 1

    def _comparisons(self) -> None:
        """Take what something is compared with: "as tall as a house", "faster than a car"."""
        lows = [token.low for token in self.tokens]
        for i, low in enumerate(lows):
            is_equal = low == "as" and i > 1 and lows[i - 2] == "as"
            if not is_equal and low != "than":
                continue
            stop = i + 2 if lows[i + 1 : i + 2] and lows[i + 1] in lexicon.DETERMINERS else i + 1
            where = range(i - 2 if is_equal else i - 1, min(stop + 1, len(lows)))
            self.ledger.set(Role.STYLE, *where)
            self.taken.update(where)

    def _style_segments(self) -> None:
        """Take what stands between commas and says only how all looks: ", cinematic lighting, 8k"."""
        marks = [i for i, token in enumerate(self.tokens) if token.text in ",:;.!?|\n()—–"]
        bounds = [-1, *marks, len(self.tokens)]
        segments = [range(a + 1, b) for a, b in zip(bounds, bounds[1:], strict=False) if b > a + 1]
        for segment in segments:
            if segment is not segments[0] and self._is_camera_move(segment):
                self.taken.update(segment)  # not understood: no box shows it
            elif len(segments) > 1 and self._is_style(segment, is_first=segment is segments[0]):
                self.ledger.set(Role.STYLE, *segment)
                self.taken.update(segment)
                self.times += [low for i in segment if is_any(low := self.tokens[i].low, "time")]

    def _is_camera_move(self, segment: Sequence[int]) -> bool:
        """Whether a segment is a direction to the camera alone: ", pan left"."""
        lows = [self.tokens[i].low for i in segment]
        others = lexicon.DIRECTIONS | lexicon.PARTICLES | lexicon.FUNCTION
        return lows[0] in _CAMERA_MOVES and all(low in others or forms.is_adverb(low) for low in lows[1:])

    def _is_style(self, segment: Sequence[int], is_first: bool) -> bool:
        """Whether a segment has words of style, and otherwise attributes and small words alone."""
        has_style = any(i in self.taken and self.ledger.role(i) == Role.STYLE for i in segment)
        lows = [self.tokens[i].low for i in segment if i not in self.taken]
        content = [low for low in lows if low not in lexicon.FUNCTION]
        nouns = [low for low in content if not forms.is_adjective(low) and not forms.is_adverb(low)]
        singulars = [forms.singular(low) for low in content]
        stylish = [low for low in singulars if is_any(low, *STYLISTIC)]
        if any(forms.verb_lemma(low) in lexicon.verbs() and low not in lexicon.words("style") for low in nouns):
            return False
        if any(low in ("it", "they", "he", "she", "who", "which") or low in lexicon.AUXILIARIES for low in lows):
            return False
        if not nouns and content and not is_first and not has_style:
            return "VERB" not in forms.parts_of_speech(content[-1]) or content[-1].endswith("ed")
        if not has_style and not stylish:
            return False
        determined = any(low in ("a", "an", "the") for low in lows)
        strange = [low for low in nouns if not is_any(forms.singular(low), *STYLISTIC, "part", "abstract", "frame")]
        last = singulars[-1] if singulars else ""
        if last in ("background", "backdrop"):
            return False
        if not strange:
            return not (is_first and is_any(last, "medium") and self._follows_of(segment))
        # "neon lights", "volumetric fog": a noun may stand before that of the style
        return not determined and len(strange) <= 2 and is_any(last, *STYLISTIC) and last not in strange

    def _follows_of(self, segment: Sequence[int]) -> bool:
        return bool(segment) and self.tokens[segment[-1]].low == "of"

    def _may_be(self, found: Adverbial) -> bool:
        """Whether a set phrase is one here: "the left" is none in "the left cat"."""
        if found.kind not in ("from spot", "to spot", "at spot", "from to", "begin", "go left", "go right"):
            return True
        following = self.tokens[found.stop].low if found.stop < len(self.tokens) else ""
        if not following or not following[0].isalpha() or following in lexicon.FUNCTION | lexicon.words("filler"):
            return True
        if forms.verb_lemma(following) in lexicon.verbs():
            return True
        words = found.value.split()
        return words[-1] in ("corner", "side", "edge", "part", "half", "end", "third", "frame", "screen") or (
            not forms.can_be_noun(following) or words[0] == "the"
        )

    # ---- one element after the other

    def _next(self, i: int, phrases: dict[int, Adverbial], reader: PhraseReader, out: list[Element]) -> Element:
        token = self.tokens[i]
        if found := phrases.get(i):
            if found.kind == "then":
                return Element("then", i, found.stop, "then")
            if found.kind == "filler":
                self.ledger.set(Role.RELATION, *range(i, found.stop))  # "right" of "right below"
                return Element("skip", i, found.stop)
            return Element("adverbial", i, found.stop, found.value, adverbial=found)
        if i in self.taken:
            return Element("exists" if i in self.existential else "skip", i, i + 1)
        if not token.is_word:
            kind = "stop" if token.is_stop else "comma" if token.text in ",:()—–" else "skip"
            return Element(kind, i, i + 1, token.text)

        before = out[-1] if out else None
        after_noun = before is not None and before.kind in ("noun", "pronoun", "relative")
        verb = self._verb(i, reader, out)
        if before and before.verb and before.verb.lemma in _LINKING and self._describes(i, reader):
            return Element("adjective", i, i + 1, token.low)
        if verb and (after_noun or self._expects_verb(i, verb, reader, out)):
            return Element("verb", i, verb.stop, verb=verb)
        low = token.low
        if low == "of" and after_noun:
            return Element("of", i, i + 1, low)
        if kind := self._closed(i, low, reader):
            return Element(kind, i, i + 1, low)

        coordinated = before is not None and (before.kind in ("and", "comma") or before.word == "by")
        noun = reader.read(i, coordinated=coordinated)
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

    def _describes(self, i: int, reader: PhraseReader) -> bool:
        """Whether the word at `i` is an adjective that no noun follows: "is old"."""
        low = reader.low(i)
        if low in lexicon.PREPOSITIONS | lexicon.DETERMINERS:
            return False
        return "ADJ" in forms.parts_of_speech(low) and low not in lexicon.words("filler") and not reader._goes_on(i + 1)

    def _closed(self, i: int, low: str, reader: PhraseReader) -> str:
        """The kind of a word of a closed class, "" for any other."""
        following = reader.low(i + 1)
        if low in ("who", "which") or (low == "that" and self._is_verb_form(following)):
            return "relative"
        if low in ("it", "he", "she", "they", "them", "him", "itself", "himself", "herself", "themselves", "everyone"):
            return "pronoun"
        if low == "her" and not (following and forms.can_be_noun(following)):
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
            if low in ("before", "after", "until") and self._is_verb_form(following):
                return "then"
            is_bare = (
                not following[:1].isalnum()
                or following in lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS
                or i + 1 in self.taken
            )
            if low in lexicon.PARTICLES and is_bare:
                return "particle"
            return "preposition"
        if low in lexicon.words("filler") and low not in lexicon.NUMBERS:
            return "skip"
        if low in lexicon.PARTICLES:
            return "particle"
        if low in lexicon.CONJUNCTIONS or low == "like":
            return "while" if low in ("while", "as", "when", "whereas", "where") else "preposition"
        if low in ("us", "we", "me", "you", "i", "there", "then", "than"):
            return "skip"
        return ""

    def _is_verb_form(self, low: str) -> bool:
        return low in lexicon.AUXILIARIES or forms.verb_lemma(low) in lexicon.verbs()

    # ---- verbs

    def _verb(self, i: int, reader: PhraseReader, out: list[Element]) -> VerbGroup | None:
        """The verb group that begins at token `i`, if the words there can be one."""
        first = i
        if reader.low(i - 1) in _BEFORE_NOUNS and reader.low(i) not in lexicon.AUXILIARIES:
            return None
        passive = negated = False
        be = False
        while (low := reader.low(i)) and (
            low in lexicon.AUXILIARIES
            or self._is_passive_get(i, reader)
            or (i > first and low in ("not", "never", "to"))
        ):
            be |= low in ("is", "are", "was", "were", "be", "been", "being", "gets", "getting", "am")
            negated |= low in ("not", "never")
            i += 1
            while reader.low(i) not in lexicon.NEGATIONS and (
                forms.is_adverb(reader.low(i)) or reader.low(i) in ("still", "only", "both")
            ):
                i += 1
        if i == first and low == "to" and self._is_verb_form(reader.low(i + 1)):
            i += 1
        has_auxiliary = i > first
        low = reader.low(i)
        closed = low in lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS | lexicon.PRONOUNS | lexicon.DETERMINERS
        lemma = forms.verb_lemma(low) if low and not closed and self.tokens[i].is_word else ""
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
        lemma, particle, i = self._with_particle(lemma, i, reader)
        return VerbGroup(first, i, lemma, ending, passive, negated, particle, tuple(chain))

    def _is_passive_get(self, i: int, reader: PhraseReader) -> bool:
        """Whether "gets" stands for "is": "gets chased"."""
        following = reader.low(i + 1)
        lemma = forms.verb_lemma(following)
        return reader.low(i) in ("get", "gets", "got", "getting") and bool(lemma) and _form(following, lemma) == "past"

    def _with_particle(self, lemma: str, i: int, reader: PhraseReader) -> tuple[str, str, int]:
        """The verb with the particles after it, where the two are a verb of their own."""
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

    def _expects_verb(self, i: int, verb: VerbGroup, reader: PhraseReader, out: list[Element]) -> bool:
        """Whether a word that can be a verb is one, where no noun phrase stands right before it."""
        if reader.low(i) in lexicon.AUXILIARIES or reader.low(i) == "to":
            return True
        known = verb.lemma in lexicon.verbs()
        low = reader.low(i)
        before = out[-1] if out else None
        if before is None or before.kind == "stop":
            if low.endswith("ing"):
                return not reader.read(i)
            alone = i + 1 >= len(self.tokens) or not self.tokens[i + 1].is_word or bool(out)
            is_finite = known and (verb.form == "finite" or (bool(out) and "NOUN" not in forms.parts_of_speech(low)))
            return is_finite and bool(out) and alone and not reader._finite_follows(verb.stop)
        if before.kind in ("and", "comma", "or", "then", "but", "not"):
            sentence = _same_sentence(out)
            had_verb = any(e.kind == "verb" or (e.adverbial and e.adverbial.kind == "begin") for e in sentence)
            subject = next((e.noun for e in sentence if e.noun), None)
            if known and verb.form == "finite" and subject and forms.is_plural(subject.head):
                return False  # "trees and leaves"
            if low.endswith("ing") or verb.form == "past":
                return not reader.read(i) or verb.form == "past"
            if not known:
                return False
            return (
                had_verb or before.kind == "then" or subject is not None and ("NOUN" not in forms.parts_of_speech(low))
            )
        if before.kind in ("while", "preposition", "without"):
            return low.endswith("ing") and not reader.read(i)
        if before.kind in ("adverbial", "adverb", "adjective", "particle", "skip"):
            if low.endswith("ing"):
                return not reader.read(i) or before.kind == "adverb"
            subject = any(e.kind in ("noun", "pronoun") for e in _same_sentence(out))
            return subject and (known or "NOUN" not in forms.parts_of_speech(low))
        return False


def _same_sentence(out: Sequence[Element]) -> list[Element]:
    stops = [k for k, element in enumerate(out) if element.kind == "stop"]
    return list(out[stops[-1] + 1 if stops else 0 :])


def _by_follows(i: int, reader: PhraseReader) -> bool:
    """Whether "by" follows within two words: "followed closely by"."""
    return reader.low(i + 2) == "by" and forms.is_adverb(reader.low(i + 1))


def _form(low: str, lemma: str) -> str:
    if low == lemma:
        return "plural"
    if low.endswith("ing"):
        return "ing"
    return "finite" if low.endswith("s") and not low.endswith("ss") else "past"
