"""The form of a language model's JSON answer: pydantic gives its schema, and validates what comes back.

`answer_schema` is what a server or a local model is given: every key required, no other allowed, as strict structured
output wants it. `read_answer` takes more than that: other names of keys, numbers in quotes, other units, each with a
line that says so.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    create_model,
    model_validator,
)

from ..errors import AnimaticError
from .box_units import in_fractions
from .reply import KINDS, MAX_SCENES, MAX_TRACKS, Reply, ReplyObject, quote

OTHER_NAMES = {  # key of the form -> what models call it as well
    "phrase": ("name", "label", "object"),
    "boxes": ("bboxes", "bbox", "box"),
    "background": ("background_prompt", "background_keyword"),
    "negative": ("negative_prompt",),
}
WANT = {  # what a key holds, for messages
    "scenes": "a list of scenes",
    "tracks": "a list of phrase and boxes",
    "phrase": "words",
    "prompt": "words",
    "boxes": "a list of [x0, y0, x1, y1] or null",
    "seconds": "a number >= 0",
}


def _note(info: ValidationInfo, line: str) -> None:
    """Keep a repair, once; the context is the ordered set of a validation's repairs."""
    if info.context is not None:
        info.context[line] = None


def _number(value: Any, info: ValidationInfo) -> Any:
    """A number that may stand in quotes, or be given as "2%"."""
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")
    if not isinstance(value, str):
        return value
    # "2%" has its unit with it; "2" has that of the reply
    digits = value.strip().removesuffix("%")
    number = float(digits)  # raises ValueError, which pydantic reports
    if digits == value.strip():
        _note(info, "numbers stand in quotes")
        return number
    _note(info, "numbers stand in quotes as per cent")
    return number / 100


def _absent(value: Any, info: ValidationInfo) -> Any:
    """An empty list in the place of a box means what null means."""
    if value == []:
        _note(info, "an empty list is read as absent")
        return None
    return value


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_number)]
Corners = Annotated[tuple[Number, Number, Number, Number] | None, BeforeValidator(_absent)]
Side = Annotated[float, Field(ge=0, le=1, multiple_of=0.01)]
StrictCorners = Annotated[list[Side], Field(min_length=4, max_length=4)]


class _Form(BaseModel):
    """What both directions share: a schema without further keys, which reading ignores; other names of keys."""

    # built at the first reply: the offline planner needs none of it
    model_config = ConfigDict(extra="ignore", defer_build=True, json_schema_extra={"additionalProperties": False})

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        # a key that is there counts before its other names
        data = dict(data)
        for key in cls.model_fields.keys() - data.keys():
            for other in OTHER_NAMES.get(key, ()):
                if other in data:
                    data[key] = data[other]
                    _note(info, f"{other!r} is read as {key!r}")
                    break
        return data


class TrackForm(_Form):
    """One object: its phrase, and a box for each key frame, null where it is absent."""

    phrase: Words
    boxes: Annotated[list[Corners], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _one_box(cls, data: Any, info: ValidationInfo) -> Any:
        """One box that does not stand in a list is the only key frame."""
        for key in ("boxes", *OTHER_NAMES["boxes"]):
            boxes = data.get(key) if isinstance(data, dict) else None
            if isinstance(boxes, list) and len(boxes) == 4 and all(isinstance(v, (int, float, str)) for v in boxes):
                _note(info, "one box is read as the only key frame")
                return {**data, key: [boxes]}
        return data


class SceneForm(_Form):
    """A scene; in reading, texts may be missing, null or lists."""

    reasoning: str
    background: str
    negative: str
    tracks: list[TrackForm]

    @model_validator(mode="before")
    @classmethod
    def _texts(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        # under their other names as well: pydantic runs this before `_renamed`
        data = dict(data)
        for key in ("reasoning", "background", "negative"):
            name = next((name for name in (key, *OTHER_NAMES.get(key, ())) if name in data), key)
            value = data.get(name)
            if isinstance(value, list) and all(isinstance(part, str) for part in value):
                _note(info, f"{name}: a list is joined with commas")
                value = ", ".join(value)
            data[name] = "" if value is None else value
        return data


class ReadScene(SceneForm):
    """A scene as it is read: a duration is taken where there is one."""

    seconds: Annotated[Number | None, Field(ge=0, lt=1e6)] = None


class ReadStoryScene(ReadScene):
    """A scene of a story, with its own prompt."""

    prompt: Words


class ReadStory(_Form):
    """A story as it is read."""

    scenes: Annotated[list[ReadStoryScene], Field(min_length=1)]


def answer_schema(kind: str) -> dict[str, Any]:
    """JSON schema of an answer of a kind (image, video, story), with as many boxes a track as it has key frames."""
    # from the inside out: a track's row of boxes, tracks, a scene, a story
    keys = KINDS[kind]
    row: Any = Annotated[list[StrictCorners | None], Field(min_length=keys, max_length=keys)]
    track = create_model("Track", __base__=_Form, phrase=(str, ...), boxes=(row, ...))
    tracks: Any = Annotated[list[track], Field(max_length=MAX_TRACKS)]
    shared: dict[str, Any] = {"reasoning": str, "background": str, "negative": str, "tracks": tracks}
    if kind != "story":
        return create_model("Scene", __base__=_Form, **shared).model_json_schema()

    scene = create_model("Scene", __base__=_Form, prompt=str, seconds=float, **shared)
    scenes: Any = Annotated[list[scene], Field(min_length=1, max_length=MAX_SCENES)]
    return create_model("Story", __base__=_Form, scenes=scenes).model_json_schema()


def read_answer(data: dict[str, Any]) -> Reply:
    """A scene from decoded JSON. Raises `AnimaticError` that names the field, its value and what would be right."""
    repairs: dict[str, None] = {}
    try:
        scene = ReadScene.model_validate(data, context=repairs)
    except ValidationError as error:
        raise AnimaticError(_line(error)) from None
    return _reply(scene, "reply: ", repairs)


def read_story_answer(data: dict[str, Any]) -> list[tuple[str, Reply]]:
    """The prompts and scenes of a story from decoded JSON. Raises `AnimaticError` as `read_answer` does."""
    repairs: dict[str, None] = {}
    try:
        story = ReadStory.model_validate(data, context=repairs)
    except ValidationError as error:
        raise AnimaticError(_line(error)) from None

    # repairs of the whole answer are kept with its first scene
    parts: list[tuple[str, Reply]] = []
    for i, scene in enumerate(story.scenes):
        parts.append((scene.prompt, _reply(scene, f"reply: scenes.{i}.", repairs if i == 0 else {})))
    return parts


def _reply(scene: ReadScene, where: str, repairs: dict[str, None]) -> Reply:
    """A validated scene as a Reply, its boxes in fractions of the frame."""
    lengths = sorted({len(track.boxes) for track in scene.tracks})
    if len(lengths) > 1:
        raise AnimaticError(
            f"{where}tracks: the number of boxes is {quote(lengths)}; want the same number in every track"
        )

    # the unit is found over all boxes of a scene
    rows, unit = in_fractions([track.boxes for track in scene.tracks], where)
    objects = tuple(ReplyObject(track.phrase, row) for track, row in zip(scene.tracks, rows, strict=True))
    notes = (*repairs, unit) if unit else tuple(repairs)
    return Reply(objects, scene.background, scene.negative, scene.reasoning, scene.seconds, notes)


def _line(error: ValidationError) -> str:
    """The first error of a validation, in one line with the field's path."""
    first = error.errors()[0]
    place = list(first["loc"])
    is_missing = first["type"] == "missing"

    # a tuple that is too short is reported by the number that it lacks
    if is_missing and isinstance(place[-1], int):
        place.pop()
        is_missing = False
    name = next((part for part in reversed(place) if isinstance(part, str)), "")
    depth = len(place) - 1 - place.index(name) if name in place else 0
    where = "reply: " + ".".join(map(str, place))
    value = "missing" if is_missing else quote(first["input"])
    return f"{where} is {value}; want {_wanted(name, depth)}"


def _wanted(name: str, depth: int) -> str:
    """What a key holds, or `depth` levels inside it."""
    if name == "boxes" and depth:
        return "four numbers" if depth == 1 else "a number"
    if name == "tracks" and depth:
        return "an object with phrase and boxes"
    if name == "scenes" and depth:
        return "an object with prompt and tracks"
    return WANT.get(name, "words")
