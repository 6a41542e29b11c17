"""The offline planner of stories: a text cut into scenes that stand alone, in the same words where nothing changes.

Scenes are sentences, parts joined by "then", lines, or what stands between bars. A scene with a pronoun, or no
subject, gets the subject of the one before; "the star" becomes "the brown star" of before; a background stays until
another is named. Objects continue from where they were. A long line among others is taken for a prompt that was written
for a video model (as in DiTCtrl, arXiv 2412.18597): it is kept to the letter, without a layout.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ..errors import AnimaticError
from ..scene import Box, Scene, Story, Track
from . import rules
from .account import Account, Role, account_of
from .forms import verb_lemma
from .lexicon import verbs
from .template import MAX_SCENES

LONG = 20  # words from which on a line is a prompt for a model; those of DiTCtrl's stories have 24 and more
_THEN = r"(?:and )?(?:then|after that|afterwards|finally|later|next)\b,?"
_CUT = re.compile(
    rf"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<=[.;!?])\s+(?:{_THEN}\s+)?|,?\s+(?:and\s+)?then\s+|\s*,\s+{_THEN}\s+",
    re.IGNORECASE,
)
_LASTS = re.compile(r",?\s*\bfor (\d+(?:\.\d+)?) (?:seconds?|secs?|s)\b", re.IGNORECASE)
_PRONOUN = re.compile(r"^((?:[^,]{1,60}, |\w+ly )?)(?:it|he|she|they|the same (?:one|thing))\b(?!')", re.IGNORECASE)

# headings and timecodes before a scene: "Scene 2:", "[00:05]", "0:03-0:06", "(3s)"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?"
_HEADING = re.compile(
    r"(?:^|(?<=\s))(?:(?:scene|shot|part) \d+\s*[:.\u2013-]|"
    rf"[\[(]?{_CLOCK}(?:\s*[-\u2013]\s*{_CLOCK})?[\])]?\s*[:\u2013-]?|"
    r"[\[(]\d+(?:\s*[-\u2013]\s*\d+)?\s*s(?:econds)?[\])]:?)(?=\s|$)\s*",
    re.IGNORECASE,
)


def plan_story(text: str, seconds: float = 3.0, keys: int = 6) -> Story:
    """`plan_story_with_accounts` without the accounts."""
    return plan_story_with_accounts(text, seconds, keys)[0]


def plan_story_with_accounts(text: str, seconds: float = 3.0, keys: int = 6) -> tuple[Story, tuple[Account, ...]]:
    """Scenes of `keys` key frames and `seconds` each, unless the text says otherwise ("for 2 seconds").

    With each scene what became of the words of its prompt.

    A scene that the rules cannot plan has a prompt alone. Raises `AnimaticError` where the text is empty or
    has more than six scenes; long lines are not counted.
    """
    parts = _scenes(text)
    if not parts:
        raise AnimaticError("the story is empty; want a sentence or more")
    if (count := sum(not is_long for _, is_long in parts)) > MAX_SCENES:
        raise AnimaticError(f"the story has {count} scenes; want at most {MAX_SCENES}")

    # short scenes are planned by the rules, with a subject and full names of their own
    read = [words for words, is_long in parts if not is_long]
    durations = iter([_LASTS.search(words) for words in read])
    prompts = iter(_standing_alone([_LASTS.sub("", words) for words in read]))
    story: list[Scene] = []
    accounts: list[Account] = []
    for words, is_long in parts:
        if is_long:
            story.append(Scene(words, seconds=seconds, reasoning="a long prompt: kept as typed, nothing is placed"))
            accounts.append(account_of(words, Role.STYLE))
            continue

        prompt = next(prompts)

        # "for 2 seconds" was taken out of the prompt: no model shows it
        match = next(durations)
        duration = float(match[1]) if match else seconds
        if duration <= 0:
            raise AnimaticError(f"scene {len(story) + 1} of the story lasts {duration:g} seconds; want more than 0")
        scene, account = _planned(prompt, duration, keys)
        accounts.append(account)
        if story and not scene.background:
            scene = replace(scene, background=story[-1].background)
        story.append(_continued(story[-1], scene) if story else scene)
    return tuple(story), tuple(accounts)


def lines_of(text: str) -> list[str]:
    """What stands in lines or between bars, without the space around it."""
    return [line for part in re.split(r"[|\n]", text) if (line := part.strip())]


def _scenes(text: str) -> list[tuple[str, bool]]:
    """The text of each scene, and whether it is a long line."""
    lines = lines_of(_HEADING.sub("\n", text))
    if len(lines) == 1:
        text = lines[0]
    if len(lines) < 2:
        parts = _CUT.split(text.strip().strip("|"))
        return [(words, False) for part in parts if (words := _bare(part))]
    scenes = [(line, True) if len(line.split()) >= LONG else (_bare(line), False) for line in lines]
    return [(words, is_long) for words, is_long in scenes if words]


def _bare(words: str) -> str:
    """Words without the marks that end a sentence."""
    return words.strip().strip(".;!? ").strip()


def _standing_alone(prompts: Sequence[str]) -> list[str]:
    """Each prompt with a subject of its own, and objects by their full names."""
    out: list[str] = []
    named: dict[str, str] = {}  # noun -> its full phrase; "" where two objects share the noun
    for prompt in prompts:
        # a subject: that of the last scene that names one
        missing = _begins_with_verb(prompt)
        if out and (missing or _PRONOUN.search(prompt)):
            subject = next((words for before in reversed(out) if (words := _subject(before))), "it")
            prompt = f"{subject} {prompt}" if missing else _with_subject(prompt, subject)

        # full names: each scene is generated from its own prompt, which must say which star it is
        for noun, phrase in named.items():
            if phrase:
                prompt = re.sub(rf"\bthe {noun}(?!\w)", f"the {phrase}", prompt, flags=re.IGNORECASE)

        # two stars: "the star" names neither of them
        for phrase in _phrases(prompt):
            noun = phrase.split()[-1]
            named[noun] = phrase if named.get(noun, phrase) == phrase else ""
        out.append(prompt[0].upper() + prompt[1:])
    return out


def _with_subject(prompt: str, subject: str) -> str:
    """The prompt with the subject in place of its pronoun; after other words it begins in lower case."""

    def named(found: re.Match[str]) -> str:
        return found[1] + (subject[0].lower() + subject[1:] if found[1] else subject)

    return _PRONOUN.sub(named, prompt)


def _begins_with_verb(prompt: str) -> bool:
    word = re.split(r"[^a-z]", prompt.lower(), maxsplit=1)[0]
    return verb_lemma(word) in verbs() and word != verb_lemma(word)


def _subject(prompt: str) -> str:
    """The words up to the end of the first object."""
    found = (re.search(rf"(?<!\w){_spaced(phrase)}s?(?!\w)", prompt, re.IGNORECASE) for phrase in _phrases(prompt))
    ends = [match.end() for match in found if match]
    return prompt[: min(ends)] if ends else ""


def _spaced(phrase: str) -> str:
    """A pattern of the phrase in which other marks may stand between its words: "Mr. Bear"."""
    return r"[\s.]+".join(map(re.escape, phrase.split()))


def _phrases(prompt: str) -> list[str]:
    """Phrases of the objects in a scene."""
    try:
        return [track.phrase for track in rules.plan(prompt).tracks]
    except AnimaticError:
        return []


def _planned(prompt: str, seconds: float, keys: int) -> tuple[Scene, Account]:
    try:
        return rules.plan_with_account(prompt, keys, seconds)
    except AnimaticError as error:
        scene = Scene(prompt, seconds=seconds, reasoning=f"no layout, the prompt alone: {error}")
        return scene, account_of(prompt, Role.NOT_UNDERSTOOD)


def _from(previous: Box, track: Track) -> tuple[Box | None, ...]:
    """The track's boxes, begun at `previous` and led over to their own way by their end."""
    boxes = track.boxes
    first = boxes[0]
    if first is None:
        return boxes
    if all(box == first for box in boxes):
        return (previous,) * len(boxes)

    # the offset fades along the axes in which the object moves, and stays along the others
    moves: list[bool] = []
    for axis in (0, 1):
        positions = {box[axis] for box in boxes if box}
        moves.append(len(positions) > 1)
    out: list[Box | None] = []
    for i, box in enumerate(boxes):
        if box is None:
            out.append(None)
            continue
        fade = 1 - i / (len(boxes) - 1)
        weights = [fade if move else 1.0 for move in moves * 2]
        sides = zip(box, weights, previous, first, strict=True)
        x0, y0, x1, y1 = (min(1.0, max(0.0, side + weight * (p - f))) for side, weight, p, f in sides)
        out.append((x0, y0, x1, y1))
    return tuple(out)


def _continued(before: Scene, scene: Scene) -> Scene:
    """The scene with its objects beginning where they ended before; those that do not move stay there."""
    last = {track.phrase.split()[-1]: track.boxes[-1] for track in before.tracks}
    tracks = []
    for track in scene.tracks:
        box = last.pop(track.phrase.split()[-1], None)
        tracks.append(track if box is None else replace(track, boxes=_from(box, track)))
    return replace(scene, tracks=tuple(tracks))
