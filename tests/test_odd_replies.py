"""Odd replies of language models: read as they were meant, with a line on each repair, or refused with the reason."""

import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animatic.errors import AnimaticError
from animatic.planning.answer_form import answer_schema
from animatic.planning.json_text import last_object, without_thinking
from animatic.planning.planners import PlannerOptions, planner_named
from animatic.planning.replies import read, read_story
from animatic.scene import Scene

ODD = Path(__file__).parent / "odd_replies"
WALK = [(0.02 + 0.1 * i, 0.5, 0.3 + 0.1 * i, 0.9) for i in range(6)]
PIXELS = [(x / 512, 0.5, (x + 128) / 512, 0.75) for x in range(0, 301, 60)]
TREE = [(400 / 512, 100 / 512, 500 / 512, 400 / 512)] * 6

READ = {  # file -> objects and their boxes, negative words, and a part of each warning
    "02-trailing-comma": ({"brown bear": WALK}, "", ["a trailing comma"]),
    "03-single-quotes-python": ({"brown bear": WALK}, "", ["single quotes"]),
    "04-numbers-as-strings": ({"brown bear": WALK}, "", ["numbers stand in quotes"]),
    "05-percent-strings": ({"brown bear": WALK}, "", ["per cent"]),
    "07-pixels-512": ({"brown bear": WALK}, "", ["up to 461 are read as pixels of 512"]),
    "11-comments": ({"brown bear": WALK}, "", ["a comment"]),
    "12-think-then-json": ({"brown bear": WALK}, "", []),
    "13-draft-then-final": ({"brown bear": WALK}, "", []),
    "15-name-instead-of-phrase": ({"brown bear": WALK}, "", ["'name' is read as 'phrase'"]),
    "19-negative-as-list": ({"brown bear": WALK}, "people, cars", ["joined with commas"]),
    "25-lvd-json-true-null": ({"brown bear": [None, *PIXELS[1:]]}, "", []),
    "29-lvd-no-background": ({"brown bear": PIXELS}, "", ["the background is left open"]),
    "32-escaped-quotes": ({"brown bear": WALK}, "", ["stands in quotes"]),
    "38-empty-list-absent": ({"brown bear": [*WALK[:3], None, None, None]}, "", ["an empty list"]),
    "39-zero-box-absent": ({"brown bear": [*WALK[:3], None, None, None]}, "", ["3 of 6 boxes have no area"]),
    "51-prose-mentions-frame": ({"brown bear": PIXELS}, "", []),
    "56-lvd-names-numbered": ({"R2D2": PIXELS}, "", []),
    "57-lvd-id-reused": ({"brown bear": PIXELS, "tree": TREE}, "", ["id '0' is that of two objects"]),
}
REFUSED = {"54-half-pixels": "numbers up to 2 fit no unit"}


def boxes_of(scene: Scene) -> dict[str, list]:
    return {track.phrase: list(track.boxes) for track in scene.tracks}


def assert_same(found: dict[str, list], wanted: dict[str, list]) -> None:
    """The same objects, absent at the same key frames, in the same boxes."""
    assert list(found) == list(wanted)
    for name, row in wanted.items():
        assert [box is None for box in found[name]] == [box is None for box in row]
        for box, right in zip(found[name], row, strict=True):
            assert box is None or all(math.isclose(a, b, abs_tol=0.002) for a, b in zip(box, right, strict=True))


def test_every_file_is_judged():
    assert {file.stem for file in ODD.glob("*.txt")} == READ.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", READ)
def test_an_odd_reply_is_read(name):
    objects, negative, warnings = READ[name]
    planner = planner_named("paste", PlannerOptions(reply=str(ODD / f"{name}.txt")))
    planned = planner.plan("A brown bear walks from left to right in a forest")
    assert_same(boxes_of(planned.scene), objects)
    assert planned.scene.negative == negative
    assert planned.scene.background == ("" if name == "29-lvd-no-background" else "forest")
    assert len(planned.warnings) == len(warnings)
    assert all(part in line for part, line in zip(warnings, planned.warnings, strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_an_odd_reply_is_refused(name):
    with pytest.raises(AnimaticError, match=REFUSED[name]):
        read((ODD / f"{name}.txt").read_text())


def answer(boxes, **more):
    return {"background": "sea", "tracks": [{"phrase": "boat", "boxes": boxes}], **more}


UNITS = {
    "fractions": (1, [], [0.1, 0.2, 0.5, 0.8]),
    "per cent": (100, ["per cent"], [10, 20, 50, 80]),
    "pixels": (512, ["pixels of 512"], [51.2, 102.4, 256, 409.6]),
    "thousandths": (1000, ["thousandths of the frame"], [100, 200, 500, 800]),
}


@pytest.mark.parametrize("name", UNITS)
def test_units_are_found_by_their_range(name):
    _, said, box = UNITS[name]
    scene, changes = read(json.dumps(answer([box]))).scene("p")
    assert_same(boxes_of(scene), {"boat": [(0.1, 0.2, 0.5, 0.8)]})
    assert [part in line for part, line in zip(said, changes, strict=True)] == [True] * len(said)


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([[0, 0, 1920, 1080]], "numbers up to 1920 fit no unit"),
        ([[1, 2, 5, 8]], "numbers up to 8 fit no unit"),
        ([[0.1, 0.2, 0.3, 0.4], [100, 200, 300, 400]], "two units"),
        ([[60, 256, 128, 128]], r"reversed \(this may be x, y, width, height\)"),
        ([[-600, 0, 300, 300]], "want fractions of the frame"),
        ([["a", 0, 1, 1]], "tracks.0.boxes.0.0 is 'a'; want a number"),
        ([[True, 0, 1, 1]], "want a number"),
        ([[float("nan"), 0, 1, 1]], "want a number"),
        ([["0.1 m", 0, 1, 1]], "want a number"),
        ([[0, 0, 1, 1, 1]], "tracks.0.boxes.0 is .*want four numbers"),
        ([{"x": 1}], "want four numbers"),
        ([], "want a list of"),
        (None, "want a list of"),
    ],
)
def test_boxes_that_fit_no_unit_or_are_none(boxes, reason):
    with pytest.raises(AnimaticError, match=reason) as error:
        read(json.dumps(answer(boxes)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("track", "repair"),
    [
        ({"label": "boat", "bbox": [0.1, 0.2, 0.5, 0.8]}, "'label' is read as 'phrase'"),
        ({"name": "boat", "bboxes": [[0.1, 0.2, 0.5, 0.8]]}, "'bboxes' is read as 'boxes'"),
        ({"phrase": " boat ", "box": [0.1, 0.2, 0.5, 0.8]}, "one box is read as the only key frame"),
    ],
)
def test_other_names_of_keys(track, repair):
    reply = read(json.dumps({"background": None, "tracks": [track]}))
    assert_same(boxes_of(reply.scene("p")[0]), {"boat": [(0.1, 0.2, 0.5, 0.8)]})
    assert repair in reply.repairs


GOOD = json.dumps(answer([[0.1, 0.2, 0.5, 0.8]]))
DRAFT = json.dumps(answer([[0, 0, 1, 1]], background="land"))


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{DRAFT}</think>{GOOD}",
        f"<thinking>a\n{DRAFT}</thinking>\n{GOOD}",
        f"{DRAFT} no\n</think>\n{GOOD}",  # the chat template opened it
        f"<think>a</think>{GOOD}<think>{DRAFT}",
        f"{DRAFT}\nNo, rather:\n```json\n{GOOD}\n```",
        f"{{not this}} {GOOD}",
        f'{{"answer": {GOOD}}}',
        GOOD.replace('"sea",', '"sea",  # the sea\n'),
        GOOD.replace('"', '\\"'),
        GOOD.replace("0.2", ".2").replace("0.5", "+.5"),
        GOOD.replace("[0.1, 0.2, 0.5, 0.8]", "(0.1, 0.2, 0.5, 0.8), None"),
    ],
)
def test_the_last_whole_object_counts(text):
    reply = read(text)
    assert reply.background == "sea"
    assert_same(boxes_of(reply.scene("p")[0]), {"boat": [(0.1, 0.2, 0.5, 0.8), *reply.tracks[0].boxes[1:]]})


def test_a_cut_object_after_a_whole_one_is_named():
    reply = read(f"{GOOD}\nRather:\n{DRAFT[:-20]}")
    assert reply.background == "sea"
    assert reply.repairs[0].startswith("a later object was not read: the reply ends inside its JSON")
    with pytest.raises(AnimaticError, match="ends inside its JSON"):
        read(f"<think>{DRAFT}</think>{GOOD[:-20]}")


def test_repairs_of_a_story_are_kept_with_its_first_scene():
    scene = {**answer([["0.1", 0.2, 0.5, 0.8]]), "prompt": "a boat", "seconds": "3"}
    (_, first), (_, second) = read_story(json.dumps({"scenes": [scene, scene]})[:-1] + ",}")
    assert first.repairs == ("the JSON has a trailing comma", "numbers stand in quotes")
    assert second.repairs == () and second.seconds == 3
    with pytest.raises(AnimaticError, match=r"scenes.1.tracks.0.boxes.0.2 is 'x'"):
        read_story(json.dumps({"scenes": [scene, {**scene, **answer([[0, 0, "x", 1]])}]}))


def test_text_forms_in_fractions():
    frames = "\n".join(f"Frame {i}: [{{'id': 0, 'name': 'boat', 'box': [0.1, 0.2, 0.4, 0.6]}}]" for i in range(1, 7))
    for text in (
        f"{frames}\nBackground keyword: sea",
        "[('boat', [0.1, 0.2, 0.4, 0.6])]\nBackground prompt: sea",
    ):
        scene, changes = read(text).scene("p")
        assert_same(boxes_of(scene), {"boat": [(0.1, 0.2, 0.5, 0.8)] * len(scene.tracks[0].boxes)})
        assert changes == ("boxes with numbers up to 1 are read as fractions",)


def test_objects_that_share_an_id_and_a_name():
    frame = "[{'id': 0, 'name': 'cat', 'box': [0, 0, 64, 64]}, {'id': 0, 'name': 'cat', 'box': [256, 0, 64, 64]}]"
    frames = "\n".join(f"Frame {i}: {frame}" for i in range(1, 7))
    scene, _ = read(f"{frames}\nBackground keyword: sea").scene("p")
    assert [track.boxes[5][0] for track in scene.tracks] == [0, 0.5]


@pytest.mark.parametrize("name", ["car 1", "car1", "2 cars", "mp 3"])
def test_counts_are_no_names(name):
    frames = "\n".join(f"Frame {i}: [{{'id': 0, 'name': '{name}', 'box': [0, 0, 64, 64]}}]" for i in range(1, 7))
    (track,) = read(frames).tracks
    assert not any(letter.isdigit() for letter in track.phrase)


def test_a_reply_is_read_once_from_a_pipe(tmp_path):
    """A named pipe gives its text to the first reading alone."""
    import os
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_text, args=("I would rather not.",), daemon=True).start()
    with pytest.raises(AnimaticError, match="I would rather not"):
        planner_named("paste", PlannerOptions(reply=str(pipe))).plan("a boat")


@pytest.mark.parametrize("kind", ["image", "video", "story"])
def test_the_schema_is_strict(kind):
    """Every object names all its keys as required and allows no other; no key has a default."""
    schema = answer_schema(kind)
    todo = [schema]
    objects = 0
    while todo:
        node = todo.pop()
        if node.get("type") == "object":
            objects += 1
            assert sorted(node["required"]) == sorted(node["properties"]) and node["additionalProperties"] is False
        assert "default" not in node
        todo += [value for value in node.values() if isinstance(value, dict)]
        todo += [part for value in node.values() if isinstance(value, list) for part in value if isinstance(part, dict)]
    assert objects == (3 if kind == "story" else 2)


HOSTILE = {
    "braces": "{" * 500_000,
    "objects that are none": "{x" * 300_000,
    "tags": "<think>" * 100_000,
    "comments": "{/*" * 100_000,
    "quotes": "{'" * 200_000,
    "keys": '{"a":' * 100_000,
    "brackets": '{"tracks": ' + "[" * 300_000,
    "commas": '{"tracks": [' + "1,," * 100_000,
    "spaces": "Frame 1:" + " " * 300_000,
    "marks": "# * > " * 50_000,
    "thoughts": "<think>" + "x" * 300_000 + "</think>",
    "closing tags": "</think>" * 40_000,
    "escaped quotes": "{tracks: ( " + '\\"' * 90_000,
    "escaped apostrophes": "{tracks: ( " + "\\'" * 90_000,
    "cut": '{"tracks": [' + '{"phrase": "a", "boxes": [[0.1,],]},' * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_in_time(name):
    started = time.process_time()
    with pytest.raises(AnimaticError) as error:
        read(HOSTILE[name] + '"tracks"')
    assert time.process_time() - started < 20 and "\n" not in str(error.value)


@given(st.text(max_size=200), st.sampled_from(["", GOOD, DRAFT[:-9], "<think>", "</think>", "{", "'", "/*"]), st.text())
def test_any_text_is_read_or_refused_in_one_line(before, middle, after):
    message = ""
    try:
        read(before + middle + after)
    except AnimaticError as error:
        message = str(error)
    assert "\n" not in message
    assert len(without_thinking(before + middle + after)) == len(before + middle + after)


@pytest.mark.parametrize("text", ["Frame 1: the bear sits.", "Background keyword: meadow", "In frame 2: nothing."])
def test_frames_without_lists_are_refused_in_one_line(text):
    """Each was a traceback before."""
    with pytest.raises(AnimaticError, match=r"reply has frames without lists; want 1, 2, 3, 4, 5, 6 in this order"):
        read(text)


def test_a_name_of_many_spaces_is_read_in_time():
    frames = [f"Frame {f}: [{{'id': 0, 'name': 'a{' ' * 30_000}b', 'box': [1, 2, 3, 4]}}]" for f in range(1, 7)]
    started = time.process_time()
    assert len(read("\n".join(frames)).tracks) == 1
    assert time.process_time() - started < 2


def test_an_object_is_found_by_its_key():
    assert last_object('{"a": 1} {"b": 2}', "a").value == {"a": 1}
    assert last_object("no object", "a") is None
