"""No silent fallback: what is replaced, cut or passed over says so in a line, or is refused; see docs/fallbacks.md."""

import io
import json
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from diffusers import DDIMScheduler
from test_data_faults import CLIP, fill

from animatic.backbones import load
from animatic.backbones.folder import read_state
from animatic.backbones.small import SpaceTimeUNet
from animatic.backbones.small_model import Labels, SpaceTimeBackbone, pixels, save_model
from animatic.cli.console import line, table
from animatic.controls.tiles import Tiles
from animatic.core.backbone import Geometry, ModelDefaults
from animatic.core.process import Process
from animatic.core.schedulers import scheduler_named
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.finishing.checks import check_memory
from animatic.finishing.interpolate import Interpolate
from animatic.finishing.refine import Refine
from animatic.finishing.stage import SamplingRun, Shape, StageContext
from animatic.finishing.stages import finish, stages_of
from animatic.finishing.upscale import Upscale
from animatic.methods import METHODS
from animatic.methods.effect import unkept_absence, without_effect
from animatic.rendering import render
from animatic.scene import Scene, Track, save_story
from animatic.training.fit import DiffusionTrainer
from animatic.training.settings import TrainingSettings
from animatic.video import Video, joined, read_info

BALL = Track("ball", ((0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 0.9, 0.9)))
SCENE = Scene("a red ball", seconds=1.0)
LONG = "y" * 3000


@pytest.fixture
def video():
    frames = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8).repeat(2, 1).repeat(2, 2)
    return Video(frames, 4.0, {"prompt": "a red ball", "model": "mini"})


def small(names=(), width=1, cond=0):
    """A network of our own, with class names or without text."""
    torch.manual_seed(0)
    network = SpaceTimeUNet(dim=8, multiples=(1, 2), cond_dim=cond).eval()
    geometry = Geometry(2, 16, 16, channels=3, vae_spatial_ratio=1)
    return SpaceTimeBackbone(
        "s", network, pixels(), Labels(names, width), Process("eps").scheduler(), geometry, ModelDefaults(2, 1.0)
    )


# ---- what cannot be done as asked is refused


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("refine:steps=0", "steps is 0; want 1 or more"),
        ("upscale:window=-4", "window is -4; want 0 or more"),
        ("upscale:tile=-1", "tile is -1; want 0 or more"),
        ("upscale:overlap=-1", "overlap is -1; want 0 or more"),
        ("upscale:level=-1", "level is -1; want 0 or more"),
        ("refine:0.3:width=-8", "width is -8; want 0 or more"),
        ("extend:weight=-1", "weight is -1.0; want 0 or more"),
        ("interpolate:4:window=3", "window is 3; want 5 or more"),
        ("upscale:2:factor=4", "factor is given twice; want one of them"),
        ("refine:steps=2:steps=3", "steps is given twice"),
        ("lanczos:nan", "factor is 'nan'; want a finite number"),
        ("lanczos:inf", "factor is 'inf'; want a finite number"),
        ("blend:2:fps=nan", "fps is 'nan'; want a finite number"),
        ("refine:guidance=-inf", "guidance is '-inf'; want a finite number"),
        ("upscale:steps=2.5", "steps is '2.5'; want a whole number"),
    ],
)
def test_an_option_of_a_stage_is_used_or_refused(then, message):
    with pytest.raises(AnimaticError) as error:
        stages_of(then)
    assert str(error.value).startswith(f"{then}: {message}")


def test_a_stage_s_windows_and_levels_are_refused_on_the_model(video):
    with pytest.raises(AnimaticError, match="windows of 4 frames share 9; want 0 to 3"):
        finish(video, stages_of("upscale:model=mini-upscale:window=4:overlap=9"), StageContext())
    with pytest.raises(AnimaticError, match="level is 3, but mini-upscale knows no levels of noise; leave it out"):
        finish(video, stages_of("upscale:model=mini-upscale:level=3"), StageContext())


def test_guidance_of_0_is_a_wish_and_not_the_default():
    model = load("mini", "cpu")
    for said, used in ((0.0, 0.0), (None, 4.0), (2.0, 2.0)):
        assert SamplingRun(model, Refine(guidance=said), StageContext(), Tiles()).guidance == used
    assert dict(stages_of("refine:guidance=0"))["refine"] == Refine(guidance=0.0)


def test_settings_that_would_fit_are_such_as_can_be_given(tmp_path):
    """A stage is proposed no smaller window than it takes."""
    more = str(tiny.interpolation(tmp_path / "more"))
    stage, shape = Interpolate(model=more, factor=12), Shape(3, 512, 512, 8.0)
    with pytest.raises(AnimaticError, match="would fit") as error:
        check_memory(
            "interpolate",
            stage,
            shape,
            StageContext(),
            replace(stage, window=13, tile=32).memory(shape, StageContext()),
        )
    assert str(error.value).endswith("; interpolate:window=13:tile=32 would fit")
    assert stages_of("interpolate:12:window=13:tile=32")  # can be asked for


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["finish", str(CLIP), "--then", "lanczos:2", "--memory", "0GB"], "memory is '0GB'; want more than 0"),
        (["make", "--story", "s.json", "--planner", "openai:x"], "s.json is planned already; leave out --planner"),
        (["make", "--story", "s.json", "--base-url", "http://x"], "s.json is planned already; leave out --planner"),
        (["make", "a ball", "--base-url", "http://x"], "base-url is given, but planner 'rules' takes none"),
        (["edit", "s.json", "--swap", "ball=cube", "--swap", "ball=cup"], "swap of 'ball' is given twice"),
        (["edit", "s.json", "--weight", "ball=2", "--weight", "ball = 3"], "weight of 'ball' is given twice"),
        (["train", "--data", "toy", "--decay", "9", "--steps", "8"], "decay is 9 of 8 steps; want 8 at most"),
        (["train", "--data", "toy", "--seed", "-1"], "seed is -1; want a whole number from 0 to"),
        (["make", "a ball", "--name", "y" * 300], "cannot be written (File name too long)"),
        (["finish", str(CLIP), "--then", "lanczos:2", "--name", "y" * 300], "cannot be written (File name too long)"),
        (["make", "a ball", "--model", LONG], "unknown model 'yyy"),
        (["make", "a ball", "--lora", LONG], "want a LoRA in safetensors"),
        (["train", "--data", LONG], "no such folder or file"),
        (["train", "--data", "toy", "--model", LONG], "cannot be read"),
        (["finish", LONG, "--then", "lanczos:2"], "cannot be read (File name too long)"),
        (["bench", "score", LONG], "yyy"),
    ],
)
def test_a_command_refuses_in_one_line(here, command, message):
    save_story((SCENE,), Path("s.json"))
    code, out, error = here(*command)
    assert code == 2 and not out.strip().startswith("{")
    last = error.splitlines()[-1]
    assert last.startswith("error: ") and message in last and "Traceback" not in error


def test_a_name_that_is_too_long_is_no_traceback():
    with pytest.raises(AnimaticError, match=r"unknown model 'yyy.*y'; known: mini, "):
        load(LONG)


def test_what_is_no_number_after_a_lora_s_name(here, tmp_path):
    (tmp_path / "l.safetensors").write_bytes(b"")
    code, _, error = here("make", "a ball", "--lora", "l.safetensors:strong")
    assert code == 2 and "l.safetensors: scale is 'strong'; want a number such as 0.8" in error


# ---- model folders


@pytest.mark.parametrize(
    "damage",
    [
        {"class_vectors": [[1.0, 2.0], [1.0]]},
        {"class_vectors": [1.0, 2.0]},
        {"class_vectors": "no"},
        {"class_vectors": [[1.0, 2.0]]},  # one vector for two classes
        {"classes": None},
        {"classes": 3},
        {"geometry": {"frame": 4}},
        {"defaults": {"steps": 3, "strength": 1}},
        {"concat_conditioning": {"kind": "sideways"}},
    ],
)
def test_a_damaged_card_is_one_line(tmp_path, damage):
    save_model(tmp_path / "m", small(("cat", "dog"), 2, 2))
    card = tmp_path / "m" / "animatic.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), **damage}))
    with pytest.raises(AnimaticError, match=r"m/animatic\.json: cannot be used \("):
        load(str(tmp_path / "m"), "cpu")


def test_an_unknown_key_of_a_card_is_said(tmp_path):
    save_model(tmp_path / "m", small())
    card = tmp_path / "m" / "animatic.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "habit": {}, "size": 4}))
    with pytest.warns(
        AnimaticWarning,
        match=r"animatic\.json: habit, size is not known and not used; known are backgrounds, class_vectors",
    ):
        load(str(tmp_path / "m"), "cpu")


def test_how_a_folder_without_a_card_is_used_is_said(tmp_path, recwarn):
    folder = tiny.folder(tmp_path / "m", tiny.unet3d())
    load(str(folder), "cpu")
    assert [str(warning.message) for warning in recwarn if warning.category is AnimaticWarning] == [
        f"{folder}: no animatic.json says how the model is used: 16 frames of 64x64 at 8 a second, "
        "25 steps, guidance 7.5"
    ]
    card = {"geometry": {"frames": 4, "height": 16, "width": 16, "vae_spatial_ratio": 2}, "defaults": {"steps": 3}}
    (folder / "animatic.json").write_text(json.dumps(card))
    recwarn.clear()
    load(str(folder), "cpu")
    assert not [warning for warning in recwarn if warning.category is AnimaticWarning]


def test_two_variants_of_weights_are_refused(tmp_path):
    source = Path(str(files("animatic") / "weights" / "mini" / "grounding"))
    weights = next(source.glob("*.safetensors"))
    shutil.copy(weights, tmp_path / "diffusion_pytorch_model.safetensors")
    alone = read_state(tmp_path)
    (tmp_path / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"not read")  # beside the full weights
    (tmp_path / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"not read")
    assert read_state(tmp_path).keys() == alone.keys()
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(
        AnimaticError, match=r"fp16\.safetensors and diffusion_pytorch_model\.non_ema\.safetensors are both"
    ):
        read_state(tmp_path)

    for file in tmp_path.iterdir():  # shards of one are no variants
        file.unlink()
    for i in (1, 2):
        shutil.copy(weights, tmp_path / f"diffusion_pytorch_model-0000{i}-of-00002.safetensors")
    assert read_state(tmp_path).keys() == alone.keys()


def test_a_text_encoder_that_is_not_named_is_not_guessed(tmp_path):
    folder = tiny.folder(tmp_path / "m", tiny.unet3d())
    index = json.loads((folder / "model_index.json").read_text())
    del index["text_encoder"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(AnimaticError, match="its text_encoder is None; want one of CLIPTextModel"):
        load(str(folder), "cpu")


def test_memory_that_cannot_be_saved_is_said(tmp_path):
    with pytest.warns(AnimaticWarning, match="saving memory changes nothing in s: its layers cannot be computed twice"):
        small().save_memory()
    with pytest.warns(AnimaticWarning, match="its AutoencoderKLWan encodes and decodes whole frames, not in tiles"):
        load(str(tiny.wan(tmp_path / "wan")), "cpu").tile_codec()


def test_thresholding_that_another_scheduler_does_not_know_is_refused():
    own = DDIMScheduler(thresholding=True)
    with pytest.raises(AnimaticError, match="scheduler 'euler' is not one that bounds clean estimates"):
        scheduler_named("euler", own)
    assert scheduler_named("dpm++", own).config["thresholding"] is True


def test_clipping_that_another_scheduler_does_not_do_is_said():
    own = DDIMScheduler(prediction_type="v_prediction", clip_sample=True)
    with pytest.warns(AnimaticWarning, match="scheduler 'euler' does not clip clean estimates, which the model's own"):
        scheduler_named("euler", own)


# ---- what has no effect is said, and has none


def test_a_prompt_told_to_a_model_without_text_is_said():
    model = small()
    with pytest.warns(AnimaticWarning, match="s was trained without text: prompts change nothing"):
        first = render(Scene("a cat", seconds=1.0), model, "none", steps=2)
    assert np.array_equal(first.frames, render(Scene("a dog", seconds=1.0), model, "none", steps=2).frames)


@pytest.mark.parametrize("method", "lvd lvd:weak layout-attention boxdiff multidiffusion lmd ditctrl".split())
def test_a_method_without_effect_is_said_and_makes_the_video_of_none(method):
    why = "shares between windows" if method == "ditctrl" else "needs boxes, and there are none"
    with pytest.warns(AnimaticWarning, match=f"scene 'a red ball': {method} {why}"):
        made = render(SCENE, "mini", method, 1, steps=2, frames=2)
    plain = render(SCENE, "mini", "none", 1, steps=2, frames=2)
    assert np.abs(made.frames.astype(int) - plain.frames).max() <= 1  # the same sums in another order


def test_a_model_that_reads_boxes_is_told_of_none():
    """It has learnt what no box looks like, so that it makes another video than without the method."""
    with pytest.warns(
        AnimaticWarning, match="needs boxes, and there are none: the model is conditioned on an empty layout"
    ):
        made = render(SCENE, "mini", "lvd-gligen", 1, steps=2, frames=2)
    assert np.abs(made.frames.astype(int) - render(SCENE, "mini", "none", 1, steps=2, frames=2).frames).max() > 1


def test_a_method_with_effect_says_nothing():
    model = load("mini", "cpu")
    boxed = replace(SCENE, tracks=(BALL,))
    for method in ("lvd", "lmd", "lvd+", "multidiffusion", "none"):
        assert without_effect(method, METHODS[method].on(model), boxed) == ""


def test_a_thing_without_a_box_in_some_frames_is_said_where_nothing_keeps_it_out():
    model = load("mini", "cpu")
    late = replace(SCENE, tracks=(replace(BALL, boxes=(None, None, *BALL.boxes)),))
    said = unkept_absence("lvd-gligen", METHODS["lvd-gligen"].on(model), late)
    assert "'ball' may be seen in all of them; want lvd+, or lvd-gligen+layout-attention" in said
    for method in ("lvd", "lvd+", "lmd+", "none"):
        assert unkept_absence(method, METHODS[method].on(model), late) == ""
    assert unkept_absence("lvd-gligen", METHODS["lvd-gligen"].on(model), replace(SCENE, tracks=(BALL,))) == ""
    with pytest.warns(AnimaticWarning, match="scene 'a red ball': lvd-gligen keeps nothing out of frames without its"):
        render(late, "mini", "lvd-gligen", steps=1, frames=4)


def test_the_text_that_a_model_is_told_is_in_the_file():
    scene = replace(SCENE, tracks=(BALL,), background="beach")
    typed, steered = (
        render(scene, "mini", method, steps=1, frames=1).info["prompt_text"] for method in ("none", "lvd")
    )
    assert (typed, steered) == ("a red ball", "a red ball, beach background")


# ---- finishing


def test_a_nan_of_a_stage_s_network_is_no_black_video(video):
    model = load("mini-upscale", "cpu")
    with torch.no_grad():
        next(model.unet.parameters()).fill_(float("nan"))
    with pytest.raises(AnimaticError, match=r"the sample is not finite after step 1 of 1 .*; want another scheduler"):
        Upscale(model="mini-upscale")(video, StageContext(loaded={"mini-upscale": model}))


def test_a_kept_result_that_is_damaged_is_said_to_be_made_again(video, tmp_path):
    lines: list[str] = []
    made = finish(video, stages_of("blend:2"), StageContext(), tmp_path / "k", watch=lines.append)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[: len(kept.read_bytes()) * 2 // 3])
    again = finish(video, stages_of("blend:2"), StageContext(), tmp_path / "k", watch=lines.append)
    assert np.array_equal(made.frames, again.frames)
    assert not any("taken up" in said for said in lines)


def test_an_unknown_prompt_of_an_extended_video_is_said(video):
    with pytest.warns(AnimaticWarning, match="extend: the video has no prompt, so mini is given the prompt 'a video'"):
        finish(
            Video(video.frames.repeat(2, 1).repeat(2, 2), 4.0), stages_of("extend:model=mini:steps=1"), StageContext()
        )


def test_stages_are_those_of_the_model_s_family(here):
    """A copy of `mini` under another name is finished by the partners of `mini`."""
    shutil.copytree(str(files("animatic") / "weights" / "mini"), "copy")
    how = ("--steps", "1", "--frames", "2", "--method", "none", "--then", "upscale:2", "--name", "v")
    code, _, error = here("make", "a red ball", "--model", "copy", *how)
    assert code == 0, error
    assert "model='mini-upscale'" in read_info("out/v.mp4")["stages"][0]


def test_frames_that_a_kind_of_file_cannot_show_are_said(here):
    how = ("--steps", "1", "--frames", "2", "--method", "none", "--then", "blend:60", "--format", "gif")
    code, _, error = here("make", "a red ball", *how)
    assert code == 0, error
    lost = [said for said in error.splitlines() if said.startswith("gif shows 50 frames a second at most: ")]
    assert len(lost) == 1 and lost[0].endswith("of 61 frames are left out, the timing is kept")


# ---- plans


def test_make_says_what_of_a_plan_was_cut(here, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    boxes = {"ball": [[0.8, 0.2, 1.2, 0.6]], "cup": [[1.2, 0.2, 1.5, 0.6]]}
    reply = {"tracks": [{"phrase": phrase, "boxes": box * 6} for phrase, box in boxes.items()]}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(reply)))
    code, _, error = here(
        "make", "a red ball", "--planner", "paste", "--steps", "1", "--frames", "1", "--method", "none"
    )
    assert code == 0, error
    warnings = [said for said in error.splitlines() if said.startswith("warning: ")]
    assert any("ball" in said and "cut to the frame" in said for said in warnings)
    assert "warning: cup: no box in the frame, left out" in warnings


def test_scenes_of_unequal_length_are_drawn_at_one_rate(here):
    boxed = replace(SCENE, tracks=(BALL,))
    save_story((boxed, replace(boxed, seconds=3.0)), Path("s.json"))
    assert here("show", "s.json", "--draw", "s.gif", "--frames", "8")[0] == 0
    drawn = Video.load("s.gif")
    assert (len(drawn), drawn.fps) == (8 + 24, pytest.approx(8, rel=0.01))
    with pytest.raises(AnimaticError, match="videos of 4 and 8 frames a second; want one rate"):
        joined([Video(drawn.frames[:2], 4.0), Video(drawn.frames[:2], 8.0)])


def test_a_new_prompt_says_which_background_it_stands_for(here):
    save_story((replace(SCENE, background="a beach"),), Path("s.json"))
    code, _, error = here("edit", "s.json", "--prompt", "a blue ball", "--steps", "1", "--frames", "1")
    assert code == 0, error
    assert "the new prompt stands for the background 'a beach', too" in error
    assert read_info("out/s.edit.mp4")["prompt_text"] == "a blue ball"


# ---- lines


def test_lines_and_tables_are_shown_as_they_stand(capsys, monkeypatch):
    """What stands in brackets is no markup: a file may be called so."""
    monkeypatch.setenv("COLUMNS", "80")
    line("out/clip[a].mp4 [/b] :smile:")
    table(("file",), [("clip[b].mp4",)])
    shown = "".join(capsys.readouterr())
    assert "out/clip[a].mp4 [/b] :smile:" in shown and "clip[b].mp4" in shown


def test_our_warnings_are_lines_of_every_command(here):
    save_story((SCENE,), Path("s.json"))
    code, out, error = here("render", "s.json", "--method", "lvd", "--steps", "1", "--frames", "1", "--json")
    assert code == 0 and json.loads(out)["seed"] == 0
    assert (
        "note: scene 'a red ball': lvd needs boxes, and there are none: the video is that of 'none'"
        in error.splitlines()
    )


# ---- training


QUICK = {
    "dim": 8, "multiples": "1,2", "size": "16", "steps": 1, "batch_size": 2, "warmup_steps": 1, "save_every": 1,
    "sample_every": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"frames": 64}, "frames of 64: short is 'loop'"),
        ({"frames": 64, "short": "bounce", "cache": True}, "frames of 64: short is 'bounce'"),
        ({"frames": 2, "fps": 100.0}, "frames a second: fps is 100"),
        ({"frames": 2}, ""),
        ({"frames": 1, "fps": 100.0}, ""),
    ],
)
def test_frames_that_are_repeated_are_said_once(tmp_path, how, why):
    notes: list[str] = []
    folder = fill(tmp_path / "d", "1.mp4", "2.mp4")
    trainer = DiffusionTrainer(
        TrainingSettings(str(folder), str(tmp_path / "o"), **{**QUICK, **how}), note=notes.append
    )
    trainer.train()
    said = [note for note in notes if note.startswith("frames are repeated: ")]
    assert len(said) == bool(why) and why in "".join(said)

    # Both files have the same content, which a cache encodes, and counts, once.
    count = 1 if "cache" in how else 2
    assert trainer.log_values()["repeated"] == (count if why else 0)


def test_options_without_use_are_said(tmp_path):
    notes: list[str] = []
    folder = fill(tmp_path / "d", "1.mp4")
    DiffusionTrainer(
        TrainingSettings(str(folder), str(tmp_path / "o"), **QUICK, frames=2, cfg_dropout=0.5, guidance=2.0),
        note=notes.append,
    )
    assert "cfg_dropout, guidance: not used, since it learns without text" in notes


def test_samples_of_what_learns_without_text_are_made(tmp_path):
    """Their captions are empty, which no scene's prompt is."""
    folder = fill(tmp_path / "d", "1.mp4")
    how = {**QUICK, "frames": 2, "sample_every": 1, "samples": 2}
    DiffusionTrainer(TrainingSettings(str(folder), str(tmp_path / "o"), **how), note=lambda said: None).train()
    made = Video.load(tmp_path / "o" / "samples" / "step-0000001.mp4")
    assert len(made) == 2 and made.frames.std() > 1
