"""The toy world films what a scene says, and its captions name what it shows."""

import random

import numpy as np
import pytest

from animatic.core.text import find
from animatic.errors import AnimaticError
from animatic.planning.motions import MOTIONS, legs, until
from animatic.scene import Scene, Track
from animatic.toy import grid_world as toyworld
from animatic.toy.grid_captions import invent


def test_the_world_is_as_large_as_promised():
    assert len(toyworld.NOUNS) >= 16 and len(toyworld.COLOURS) >= 8 and len(toyworld.BACKGROUNDS) >= 8
    assert {"bear", "cat", "dog", "bird", "car", "ball", "fish", "tree", "person"} <= toyworld.NOUNS.keys()


def test_boxes_and_places_are_inverse():
    for noun in toyworld.NOUNS:
        for side in range(toyworld.SMALLEST, toyworld.LARGEST + 1):
            for x, y in ((0, 0), (1, 3), (toyworld.GRID - side, toyworld.GRID - side)):
                assert toyworld.place(toyworld.tight(noun, x, y, side)) == (x, y, side)


@pytest.mark.parametrize("noun", toyworld.NOUNS)
def test_a_thing_is_drawn_in_its_box_and_nowhere_else(noun):
    box = toyworld.tight(noun, 2, 3, 4)
    video, cover = toyworld.draw(Scene(noun, (Track(noun, (box, None)),), "sea"), 2)
    assert video.shape == (2, 64, 64, 3) and video.dtype == np.uint8 and cover.shape == (1, 2, 64, 64)
    assert np.array_equal(video[1], (toyworld.backdrop("sea") * 255 + 0.5).astype(np.uint8)) and not cover[0, 1].any()
    changed = np.argwhere((video[0] != video[1]).any(-1) & (cover[0, 0] > 0.3))
    (y0, x0), (y1, x1) = changed.min(0), changed.max(0) + 1
    assert np.abs(np.array([x0, y0, x1, y1]) / 64 - box).max() <= 2.5 / 64


def test_front_things_hide_those_behind():
    box = toyworld.tight("book", 2, 2, 4)
    _, cover = toyworld.draw(Scene("a", (Track("book", (box,)), Track("book", (box,))), "sea"), 1)
    assert cover[1].sum() > 100 and cover[0].max() < 0.3


@pytest.mark.parametrize("noun", toyworld.COLOURABLE)
def test_colours_are_seen(noun):
    looks = {c: toyworld.sprite(noun, c, 28)[..., :3].sum((0, 1)) for c in toyworld.COLOURS}
    assert looks["red"].argmax() == 0 and looks["green"].argmax() == 1 and looks["blue"].argmax() == 2
    assert looks["white"].sum() > looks["gray"].sum() > looks["black"].sum()


def test_unknown_things_are_named():
    with pytest.raises(AnimaticError, match="'zebra' names no object of the toy world; known: bear, cat"):
        toyworld.identify("zebra")
    with pytest.raises(AnimaticError, match="background 'moon' is not of the toy world"):
        toyworld.backdrop("moon")
    assert toyworld.identify("red cars") == ("car", "red") and toyworld.identify("green tree") == ("tree", "")


@pytest.mark.parametrize("frames", [1, 8])
def test_captions_name_every_thing(frames):
    rng = random.Random(1)
    scenes = [invent(rng, frames) for _ in range(1500)]
    assert all(find(scene.prompt, track.phrase) for scene in scenes for track in scene.tracks)
    assert {len(scene.tracks) for scene in scenes} == {1, 2, 3, 4}
    assert {toyworld.identify(t.phrase)[0] for s in scenes for t in s.tracks} == set(toyworld.NOUNS)
    assert {s.background for s in scenes} == set(toyworld.BACKGROUNDS)
    assert len({s.prompt for s in scenes}) > 1300


def test_motions_go_where_they_say():
    ends = {name: (path(0), path(1)) for name, path in MOTIONS.items()}
    assert ends["right"] == ((0, None, 1), (1, None, 1)) and ends["up"] == ((None, 1, 1), (None, 0, 1))
    assert ends["approach"][0][2] < ends["approach"][1][2] and ends["recede"][0][2] > ends["recede"][1][2]
    assert MOTIONS["throw right"](0.5)[1] == pytest.approx(0) and MOTIONS["throw right"](0)[1] == 1
    assert MOTIONS["throw left"](0)[0] == 1
    assert MOTIONS["circle"](0.25)[1] == pytest.approx(0) and MOTIONS["circle"](0.5)[0] == pytest.approx(1)
    assert until(MOTIONS["right"], 0.5)(0.75) == (1, None, 1)
    corners = legs((0, 0), (1, 0), (1, 1))
    assert [corners(u)[:2] for u in (0, 0.5, 1)] == [(0, 0), (1, 0), (1, 1)]
    for path in MOTIONS.values():
        assert all(-1e-9 <= v <= 1 + 1e-9 for u in np.linspace(0, 1, 21) for v in path(u) if v is not None)
