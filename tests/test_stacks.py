"""Stacks of methods and lists of controls: in any pair each half has its effect, or the pair is refused by name."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
import tiny

from animatic import Scene, Track, load, render
from animatic.controls.attention_maps import AttentionMaps
from animatic.controls.boxdiff import BoxDiff
from animatic.controls.composition import Composition
from animatic.controls.energy import Energy
from animatic.controls.grounding import Gligen
from animatic.controls.guidance import Guidance, WaveGuidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.controls.regions import Regions
from animatic.controls.sharing import ShareKV
from animatic.controls.terms import BoxEnergy
from animatic.controls.windows import Windows
from animatic.core.control import Control
from animatic.core.order import check_order, sorted_controls
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.methods import ANY, METHODS, Method, method_named
from animatic.methods.settings import settings_of, tuned
from animatic.methods.stacks import parts_of, stacked
from animatic.video import Video

BALL = Scene(
    "a red ball and a blue car",
    (
        Track("red ball", ((0.0, 0.1, 0.4, 0.6), (0.1, 0.1, 0.5, 0.6))),
        Track("blue car", ((0.6, 0.4, 1.0, 0.9), (0.5, 0.4, 0.9, 0.9))),
    ),
    seconds=1.0,
)
STORY = (replace(BALL, seconds=2.0), replace(BALL, prompt="a blue car and a red ball", seconds=2.0))
QUICK = {"steps": 3, "frames": 1}

HALVES = ["lvd", "boxdiff", "layout-attention", "gligen", "multidiffusion", "lmd"]
PAIRS = ["+".join(pair) for pair in combinations(HALVES, 2)]
pytestmark = pytest.mark.filterwarnings("ignore::animatic.errors.AnimaticWarning")


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    return load(str(tiny.wan(tmp_path_factory.mktemp("model") / "m")))


@pytest.fixture(scope="module")
def alone(mini):
    """Frames of each half by itself."""
    return {name: frames(BALL, mini, name) for name in HALVES}


def frames(shown, model, method, **options):
    return render(shown, model, method, seed=1, **{**QUICK, **options}).frames.astype(int)


def far(found, other):
    """Whether two videos differ by more than the rounding of a pixel."""
    return np.abs(found - other).max() > 2


# ---- names


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("lvd+layout-attention", ["lvd", "layout-attention"]),
        ("lvd+", ["lvd+"]),
        ("lvd++layout-attention", ["lvd+", "layout-attention"]),
        ("lmd+:sam+boxdiff", ["lmd+:sam", "boxdiff"]),
        ("ditctrl+lvd", ["ditctrl+lvd"]),
        ("ditctrl+lvd+layout-attention", ["ditctrl+lvd", "layout-attention"]),
        ("ditctrl+layout-attention+boxdiff", ["ditctrl", "layout-attention", "boxdiff"]),
        ("lvd+gligen", ["lvd", "gligen"]),
        ("lvd+nothing", []),
        ("+lvd", []),
        ("lvd++", []),
    ],
)
def test_a_name_is_split_at_plus_signs_that_belong_to_no_method(name, parts):
    assert parts_of(name, list(METHODS)) == parts


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_of_its_own_wins(name):
    assert method_named(name) is METHODS[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "lvd+layout-atention",
            "unknown method 'layout-atention' in .*did you mean 'layout-attention'.*known: none, lvd",
        ),
        ("lvd+", None),
        ("lvd+none", "'none' is the model alone, and adds nothing"),
        ("lvd+boxdiff+lvd", "'lvd' twice"),
        ("lmd+lmd+", "'lmd' and 'lmd.' each have a Composition of their own; want one of them"),
        ("ditctrl+ditctrl:masked", "'ditctrl' and 'ditctrl:masked' each have a ShareKV"),
        ("gligen:published+lvd-gligen", "each have a Gligen of their own"),
    ],
)
def test_a_stack_that_contradicts_itself_is_refused(name, message):
    if message is None:
        assert method_named(name).name == name
        return
    with pytest.raises(AnimaticError, match=message):
        method_named(name)


def test_the_rest_of_a_method_is_merged_by_a_rule():
    """The first that has a value of its own, with a warning where another has another; papers are all of them."""
    with pytest.warns(AnimaticWarning, match="the wording of scenes is that of 'lvd', the first; that of boxdiff"):
        both = method_named("lvd+boxdiff")
    assert both.prompt_style is METHODS["lvd"].prompt_style and both.arxiv == "2309.17444; 2307.10816"
    assert method_named("lvd+multidiffusion").guidance == METHODS["multidiffusion"].guidance
    published = method_named("ditctrl:published+lvd")
    assert published.scheduler == "sat-dpm++" and published.layout == METHODS["ditctrl:published"].layout
    assert published.truncates_prompts and not both.truncates_prompts
    assert [type(control) for control in published.controls[ANY] if isinstance(control, Guidance)] == [WaveGuidance]

    ones = [Method(name, "X.", {ANY: (Guidance(),)}, scheduler=name, guidance={ANY: 3.0}) for name in ("euler", "ddim")]
    with pytest.warns(AnimaticWarning, match="the scheduler is that of 'euler'"):
        assert stacked("euler+ddim", ones).scheduler == "euler"


# ---- every pair


@pytest.mark.parametrize("name", PAIRS)
def test_each_half_of_a_pair_has_its_effect(name, mini, alone):
    found = frames(BALL, mini, name)
    for half in name.split("+"):
        assert far(found, alone[half]), f"{name} is {half} alone"


@pytest.mark.parametrize("name", ["layout-attention+lvd", "layout-attention+multidiffusion", "gligen+multidiffusion"])
def test_the_order_of_names_does_not_matter_where_wording_is_one(name, mini):
    """But for the wording of scenes: here both are given the same."""
    swapped = "+".join(reversed(name.split("+")))
    methods = [replace(method_named(each), prompt_style=METHODS["none"].prompt_style) for each in (name, swapped)]
    one, other = (frames(BALL, mini, method) for method in methods)
    assert not far(one, other)


@pytest.mark.parametrize("half", ["layout-attention", "boxdiff"])
def test_ditctrl_goes_with_any_in_a_story(half, mini):
    options = {"steps": 1, "frames": None}
    found = frames(STORY, mini, f"ditctrl+{half}", **options)
    assert far(found, frames(STORY, mini, "ditctrl", **options)) and far(found, frames(STORY, mini, half, **options))


@pytest.mark.parametrize("name", ["lvd+layout-attention", "multidiffusion+layout-attention", "lvd+multidiffusion"])
def test_pairs_on_a_transformer(name, wan):
    options = {"frames": 5, "size": (64, 64), "steps": 2}
    cat = Scene("a cat", (Track("cat", ((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0))),), seconds=1.0)
    found = frames(cat, wan, name, **options)
    for half in name.split("+"):
        assert far(found, frames(cat, wan, half, **options)), half


def test_pairs_in_a_batch_are_as_alone(mini):
    """Regions, an energy around them and layout attention inside: no sample sees another's boxes."""
    from animatic import render_batch

    other = replace(BALL, tracks=BALL.tracks[1:])
    for name in ("lvd+multidiffusion+layout-attention",):
        alone = [render(scene, mini, name, seed=1, **QUICK).frames.astype(int) for scene in (BALL, other)]
        batch = render_batch([other, BALL], mini, name, [1, 1], **QUICK)
        assert not far(batch[0].frames.astype(int), alone[1]) and not far(batch[1].frames.astype(int), alone[0])


def test_layout_attention_in_regions_uses_each_regions_box(mini):
    """Of two regions the first's box moves: only what its own region shows may change at once."""
    method = [Regions(bootstrap=0.0), Guidance(2.0), LayoutAttention()]
    plain = [Regions(bootstrap=0.0), Guidance(2.0), LayoutAttention(0.0, 0.0)]
    one = {"steps": 1, "frames": 1}
    changed = np.abs(frames(BALL, mini, method, **one) - frames(BALL, mini, plain, **one)).max((0, 3))
    left, right = changed[12:36, 4:22], changed[32:56, 42:60]  # inside the boxes
    assert left.max() > 2 and right.max() > 2


# ---- lists of one's own


ENERGY = Energy(BoxEnergy(), scale=100, until=0.5, iterations=1)
COMPOSITION = Composition(ENERGY, (Guidance(), ENERGY))


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ([Guidance(), Regions()], "Regions must stand around Guidance"),
        ([Guidance(), WaveGuidance()], "Guidance and WaveGuidance cannot be in one list; want one Guidance"),
        ([Windows(), Guidance()], "Guidance must stand around Windows"),
        ([Guidance(), Windows(), ENERGY], "Energy must stand around Windows"),
        ([Guidance(), ENERGY, COMPOSITION], "Composition must stand around Energy"),
        ([Guidance(), Windows(), COMPOSITION], "Composition must stand around Windows"),
        ([Guidance(), ShareKV(), Windows()], "Windows must stand around ShareKV"),
        ([Guidance(), Gligen(), Gligen(0.2)], "want one Gligen"),
        ([Regions(), Regions(), Guidance()], "want one Regions"),
        ([replace(COMPOSITION, object_controls=(Guidance(), Guidance()))], "want one Guidance"),
        ([ENERGY], "no control guides .controls: Energy.; want Guidance"),
        ([], "no control guides"),
    ],
)
def test_an_order_that_cannot_work_is_refused_before_any_work(controls, message, mini, monkeypatch):
    def work(*given, **named):
        raise AssertionError("there was work")

    monkeypatch.setattr(type(mini), "__call__", work)
    monkeypatch.setattr(type(mini), "encode", work)
    for shown, options in ((BALL, QUICK), (STORY, {"steps": 2})):
        with pytest.raises(AnimaticError, match=f"method 'controls: .*{message}"):
            render(shown, mini, controls, **options)


@pytest.mark.parametrize(
    "controls",
    [
        [ENERGY, Guidance(2.0)],
        [ENERGY, Regions(), Guidance(2.0)],
        [Regions(), Guidance(2.0), ENERGY],
        [LayoutAttention(), Regions(), Guidance(2.0)],
        [Regions(), Guidance(2.0), Gligen()],
        [ENERGY, replace(ENERGY, terms=BoxDiff()), Guidance(2.0), LayoutAttention()],
        [COMPOSITION, Regions(), Guidance(2.0)],
    ],
)
def test_an_order_that_can_work_does_for_one_and_for_two(controls, mini):
    from animatic import render_batch

    one = render(BALL, mini, controls, seed=1, **QUICK).frames.astype(int)
    assert far(one, frames(BALL, mini, [Guidance(2.0)]))
    first, _ = render_batch([BALL, replace(BALL, tracks=BALL.tracks[:1])], mini, controls, [1, 2], **QUICK)
    assert not far(first.frames.astype(int), one)


def test_an_energy_is_the_same_around_guidance_and_inside(mini):
    inside, around = ([Guidance(2.0), ENERGY], [ENERGY, Guidance(2.0)])
    assert not far(frames(BALL, mini, inside), frames(BALL, mini, around))


def test_a_control_of_ones_own_may_guide(mini):
    @dataclass
    class Mine(Control):
        def denoise(self, inner, x, step, cond):
            return inner(x, step, cond.positive)

    assert not far(frames(BALL, mini, [Mine()]), frames(BALL, mini, [Guidance(1.0)]))


def test_controls_are_sorted_into_an_order_that_works():
    mixed = [LayoutAttention(), ShareKV(), Guidance(), Windows(), ENERGY, Regions()]
    with pytest.raises(AnimaticError):
        check_order(mixed)
    ordered = sorted_controls(mixed)
    check_order(ordered)
    assert ordered[0] == LayoutAttention() and len(ordered) == len(mixed)

    class Outer(Control):
        stands_around = frozenset({"Inner"})

    class Inner(Control):
        stands_around = frozenset({"Outer"})

    with pytest.raises(AnimaticError, match="each of Outer, Inner wants to stand around another"):
        sorted_controls([Outer(), Inner()])


def test_maps_of_a_scene_in_regions_are_of_its_whole_prompt(mini):
    """--save-attention of multidiffusion: the maps are there, and the frames are as without."""
    maps = {}
    watch = AttentionMaps(lambda sample, phrase, heat: maps.update({phrase: heat}))
    found = render(BALL, mini, "multidiffusion", seed=1, callbacks=[watch], **QUICK).frames.astype(int)
    assert len(maps) == 2
    assert all(bool(heat.isfinite().all()) and float(heat.max()) > 0.5 for heat in maps.values())
    assert not far(found, frames(BALL, mini, "multidiffusion"))


# ---- settings, and every door


def test_settings_of_both_halves_are_named(mini):
    """A second control of a class is numbered, in the order of the names."""
    both = method_named("lvd+boxdiff+layout-attention")
    known = settings_of(both, mini)
    assert known["energy.scale"].default == 100 and known["energy2.scale"].default == 10
    changed = tuned(both, {"energy2.scale": 7, "layoutattention.inside": 1, "energy.until": 0.1}, mini).on(mini)
    first, second = (control for control in changed if isinstance(control, Energy))
    assert (first.until, first.scale, second.scale) == (0.1, 100, 7)
    assert [control.inside for control in changed if isinstance(control, LayoutAttention)] == [1]


def test_a_stack_on_the_command_line(here, tmp_path):
    code, out, err = here("methods", "lvd+layout-attention")
    assert code == 0 and "energy.scale" in out and "layoutattention.inside" in out, err
    quick = ("--steps", "1", "--frames", "1", "--seed", "1")
    stack = ("--method", "lvd+layout-attention", "--set", "energy.scale=50", "--set", "layoutattention.until=0.5")
    code, _, err = here("make", "a bear walks to the right", *stack, *quick, "--name", "a")
    assert code == 0, err
    made = Video.load(tmp_path / "out/a.mp4")
    assert made.info["method"] == made.request.method == "lvd+layout-attention"
    assert made.request.settings == {"energy.scale": 50.0, "layoutattention.until": 0.5}
    code, _, err = here("make", "a bear", "--method", "lvd+layout-atention", *quick)
    assert code == 2 and err.count("\n") == 1 and "did you mean 'layout-attention'?" in err


def test_a_stack_in_a_benchmark(here, tmp_path):
    from animatic.benchmarks.run_store import Run

    command = ("bench", "generate", "lvd", "--out", "r", "--steps", "1", "--frames", "1", "--limit", "1")
    code, _, err = here(*command, "--method", "lvd+layout-attention")
    assert code == 0, err
    (job,) = (job for job in Run("r").jobs() if job.file)
    assert Video.load(tmp_path / "r" / job.file).info["method"] == "lvd+layout-attention"
    assert here(*command[:4], "s", *command[5:], "--method", "lvd+lvd")[0] == 2


def test_a_stack_in_the_studio(tmp_path):
    from animatic.studio.api import Api
    from animatic.studio.work import Studio

    api = Api(Studio(tmp_path, models=("mini",)))
    paths = [each["path"] for each in api.fields("mini", "lvd+layout-attention")]
    assert "energy.scale" in paths and "layoutattention.inside" in paths


def test_an_edit_of_regions_is_refused_by_name(mini):
    from animatic import edit

    video = render(BALL, mini, "multidiffusion", seed=1, **QUICK)
    with pytest.raises(AnimaticError, match="method 'multidiffusion' has a prompt for each box, and an edit follows"):
        edit(video, swap={"ball": "star"}, model=mini)


# ---- what there is, and what is refused


def test_what_the_package_has_is_listed():
    """Methods, controls and the version too, though they are imported late."""
    import animatic

    listed = dir(animatic)
    assert {"METHODS", "Control", "Method", "__version__", "load", "plan", "render", "generate", "edit"} <= set(listed)
    assert all(getattr(animatic, name) is not None for name in listed)
    assert animatic.METHODS is METHODS and animatic.Control is Control


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda animatic: animatic.plan("a cat", planner=3), "planner is 3; want a name, or an object with plan"),
        (lambda animatic: animatic.load(None), "model is None; want a name, a folder, a hub id or a pipeline"),
        (lambda animatic: animatic.load(3), "model is 3; want a name"),
        (lambda animatic: animatic.render("a cat"), "scene is 'a cat'; want a Scene"),
        (lambda animatic: animatic.render(BALL, stepz=3), "unknown option 'stepz'; known: steps"),
        (lambda animatic: animatic.render(BALL, method=[3]), "control 1 of the list is 3; want a Control"),
    ],
)
def test_what_cannot_be_used_is_one_line(call, message):
    import animatic

    with pytest.raises(AnimaticError, match=message):
        call(animatic)


def test_a_refusal_names_the_method_and_what_would_do(tmp_path):
    model = load(str(tiny.folder(tmp_path / "m", tiny.unet3d())))
    wanted = "method 'gligen'.*modelscope-gligen.* or --method"
    with pytest.raises(AnimaticError, match=wanted):
        render(Scene("a cat"), model, "gligen", steps=1)
