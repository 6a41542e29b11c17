"""Plug-ins of installed packages: models, planners, methods and benchmarks, by name on every door."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny

import animatic
from animatic import Scene, Track, load, render
from animatic.backbones.components import Components
from animatic.benchmarks.registry import benchmark_named
from animatic.core.backbone import MemoryOptions
from animatic.errors import AnimaticError
from animatic.methods import METHODS, method_named
from animatic.planning.planners import planner_named
from animatic.video import Video

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
CAT = Scene("a cat", (Track("cat", ((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0))),), background="grass", seconds=0.5)
BACKBONES, PLANNERS = "animatic.backbones", "animatic.planners"
QUICK = {"steps": 2, "size": (64, 64)}
pytestmark = pytest.mark.filterwarnings("ignore::animatic.errors.AnimaticWarning")


def example(page: str) -> str:
    """The first code of a guide page: what a package would hold."""
    return re.findall(r"```python\n(.*?)```", (GUIDE / page).read_text("utf-8"), re.DOTALL)[0]


@pytest.fixture
def animatediff(package, tmp_path, monkeypatch):
    """The guide's backbone as a package, over a tiny Stable Diffusion."""
    tiny.folder(tmp_path / "stable-diffusion", tiny.unet2d())
    tiny.motion_adapter(tmp_path / "motion-adapter")
    monkeypatch.chdir(tmp_path)
    package("theirs", example("backbone.md"), {BACKBONES: {"animatediff": "read", "UNetMotionModel": "read"}})


# ---- models


def test_every_method_runs_on_a_backbone_of_another_package(animatediff):
    """Or is refused for what the model lacks; what runs differs from the model alone."""
    model = load("animatediff")
    assert isinstance(model, Components) and model.reference == "animatediff" and len(model.hooks.text_layers) == 4
    plain = render(CAT, model, "none", seed=1, **QUICK).frames.astype(int)
    assert plain.shape[1:] == (64, 64, 3) and np.abs(np.diff(plain, axis=0)).max() > 2, "it attends over time"

    everywhere = {"boxdiff": {"energy.layers": "*"}, "backward-guidance": {"energy.layers": "*"}}
    ran = set()
    for name in [*(n for n in METHODS if ":" not in n), "lvd+layout-attention"]:
        if name == "none":
            continue
        if "grounding" in {need for control in method_named(name).on(model) for need in control.needs}:
            with pytest.raises(AnimaticError, match=r"method .*GLIGEN"):
                render(CAT, model, name, **QUICK)
            continue
        settings = everywhere.get(name, {})
        if name == "lmd":
            settings = {"composition.energy.layers": "*", "composition.object_controls.energy.layers": "*"}
        found = render(CAT, model, name, seed=1, settings=settings, **QUICK).frames.astype(int)
        differs = np.abs(found - plain).max() > 0
        assert differs or name == "ditctrl", name
        ran.add(name)
    assert {"lvd", "layout-attention", "lmd", "multidiffusion", "boxdiff", "backward-guidance", "ditctrl+lvd"} <= ran


def test_a_backbone_by_name_on_the_command_line_and_in_a_benchmark(animatediff, here, tmp_path):
    here("models", "--json")
    code, out, err = here("models", "--json")
    assert code == 0 and '"animatediff"' in out and "theirs" in out, err
    quick = ("--model", "animatediff", "--steps", "1", "--size", "64x64")
    code, _, err = here("make", "a cat runs to the right", *quick, "--name", "a", "--method", "layout-attention")
    assert code == 0, err
    assert Video.load(tmp_path / "out/a.mp4").request.model == "animatediff"
    code, _, err = here("bench", "generate", "lvd", "--out", "r", *quick, "--limit", "1", "--frames", "2")
    assert code == 0 and "1 failed" not in err, err


def test_a_backbone_for_a_kind_of_folder(animatediff, package, tmp_path):
    """By the network's class in `model_index.json`."""
    folder = tmp_path / "theirs-folder"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"unet": ["diffusers", "UNetMotionModel"]}')
    model = load(str(folder))
    assert type(model).__name__ == "AnimateDiff" and model.reference == str(folder)
    (folder / "model_index.json").write_text('{"unet": ["diffusers", "AnotherModel"]}')
    with pytest.raises(AnimaticError, match="its unet is 'AnotherModel'; want one of"):
        load(str(folder))


def test_a_backbone_of_another_kind_takes_no_options_for_parts(package):
    """And replaces none of the names that are here."""
    code = "from animatic.core.backbone import Backbone\n\nclass Plain(Backbone):\n    name = 'plain'\n"
    code += "    def __call__(self, *a): ...\n    decode = to_latents = schedule = encode = __call__\n"
    code += "def plain(name, memory):\n    return Plain()\n\ndef nothing(name, memory):\n    return 3\n"
    package("other", code, {BACKBONES: {"plain": "plain", "nothing": "nothing", "mini": "nothing"}})
    assert load("plain").name == "plain" and load("mini").name == "mini"
    with pytest.raises(AnimaticError, match="model 'plain' has no components of diffusers, and takes no options"):
        load("plain", memory=MemoryOptions(save_memory=True))
    with pytest.raises(AnimaticError, match="entry point 'nothing' made a int; want a Backbone"):
        load("nothing")
    with pytest.raises(AnimaticError, match=r"unknown model 'nobody'; known: mini.*plain"):
        load("nobody")


# ---- planners, methods, benchmarks


def test_a_planner_of_another_package_on_the_command_line(package, here, tmp_path):
    code = example("planner.md").split("\n\n\nscene =")[0]
    package("placing", code, {PLANNERS: {"side-by-side": "SideBySide"}})
    code, _, err = here("plan", "a cat and a dog", "--planner", "side-by-side", "-o", "scene.json")
    assert code == 0, err
    assert [track.boxes[0][0] for track in animatic.load_scene(tmp_path / "scene.json").tracks] == [0.0, 0.5]
    quick = ("--steps", "1", "--frames", "1")
    assert here("make", "a cat and a dog", "--planner", "side-by-side", *quick)[0] == 0
    code, _, err = here("plan", "a cat", "--planner", "side-by-sid")
    assert code == 2 and "known: " in err and "side-by-side" in err


def test_a_planner_of_another_package_in_the_studio(package, tmp_path):
    from animatic.planning.planners import PlannerOptions
    from animatic.studio.api import Api
    from animatic.studio.work import Studio

    code = example("planner.md").split("\n\n\nscene =")[0]
    package("placing", code, {PLANNERS: {"side-by-side": "SideBySide"}, "animatic.methods": {"calm": "SideBySide"}})
    api = Api(Studio(tmp_path, models=("mini",)), {"side-by-side": PlannerOptions()})
    made = api.plan("a cat and a dog", "side-by-side")
    assert [track["phrase"] for track in made["story"]["tracks"]] == ["a cat", "a dog"]
    options = api.options()
    assert "side-by-side" in options["planners"] and "placing" in options["methods"]["calm"]


NAMED = {
    BACKBONES: load,
    PLANNERS: planner_named,
    "animatic.methods": method_named,
    "animatic.benchmarks": benchmark_named,
}


@pytest.mark.parametrize("group", NAMED)
def test_a_package_that_cannot_be_imported_is_one_line_with_its_name(group, package):
    package("broken", "raise RuntimeError('no licence\\nfor you')\n", {group: {"theirs": "thing"}})
    with pytest.raises(AnimaticError, match=r"'theirs' of package 'broken' .broken:thing. cannot be imported: Runtime"):
        NAMED[group]("theirs")
    package("empty", "other = 1\n", {group: {"missing": "thing"}})
    with pytest.raises(AnimaticError, match=r"'missing' of package 'empty' .* AttributeError"):
        NAMED[group]("missing")


def test_a_package_that_cannot_be_imported_harms_no_other_name(package, here):
    package("broken", "raise RuntimeError('no licence')\n", {group: {"theirs": "thing"} for group in NAMED})
    assert load("mini").name == "mini" and method_named("lvd").name == "lvd" and planner_named("rules")
    assert here("methods")[0] == 0 and here("models")[0] == 0
    code, _, err = here("make", "a cat", "--method", "theirs")
    assert code == 2 and err.count("\n") == 1 and "package 'broken'" in err


@pytest.mark.parametrize("group", [BACKBONES, PLANNERS])
def test_a_package_that_fails_when_called_is_one_line_with_its_name(group, package):
    package("broken", "def thing(*given):\n    return 1 / 0\n\nname = 3\n", {group: {"theirs": "thing", "no": "name"}})
    with pytest.raises(AnimaticError, match=r"'theirs' of package 'broken' .* failed: ZeroDivisionError"):
        NAMED[group]("theirs")
    with pytest.raises(AnimaticError, match="is int; want a function or class"):
        NAMED[group]("no")
