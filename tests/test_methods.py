"""Methods are data: their papers are named, a list of controls is one too, and a run changes no setting of them."""

import json
import re
from copy import deepcopy

import numpy as np
import pytest
import torch

from animatic import Scene, Track, load, render
from animatic.controls.guidance import Guidance, WaveGuidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.controls.sharing import ShareKV
from animatic.controls.windows import Windows
from animatic.core.control import Control, Run
from animatic.core.encoded_prompt import EncodedPrompt
from animatic.core.types import Step
from animatic.errors import AnimaticError
from animatic.methods import ANY, METHODS, Method, as_method, method_named
from animatic.methods.method import combined
from animatic.methods.settings import tuned
from animatic.timeline import Timeline
from animatic.window_plan import by_count

BEAR = Scene("A red bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),), seconds=1.0)
QUICK = {"steps": 2, "frames": 2}
WITHOUT_REPOSITORY = {"none"}  # classifier-free guidance was published without code


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_names_its_source(name):
    method = METHODS[name]
    assert method.name == name and method.summary.endswith(".") and "\n" not in method.summary
    assert re.search(r"\(.+ \d{4}\)$", method.paper) and re.fullmatch(r"\d{4}\.\d{5}", method.arxiv)
    assert bool(method.repository) is (name not in WITHOUT_REPOSITORY)
    assert not method.repository or method.repository.startswith("https://github.com/")


def test_the_list_shows_the_sources(here):
    rows = {row["method"]: row for row in json.loads(here("methods", "--json")[1])}
    assert rows["lvd"]["arXiv"] == "2309.17444" and rows["boxdiff"]["repository"].endswith("showlab/BoxDiff")
    assert "2412.18597" in here("methods")[1]


@pytest.mark.parametrize("name", METHODS)
def test_controls_are_the_same_after_a_run(name, mini):
    """`begin` binds copies: what is in METHODS is never written to."""
    method = METHODS[name]
    before = deepcopy({family: [repr(c) for c in controls] for family, controls in method.controls.items()})
    x = mini.noise([0], 2, 64, 64)
    run = Run(mini, mini.schedule(2), x, mini.encode([BEAR.prompt], [""]), scenes=[BEAR], guidance=3.0)
    for control in method.on(mini):
        if not hasattr(control, "object_controls"):  # runs a model of its own: see test_composition
            control.begin(run)
    assert before == {family: [repr(c) for c in controls] for family, controls in method.controls.items()}


def test_a_method_is_a_name_a_method_or_a_list():
    controls = [WaveGuidance(3.0), LayoutAttention()]
    method = as_method(controls)
    assert method.name == "controls: WaveGuidance + LayoutAttention" and list(method.controls[ANY]) == controls
    assert as_method("lvd") is METHODS["lvd"] is as_method(METHODS["lvd"])
    with pytest.raises(AnimaticError, match="control 2 of the list is 'lvd'; want a Control"):
        as_method([Guidance(), "lvd"])
    for wrong in (3, lambda scenes: []):
        with pytest.raises(AnimaticError, match="want a name, a Method, or a list of controls"):
            as_method(wrong)
    with pytest.raises(AnimaticError, match="method 'x' has controls for mini; want a key '' for every other"):
        Method("x", "X.", {"mini": (Guidance(),)})


@pytest.mark.parametrize("found", ["[Guidance(2.0)]", 'Method("theirs", "X.", {ANY: (Guidance(2.0),)})'])
def test_entry_points_give_a_method_or_a_list_of_controls(found, mini, package):
    code = "from animatic.controls.guidance import Guidance\nfrom animatic.methods import ANY, Method\n"
    package("calming", f"{code}CALM = {found}\n", {"animatic.methods": {"calm": "CALM"}})
    method = method_named("calm")
    assert method.name == "calm" and method.on(mini) == [Guidance(2.0)]
    assert render(BEAR, mini, "calm", 1, **QUICK).info["method"] == "calm"


def test_controls_by_family():
    by_family = combined(Guidance(), {"mini": ShareKV(("a",)), ANY: ShareKV(("b",))}, {"sd15": Windows(), ANY: Control})
    assert list(by_family) == [ANY, "mini", "sd15"]
    assert by_family["mini"] == (Guidance(), ShareKV(("a",)), Control) and by_family["sd15"][1:] == (
        ShareKV(("b",)), Windows(),
    )  # fmt: skip


def test_guidance_is_the_runs_the_methods_or_ones_own(mini):
    """A scale that is left open is that of the run, in the runs of single objects too."""
    run = Run(mini, mini.schedule(2), torch.zeros(1, 4, 1, 8, 8), guidance=3.0)
    step = Step(0, 2, 0.0)
    assert Guidance().begin(run).at(step) == 3.0 and Guidance(2.0).begin(run).at(step) == 2.0
    with pytest.raises(AnimaticError, match="guidance has no scale before the run begins"):
        Guidance().at(step)

    multidiffusion = METHODS["multidiffusion"]
    assert multidiffusion.guidance_on(mini) == mini.defaults.guidance
    assert METHODS["multidiffusion:published"].guidance_on(mini) == 10
    changed = tuned(METHODS["lvd"], {"guidance.scale": 2}, mini)
    assert changed.guidance_on(mini) == 2 and changed.on(mini)[0].scale is None


@pytest.mark.parametrize("method", ["ditctrl", "ditctrl:masked", "ditctrl:chained"])
def test_windows_of_a_single_scene_are_the_identity(method, mini):
    plain, windowed = (render(BEAR, mini, name, 1, **QUICK).frames for name in ("none", method))
    assert np.abs(plain.astype(int) - windowed).max() <= 1


def test_scenes_are_asked_of_the_run(mini):
    x = torch.zeros(1, 4, 2, 8, 8)
    for name in ("lvd", "layout-attention", "lvd-gligen", "lmd", "multidiffusion"):
        controls = [control for control in METHODS[name].on(mini) if not isinstance(control, Guidance)]
        with pytest.raises(AnimaticError, match=f"{type(controls[0]).__name__} needs scenes, and the run has prompts"):
            controls[0].begin(Run(mini, mini.schedule(2), x))


def test_words_are_counted_segment_by_segment(mini):
    """In a story the prompts are one sequence; a window is conditioned on one of them."""
    story = Timeline((BEAR, Scene("the bear and a red ball")), by_count(2, 4, 2, 0))
    run = Run(mini, mini.schedule(2), torch.zeros(1, 4, 6, 8, 8), scenes=[story])
    (prompt,) = run.prompts
    assert prompt.texts == ("A red bear", "the bear and a red ball") and prompt.size == mini.text.limit
    (first,), (second,) = prompt.positions("bear"), prompt.positions("bear", 1)
    assert (second,) == (prompt.size + mini.text.positions("the bear and a red ball", "bear")[0],)
    assert first == prompt.positions_within("bear")[0] and prompt.positions("cat", 1) == ()
    assert EncodedPrompt.of(BEAR, mini.text, 5).positions("bear") == (first,)
