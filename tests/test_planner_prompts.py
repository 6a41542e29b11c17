"""Prompts of strangers, read by the rules: each is planned right, or the plan says which word it did not understand."""

import itertools
import json
from pathlib import Path

import pytest
from planner.checks import area, centre, failures, find, seen

import animatic
from animatic.errors import AnimaticError
from animatic.planning.account import Role
from animatic.planning.rules import plan_with_account

FOLDER = Path(__file__).parent / "planner"


def cases(name):
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [pytest.param(case := json.loads(line), id=case["prompt"]) for line in lines]


def check(case):
    if refused := case.get("refused"):
        with pytest.raises(AnimaticError, match=None if refused is True else refused):
            animatic.plan(case["prompt"])
        return
    scene, account = plan_with_account(case["prompt"])
    assert failures(scene, case) == []
    assert set(case.get("said", ())) <= set(account.not_understood)
    assert scene.background == case.get("background", scene.background)
    assert scene.negative == case.get("negative", scene.negative)
    for noun in case.get("sides", ()):
        left, right = (centre(seen(track)[0])[0] for track in find(scene, noun))
        assert left < 0.3 and right > 0.7
    if shrinking := case.get("shrinking"):
        boxes = [seen(track) for track in find(scene, shrinking[0])]
        assert sum(area(b[-1]) < 0.77 * area(b[0]) for b in boxes) == shrinking[1]


@pytest.mark.parametrize("case", cases("kinds.jsonl"))
def test_a_prompt_that_was_silently_wrong(case):
    check(case)


@pytest.mark.parametrize("case", cases("held_out_1.jsonl"))
def test_a_prompt_that_was_held_out(case):
    """Until the rules were written anew these 30 were held out; they are so no longer, and prove no generality."""
    check(case)


@pytest.mark.parametrize("case", cases("fresh_60.jsonl"))
def test_a_prompt_written_by_somebody_else(case):
    """60 prompts by somebody who had not seen the rules; as first measured 49 were right and 4 silently wrong."""
    check(case)


@pytest.mark.parametrize("prompt", [p.values[0]["prompt"] for p in cases("kinds.jsonl") + cases("held_out_1.jsonl")])
def test_boxes_are_in_the_frame_and_no_two_are_the_same(prompt):
    try:
        scene = animatic.plan(prompt)
    except AnimaticError:
        return
    for a, b in itertools.combinations(scene.tracks, 2):
        assert a.boxes != b.boxes or a.phrase != b.phrase
    for box in itertools.chain.from_iterable(map(seen, scene.tracks)):
        assert min(box) >= 0 and max(box) <= 1 and area(box) > 0.002


@pytest.mark.parametrize(
    ("prompt", "roles"),
    [
        ("A black dog juggles and runs to the left through a forest at dawn, cinematic",
         {"black": "attribute", "dog": "object", "juggles": "not understood", "runs": "motion", "left": "motion",
          "forest": "place", "dawn": "style", "cinematic": "style"}),
        ("A cup on the left without a spoon", {"cup": "object", "left": "relation", "spoon": "unwanted"}),
        ("Two cats wearing red hats", {"Two": "attribute", "cats": "object", "wearing": "attribute",
                                       "red": "attribute", "hats": "attribute"}),
        ("The camera pans over a calm lake", {"camera": "not understood", "pans": "not understood", "calm": "place",
                                              "lake": "place"}),
        ("A ghost appears halfway", {"ghost": "object", "appears": "motion", "halfway": "motion"}),
    ],
)  # fmt: skip
def test_each_word_has_its_role(prompt, roles):
    _, account = plan_with_account(prompt)
    assert {each.word: each.role for each in account.words} == roles


def test_a_motion_that_shows_in_no_box_is_not_understood():
    """A still picture has no motion to judge; in a video a verb that moves nothing is said."""
    scene, account = plan_with_account("A bear walks to the left while it yodels")
    assert "yodels" in account.not_understood and "not understood: yodels" in scene.reasoning
    moving, _ = plan_with_account("A bear walks to the left")
    assert "not understood" not in moving.reasoning and len(set(moving.tracks[0].boxes)) > 1
    assert account.with_role(Role.MOTION) == ("walks", "left")
    assert account.warnings() == ("not understood, so in no box: 'yodels'",)
