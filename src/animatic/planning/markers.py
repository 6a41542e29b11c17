"""Words that are about the text or the picture, never in it: storyboard headings, hashtags, exclamations, numbers.

"Shot 1:", "INT. KITCHEN - NIGHT", "Cut to", "#asmr", "lol", "120fps", "2.39:1", "Slow push-in on".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from . import forms, lexicon
from .account import Ledger, Role
from .lexicon import is_any
from .tokens import Token

_MARKS = ",:;.!?|\n()\u2014\u2013"
_NUMBER = r"(?:[0-9]+[a-z]?|[a-z]|[ivx]+|one|two|three|four|five|six)"
_UNIT = r"(?:shot|panel|scene|frame|clip|beat|act|slide|page|take|cut|sequence|image|board)"
_HEADING = re.compile(rf"{_UNIT} (?:no |number )?{_NUMBER}(?= |$)")
_FORMAT = re.compile(
    r"(?:(?:an? |the )?(?:(?:vertical|horizontal|square|short|quick|looping|viral|[0-9]+|:) )*"
    r"(?:clip|video|reel|short|animation|storyboard|shot ?list|screenplay|script|prompt)(?: for \w+(?: \w+)?)?(?= :)"
    r"|(?:shot|filmed) (?:on|with) (?:an? |the )?\w+(?: \w+){0,2}(?= [,:;.]|$))"
)  # "vertical clip for phones:", "shot on 16mm,"
_TRANSITION = re.compile(
    r"(?:(?:smash |hard |match |jump |quick )?cut (?:back )?to|"
    r"(?:cross ?)?fade (?:in|out|up)(?: (?:on|to|from)(?: black| white)?)?|"
    r"fade (?:to|from) (?:black|white)|dissolve to|open(?:ing)? on|close on|angle on|we open on|wipe to)(?= |$)"
)
_CRIES = re.compile(
    r"(?:lo+l+|lmao+|rofl|omg|wtf|wo+w+|ya+y+|we{2,}|woo+|(?:ha){2,}h?|(?:he){2,}|ha|xd|yikes|oops|ugh|a+w+|hmm+|pls|plz|"
    r"bo+m|ba+ng|wham|pow|splat|thud|whoosh|hoo+ray|yeah+|ye+s|oh|ooh+|ah+|hey|no+o+|tada|ta-da|eek|yum+|brr+|vroo+m|zo+m|grr+)"
)
_MEASURE = re.compile(r"[0-9.]+(?:fps|mm|k|p|hz|khz|x|d|s|ms|sec|secs|min|px|bit|iso|fov)")
_INWARDS = (
    r"push(?:es|ing)?[ -]in|dolly(?:ing)?[ -]in|zoom(?:s|ing)?[ -]in|track(?:ing)?[ -]in|mov(?:e|ing) in|creep[ -]in"
)
_OUTWARDS = (
    r"pull(?:s|ing)?[ -](?:out|back|away)|dolly(?:ing)?[ -](?:out|back)|"
    r"zoom(?:s|ing)?[ -]out|track(?:ing)?[ -](?:out|back)"
)
_CAMERA_MOVE = re.compile(
    r"(?:a |the |camera |very |slow |slowly |gentle |gradual |quick |fast |smooth )*"
    rf"(?:(?P<inwards>{_INWARDS})|(?P<outwards>{_OUTWARDS})) "
    r"(?:slowly |gently )?(?:on|onto|to|towards?|into|from|of|off)(?= )"
)
_REFUSAL = re.compile(r"(?:please )?(?:do not|never) (?:show|include|add|draw|put|have|use|depict|render)(?: in)?(?= )")
_SAID_ALONE = frozenset(
    "look grade grading inspired easing feel aesthetic loopable looping loop vibe vibes core edit hue hues".split()
)
_KNOWN = (
    "animate", "human", "mount", "flyer", "floater", "immobile", "tall", "wide", "place", "enclosure", "time",
    "weather", "light", "style", "camera", "medium", "part", "clothes", "abstract",
)  # fmt: skip


@dataclass
class Markers:
    """Takes headings, transitions, tags, cries and measures out of the tokens, with their roles in the ledger."""

    tokens: Sequence[Token]
    ledger: Ledger
    taken: set[int] = field(default_factory=set)
    times: list[str] = field(default_factory=list)  # "night" of "at night"
    places: list[str] = field(default_factory=list)  # of "INT. KITCHEN"
    breaks: set[int] = field(default_factory=set)  # tokens that end a sentence: headings
    refusals: set[int] = field(default_factory=set)  # "do not show": what follows is unwanted
    camera: list[tuple[str, list[int]]] = field(default_factory=list)  # path, tokens of "push-in on"

    def _take(self, role: Role, where: Sequence[int]) -> None:
        self.ledger.set(role, *where)
        self.taken.update(where)

    def _markers(self) -> None:
        """Take all of them; what begins a sentence is looked for at each of its beginnings, also after another."""
        for i, token in enumerate(self.tokens):
            before = self.ledger.prompt[token.start - 1 : token.start]
            is_tag = token.is_word and before in ("#", "@")
            if is_tag or _MEASURE.fullmatch(token.low) or _CRIES.fullmatch(token.low):
                self._take(Role.STYLE, [i])
        self._ratios()
        begin = 0
        while begin < len(self.tokens):
            begin = self._at_beginning(begin) or self._next_beginning(begin)
        self._exclamations()

    def _at_beginning(self, i: int) -> int:
        """The token after a marker that stands at `i`; 0 where none does."""
        lows = [token.low for token in self.tokens[i:]]
        text = " ".join(lows)
        if lows[0] in ("int", "ext"):
            return self._slug_line(i)
        heading = _HEADING.match(text)
        if heading and not self._is_headed(i + len(heading[0].split())):
            heading = None
        for found in (heading, _FORMAT.match(text), _TRANSITION.match(text)):
            if found:
                stop = i + len(found[0].split())
                self._take(Role.STYLE, range(i, stop))
                self.breaks.add(stop - 1)
                return stop
        if found := _REFUSAL.match(text):
            stop = i + len(found[0].split())
            self._take(Role.STYLE, range(i, stop))
            self.refusals.add(stop - 1)
            return stop
        if found := _CAMERA_MOVE.match(text):
            stop = i + len(found[0].split())
            self.taken.update(range(i, stop))
            self.camera.append(("approach" if found["inwards"] else "recede", list(range(i, stop))))
            self.breaks.add(stop - 1)
            return stop
        return 0

    def _is_headed(self, stop: int) -> bool:
        """Whether a mark, a hyphen between spaces, or the end stands after a heading."""
        if stop >= len(self.tokens) or not self.tokens[stop].is_word:
            return True
        between = self.ledger.prompt[self.tokens[stop - 1].end : self.tokens[stop].start]
        return "-" in between

    def _next_beginning(self, i: int) -> int:
        while i < len(self.tokens) and self.tokens[i].is_word:
            i += 1
        return i + 1

    def _slug_line(self, i: int) -> int:
        """ "INT. KITCHEN - NIGHT": a place and a time, up to a mark."""
        self._take(Role.STYLE, [i])
        first = i + 1
        while first < len(self.tokens) and (not self.tokens[first].is_word or self.tokens[first].low in ("int", "ext")):
            self.taken.add(first)
            first += 1
        stop = first
        while stop < len(self.tokens) and self.tokens[stop].is_word:
            stop += 1
        words = []
        for k in range(first, stop):
            low = self.tokens[k].low
            is_time = is_any(low, "time") or low in ("continuous", "later", "same", "moments")
            self._take(Role.STYLE if is_time else Role.PLACE, [k])
            if is_any(low, "time"):
                self.times.append(low)
            elif not is_time:
                words.append(low)
        if words:
            self.places.append(" ".join(words))
        self.breaks.add(i)
        return stop + 1

    def _ratios(self) -> None:
        """ "2.39:1", "f/1.8", "ISO 400"."""
        for i in range(len(self.tokens) - 1):
            token, following = self.tokens[i], self.tokens[i + 1]
            is_ratio = following.text == ":" and token.text[0].isdigit() and token.end == following.start
            if is_ratio and i + 2 < len(self.tokens) and self.tokens[i + 2].start == following.end:
                self._take(Role.STYLE, [i, i + 1, i + 2])
            slash = self.ledger.prompt[token.end : following.start] == "/"
            is_number = following.text[0].isdigit()
            if is_number and ((token.low == "f" and slash) or token.low == "iso"):
                self._take(Role.STYLE, [i, i + 1])

    def _segments(self) -> Iterator[range]:
        """What stands between marks."""
        marks = [i for i, token in enumerate(self.tokens) if token.text in _MARKS and i not in self.taken]
        bounds = [-1, *marks, len(self.tokens)]
        for before, stop in pairwise(bounds):
            if stop > before + 1:
                yield range(before + 1, stop)

    def _exclamations(self) -> None:
        """A single word that is cried after a sentence names nothing: "clash!"."""
        for segment in self._segments():
            following = self.tokens[segment.stop].text if segment.stop < len(self.tokens) else ""
            if segment.start and following == "!" and len(segment) == 1:
                self._take(Role.NOT_UNDERSTOOD, segment)

    def _asides(self) -> None:
        """What stands alone between marks, after a sentence, without determiner, number, preposition or verb.

        It may say how all looks, or name something: where no word list knows its noun, it is not understood.
        """
        acts = False
        for segment in self._segments():
            lows = [self.tokens[i].low for i in segment if i not in self.taken]
            if lows and lows[-1] in _SAID_ALONE and len(lows) <= 5 and lexicon.FUNCTION.isdisjoint(lows[1:-1]):
                self._take(Role.STYLE, segment)
            elif lows and acts and self._is_unsure(lows):
                self._take(Role.NOT_UNDERSTOOD, [i for i in segment if i not in self.taken])
            acts |= any(forms.verb_lemma(low) in lexicon.verbs() and low[-1:] in "sg" for low in lows)

    def _is_unsure(self, lows: Sequence[str]) -> bool:
        closed = (
            lexicon.FUNCTION | lexicon.NUMBERS.keys() | lexicon.DIRECTIONS | lexicon.PREPOSITIONS | lexicon.PARTICLES
        )
        if any((low in closed and low != "and") or low[0].isdigit() for low in lows):
            return False
        if any(forms.verb_lemma(low) in lexicon.verbs() for low in lows):
            return False
        if len(lows) > 4 or forms.is_adverb(lows[0]):
            return False
        last = forms.singular(lows[-1])
        if is_any(last, *_KNOWN) or is_any(lows[-1], *_KNOWN) or last in lexicon.sizes("kind"):
            return False
        return forms.can_be_noun(lows[-1])
