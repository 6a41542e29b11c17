"""Texts to stories by rule, and the same through a language model's reply."""

import json
from itertools import pairwise

import pytest

from animatic.errors import AnimaticError
from animatic.planning.planners import PlannerOptions, planner_named
from animatic.planning.stories import plan_story
from animatic.scene import Scene, lasting


def said(text, **how):
    return [scene.prompt for scene in plan_story(text, **how)]


def test_texts_are_cut_into_scenes_that_stand_alone():
    horse = plan_story("A white horse runs across a field, then it drinks at a lake")
    assert [s.prompt for s in horse] == ["A white horse runs across a field", "A white horse drinks at a lake"]
    assert [s.background for s in horse] == ["field", "lake"]
    assert said("A dog chases a cat through a park; the cat climbs a tree, and then sleeps") == [
        "A dog chases a cat through a park", "The cat climbs a tree", "The cat sleeps",
    ]  # fmt: skip
    assert said("a red car drives left | a blue car drives left\n") == [
        "A red car drives left",
        "A blue car drives left",
    ]
    assert said("A bear sleeps") == ["A bear sleeps"]
    assert said("A brown star rises. The star falls. A red car passes the star") == [
        "A brown star rises", "The brown star falls", "A red car passes the brown star",
    ]  # fmt: skip
    assert said("A red car and a blue car on a road. The car stops")[1] == "The car stops", "which one is not said"


def test_things_go_on_from_where_they_were():
    ball = plan_story("A red ball moves to the right on the grass. Then it moves up. It rests for 1.5 seconds.")
    assert [s.seconds for s in ball] == [3.0, 3.0, 1.5] and {s.background for s in ball} == {"grass"}
    for before, after in pairwise(ball):
        assert after.tracks[0].boxes[0] == pytest.approx(before.tracks[0].boxes[-1])
    assert ball[1].tracks[0].boxes[-1][0] == ball[0].tracks[0].boxes[-1][0], "what moves up stays on its side"
    assert len(set(ball[2].tracks[0].boxes)) == 1


def test_what_cannot_be_placed_is_told_in_words():
    (scene,) = plan_story("They run")
    assert not scene.tracks and "the prompt alone" in scene.reasoning


PETAL = (
    "A gentle close shot of the same rose petal, where the camera gradually pulls back to reveal the entire unfurling "
    "bloom for 5 seconds."
)
BUSH = (
    "A smooth full shot of the rose bush, which | bends in the wind of the storm: then it sways; it shakes, it falls!"
)


@pytest.mark.parametrize("between", ["\n", "\n\n", " | "])
def test_long_lines_are_kept_to_the_letter(between):
    """DiTCtrl's prompts, one a line: no word is another's, none is left out, and nothing is placed."""
    long = BUSH.replace(" | ", " ")
    story = plan_story(between.join([PETAL, long, PETAL]) + "\n", 4.0)
    assert [s.prompt for s in story] == [PETAL, long, PETAL] and [s.seconds for s in story] == [4.0] * 3
    assert not any(s.tracks for s in story)
    assert len(plan_story("\n".join([long] * 9))) == 9, "as many as were written"


def test_short_lines_among_long_ones_are_read():
    story = plan_story(f"A red ball moves to the right\n{PETAL}\nIt moves up for 2 seconds.")
    assert [s.prompt for s in story] == ["A red ball moves to the right", PETAL, "A red ball moves up"]
    assert [bool(s.tracks) for s in story] == [True, False, True] and story[2].seconds == 2.0
    assert len(plan_story(PETAL.replace(",", ". Then a cat walks left,"))) == 2, "alone it is a text to be cut"


def test_as_typed_plans_nothing():
    text = "a white fox in the snow.\na gray wolf in the snow"
    story = planner_named("as-typed", PlannerOptions("story", 2.0)).plan(text).story
    assert [s.prompt for s in story] == text.split("\n") and not any(s.tracks for s in story)
    assert planner_named("as-typed", PlannerOptions("image")).plan(" a | b ").scene == Scene("a | b", seconds=0.0)
    with pytest.raises(AnimaticError, match="the prompt is empty"):
        planner_named("as-typed", PlannerOptions("story")).plan(" | ")


def test_durations():
    story = lasting(plan_story("A cat walks left. It sits for 9 seconds"), 6)
    assert [s.seconds for s in story] == [1.5, 4.5]
    with pytest.raises(AnimaticError, match="seconds is 0 for a story"):
        lasting(story, 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [(" ", "the story is empty"), ("A cat. " * 7, "the story has 7 scenes; want at most 6"),
     ("A cat sits for 0 seconds", "scene 1 of the story lasts 0 seconds")],
)  # fmt: skip
def test_bad_texts(text, why):
    with pytest.raises(AnimaticError, match=why):
        plan_story(text)


def test_planners_by_name(tmp_path):
    story = planner_named("rules", PlannerOptions("story", 2.0)).plan("A cat walks left. Then it sits.").story
    assert [s.seconds for s in story] == [2.0, 2.0]
    track = {"phrase": "cat", "boxes": [[0, 0, 0.5, 0.5]] * 6}
    scenes = [{"prompt": p, "seconds": 3, "tracks": [track]} for p in ("A cat walks", "A cat sits")]
    reply = tmp_path / "reply.json"
    reply.write_text(json.dumps({"scenes": scenes}))
    asked = planner_named("paste", PlannerOptions("story", reply=str(reply))).plan("A cat walks, then sits").story
    assert [s.prompt for s in asked] == ["A cat walks", "A cat sits"] and asked[1].seconds == 3
