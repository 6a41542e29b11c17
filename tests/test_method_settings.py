"""Settings of methods by name: one mechanism for the command line, Python, benchmarks and the studio."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from conftest import close

from animatic import Scene, Track, load, render
from animatic.benchmarks.run_store import Run
from animatic.controls.boxdiff import BoxDiff
from animatic.controls.compositing import centred
from animatic.controls.energy import Energy, LinearDecay
from animatic.controls.guidance import Guidance
from animatic.controls.sharing import ShareKV
from animatic.controls.terms import BoxEnergy, Corners, Ratio
from animatic.controls.windows import Windows
from animatic.core.encoded_prompt import EncodedPrompt
from animatic.core.setting_values import given_settings, shown
from animatic.errors import AnimaticError
from animatic.methods import METHODS, method_named
from animatic.methods.settings import settings_of, tuned
from animatic.request import GenerationRequest
from animatic.video import Video

BEAR = Scene("A red bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),), seconds=1.0)
QUICK = {"steps": 2, "frames": 2}


@pytest.fixture(scope="module")
def mini():
    return load("mini")


def controls(method, values, model):
    return tuned(method_named(method), values, model).on(model)


def numbers(found):
    """As it is written, whole numbers in one way."""
    return re.sub(r"(\d)\.0\b", r"\1", repr(found))


def one(kind, found):
    return next(control for control in found if isinstance(control, kind))


def test_every_setting_of_every_method_is_named_shown_and_settable(mini):
    """What is shown as the present value can be typed, and changes nothing."""
    for name in METHODS:
        method = method_named(name)
        known = settings_of(method, mini)
        assert known
        for setting in known.values():
            assert setting.help and setting.path == setting.path.lower() and setting.range
            field = setting.path.rpartition(".")[2]
            assert re.search(rf"\b{field}\b", setting.help), f"{setting.path}: its class does not say what it is"
            typed = given_settings([f"{setting.path}={shown(setting.default)}"])
            same = settings_of(tuned(method, typed, mini), mini)
            assert numbers(same) == numbers(known), setting.path


@pytest.mark.parametrize(
    ("name", "text", "seen"),
    [
        ("energy.scale", "30", lambda e: e.scale == 30),
        ("energy.until", "10/40", lambda e: e.until == 0.25),
        ("energy.iterations", "1", lambda e: e.iterations == 1),
        ("energy.iterations", "4, 3,2", lambda e: e.iterations == (4, 3, 2)),
        ("energy.layers", "mid_block.*,up_blocks.0.*", lambda e: e.layers == ("mid_block.*", "up_blocks.0.*")),
        ("energy.layers", "mid_block.*", lambda e: e.layers == ("mid_block.*",)),
        ("energy.legacy", "on", lambda e: e.legacy is True),
        ("energy.terms.inside", "0.5", lambda e: e.terms == BoxEnergy(inside=0.5)),
        ("energy.terms", "ratio", lambda e: e.terms == Ratio()),
        ("energy.terms", "boxdiff", lambda e: e.terms == BoxDiff()),
        ("energy.step_size", "linear", lambda e: e.step_size == LinearDecay()),
        ("Energy.Scale", "30", lambda e: e.scale == 30),  # as the studio once named it
    ],
)
def test_a_text_is_read_as_the_type_of_its_field(name, text, seen, mini):
    assert seen(one(Energy, controls("lvd", given_settings([f"{name}={text}"]), mini)))


def test_a_setting_reaches_its_control_and_no_other(mini):
    plain, changed = (controls("lvd", values, mini) for values in ({}, {"energy.terms.inside": 0.5}))
    assert repr(changed) == repr(plain).replace("inside=0.75", "inside=0.5") != repr(plain)


def test_a_part_of_another_kind_has_its_own_settings(mini):
    """In whatever order they are given, and with the originals' arithmetic where that is used."""
    energy = one(Energy, controls("lvd:published", {"energy.terms.least": 0.5, "energy.terms": "ratio"}, mini))
    assert energy.terms == Ratio(least=0.5, legacy=True)


def test_runs_of_single_things_have_settings_of_their_own(mini):
    """LMD's `--loss_scale` is of each thing alone, `--overall_loss_scale` of the whole."""
    values = {"composition.object_controls.energy.scale": 7, "composition.energy.scale": 9, "composition.frozen": 0.3}
    (made,) = (c for c in controls("lmd", values, mini) if hasattr(c, "object_controls"))
    assert one(Energy, made.object_controls).scale == 7 and made.energy.scale == 9 and made.frozen == 0.3
    assert one(Guidance, made.object_controls).scale is None, "that of the run"


def test_settings_of_windows_are_of_stories(mini):
    values = {"windows.during": "0.1,0.4", "windows.batch": 2, "sharekv.threshold": "none", "windows.source": "first"}
    found = controls("ditctrl", values, mini)
    windows = one(Windows, found)
    assert (windows.during, windows.batch, windows.source) == ((0.1, 0.4), 2, "first")
    assert one(ShareKV, found).threshold is None
    with pytest.raises(AnimaticError, match=r"windows.batch is set, but ditctrl has no windows for this scene"):
        render(BEAR, mini, "ditctrl", settings={"windows.batch": 2}, **QUICK)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"energy.until": 1.5}, "energy.until is 1.5; want a number, 0 to 1, such as 0.4"),
        ({"energy.until": -0.5}, "energy.until is -0.5; want a number, 0 to 1"),
        ({"energy.scale": float("nan")}, "energy.scale is nan; want a number, 0 or more, such as 100"),
        ({"energy.scale": "much"}, "energy.scale is 'much'; want a number"),
        ({"energy.scale": "1/0"}, "energy.scale is '1/0'; want a number"),
        ({"energy.scale": True}, "energy.scale is True; want a number"),
        ({"energy.scale": [1]}, "energy.scale is [1]; want a number"),
        ({"energy.scale": object}, "energy.scale is <class 'object'>; want a number"),
        ({"energy.iterations": 2.5}, "energy.iterations is 2.5; want whole"),
        ({"energy.iterations": True}, "energy.iterations is True; want whole"),
        (
            {"energy.iterations": "3,x"},
            "energy.iterations is '3,x'; want whole, 0 or more or numbers with commas, such as 3",
        ),
        ({"energy.legacy": 1}, "energy.legacy is 1; want on or off, such as false"),
        ({"energy.layers": 1}, "energy.layers is 1; want names with commas, such as *"),
        ({"energy.layers": ""}, "energy.layers is ''; want names with commas"),
        ({"energy.terms": "boxes"}, "energy.terms is 'boxes'; want one of box, ratio"),
        ({"energy.scal": 3}, "lvd on mini has no setting 'energy.scal'; near: energy.scale=100"),
        ({"scale": 3}, "near: guidance.scale=4, energy.scale=100"),
        ({"nothing": 3}, "has no setting 'nothing'; known: guidance.scale=4, guidance.interval=none"),
        ({"gligen.beta": 3}, "lvd on mini has no setting 'gligen.beta'"),
        ({"energy.scale": 3, "Energy.scale": 4}, "setting 'energy.scale' is given twice"),
    ],
)
def test_bad_settings_are_one_line(values, message, mini):
    with pytest.raises(AnimaticError, match=re.escape(message)) as refusal:
        tuned(method_named("lvd"), values, mini)
    assert "\n" not in str(refusal.value)


OUTSIDE = {  # of each kind, what is no such value whatever its limits
    "number": ["-1", "nan", "inf", "much", "", True],
    "whole": ["-1", "2.5", "nan", "much", "", True],
    "switch": ["maybe", "2", ""],
    "choice": ["no such choice", 3],
    "text": [object, {"a": 1}],
}


@pytest.mark.parametrize("name", [*METHODS, "lvd+layout-attention", "multidiffusion+boxdiff"])
@pytest.mark.filterwarnings("ignore::animatic.errors.AnimaticWarning")
def test_every_setting_of_every_method_keeps_to_its_range(name, mini):
    """The range that docs/methods.md lists: its ends are taken, what is outside is refused in a line that states it."""
    method = method_named(name)
    for path, setting in settings_of(method, mini).items():
        outside = list(OUTSIDE[setting.kind])
        if setting.kind in ("number", "whole") and setting.most is not None:
            tuned(method, {path: setting.most}, mini)
            outside += [setting.most + 1, f"{setting.most + 1:g}"]
        for value in outside:
            with pytest.raises(AnimaticError) as refusal:
                tuned(method, {path: value}, mini)
            message = str(refusal.value)
            assert message.startswith(f"{path} is ") and f"; want {setting.range}, such as " in message, message
            assert "\n" not in message

        # a slip of typing is answered with the setting that was meant
        with pytest.raises(AnimaticError) as refusal:
            tuned(method, {f"{path}x": 1}, mini)
        assert re.search(rf"^{re.escape(name)} on mini has no setting .*near: .*{re.escape(path)}=", str(refusal.value))


@pytest.mark.parametrize("texts", [["energy.scale"], ["=3"], ["a=1", "A=2"]])
def test_bad_texts_are_one_line(texts):
    with pytest.raises(AnimaticError, match=r"want NAME=VALUE|given twice"):
        given_settings(texts)


def test_a_sampling_share_is_as_many_steps_as_the_quotient_says(mini):
    """--max_index_step 7 of 50 steps is until=7/50: those very levels, for every count of steps."""
    for steps in (25, 40, 50):
        for count in range(steps + 1):
            share = one(Energy, controls("lvd", {"energy.until": f"{count}/{steps}"}, mini)).until
            assert sum(index / steps < share for index in range(steps)) == count


def test_python_carries_them_in_the_request(mini):
    values = {"energy.scale": 30, "energy.iterations": [2, 1], "guidance.scale": 2}
    video, plain = (render(BEAR, mini, "lvd", 3, settings=s, **QUICK) for s in (values, {}))
    request = GenerationRequest.of(json.loads(json.dumps(video.info)), "it")
    assert request.settings == {"energy.scale": 30.0, "energy.iterations": (2, 1)} and request.sampling.guidance == 2
    assert "scale=30" in video.info["controls"] and not np.array_equal(video.frames, plain.frames)

    again = render(BEAR, mini, "lvd", 3, settings=request.settings, guidance=request.sampling.guidance, **QUICK)
    assert np.array_equal(again.frames, video.frames)
    with pytest.raises(AnimaticError, match=r"guidance is 3, and 2 in the settings; want one of them"):
        render(BEAR, mini, "lvd", settings={"guidance.scale": 2}, guidance=3.0, **QUICK)


def test_a_story_takes_settings(mini):
    story = (replace(BEAR, seconds=2.0), replace(BEAR, seconds=2.0))
    made = render(story, mini, "ditctrl", settings={"windows.during": "0,1"}, steps=2)
    assert made.info["request"]["settings"] == {"windows.during": [0.0, 1.0]}
    assert not np.array_equal(made.frames, render(story, mini, "ditctrl", steps=2).frames)


def test_the_command_line_makes_renders_and_edits_with_them(here, tmp_path):
    """The same frames from every door; an edit goes on with the file's own; another method lets them go."""
    quick = ("--model", "mini", "--steps", "2", "--frames", "2", "--seed", "3")
    code, _, err = here("make", "A bear walks to the left", "--name", "a", *quick, "--set", "energy.scale=30")
    assert code == 0, err
    made = Video.load(tmp_path / "out/a.mp4")
    assert made.info["request"]["settings"] == {"energy.scale": 30.0}

    code, _, err = here("render", "out/a.json", "--name", "b", *quick, "--set", "energy.scale=30.0")
    assert code == 0 and np.array_equal(Video.load(tmp_path / "out/b.mp4").frames, made.frames), err
    code, _, err = here("render", "out/a.json", "--name", "a", *quick, "--set", "energy.scale=40")
    assert code == 0 and "out/a.* holds another result" in err

    code, _, err = here("edit", "out/a.mp4", "--swap", "bear=cat", "--set", "energy.iterations=1")
    assert code == 0, err
    assert Video.load(tmp_path / "out/a.edit.mp4").info["request"]["settings"] == {
        "energy.scale": 30.0, "energy.iterations": 1,
    }  # fmt: skip
    code, _, err = here("edit", "out/a.mp4", "--swap", "bear=dog", "--method", "none")
    assert code == 0, err
    assert not Video.load(tmp_path / "out/a.edit-2.mp4").info["request"]["settings"]

    code, _, err = here("make", "a bear", "--model", "mini", "--set", "energy.scal=30")
    assert code == 2 and err.count("\n") == 1 and "near: energy.scale=100" in err


def test_methods_lists_them(here):
    code, out, err = here("methods", "lvd", "--json")
    known = {each["path"]: each for each in json.loads(out)}
    assert code == 0 and known["energy.scale"]["default"] == 100 and known["energy.layers"]["default"] == "*", err
    assert known["energy.until"]["range"] == "a number, 0 to 1" and "legacy" in known["energy.legacy"]["help"]
    code, out, err = here("methods", "lvd")
    assert code == 0 and "energy.terms.inside" in out and "0.75" in out, err
    assert here("methods", "lvb")[0] == 2


def test_a_run_is_its_settings(here, tmp_path):
    """They reach every job, and the same folder with others is refused; runs of before have none."""
    command = ("bench", "generate", "lvd", "--out", "r", "--steps", "1", "--frames", "1", "--limit", "1")
    code, _, err = here(*command, "--set", "energy.scale=30")
    assert code == 0, err
    run = Run("r")
    assert run.settings.request.settings == {"energy.scale": 30}
    (job,) = (job for job in run.jobs() if job.file)
    assert Video.load(tmp_path / "r" / job.file).info["request"]["settings"] == {"energy.scale": 30.0}
    assert here(*command, "--set", "energy.scale=30.0")[0] == 0
    code, _, err = here(*command, "--set", "energy.scale=31")
    assert code == 2 and "was begun otherwise: settings was {'energy.scale': 30}, now {'energy.scale': 31}" in err
    code, _, err = here(*command[:4], "s", *command[5:], "--set", "energy.scale=x")
    assert code == 2 and "energy.scale is 'x'; want a number" in err and not (tmp_path / "s").exists()

    manifest = json.loads((tmp_path / "r/manifest.json").read_text())
    del manifest["settings"]["request"]
    manifest["settings"] |= {"model": "mini", "method": "lvd", "seed": 0, "steps": 1, "size": "64x64"}
    (tmp_path / "r/manifest.json").write_text(json.dumps(manifest))
    before = Run("r").settings.request  # as version 0.1 wrote it
    assert before.settings == {} and before.sampling.size == (64, 64)


# ---- what settings of the originals asked for that was not there


def test_corners_are_added_with_their_weight(mini):
    """LVD's --boxdiff_loss_scale: the silhouette's edges beside the box energy."""
    from animatic.controls.targets import Targets

    targets = Targets.of([BEAR], [EncodedPrompt.of(BEAR, mini.text)], 2, torch.device("cpu"))
    found = {"layer": torch.rand(1, 2, 3, 8, 8, targets.tokens.shape[1])}
    for legacy, normed in ((False, True), (True, False)):
        whole = BoxEnergy(corners=0.5, normed=normed, legacy=legacy)(found, targets)
        parts = BoxEnergy(legacy=legacy)(found, targets) + 0.5 * Corners(normed, legacy)(found, targets)
        assert close(whole, parts) and not close(whole, BoxEnergy(legacy=legacy)(found, targets))


def test_where_a_centred_box_stands():
    """LMD's --so_vertical_placement, --so_floor_padding and --so_horizontal_center_only."""
    box = (0.0, 0.1, 0.2, 0.5)
    assert centred(box) == pytest.approx((0.4, 0.4, 0.6, 0.8))
    assert centred(box, 0.1) == pytest.approx((0.4, 0.5, 0.6, 0.9))
    assert centred(box, 0.1, "middle") == pytest.approx((0.4, 0.3, 0.6, 0.7))
    assert centred(box, 0.1, "kept") == pytest.approx((0.4, 0.1, 0.6, 0.5))


ALL_LAYERS = {"composition.energy.layers": "*", "composition.object_controls.energy.layers": "*"}


def test_sideways_things_keep_their_height(tmp_path):
    """LMD's --horizontal_shift_only: with a box kept at its height nothing is left to be shifted down."""
    model = load(str(tiny.folder(tmp_path / "m", tiny.unet2d())))
    scene = Scene("a cat", (Track("cat", ((0.6, 0.0, 0.9, 0.3),)),), seconds=0.0)

    def frames(**values):
        told = {f"composition.{name}": value for name, value in values.items()}
        return render(
            scene, model, "lmd", steps=2, size=(64, 64), scheduler="ddim", settings={**told, **ALL_LAYERS}
        ).frames

    assert not np.array_equal(frames(), frames(sideways=True))
    assert np.array_equal(frames(placement="kept"), frames(placement="kept", sideways=True))
