"""Words that are style wherever they stand: set phrases, comparisons, and what stands between commas alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from . import forms, lexicon
from .account import Role
from .lexicon import is_any
from .markers import Markers
from .openers import CAUSING, opener_length

STYLISTIC = ("style", "camera", "light", "time", "weather", "medium")
_SUBJECTS = frozenset("it they he she who which".split())
_CAMERA_MOVES = frozenset("pan tilt zoom dolly pedestal truck crane racking panning tilting zooming".split())


@dataclass
class StyleWords(Markers):
    """Takes words of style out of the tokens, and gives them that role in the ledger."""

    caused: int = -1  # the token that begins who does something in "make a ball bounce"
    existential: set[int] = field(default_factory=set)  # tokens of "there is"

    def _opener(self) -> None:
        """Take the words of a request: "make", "I want to see"; "a video of" after them is read as without them."""
        length = opener_length([token.low for token in self.tokens])
        self.ledger.set(Role.STYLE, *range(length))
        self.taken.update(range(length))
        self.caused = length if length and self.tokens[length - 1].low in CAUSING else -1

    def _idioms(self) -> None:
        """Take set phrases of style, and those without content."""
        table = lexicon.idioms()
        longest = max(map(len, table))
        i = 0
        while i < len(self.tokens):
            for length in range(min(longest, len(self.tokens) - i), 0, -1):
                words = tuple(token.low for token in self.tokens[i : i + length])
                without_hyphens = " ".join(words).replace("-", " ")
                kind = table.get(words) or table.get(tuple(without_hyphens.split()))
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

            # from "as tall", or "faster", to the noun that follows
            first = i - 2 if is_equal else i - 1
            stop = i + 2
            if i + 1 < len(lows) and lows[i + 1] in lexicon.DETERMINERS:
                stop += 1
            where = range(first, min(stop, len(lows)))
            self.ledger.set(Role.STYLE, *where)
            self.taken.update(where)

    def _style_segments(self) -> None:
        """Take what stands between commas and says only how all looks: ", cinematic lighting, 8k"."""
        segments = list(self._segments())
        for segment in segments:
            if self.taken.issuperset(segment):
                continue
            if segment is not segments[0] and self._is_camera_move(segment):
                self.taken.update(segment)  # not understood: no box shows it
            elif len(segments) > 1 and self._is_style(segment, is_first=segment is segments[0]):
                self.ledger.set(Role.STYLE, *segment)
                self.taken.update(segment)
                lows = [self.tokens[i].low for i in segment]
                self.times += [low for low in lows if is_any(low, "time")]

    def _is_camera_move(self, segment: Sequence[int]) -> bool:
        """Whether a segment is a direction to the camera alone: ", pan left"."""
        lows = [self.tokens[i].low for i in segment]
        if lows[0] not in _CAMERA_MOVES:
            return False
        others = lexicon.DIRECTIONS | lexicon.PARTICLES | lexicon.FUNCTION
        return all(low in others or forms.is_adverb(low) for low in lows[1:])

    def _is_style(self, segment: Sequence[int], is_first: bool) -> bool:
        """Whether a segment has words of style, and otherwise attributes and small words alone."""
        has_style = any(i in self.taken and self.ledger.role(i) == Role.STYLE for i in segment)
        lows = [self.tokens[i].low for i in segment if i not in self.taken]
        content = [low for low in lows if low not in lexicon.FUNCTION]
        nouns = [low for low in content if not forms.is_adjective(low) and not forms.is_adverb(low)]
        if self._is_statement(lows, nouns):
            return False

        # attributes alone, after a comma: ", vivid, highly detailed"
        if not nouns and content and not is_first and not has_style:
            last_low = content[-1]
            return last_low.endswith("ed") or "VERB" not in forms.parts_of_speech(last_low)

        singulars = [forms.singular(low) for low in content]
        stylish = [low for low in singulars if is_any(low, *STYLISTIC)]
        if not has_style and not stylish:
            return False
        last = singulars[-1] if singulars else ""
        if last in ("background", "backdrop"):
            return False

        # "a photo of", with which a prompt begins, is followed by what it shows
        strange = [low for low in nouns if not is_any(forms.singular(low), *STYLISTIC, "part", "abstract", "frame")]
        if not strange:
            opens = is_first and is_any(last, "medium")
            return not (opens and self._follows_of(segment))

        # "neon lights", "volumetric fog": a noun may stand before that of the style
        determined = any(low in ("a", "an", "the") for low in lows)
        if determined or len(strange) > 2:
            return False
        return is_any(last, *STYLISTIC) and last not in strange

    def _is_statement(self, lows: Sequence[str], nouns: Sequence[str]) -> bool:
        """Whether words say what somebody does: with a pronoun, an auxiliary or a verb of motion."""
        for low in lows:
            if low in _SUBJECTS or low in lexicon.AUXILIARIES:
                return True
        verbs = [low for low in nouns if forms.verb_lemma(low) in lexicon.verbs()]
        return any(low not in lexicon.words("style") for low in verbs)

    def _follows_of(self, segment: Sequence[int]) -> bool:
        return bool(segment) and self.tokens[segment[-1]].low == "of"
