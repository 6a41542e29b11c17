"""The offline planner: what common English says of things, places and ways is in the boxes."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animatic.errors import AnimaticError
from animatic.planning.rules import plan


def phrases(scene):
    return [track.phrase for track in scene.tracks]


def middles(track):
    return [None if b is None else ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in track.boxes]


def moved(track):
    ends = [m for m in middles(track) if m is not None]
    return tuple(round(b - a, 2) for a, b in zip(ends[0], ends[-1], strict=True))


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.parametrize(
    ("prompt", "way"),
    [
        ("A bear walks from the left to the right", (1, 0)),
        ("A red car drives from right to left on the road", (-1, 0)),
        ("a cat walking to the left", (-1, 0)),
        ("A green fish moving upwards, sea background", (0, -1)),
        ("a ball falls down", (0, 1)),
        ("A person moving from the bottom to the top at night", (0, -1)),
        ("A bear moving diagonally up to the left", (-1, -1)),
        ("a star moving diagonally down to the right", (1, 1)),
        ("a turtle crawls to the upper right corner", (1, -1)),
        ("a dog runs from the lower left to the upper right", (1, -1)),
        ("a zebra gallops rightwards", (1, 0)),
        ("a ball is thrown to the left", (-1, 0)),
        ("A flying bird", (1, 0)),
        ("a tree stands still", (0, 0)),
    ],
)
def test_ways(prompt, way):
    (track,) = plan(prompt).tracks
    assert tuple((d > 0.2) - (d < -0.2) for d in moved(track)) == way


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("A bear walks from the left to the right", ["bear"]),
        ("two small red cars and a blue ball on the grass", ["red car", "red car", "blue ball"]),
        ("three dogs frolic in a park", ["dog"] * 3),
        ("several people", ["person"] * 3),
        ("a red and a blue car", ["red car", "blue car"]),
        ("an orange cat and an orange", ["orange cat", "orange"]),
        ("a teddy bear on a chair", ["teddy bear", "chair"]),
        ("A realistic lively video of a scene with two lively cats", ["cat"] * 2),
        ("oscar drives a car", ["oscar", "car"]),
        ("a spaceship above a xylophone", ["spaceship", "xylophone"]),
        ("a cup without people or cars", ["cup"]),
        ("A bear sits on the grass and a dog", ["bear", "dog"]),
        ("a big red and a small blue car", ["red car", "blue car"]),
    ],
)
def test_things(prompt, said):
    assert phrases(plan(prompt)) == said


@pytest.mark.parametrize(
    ("prompt", "first", "axis", "second"),
    [
        ("a cat to the left of a dog", 0, 0, 1),
        ("a cat to the right of a dog", 1, 0, 0),
        ("a bird above a tree", 0, 1, 1),
        ("a fish below a boat", 1, 1, 0),
        ("a cat on the left and a dog on the right", 0, 0, 1),
        ("to the left of a tree, there is a house", 1, 0, 0),
        ("a book between a cup and a chair", 1, 0, 0),
        ("a book between a cup and a chair", 0, 0, 2),
        ("a star at the top and a flower at the bottom", 0, 1, 1),
    ],
)
def test_relations(prompt, first, axis, second):
    tracks = plan(prompt).tracks
    assert middles(tracks[first])[0][axis] + 0.1 < middles(tracks[second])[0][axis]


def test_relative_motion():
    bird, car = plan("a bird moving from the left of the car to its right").tracks
    assert middles(bird)[0][0] < middles(car)[0][0] < middles(bird)[-1][0]
    assert middles(car)[0] == middles(car)[-1]


@pytest.mark.parametrize(("half", "seen"), [("first", [0, 1, 2]), ("second", [3, 4, 5])])
def test_halves(half, seen):
    (track,) = plan(f"a scene in which a lively cat appears only in the {half} half of the video").tracks
    assert [i for i, box in enumerate(track.boxes) if box is not None] == seen


def test_sequences():
    (cat,) = plan(
        "A realistic lively video of a top-down viewed scene in which a cat initially on the upper left of the scene. "
        "It first moves to the upper right of the scene and then moves to the lower right of the scene.",
        keys=5,
    ).tracks
    a, b, c = (middles(cat)[i] for i in (0, 2, 4))
    assert a[0] + 0.3 < b[0] and abs(a[1] - b[1]) < 0.1
    assert b[1] + 0.3 < c[1] and abs(b[0] - c[0]) < 0.1


def test_paths():
    (ball,) = plan("a ball bounces up and down", keys=9).tracks
    heights = [m[1] for m in middles(ball)]
    assert heights[0] > heights[2] + 0.2 and heights[4] > heights[2] + 0.2
    (thrown,) = plan("a ball is thrown to the right", keys=5).tracks
    heights = [m[1] for m in middles(thrown)]
    assert heights[2] < heights[0] - 0.2 and heights[4] == heights[0]  # a parabola
    (star,) = plan("a star moves in a circle", keys=5).tracks
    spots = middles(star)
    assert spots[0] == pytest.approx(spots[4]) and spots[2][0] - spots[0][0] > 0.2
    near, far = (plan(p).tracks[0] for p in ("a bear comes closer", "a bear walks away from the camera"))
    assert area(near.boxes[-1]) > 2 * area(near.boxes[0]) and area(far.boxes[0]) > 2 * area(far.boxes[-1])
    (car,) = plan("a car drives to the right and stops", keys=11).tracks
    assert car.boxes[7] == car.boxes[10] != car.boxes[3]


def test_one_thing_behind_another():
    dog, cat = plan("a dog chases a cat").tracks
    assert moved(dog)[0] > 0.1 and moved(cat)[0] > 0.1 and middles(dog)[0][0] < middles(cat)[0][0]


def test_sizes_and_backgrounds():
    small, plain, big = (area(plan(f"a {size} cup").tracks[0].boxes[0]) for size in ("small", "blue", "big"))
    assert small < plain < big
    said = {"a dog in a forest": "forest", "a cat, snow background": "snow", "a bird at night": "night", "a cup": ""}
    assert {prompt: plan(prompt).background for prompt in said} == said
    assert plan("a bird flies to the left").background == "sky"


def test_what_is_not_wanted_and_not_understood():
    scene = plan("a bear juggles on the beach without people")
    assert scene.negative == "people" and "juggles" in scene.reasoning and phrases(scene) == ["bear"]


@pytest.mark.parametrize(
    "prompt",
    [
        "four cats",
        "a dog and two cats and a tree",
        "two cars drive to the right",
        "a boat sails from left to right while a bird flies from right to left",
        "twelve balls",
    ],
)
def test_nothing_stands_in_the_way(prompt):
    tracks = plan(prompt).tracks
    for a, b in itertools.combinations(tracks, 2):
        for p, q in zip(a.boxes, b.boxes, strict=True):
            w, h = min(p[2], q[2]) - max(p[0], q[0]), min(p[3], q[3]) - max(p[1], q[1])
            assert w <= 0.01 or h <= 0.01 or w * h < 0.1 * min(area(p), area(q))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "the prompt is empty"),
        ("  ", "the prompt is empty"),
        ("walking", "names no object"),
        ("?!", "names no object"),
        ("30 cats", "names 30 objects"),
    ],
)
def test_bad_prompts(prompt, message):
    with pytest.raises(AnimaticError, match=message):
        plan(prompt)


def test_a_still_and_its_origin():
    scene = plan("a cat", seconds=0)
    assert scene.keys == 1 and scene.seconds == 0
    assert plan("a cat") == plan("a cat")  # nothing is drawn by lot
    with pytest.raises(AnimaticError, match="keys is 0"):
        plan("a cat", keys=0)


WORDS = (
    "a an the two three 4 red blue small bear cat dogs people left right top middle corner of from to its it and then "
    "moves flies thrown stops with without no in on between above next initially appears half video scene forest , . ! "
    "up down away around first second then background both of lots another -- 'x x' é 猫"
).split(" ")


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=25).map(" ".join) | st.text(max_size=60))
def test_any_words_make_a_sound_scene_or_a_clear_error(prompt):
    with suppress(AnimaticError):
        assert all(len(track.boxes) == 6 for track in plan(prompt).tracks)
