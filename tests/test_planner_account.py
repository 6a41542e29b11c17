"""The account of words: whatever a prompt says, nothing is lost, and nothing but `AnimaticError` is raised."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animatic.benchmarks import lmd, lvd, wild
from animatic.cli import main
from animatic.errors import AnimaticError
from animatic.planning.account import Role, joined
from animatic.planning.planners import PlannerOptions, planner_named
from animatic.planning.rules import plan_with_account
from animatic.planning.stories import plan_story_with_accounts
from animatic.planning.tokens import tokens

FOLDER = Path(__file__).parent / "planner"
REAL = [json.loads(line)["prompt"] for file in sorted(FOLDER.glob("*.jsonl")) for line in file.open(encoding="utf-8")]
REAL += sorted({case.prompt for benchmark in (lmd, lvd, wild) for case in benchmark.cases()})
SUBJECTS = ("a dog", "two red cars", "The left cat", "one of three birds", "Mr. Fox", "a herd of sheep", "it", "nobody")
VERBS = ("runs", "is not moving", "chases a mouse", "sits on a bench", "dances", "is followed by a wolf", "takes off",
         "walking", "throws a ball to a man", "appears halfway", "rides a horse", "grows bigger", "and")  # fmt: skip
WAYS = ("to the left", "from left to right", "in circles", "towards the camera", "up a hill", "into the distance",
        "past each other", "over a log", "slowly", "without people", "at night", "down", "of the frame")  # fmt: skip
TAILS = (
    "",
    ", cinematic, 4k",
    ", no cars",
    ". Then it stops",
    ", slow motion",
    " while a bird flies away",
    "; zoom in",
)
SOUP = (
    "a an the no two 4 red small dog cats people left right top of from to into onto its it and or then that which is "
    "not moves flies flying thrown stops with without in on between above each other appears half video forest first , "
    ". ! ; : up down away around both lots of dozens one another -- 'x 's é close-up camera shot"
).split(" ")
sentences = st.builds(
    "{} {} {}{}".format, *(st.sampled_from(words) for words in (SUBJECTS, VERBS, WAYS, TAILS))
)  # fmt: skip
soups = st.lists(st.sampled_from(SOUP), min_size=1, max_size=20).map(" ".join)


def check(prompt):
    """Each content word is in the account, once, where it stands in the prompt."""
    try:
        scene, account = plan_with_account(prompt)
    except AnimaticError:
        return
    content = [(t.start, t.end) for t in tokens(prompt) if t.is_content]
    assert [(each.start, each.end) for each in account.words] == content
    assert all(isinstance(each.role, Role) for each in account.words)
    assert all(prompt[each.start : each.end] == each.word for each in account.words)

    # what is not understood is said, what is said to move does
    assert all(word in scene.reasoning for word in account.not_understood)
    assert bool(account.not_understood) == ("not understood: " in scene.reasoning) == bool(account.warnings())
    if account.with_role(Role.OBJECT):
        assert scene.tracks
    if account.with_role(Role.UNWANTED):
        assert scene.negative
    if account.with_role(Role.PLACE):
        assert scene.background


@pytest.mark.parametrize("prompt", REAL)
def test_no_word_of_a_real_prompt_is_lost(prompt):
    check(prompt)


@settings(deadline=None, max_examples=300)
@given(sentences | soups | st.text(max_size=60))
def test_no_word_of_any_prompt_is_lost(prompt):
    check(prompt)


@settings(deadline=None, max_examples=60)
@given(st.lists(sentences, min_size=1, max_size=4).map(". ".join) | soups)
def test_no_word_of_a_story_is_lost(text):
    with suppress(AnimaticError):
        story, accounts = plan_story_with_accounts(text)
        assert [account.prompt for account in accounts] == [scene.prompt for scene in story]
        whole = joined(accounts)
        assert all(whole.prompt[each.start : each.end] == each.word for each in whole.words)


def test_the_planner_returns_accounts_and_warnings():
    planned = planner_named("rules").plan("A bear juggles")
    assert planned.warnings == ("not understood, so in no box: 'juggles'",)
    assert planned.accounts[0].to_list()[0] == {"word": "bear", "role": "object", "start": 2, "end": 6}
    story = planner_named("rules", PlannerOptions("story")).plan("A bear walks left. Then it yodels.")
    assert story.warnings == ("scene 2: not understood, so in no box: 'yodels'",) and len(story.accounts) == 2


def test_explain(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(SystemExit) as end:
        main(["plan", "A red bear juggles without cats", "--explain"])
    out, err = capsys.readouterr()
    assert end.value.code == 0 and json.loads(out)["negative"] == "cats"
    assert "\x1b[" in err and "object: bear" in err and "not understood: juggles" in err
    with pytest.raises(SystemExit) as end:
        main(["plan", "A bear", "--explain", "--planner", "as-typed"])
    assert end.value.code == 2 and "--explain wants planner rules" in capsys.readouterr().err
