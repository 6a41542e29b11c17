"""Replies of language models: three forms read, what is broken quoted, nothing lost on the way back."""

import json

import pytest
from conftest import golden
from hypothesis import given
from hypothesis import strategies as st

from animatic.errors import AnimaticError
from animatic.planning.boxes import clip, legacy_filter, scaled_to_canvas
from animatic.planning.replies import read, read_story, to_text
from animatic.scene import Scene, Track

CAT = "('a cat', [10, 20, 100, 200])"
FRAME = "[{'id': 0, 'name': 'bear', 'box': [0, 256, 128, 128]}]"


def still(boxes=f"[{CAT}]", tail="\nBackground prompt: A forest\nNegative prompt: birds"):
    return boxes + tail


def film(frames=(FRAME,) * 6, tail="\nBackground keyword: forest"):
    return "Reasoning: it walks\n" + "\n".join(f"Frame {i}: {f}" for i, f in enumerate(frames, 1)) + tail


@pytest.mark.parametrize(
    "text",
    [
        still(),
        "Objects: " + still(),
        "Here you are:\n```\n" + still() + "\n```",
        "\n   " + still(),  # indented
        still().replace("Background prompt:", "**Background prompt:**"),
        still(f"- [{CAT}]"),
        still('[("a cat", [10, 20, 100, 200])]'),
        still("[(\u2018a cat\u2019, [10, 20, 100, 200])]"),
    ],
)
def test_stills(text):
    reply = read(text)
    assert (
        [t.phrase for t in reply.tracks] == ["a cat"] and reply.background == "A forest" and reply.negative == "birds"
    )
    assert reply.tracks[0].boxes == ((10 / 512, 20 / 512, 110 / 512, 220 / 512),) and reply.seconds == 0


@pytest.mark.parametrize(("said", "negative"), [("None", ""), ("none", "none"), ("", "")])
def test_still_without_negative(said, negative):
    assert read(still(tail=f"\nBackground prompt: x\nNegative prompt: {said}")).negative == negative
    assert read(still(tail="\nBackground prompt: x")).negative == ""


@pytest.mark.parametrize("boxes", ["", "[]", "No objects", "Objects: []", "[('a cat', []), ('a dog', None)]"])
def test_still_of_nothing(boxes):
    assert read(still(boxes)).tracks == ()


@pytest.mark.parametrize(
    "text",
    [
        film(),
        film().replace("Reasoning: it walks\nFrame 1: ", ""),
        film([f"```{FRAME}```"] * 6),
        film([f"{FRAME} - it walks on"] * 6),
        film([f"- {FRAME}"] * 6),
        film([FRAME.replace("name", "keyword")] * 6),
        film([FRAME.replace("'", '"')] * 6),
        film().replace("Frame", "**Frame").replace(": [{", ":** [{"),
        film(tail="\n\nBackground keyword: forest\nNote: hi"),
    ],
)
def test_films(text):
    reply = read(text)
    assert [t.phrase for t in reply.tracks] == ["bear"] and reply.background == "forest"
    assert reply.tracks[0].boxes == ((0, 0.5, 0.25, 0.75),) * 6


def test_a_film_keeps_identity_and_absence():
    frames = ["[]", FRAME, FRAME, "[]", FRAME.replace("bear", "brown bear"), "[]"]
    (bear,) = read(film(frames)).tracks
    assert bear.phrase == "bear" and [b is None for b in bear.boxes] == [True, False, False, True, False, True]
    two = "[{'id': 0, 'name': 'car 1', 'box': [0, 0, 9, 9]}, {'id': 1, 'name': 'car 2', 'box': [9, 9, 9, 9]}]"
    assert [t.phrase for t in read(film([two] * 6)).tracks] == ["car", "car"]
    assert read(film(tail="\nBackground keyword: ")).background == ""


JSON = {
    "reasoning": "r",
    "background": "sea",
    "negative": "",
    "tracks": [{"phrase": "boat", "boxes": [[0, 0, 1, 1], None]}],
}


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "Sure! Here it is:\n{}\nDone.", "[{}]"])
def test_json(around):
    reply = read(around.replace("{}", json.dumps(JSON)))
    assert reply.tracks[0].boxes == ((0, 0, 1, 1), None) and reply.background == "sea" and reply.seconds is None


BROKEN = {
    "words": ("I cannot help with that.", "neither JSON with tracks"),
    "empty": ("", "neither JSON with tracks"),
    "cut": (json.dumps(JSON)[:-30], "ends inside its JSON"),
    "pixels": (json.dumps({**JSON, "tracks": [{"phrase": "a", "boxes": [[0, 0, 1920, 300]]}]}), "want fractions"),
    "reversed": (json.dumps({**JSON, "tracks": [{"phrase": "a", "boxes": [[0.5, 0, 0.1, 1]]}]}), "reversed"),
    "nameless": (json.dumps({**JSON, "tracks": [{"boxes": [[0, 0, 1, 1]]}]}), "tracks.0"),
    "three": (json.dumps({**JSON, "tracks": [{"phrase": "a", "boxes": [[0, 0, 1]]}]}), "four numbers"),
    "uneven": (json.dumps({**JSON, "tracks": [*JSON["tracks"], {"phrase": "a", "boxes": [None]}]}), "same number"),
    "list": (still("[('a cat', [10, 20"), "('a cat', [10, 20"),
    "background": (still(tail=""), "neither JSON"),
    "backgrounds": (still(tail="\nBackground prompt: a\nBackground prompt: b"), "2 background prompts"),
    "true": (film([FRAME.replace("0,", "True,", 1)] * 6), "an object is"),
    "missing": (film([FRAME] * 5), "frames 1, 2, 3, 4, 5; want"),
    "swapped": (film().replace("Frame 3", "Frame 9"), "frames 1, 2, 9, 4, 5, 6; want"),
    "keywords": (film(tail="\nBackground keyword: a\nBackground keyword: b"), "2 lines 'Background keyword:'"),
    "thinking": ("<think>a boat? " + json.dumps(JSON), "ends inside <think>"),
    "long": ("x" * 1_000_001, "1,000,001 characters"),
    "code": (still("[__import__('os').getcwd()]"), "want a list of names and boxes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_replies_are_quoted(name):
    text, message = BROKEN[name]
    with pytest.raises(AnimaticError) as error:
        read(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_scene_is_repaired_with_a_word_on_what_changed():
    tracks = [{"phrase": "a", "boxes": [[-0.2, 0.5, 0.3, 1.2]]}, {"phrase": "b", "boxes": [[1.2, 0, 1.5, 1]]}]
    scene, changes = read(json.dumps({**JSON, "tracks": tracks})).scene("a and b")
    assert scene.tracks == (Track("a", ((0, 0.5, 0.3, 1),)),)
    assert changes == (
        "a: 1 of 1 boxes cut to the frame",
        "b: 1 of 1 boxes cut to the frame",
        "b: no box in the frame, left out",
    )


def test_stories():
    scenes = [{**JSON, "prompt": f"a boat {i}", "seconds": 3} for i in range(2)]
    story = read_story(json.dumps({"scenes": scenes}))
    assert [prompt for prompt, _ in story] == ["a boat 0", "a boat 1"] and story[0][1].seconds == 3
    for bad in ('{"scenes": []}', '{"scenes": [{"tracks": []}]}', "none", '{"scenes": [{"prompt": "a"}]}'):
        with pytest.raises(AnimaticError):
            read_story(bad)


numbers = st.integers(0, 512)
sides = st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1]).map(sorted)  # without area: absent
boxes = st.tuples(sides, sides).map(lambda s: tuple(v / 512 for v in (s[0][0], s[1][0], s[0][1], s[1][1])))
words = st.text("abcdefghij klmnop", min_size=1, max_size=20).map(lambda s: " ".join(s.split()) or "x")


@given(words, words, st.lists(st.tuples(words, st.lists(boxes | st.none(), min_size=6, max_size=6)), max_size=4))
def test_nothing_is_lost_between_scene_and_text(reasoning, background, things):
    tracks = tuple(Track(name, tuple(row)) for name, row in things if any(box is not None for box in row))
    scene = Scene("p", tracks, background, seconds=2.0, reasoning=reasoning)
    again, changes = read(to_text(scene)).scene("p")
    order = sorted(again.tracks, key=str) == sorted(scene.tracks, key=str)  # tracks are told when they first appear
    assert order and not changes and (again.background, again.reasoning) == (background, reasoning)


@given(words, words, st.lists(st.tuples(words, boxes), max_size=5))
def test_nothing_is_lost_between_still_and_text(background, negative, things):
    scene = Scene("p", tuple(Track(n, (b,)) for n, b in things), background, negative, 0.0)
    assert read(to_text(scene)).scene("p")[0] == scene
    fields = {"background": background, "negative": negative, "tracks": json.loads(scene.to_json())["tracks"]}
    assert read(json.dumps(fields)).scene("p", 0.0)[0] == scene


def test_lmd_filter_matches_the_recorded_one():
    recorded = golden("lmd_lvd/lmd_layout.json")
    cat, dog = ("a cat", (10, 20, 100, 200)), ("a dog", (300, 200, 100, 150))
    given_boxes = {
        "in bounds, no scale": ([cat, ("a dog", (300.5, 201.5, 100, 150))], False),
        "in bounds, scale": ([cat, dog], True),
        "one out of bounds forces scale of all": (
            [("a cat", (51, 67, 271, 324)), ("a dog", (302, 119, 211, 228))],
            False,
        ),
        "full-frame box dropped": ([("a cat", (0, 0, 512, 512)), dog], False),
        "zero-size dropped": ([("a cat", (10, 20, 0, 200)), dog], False),
        "origin beyond canvas dropped": ([("a cat", (600, 20, 10, 200)), dog], False),
        "max scale 3": ([("a cat", (200, 200, 50, 50))], True),
        "negative coords": ([("a cat", (-20, -30, 100, 200)), dog], False),
        "all dropped": ([("a cat", (0, 0, 512, 512))], True),
    }
    for name, (boxes, scale) in given_boxes.items():
        made = [[n, [int(v) for v in box]] for n, box in legacy_filter(boxes, scale)]
        assert made == recorded[f"filter_boxes :: {name}"], name


def test_boxes_of_a_picture_fill_it():
    """LMD's MultiDiffusion scales its boxes even where LMD is told to leave them, here 2.49 times."""
    box = (50 / 512, 100 / 512, 150 / 512, 300 / 512)
    still = Scene("p", (Track("a cat", (box,)), Track("all", ((0, 0, 1, 1),)), Track("a dog", ((0.3, 0.2, 0.5, 0.4),))))
    made = scaled_to_canvas(still)
    assert [track.phrase for track in made.tracks] == ["a cat", "a dog"]
    pixels = [tuple(v * 512 for v in track.boxes[0]) for track in made.tracks]
    assert pixels == [(0, 15, 249, 512), (257, 21, 512, 276)]

    moving = Scene("p", (Track("a cat", (box, None)),))
    assert scaled_to_canvas(moving) == moving
    assert scaled_to_canvas(Scene("p")) == Scene("p")


def test_clipping():
    assert clip((-0.5, 0.2, 0.5, 1.5)) == (0, 0.2, 0.5, 1) and clip((1.1, 0, 1.2, 1)) is None


@pytest.mark.parametrize("name", ["lmd", "lvd"])
def test_real_replies_all_parse(name):
    replies = [text for texts in golden(f"lmd_lvd/{name}_replies.json").values() for text in texts]
    assert len(replies) == {"lmd": 400, "lvd": 500}[name]
    for text in replies:
        reply = read(text, legacy=True)
        scene, _ = reply.scene("p")
        if name == "lvd":  # written and read again, it says the same
            again = read(to_text(scene)).scene("p")[0]
            assert (again.background, again.reasoning) == (scene.background, scene.reasoning)
            assert sorted(t.phrase for t in again.tracks) == sorted(t.phrase for t in scene.tracks)
