"""Stage-1 benchmarks: the published prompts, predicates and tables."""

import hashlib
import json

import pytest
from conftest import GOLDEN, golden

from animatic.benchmarks import lmd, lvd, wild
from animatic.benchmarks.cases import PUBLISHED, RULES, Case, Tally, first_track, judge
from animatic.cli import main
from animatic.planning.replies import Reply, ReplyObject
from animatic.planning.rules import plan

BOX = (0.1, 0.1, 0.3, 0.3)
RIGHT = (0.6, 0.1, 0.8, 0.3)


def layout(**things):
    """Things by name (underscores are blanks), boxes as given or one for all six frames."""
    rows = {name.replace("_", " "): boxes if isinstance(boxes, list) else [boxes] * 6 for name, boxes in things.items()}
    return Reply(tuple(ReplyObject(name, tuple(boxes)) for name, boxes in rows.items()))


def case(cases, start):
    return next(c for c in cases if c.prompt.startswith(start))


@pytest.mark.parametrize(
    ("benchmark", "count", "distinct", "digest"),
    [
        (lmd, 400, 250, "05333f912cfba8603f153d53593f8524172627f28baaae462ae05235058eec9b"),
        (lvd, 500, 184, "b23fdf978bac2060d0ab82877fa79d93bd6739046883434c2d0489973bd5184f"),
    ],
)
def test_prompts_are_the_published_ones(benchmark, count, distinct, digest):
    prompts = [case.prompt.rstrip(".") for case in benchmark.cases()]
    assert (len(prompts), len(set(prompts))) == (count, distinct)
    assert hashlib.sha256("\n".join(prompts).encode()).hexdigest() == digest


def bench(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["bench", *arguments, "--json"])
    assert not end.value.code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("lmd", {"negation": 100, "numeracy": 97, "attribution": 100, "spatial": 99}),
        ("lvd", {"numeracy": 100, "attribution": 100, "visibility": 100, "dynamic": 73, "sequential": 15}),
    ],
)
def test_the_published_tables_come_out(name, tasks, capsys):
    file = GOLDEN / "lmd_lvd" / f"{name}_replies.json"
    made = bench(capsys, "score", name, "--replies", str(file))
    assert {task: tally["correct"] for task, tally in made["tasks"].items()} == tasks and not made["unread"]
    if name == "lmd":
        assert made["failures"] == [111, 132, 133, 306]


@pytest.mark.parametrize("name", ["lmd", "lvd", "wild"])
def test_the_offline_planner_on_all_three(name, capsys):
    made = bench(capsys, "plan", name, "--cache", "none")
    assert made["overall"]["correct"] / made["overall"]["total"] >= 0.98


def test_lmd_predicates():
    cases = lmd.cases()
    recorded = golden("lmd_lvd/lmd_layout.json")
    three_cats = layout(cattle=BOX, bobcat=BOX, a_cat=BOX)
    counted = case(cases, "A realistic photo of a scene with three cats")
    assert counted.holds(three_cats, PUBLISHED) == (recorded["count substring 'cat' in cattle/bobcat/a cat"] == 3)
    assert not counted.holds(three_cats, RULES["named"])
    left = Case("spatial", "", lambda scene, rules: lmd._stand(scene, rules, ["a cat", "a dog"], "left"))
    assert left.holds(layout(a_cat=BOX, a_dog=RIGHT), PUBLISHED)
    assert not left.holds(layout(a_cat=BOX, a_dog=BOX), PUBLISHED)  # equal middles
    assert not left.holds(layout(a_cat=BOX), PUBLISHED)
    near = layout(a_cat=BOX, a_dog=(0.12, 0.1, 0.32, 0.3))
    assert left.holds(near, PUBLISHED) and not left.holds(near, RULES["margin"])


def test_lvd_predicates():
    cases, flat = lvd.cases(), (0.2, 0.2, 0.2, 0.4)
    one = case(cases, "A realistic lively video of a scene with one moving car")
    assert one.holds(layout(car=BOX, dog=[BOX, BOX, BOX, None, None, None]), PUBLISHED)  # a tie goes to the smaller
    assert not one.holds(layout(car=BOX, dog=BOX), PUBLISHED) and one.holds(layout(car=BOX, dog=BOX), RULES["named"])
    assert one.holds(layout(car=flat), PUBLISHED) and not one.holds(layout(car=flat), RULES["positive"])
    late = case(cases, "A realistic lively video of a scene in which a moving car appears only in the second half")
    assert late.holds(layout(car=[None, None, BOX, None, BOX, None]), PUBLISHED)  # the middle frames do not count
    assert not late.holds(layout(car=[BOX, None, None, BOX, BOX, BOX]), PUBLISHED)
    moves = case(cases, "A realistic lively video of a scene with a car moving from the left to the right")
    assert moves.holds(layout(car=[BOX, *[None] * 4, RIGHT]), PUBLISHED) and not moves.holds(layout(car=BOX), PUBLISHED)
    both = next(c for c in cases if c.task == "attribution")
    names = both.prompt.removeprefix("A realistic lively video of a scene with ").split(" and ")
    a, b = (name.split(" ", 1)[1].replace(" ", "_") for name in names)
    assert both.holds(layout(**{a: BOX, b: [BOX] * 3 + [None] * 3}), PUBLISHED)
    assert not both.holds(layout(**{a: BOX, b: [BOX] * 2 + [None] * 4}), PUBLISHED)


def test_names_end_in_the_word():
    assert (
        first_track(layout(bobcat=BOX), "cat")
        and first_track(layout(cat_toy=BOX), "cat")
        and not first_track(layout(cattle=BOX), "cat")
    )


def test_failures_stay_in_the_denominator():
    cases = wild.cases()
    score = judge(cases, [None] * 60)
    assert score.overall == Tally(0, 60) and score.failures == tuple(range(60))
    some = judge(cases, [plan(cases[0].prompt), *[None] * 59])
    assert some.overall.correct == 1 and 0 not in some.failures


def test_intervals():
    low, high = Tally(97, 100).interval()
    assert (round(low, 4), round(high, 4)) == (0.9155, 0.9897)  # Wilson 1927, worked by hand
    assert Tally(0, 0).interval() == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "xyz", "--replies", "r.json"], "unknown benchmark 'xyz'; known: lmd, lvd, wild"),
        (["score", "lmd", "--replies", "none.json"], "none.json: cannot be read"),
        (["score", "lmd", "--replies", "r.json", "--rules", "kind"], "unknown rules 'kind'"),
        (["plan", "lmd", "--planner", "magic"], "unknown planner 'magic'"),
    ],
)
def test_bad_input(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(SystemExit) as end:
        main(["bench", *arguments])
    error = capsys.readouterr().err
    assert end.value.code == 2 and message in error and error.count("\n") == 1
