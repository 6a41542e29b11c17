"""The offline planner of stories: a text cut into scenes that stand alone, in the same words where nothing changes.

Scenes are sentences, parts joined by "then", lines, or what stands between bars. A scene that says "it", or no subject
at all, is told the subject of the one before; "the star" is the brown star of before; a place once told stays.
Things go on from where they were. A long line among others is a prompt that was written for a model (DiTCtrl's, one a
line): it is kept to the letter, and nothing is placed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ..errors import AnimaticError
from ..scene import Box, Scene, Story, Track
from . import rules
from .lexicon import IRREGULAR_VERBS
from .phrases import verb
from .template import MAX_SCENES

LONG = 20  # words from which on a line is a prompt for a model; those of DiTCtrl's stories have 24 and more
_THEN = r"(?:and )?(?:then|after that|afterwards|finally|later|next)\b,?"
_CUT = re.compile(rf"(?<=[.;!?])\s+(?:{_THEN}\s+)?|,?\s+(?:and\s+)?then\s+|\s*,\s+{_THEN}\s+", re.IGNORECASE)
_LASTS = re.compile(r",?\s*\bfor (\d+(?:\.\d+)?) (?:seconds?|secs?|s)\b", re.IGNORECASE)
_PRONOUN = re.compile(r"^(?:it|he|she|they|the same (?:one|thing))\b", re.IGNORECASE)


def plan_story(text: str, seconds: float = 3.0, keys: int = 6) -> Story:
    """Scenes of `keys` key frames and `seconds` each, unless the text says otherwise ("for 2 seconds").

    A thing that cannot be placed by the rules is left to the words. Raises `AnimaticError` where the text is empty or
    has more than six scenes; long lines are not counted.
    """
    said = _scenes(text)
    if not said:
        raise AnimaticError("the story is empty; want a sentence or more")
    if (count := sum(not is_long for _, is_long in said)) > MAX_SCENES:
        raise AnimaticError(f"the story has {count} scenes; want at most {MAX_SCENES}")

    # what is read by rules first gets a subject and full names
    read = [words for words, is_long in said if not is_long]
    lasting = iter([_LASTS.search(words) for words in read])
    prompts = iter(_standing_alone([_LASTS.sub("", words) for words in read]))
    story: list[Scene] = []
    for words, is_long in said:
        if is_long:
            story.append(Scene(words, seconds=seconds, reasoning="a long prompt: kept as typed, nothing is placed"))
            continue
        prompt, match = next(prompts), next(lasting)
        long = float(match[1]) if match else seconds
        if long <= 0:
            raise AnimaticError(f"scene {len(story) + 1} of the story lasts {long:g} seconds; want more than 0")
        scene = _planned(prompt, long, keys)
        if story and not scene.background:
            scene = replace(scene, background=story[-1].background)
        story.append(_going_on(story[-1], scene) if story else scene)
    return tuple(story)


def lines_of(text: str) -> list[str]:
    """What stands in lines or between bars, without the space around it."""
    return [line for part in re.split(r"[|\n]", text) if (line := part.strip())]


def _scenes(text: str) -> list[tuple[str, bool]]:
    """The words of each scene, and whether they are a long line's."""
    lines = lines_of(text)
    if len(lines) < 2:
        parts = _CUT.split(text.strip().strip("|"))
        return [(words, False) for part in parts if (words := _bare(part))]
    scenes = [(line, True) if len(line.split()) >= LONG else (_bare(line), False) for line in lines]
    return [(words, is_long) for words, is_long in scenes if words]


def _bare(words: str) -> str:
    """Words without the marks that end a sentence."""
    return words.strip().strip(".;!? ").strip()


def _standing_alone(prompts: Sequence[str]) -> list[str]:
    """Each prompt with a subject of its own, and things by their full names."""
    out: list[str] = []
    named: dict[str, str] = {}  # noun -> how it was called at first; "" where two are called by one noun
    for prompt in prompts:
        missing = _begins_with_verb(prompt)
        if out and (missing or _PRONOUN.search(prompt)):
            subject = next((words for before in reversed(out) if (words := _subject(before))), "it")
            prompt = f"{subject} {prompt}" if missing else _PRONOUN.sub(subject, prompt)
        for noun, phrase in named.items():
            if phrase:
                prompt = re.sub(rf"\bthe {noun}(?!\w)", f"the {phrase}", prompt, flags=re.IGNORECASE)
        for phrase in _things(prompt):
            noun = phrase.split()[-1]
            named[noun] = phrase if named.get(noun, phrase) == phrase else ""
        out.append(prompt[0].upper() + prompt[1:])
    return out


def _begins_with_verb(prompt: str) -> bool:
    word = re.split(r"[^a-z]", prompt.lower(), maxsplit=1)[0]
    return word in IRREGULAR_VERBS or (word.endswith(("s", "ing")) and verb(word) is not None)


def _subject(prompt: str) -> str:
    """The words up to the end of the first thing."""
    found = (re.search(rf"(?<!\w){re.escape(phrase)}s?(?!\w)", prompt, re.IGNORECASE) for phrase in _things(prompt))
    ends = [match.end() for match in found if match]
    return prompt[: min(ends)] if ends else ""


def _things(prompt: str) -> list[str]:
    """What is in a scene, by its phrases."""
    try:
        return [track.phrase for track in rules.plan(prompt).tracks]
    except AnimaticError:
        return []


def _planned(prompt: str, seconds: float, keys: int) -> Scene:
    try:
        return rules.plan(prompt, keys, seconds)
    except AnimaticError as error:
        return Scene(prompt, seconds=seconds, reasoning=f"told in words alone: {error}")


def _going_on(before: Scene, scene: Scene) -> Scene:
    """Things of the scene before begin where they were; those that do not move stay there."""
    last = {track.phrase.split()[-1]: track.boxes[-1] for track in before.tracks}
    tracks = []
    for track in scene.tracks:
        was = last.pop(track.phrase.split()[-1], None)
        tracks.append(track if was is None else replace(track, boxes=_from(was, track)))
    return replace(scene, tracks=tuple(tracks))


def _from(was: Box, track: Track) -> tuple[Box | None, ...]:
    boxes, first = track.boxes, track.boxes[0]
    if first is None or all(box == first for box in boxes):
        return boxes if first is None else (was,) * len(boxes)
    moves = [len({box[axis] for box in boxes if box}) > 1 for axis in (0, 1)]  # where it does not move it stays
    out: list[Box | None] = []
    for i, box in enumerate(boxes):
        if box is None:
            out.append(None)
            continue
        left = [1 - i / (len(boxes) - 1) if move else 1.0 for move in moves * 2]
        x0, y0, x1, y1 = (min(1.0, max(0.0, b + k * (w - f))) for b, k, w, f in zip(box, left, was, first, strict=True))
        out.append((x0, y0, x1, y1))
    return tuple(out)
