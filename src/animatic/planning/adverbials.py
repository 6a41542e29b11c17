"""Set phrases about where, whither and when, found as patterns before anything else is read: "from left to right"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from . import lexicon
from .motions import Spot

_FRAME = r"(?:scene|frame|screen|image|picture|video|view|shot|clip|camera)"
_OF_FRAME = rf"(?: (?:of|in) (?:the |this )?(?:whole |entire )?{_FRAME})?"
_HALVES = r"(?: (?:hand ?)?(?:corner|side|edge|part|half|end|third|border))?"
_CORNER = r"(?:upper|lower|top|bottom) (?:left|right)"
_BARE_SPOT = (
    rf"(?:(?:frame|screen|camera|stage)[ -](?:left|right)|{_CORNER}|left|right|top|bottom|middle|cent(?:er|re))"
)
SPOT = rf"((?:the |its |their )?(?:very |far )?{_BARE_SPOT}(?: hand)?{_HALVES}){_OF_FRAME}"
_VIEWER = r"(?:the |our )?(?:camera|viewer|viewers|audience|front|foreground|us|me|you|lens)"
_CLIP = r"(?:the |this )?(?:clip|video|scene|shot|footage|movie|film|way|animation|sequence)"
_SIDEWAYS = r"(?:left|right)(?:wards?)?"
_PER_CENT = r"[0-9.]+(?:%| per ?cent)"
_EXTENT = rf"the (?:\w+ )?(?:width|height|size|area|length|way|time|distance|{_FRAME})"
_HOW_OFTEN = rf"(?:[0-9]+|a few|a couple of|several|many|multiple|countless|{'|'.join(lexicon.NUMBERS)})"
_BECOMES = r"(?:gets?|getting|becom(?:es?|ing)|grow(?:s|ing)?) (?:(?:really|realy|very|so|super|too|quite|extremely) )*"
_TURN = r"(?:upwards?|up|downwards?|down)"


@dataclass(frozen=True)
class Adverbial:
    """A set phrase of the tokens `first` up to `stop`, both indices; `spots` are what it names, if anything.

    `kind` is the first column of PATTERNS, `value` the matched text.
    """

    kind: str
    first: int
    stop: int
    value: str
    spots: tuple[Spot, ...] = ()


# the first that matches at a place wins; groups are spots
PATTERNS: tuple[tuple[str, str], ...] = (
    ("visible first", rf"(?:only )?(?:in|during|for) the first half(?: of {_CLIP})?{_OF_FRAME}"),
    ("visible last", rf"(?:only )?(?:in|during|for) the (?:second|last|latter) half(?: of {_CLIP})?{_OF_FRAME}"),
    ("middle", rf"(?:only )?(?:half ?way|midway|partway)(?: through| into| in)?(?: {_CLIP})?|in the middle of {_CLIP}"),
    ("share", rf"(?:(?:at|by|to|from|about|around|over|with|only) )*{_PER_CENT}(?: (?:of|from) {_EXTENT})?"),
    ("repeat", rf"(?:(?:about|around|at least|exactly) )?{_HOW_OFTEN} times(?: (?:in a row|over))?"),
    ("and back", r"(?:(?:and|then) )+(?:all the way |straight |right )?back(?: again)?(?= [.,;:!?|\u00a7\n]|$)"),
    (
        "filler",
        r"(?:right|just|directly|immediately|straight)(?= (?:next to|in front|behind|beside|above|below|under|on top|"
        r"near|over|at|in|on|into|past|between|after|before) )",
    ),
    ("same way", r"(?:in )?the same (?:way|direction)"),
    ("late", rf"(?:only )?(?:at|before|near|towards?|by|until) the (?:very )?end(?: of {_CLIP})?"),
    ("early", rf"at the (?:very )?(?:beginning|start)(?: of {_CLIP})?"),
    ("early", rf"from the (?:beginning|start)(?: of {_CLIP})?"),
    ("meet", r"(?:towards?|into|at|to) (?:each other|one another)(?: from opposite (?:sides|directions|ends))?"),
    ("meet", r"from (?:the )?(?:opposite|both|either) (?:sides|directions|ends)(?: of (?:the )?(?:frame|screen))?"),
    ("part", r"(?:away )?from (?:each other|one another)|in (?:opposite|different) directions|apart"),
    ("cross each other", r"in both directions"),
    ("cross each other", r"past (?:each other|one another)|(?:each other|one another)"),
    ("group", r"(?:next to|beside|alongside|with|by) (?:each other|one another)|side by side|hand in hand"),
    ("group", r"holding hands|arm in arm|in (?:a )?(?:single file|line|row)|in formation|shoulder to shoulder"),
    ("path oscillate", r"back and forth|to and fro|from side to side|side to side|left and right|here and there"),
    ("path bounce", r"up and down"),
    ("path circle", r"(?:around |round )?in (?:a |big |small |wide |tight |slow )*(?:circles?|loops?|spirals?)"),
    ("path circle", r"round and round|around and around"),
    ("path zigzag", r"in (?:a )?(?:zig ?zags?|zig zag)(?: pattern| line| path)?|in zigzags"),
    ("path still", r"in place|on the spot|in one spot|(?:stays?|staying|remains?) put"),
    ("path still", r"without (?:moving|motion)(?: from (?:the|its|his|her|their) (?:spot|place|seat|position))?"),
    ("path still", r"without leaving (?:the|its|his|her|their) (?:spot|place|seat|position)"),
    ("path still", r"refus(?:es?|ing) to (?:budge|move|go|leave)"),
    ("path approach", rf"(?:until|till) (?:it|he|she|they) fills? (?:up )?(?:the |our )?(?:whole |entire )?{_FRAME}"),
    ("path recede", r"(?:until|till) (?:it|he|she|they) (?:is|are|looks?|becomes?) (?:just |only )?(?:very )?"
     r"(?:tiny|small|a (?:tiny )?(?:dot|speck))"),
    ("path approach", rf"{_BECOMES}(?:big|huge|giant|gigantic|enormous|large|massive)(?! \w+)"),
    ("path recede", rf"{_BECOMES}(?:small|tiny|little|teeny)(?! \w+)"),
    ("from spot", r"(?:(?<=enters )|(?<=enter )|(?<=entering ))((?:frame|screen|camera|stage)[ -](?:left|right))"),
    ("to spot", r"((?:frame|screen|camera|stage)[ -](?:left|right))"),
    ("at spot", rf"((?:on )?(?:the )?(?:far )?{_BARE_SPOT}(?: side)?)(?= :)"),
    ("relation sides", r"(?:one )?(?:on|at|to) (?:either|each|both|every|opposite) (?:side|sides|end|ends) of"),
    ("cross over", rf"(?:to|towards?) the (?:other|opposite|far) (?:side|end|edge)(?= of|$| [,.|]){_OF_FRAME}"),
    ("cross over", rf"(?:across|through|over) the (?:whole |entire |full )?{_FRAME}"),
    ("approach", rf"(?:directly |straight |right )?(?:towards?|at|to) {_VIEWER}|(?:closer|nearer)(?: to {_VIEWER})?"),
    ("recede", rf"(?:off |far )*(?:away|farther|further)(?: away)? from {_VIEWER}"),
    ("recede", r"(?:off |far |away |out )*(?:into|to|towards?) the (?:far )?(?:distance|background|horizon)"),
    ("recede", r"(?:off|far|away|out) in(?:to)? the (?:far )?distance"),
    ("far", r"in the (?:far |distant )?(?:distance|background)"),
    ("path arc", r"(?:in|through) an? (?:\w+ )?(?:arc|arch|parabola)"),
    (
        "leave frame",
        rf"(?:out of|off|beyond|leaves?|leaving|exits?|exiting)(?: the)? (?:{_FRAME}|sight)(?! (?:left|right))",
    ),
    ("enter frame", r"in(?:to)? (?:the )?(?:frame|view|shot|picture|screen)"),
    ("from to", rf"(?:from )?{SPOT} to {SPOT}"),
    ("begin", rf"(?:initially |starts? |starting |begins? |beginning )(?:out )?(?:on|at|in|from) {SPOT}"),
    ("begin", rf"initially (?:on|at|in) {SPOT}"),
    ("relation left", r"(?:(?:to|on|at|from) )?(?:the |its |their )?(?:far )?left(?: hand)?(?: side)? of"),
    ("relation right", r"(?:(?:to|on|at|from) )?(?:the |its |their )?(?:far )?right(?: hand)?(?: side)? of"),
    ("relation own left", r"(?:on|to|at) (?:its|his|her|their) left(?: hand)?(?: side)?"),
    ("relation own right", r"(?:on|to|at) (?:its|his|her|their) right(?: hand)?(?: side)?"),
    ("relation on", r"(?:on|to|onto|at|from|near) (?:the )?(?:very )?(?:top|peak|summit|tip) of|on top of|atop"),
    ("relation foot", r"(?:at|to|near|on|in|from) (?:the )?(?:very )?(?:bottom|foot|base) of"),
    ("relation in", r"(?:in|at|to|into|from) the (?:very )?(?:heart|edge|side|end) of"),
    (
        "relation in",
        r"(?:in|at|to|into|from) the (?:very )?(?:middle|cent(?:er|re)) of(?! (?:the |this )(?:frame|screen)(?: |$))",
    ),
    ("relation beside", r"next to|close to|by the side of|at the side of|adjacent to|in the company of"),
    ("relation out", r"out of|off of"),
    ("relation before", r"in front of|ahead of"),
    ("relation by", r"(?:accompanied|surrounded|flanked) by"),
    ("from spot", rf"from {SPOT}"),
    ("to spot", rf"(?:in|on|up|down|over|back|off|out)?(?:to|towards?) {SPOT}|towards? {SPOT}"),
    ("at spot", rf"(?:on|at|in|near|along) {SPOT}"),
    ("to spot", rf"(?:diagonally )?({_TURN},? (?:diagonally )?(?:and )?(?:to )?(?:the )?{_SIDEWAYS})(?! of)"),
    ("to spot", r"(?:diagonally )(?:to )?(?:the )?((?:upper|lower|top|bottom) (?:left|right))"),
    ("go up", r"(?:(?:straight|high|higher|right|far) )*upwards? (?:high )?in(?:to)? the (?:\w+ )?(?:sky|air)"),
    ("go up", r"(?:(?:straight|high|higher|right|far|slowly|way) )*up ?(?:high )?in(?:to)? the (?:\w+ )?(?:sky|air)"),
    ("go up", r"(?:high |up |off |away )?(?:into|to|towards?) the (?:\w+ )?(?:sky|air|heavens|clouds|stars|ceiling)"),
    ("go down", r"(?:down )?(?:to|onto|towards?|into) the (?:\w+ )?(?:ground|floor|earth)"),
    ("go up", r"uphill|upstairs|straight up(?:wards?)?|upwards?|skywards?"),
    ("go down", r"downhill|downstairs|straight down(?:wards?)?|downwards?|earthwards?|back down"),
    ("diagonal", r"diagonally"),
    ("go right", r"rightwards?"),
    ("go left", r"leftwards?"),
    ("forward", r"forwards?|straight ahead|ahead|onwards?|straight"),
    ("backward", r"backwards?"),
    ("then", r"(?:and )?(?:then|after that|afterwards?|finally|next(?= ,)|later on|later)"),
)  # fmt: skip
_COMPILED = tuple((kind, re.compile(rf"(?<![^ ])(?:{pattern})(?![^ ])")) for kind, pattern in PATTERNS)


def spot(words: str) -> Spot:
    """A place in words; an axis that the words do not give is None, unless the place is the middle alone."""
    x = None
    if "left" in words:
        x = 0.0
    elif "right" in words:
        x = 1.0

    y = None
    if re.search("upper|top|above|up", words):
        y = 0.0
    elif re.search("lower|bottom|below|down", words):
        y = 1.0

    # neither: "the middle"
    if x is None and y is None:
        return 0.5, None
    return x, y


def adverbials(words: list[str]) -> Iterator[Adverbial]:
    """Set phrases in the order of the text. `words` has one entry a token; "§" stands for what is read already."""
    # patterns match text; the offset at which each token begins leads back to the tokens
    text = " ".join(words)
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    index_at = {offset: i for i, offset in enumerate(starts)}

    # at each token the first pattern that matches whole words; it takes them from all later ones
    taken = 0
    for first, offset in enumerate(starts[:-1]):
        if offset < taken:
            continue
        for kind, pattern in _COMPILED:
            found = pattern.match(text, offset)
            if not found or (found.end() + 1) not in index_at:
                continue
            stop = index_at[found.end() + 1]
            spots = tuple(spot(group) for group in found.groups() if group)
            yield Adverbial(kind, first, stop, found[0], spots)
            taken = found.end()
            break
