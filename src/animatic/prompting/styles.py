"""Prompt styles: which text of a scene is encoded, and which words of it name each object.

A style maps a scene to one whose `prompt` is the text that is encoded and contains every phrase. Controls find the
tokens of phrases in that text alone. A method names its style, see `methods.method.Method`; the default is
`with_background`.

| style | text | source |
|---|---|---|
| `as_typed` | the prompt | plain models |
| `with_background` | `{prompt}, {background} background`, and `| {phrase}` for what it does not name | LVD |
| `listing_objects` | `{background} with {objects}`, so that absent objects are not named | LMD and its baselines |
| `keeping_prompt` | the same; of a scene without a background the prompt, which stands for it | MultiDiffusion |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from ..core.text import find, named
from ..scene import Scene, Track
from .english import article, bare, counted, inflection, listing

if TYPE_CHECKING:
    from ..timeline import Timeline

PromptStyle = Callable[[Scene], Scene]
FALLBACK_PROMPT = "a scene"  # encoded where a prompt names absent objects only


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WordedTrack(Track):
    """A track in a prompt style.

    `phrase` names the object in the text of the scene, perhaps with others ("two apples"), `name` by itself ("an
    apple"), and `prompt` is the text of a picture of it alone ("A kitchen with an apple").
    """

    name: str = ""


def styled(scenes: Sequence[Scene | Timeline], style: PromptStyle) -> list[Any]:
    """Scenes, or timelines of stories, with the prompts that are encoded in this style."""
    out: list[Any] = []
    for scene in scenes:
        if isinstance(scene, Scene):
            out.append(style(scene))
        else:
            out.append(replace(scene, scenes=tuple(map(style, scene.scenes))))
    return out


def as_typed(scene: Scene) -> Scene:
    """The scene as it is: no word more than its prompt."""
    return scene


def with_background(scene: Scene) -> Scene:
    """LVD's wording: the prompt, its background, and any phrase that is not named; without tracks, as typed.

    A phrase is named where it stands, or where its last word does and is not another phrase's: of "red car" and "blue
    car", "a red car" names one.
    """
    if not scene.tracks:
        return scene
    phrases = [track.phrase for track in scene.tracks]
    text = sentence = scene.prompt.strip().rstrip(".")
    if scene.background:
        text += f", {scene.background} background"
    for phrase in phrases:
        if not named(text, phrase, phrases):
            text += f"| {phrase}"
    return scene if text == sentence else replace(scene, prompt=text)


def with_background_published(scene: Scene) -> Scene:
    """LVD's wording as its own code makes it (generate.py, utils/parse.py, utils/guidance.py), without tracks too."""
    text = scene.prompt.strip().rstrip(".")
    if scene.background:
        text += f", {scene.background} background"
    tracks: list[Track] = []
    for track in scene.tracks:
        form = _form_as_published(text, track.phrase)
        if not form:
            text += f"| {track.phrase}"
        if form and find(text, track.phrase) is None:  # its words are found by their form, but it keeps its name
            alone = track.prompt or track.phrase
            tracks.append(WordedTrack(form, track.boxes, alone, track.phrase))
        else:
            tracks.append(track)
    return replace(scene, prompt=text, tracks=tuple(tracks))


def _form_as_published(text: str, phrase: str) -> str:
    """What names a phrase by LVD's rule: itself, without digits, its last word, or that one's plural; "" if nothing."""
    # LVD's order of attempts.
    words = phrase.strip("0123456789 ")
    last = words.split(" ")[-1]
    forms = [phrase, words, last]
    if last:
        forms.append(inflection().plural(last))
    for form in forms:
        if form and re.search(rf"\b{re.escape(form)}\b", text):
            return form
    return ""


def listing_objects(scene: Scene) -> Scene:
    """LMD's wording in plain English: "A kitchen with two apples and a cup".

    A background in one word or so stands behind ("a cat, grass background"). A scene that moves keeps its prompt, which
    says how, and is worded as `with_background` does, unless it has a negative prompt: absent objects must not be
    named.
    """
    if scene.seconds and not scene.negative:
        return _naming_objects(scene)

    # Tracks of one phrase are named together, in the order in which they first appear.
    names = [article(track.phrase) for track in scene.tracks]
    phrases_of = {name: _counted_name(name, names.count(name)) for name in names}
    tracks = []
    for track, name in zip(scene.tracks, names, strict=True):
        tracks.append(_worded(track, scene.background, phrases_of[name], name))

    # Where nothing is left to say the scene's own prompt stands.
    objects = listing(list(phrases_of.values())) if phrases_of else ""
    text = _within(scene.background, objects)
    return replace(scene, prompt=text or _without_unwanted(scene), tracks=tuple(tracks))


def keeping_prompt(scene: Scene) -> Scene:
    """LMD's wording; a scene without a background keeps its prompt, without the clause about absent objects."""
    if scene.background or not scene.tracks:
        return listing_objects(scene)
    if scene.negative:
        scene = replace(scene, prompt=_without_unwanted(scene))
    return _naming_objects(scene)


def _naming_objects(scene: Scene) -> Scene:
    """The scene as `with_background` words it, each object with a name of its own."""
    scene = with_background(scene)
    worded = [_worded(track, scene.background, track.phrase, article(track.phrase)) for track in scene.tracks]
    return replace(scene, tracks=tuple(worded))


def listing_objects_published(scene: Scene) -> Scene:
    """LMD's wording as its own code makes it (utils/parse.py, convert_spec): objects in alphabetical order."""
    # In alphabetical order, which the original gets from a sorted set.
    ordered = sorted(scene.tracks, key=lambda track: track.phrase)
    names = [track.phrase for track in ordered]
    phrases_of = {name: _counted_as_published(name, names.count(name)) for name in names}
    tracks = []
    for track in ordered:
        alone = _joined(scene.background, track.phrase)
        tracks.append(WordedTrack(phrases_of[track.phrase], track.boxes, alone, track.phrase))

    objects = ", ".join(phrases_of.values())
    prompt = _joined(scene.background, objects) or scene.prompt
    return replace(scene, prompt=prompt, tracks=tuple(tracks))


def _counted_name(name: str, count: int) -> str:
    return name if count == 1 else counted(bare(name), count)


def _counted_as_published(name: str, count: int) -> str:
    """LMD takes "a " and "an " out wherever they stand, so that two of "a panda bear" are "two pandbears"."""
    if count == 1:
        return name
    without_articles = name.replace("an ", "").replace("a ", "")
    return counted(without_articles, count)


def _joined(background: str, objects: str) -> str:
    return f"{background} with {objects}" if background and objects else background or objects


def _within(background: str, objects: str) -> str:
    """Objects with their background, which is a phrase ("A kitchen") or a mere keyword ("grass")."""
    is_keyword = bool(background) and article(background) != background and len(background.split()) < 3
    if not is_keyword:
        return _joined(background, objects)
    return f"{objects}, {background} background" if objects else f"{background} background"


def _worded(track: Track, background: str, phrase: str, name: str) -> WordedTrack:
    """A track that `phrase` names among others and `name` alone, unless the scene has a prompt for it."""
    name = track.prompt or name
    return WordedTrack(phrase, track.boxes, _within(background, name), name)


def _without_unwanted(scene: Scene) -> str:
    """The prompt without the clause about absent objects: "a street without cars" is "a street"."""
    text = scene.prompt
    for words in filter(None, map(str.strip, scene.negative.split(","))):
        clause = rf",?\s*\b(without|but no|with no|no|not)( any| a| an| the)?\s+{re.escape(words)}\b"
        text = re.sub(clause, "", text, flags=re.IGNORECASE)
        if find(text, words) is not None:
            return FALLBACK_PROMPT
    return text.strip() or FALLBACK_PROMPT


def object_name(track: Track) -> str:
    """The text of a picture of the object alone."""
    if isinstance(track, WordedTrack):
        return track.name
    return track.prompt or track.phrase


def own_name(track: Track) -> str:
    """The object's name by itself: "an apple" of "two apples", else its phrase."""
    if isinstance(track, WordedTrack) and track.name:
        return track.name
    return track.phrase


def object_scene(scene: Scene, i: int) -> Scene:
    """The scene of one object alone, in the words of a picture of it: text and phrase."""
    track = scene.tracks[i]
    if not isinstance(track, WordedTrack):
        track = _worded(track, scene.background, track.phrase, article(track.phrase))
    candidates = (track.phrase, bare(track.phrase), track.name)  # the first of these that the text names in full
    phrase = next(words for words in candidates if stands(track.prompt, words))
    return replace(scene, prompt=track.prompt, tracks=(replace(track, phrase=phrase),))


def stands(text: str, words: str) -> bool:
    """Whether these very words are in the text."""
    pattern = rf"(?<!\w){re.escape(words)}(?!\w)"
    return re.search(pattern, text, re.IGNORECASE) is not None
