"""The toy world: where sprites stand, how they move, and what captions say of them."""

import random
from pathlib import Path

import numpy as np
import pytest

import animatic
from animatic.backbones import load
from animatic.benchmarks.stories import story
from animatic.errors import AnimaticError
from animatic.planning.motions import MOTIONS, legs, until
from animatic.scene import Scene, Track
from animatic.toy import world
from animatic.toy.backdrop import backdrop
from animatic.toy.captions import held_out, invent
from animatic.toy.evals.controls import cases_of
from animatic.toy.evals.held_out import held_out_cases
from animatic.toy.objects import EASES, ToyObject

FRAMES = world.FRAMES
NAMED = "horse plane train bicycle duck sun moon cloud cake clock".split()


def drawn(*tracks: Track, frames: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return world.draw(Scene("a scene", tracks, "sea"), frames)


def test_the_world_has_many_nouns() -> None:
    assert len(world.NOUNS) >= 30 and set(NAMED) <= world.NOUNS.keys()
    assert world.identify("red trains") == ("train", "red") and world.identify("green sun") == ("sun", "")
    with pytest.raises(AnimaticError, match="zebra"):
        world.identify("zebra")


@pytest.mark.parametrize("noun", world.NOUNS)
def test_every_pixel_and_size_can_be_asked_for(noun: str) -> None:
    rng = random.Random(noun)
    for _ in range(40):
        side = rng.randint(world.SMALLEST, world.LARGEST)
        x, y = (rng.randint(0, world.SIZE - side) for _ in range(2))
        assert world.place(world.tight(noun, x, y, side)) == (x, y, side)


@pytest.mark.parametrize("noun", world.NOUNS)
def test_a_sprite_is_drawn_in_its_box(noun: str) -> None:
    box = world.tight(noun, 17, 11, 29)
    video, cover = drawn(Track(noun, (box, None)), frames=2)
    rows, columns = (np.flatnonzero((cover[0, 0] > 0.3).any(axis)) for axis in (1, 0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.array(edges) - np.array(box) * world.SIZE).max() <= 1.5  # anti-aliased edges, whole pixels
    assert not cover[0, 1].any() and np.array_equal(video[1], drawn()[0][0])


@pytest.mark.parametrize("noun", sorted(world.FACING))
def test_what_has_a_front_looks_where_it_goes(noun: str) -> None:
    left, right = ([world.tight(noun, x, 20, 24) for x in xs] for xs in ((30, 20, 10), (10, 20, 30)))
    assert world.mirrored(noun, left) == [False] * 3 and world.mirrored(noun, right) == [True] * 3

    # in the middle frame both stand at the same pixel: one picture is the other in a mirror
    there, back = (drawn(Track(noun, tuple(boxes)), frames=3)[1][0, 1, 20:44, 20:44] for boxes in (left, right))
    assert np.array_equal(there, back[:, ::-1]) and not np.array_equal(there, back)


def test_one_that_stops_or_turns_keeps_or_changes_its_front() -> None:
    xs = (10, 14, 18, 18, 18, 14, 10)
    turned = world.mirrored("car", [world.tight("car", x, 20, 24) for x in xs])
    assert turned[:3] == [True] * 3 and turned[-2:] == [False] * 2
    assert world.mirrored("bear", [world.tight("bear", x, 20, 24) for x in xs]) == [False] * 7


@pytest.mark.parametrize("ease", EASES)
def test_motion_is_smooth(ease) -> None:
    path = lambda u: (u, None, 1.0)  # noqa: E731
    track = ToyObject("ball", "", 24, (0.0, 0.5), path, ease).track(FRAMES)
    assert (ease(0.0), ease(1.0)) == (0.0, 1.0)

    squares = [world.place(box) for box in track.boxes if box]
    steps = np.diff([x for x, _, _ in squares])
    assert squares[0][0] == 0 and squares[-1][0] == 40 and (steps >= 0).all()
    assert np.abs(np.diff(steps)).max() <= 2  # rounding to pixels alone is 1


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_scenes_are_what_their_captions_say(frames: int) -> None:
    rng = random.Random(7)
    scenes = [invent(rng, frames) for _ in range(1500)]
    found = {world.identify(t.phrase) for s in scenes for t in s.tracks}
    assert {noun for noun, _ in found} == set(world.NOUNS)
    assert {s.background for s in scenes} == set(world.BACKGROUNDS) and {len(s.tracks) for s in scenes} == {
        1,
        2,
        3,
        4,
        5,
    }

    encoder = load("mini", "cpu").text
    for scene in scenes:
        for track in scene.tracks:
            assert len(track.boxes) == frames and any(track.boxes)
            assert encoder.positions(scene.prompt, track.phrase), (scene.prompt, track.phrase)
            assert not held_out(*world.identify(track.phrase), scene.background)


def test_coarse_scenes_have_few_places_and_sizes() -> None:
    rng = random.Random(3)
    squares = [world.place(box) for _ in range(200) for t in invent(rng, 1, is_coarse=True).tracks for box in t.boxes]
    assert {side for _, _, side in squares} == {16, 24, 32, 40}
    assert all(x % 8 == 0 and y % 8 == 0 for x, y, _ in squares)

    # What a path sets is not rounded.
    rising = ToyObject("ball", "", 27, (0.31, 0.4), lambda u: (None, u, 1.0))
    rising.snap(8)
    places = [world.place(box) for box in rising.track(FRAMES).boxes if box]
    assert {(x, side) for x, _, side in places} == {(16, 24)} and len({y for _, y, _ in places}) == FRAMES


def test_some_triples_are_held_out_of_every_background() -> None:
    cases = held_out_cases(random.Random(0), 40, tuple(world.NOUNS))
    assert all(held_out(*case.objects[0], case.scene.background) for case in cases)
    assert len({case.scene.background for case in cases}) >= 8 and len({case.objects[0][0] for case in cases}) >= 15


def test_front_things_hide_those_behind():
    box = world.tight("book", 16, 16, 32)
    _, cover = world.draw(Scene("a", (Track("book", (box,)), Track("book", (box,))), "sea"), 1)
    assert cover[1].sum() > 100 and cover[0].max() < 0.3


@pytest.mark.parametrize("noun", world.COLOURABLE)
def test_colours_are_seen(noun):
    looks = {c: world.sprite(noun, c, 28)[..., :3].sum((0, 1)) for c in world.COLOURS}
    assert looks["red"].argmax() == 0 and looks["green"].argmax() == 1 and looks["blue"].argmax() == 2
    assert looks["white"].sum() > looks["gray"].sum() > looks["black"].sum()


def test_unknown_things_are_named():
    with pytest.raises(AnimaticError, match="'zebra' names no object of the toy world; known: bear, cat"):
        world.identify("zebra")
    with pytest.raises(AnimaticError, match="background 'moon' is not of the toy world"):
        backdrop("moon")
    assert world.identify("red cars") == ("car", "red") and world.identify("green tree") == ("tree", "")


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


def test_a_model_is_asked_for_the_nouns_it_knows():
    """A model of fewer nouns than the world has is not asked for a horse; one that says nothing, for all."""
    rng = random.Random(0)
    few = world.known_nouns(["cat", "bear", "submarine"])
    assert few == ("bear", "cat") and world.known_nouns([]) == tuple(world.NOUNS)
    assert {story(rng, few)[0].tracks[0].phrase.split()[-1] for _ in range(20)} == set(few)
    assert {case.objects[0][0] for case in cases_of(20, 0, False, few)} == set(few)


def test_a_module_that_is_run_has_nothing_after_its_start() -> None:
    """Functions below the start do not exist yet when `python -m` runs it, as of the benchmark of stories."""
    package = Path(animatic.__file__).parent
    started = 0
    for file in package.rglob("*.py"):
        _, start, after = file.read_text("utf-8").partition('\nif __name__ == "__main__":\n')
        started += bool(start)
        indented = [not line or line.startswith("    ") for line in after.splitlines()]
        assert all(indented), file
    assert started
