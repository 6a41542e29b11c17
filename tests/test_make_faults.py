"""What `make` and `render` once got wrong without a word, or for a wrong reason: each with the right result."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from conftest import UNNAMED

import animatic
from animatic.cli.make import slug
from animatic.completing import complete
from animatic.controls.guidance import Guidance
from animatic.core.backbone import ModelDefaults
from animatic.core.control import Control
from animatic.core.seeds import check_seed
from animatic.errors import AnimaticError
from animatic.rendering import render
from animatic.request import GenerationRequest
from animatic.scene import Scene, load_story
from animatic.video import Video, read_info

QUICK = ("--steps", "1", "--frames", "1", "--method", "none", "--json")
FRAMES = UNNAMED["frames"]
ENDLESS = int(UNNAMED["fps"]) * 10**12  # frames of 1e12 seconds
GIB_A_FRAME = 64**2 * (3 + 12) / 2**30  # of 64 pixels on a side, as bytes and in float32
GB_A_FRAME = 3 * 6_400_000**2 / 2**30  # of 6,400,000 pixels on a side


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return animatic.load(str(tiny.folder(tmp_path_factory.mktemp("tiny") / "tiny", tiny.unet3d())))


def made(here, *arguments: str) -> str:
    """The video that a command wrote."""
    code, out, err = here("make", *arguments, *QUICK)
    assert code == 0, err
    return json.loads(out)["videos"][0]


def test_a_result_is_never_overwritten_by_another(here):
    first = made(here, "a red ball", "--seed", "1")
    kept = Path(first).read_bytes()
    assert made(here, "a red ball", "--seed", "2") == "out/a-red-ball-2.mp4"
    assert Path(first).read_bytes() == kept
    assert made(here, "a red ball", "--seed", "1") == first, "the same request has the same name again"
    assert Path(first).read_bytes() == kept
    assert made(here, "a red ball", "--seed", "1", "--format", "gif") == "out/a-red-ball.gif"
    assert made(here, "a red ball", "--seed", "3", "--format", "gif") == "out/a-red-ball-3.gif", "the gif is seed 1's"
    code, _, err = here("make", "a red ball", "--seed", "4", *QUICK[:-1])
    assert code == 0 and "out/a-red-ball.* holds another result, which is kept; this one is a-red-ball-4" in err

    # neither a scene of one's own nor a file of another program is touched
    Scene("a blue ball").save("out/mine.json")
    Path("out/theirs.mp4").write_bytes(b"no video")
    assert made(here, "a red ball", "--name", "mine") == "out/mine-2.mp4"
    assert made(here, "a red ball", "--name", "theirs") == "out/theirs-2.mp4"
    assert Path("out/theirs.mp4").read_bytes() == b"no video"


def test_prompts_of_one_beginning_are_two_results(here):
    long = "a red ball and a red ball and a red ball and a red ball and a red ball"
    first, second = (made(here, long + end) for end in (" on the beach", " on the grass"))
    assert first != second and read_info(first)["prompt"] != read_info(second)["prompt"]


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("Ein Bär läuft!", "ein-bär-läuft"),
        ("Медведь идёт", "медведь-идёт"),
        ("一只熊在走", "一只熊在走"),
        ("कुत्ता दौड़ता है", "कुत्ता-दौड़ता-है"),
        ("דוב הולך", "דוב-הולך"),
        ("🐻 -> ...", "video"),
        ("A bear, walks", "a-bear-walks"),
    ],
)
def test_a_name_keeps_the_letters_of_any_script(prompt, name):
    import unicodedata

    assert slug(prompt) == unicodedata.normalize("NFC", name)


def test_a_name_fits_into_a_file_system():
    for letter in ("a", "я", "熊", "\U0001d51e"):
        assert 0 < len(slug(letter * 200).encode()) <= 120


def test_negative_replaces_the_models_own_words(model, tmp_path, here):
    """`--negative` stands for the model's habit; what the scene does not want stays."""
    from copy import copy

    other = copy(model)
    other.defaults = ModelDefaults(2, 4.0, "dog")
    scene, how = Scene("a cat", negative="grass"), {"frames": 1, "guidance": 9.0, "size": (64, 64)}
    own, plain = (animatic.render(scene, other, "none", negative=words, **how) for words in (None, ""))
    said = animatic.render(scene, model, "none", negative="dog", steps=2, **how)
    off = np.abs(own.frames.astype(int) - said.frames)
    assert off.max() <= 1, "the same words, by habit or given: one level for the last bits of a sum"
    assert not np.array_equal(own.frames, plain.frames) and other.defaults.negative == "dog"
    assert [v.request.sampling.negative for v in (own, plain, said)] == ["dog", "", "dog"]
    file = made(here, "a red ball", "--negative", "dog, cat")
    assert GenerationRequest.of(read_info(file), file).sampling.negative == "dog, cat"


def test_a_video_says_how_long_it_lasts_where_that_is_not_what_was_asked(here, tmp_path):
    pairs = str(tiny.cogvideox(tmp_path / "pairs", pairs=True))
    how = ("--steps", "1", "--method", "none", "--out", ".")
    code, _, err = here("make", "a cat", "--model", pairs, *how, "--seconds", "2.8", "--name", "x")
    assert code == 0 and "lasts 2.12 s, not 2.8 s" in err and len(Video.load("x.mp4")) == 17
    code, _, err = here("make", "a red ball", *how, "--seconds", "3", "--name", "y")
    assert code == 0 and "lasts" not in err and len(Video.load("y.mp4")) == 3 * UNNAMED["fps"]


def test_a_seed_is_drawn_and_said(here):
    code, out, _ = here("make", "a red ball", "--seed", "-1", *QUICK)
    drawn = json.loads(out)["seed"]
    assert code == 0 and drawn >= 0 and read_info("out/a-red-ball.mp4")["seed"] == drawn
    code, _, err = here("make", "a red ball", "--seed", "-1", *QUICK[:-1])
    assert code == 0 and f"seed   {read_info('out/a-red-ball-2.mp4')['seed']}" in err


BAD = {
    "huge seed": (("make", "a cat", "--seed", "99999999999999999999"), "seed is 99999999999999999999; want a whole"),
    "negative seed": (("make", "a cat", "--seed", "-2"), "seed is -2; want a whole number from 0"),
    "seed of a run": (("bench", "generate", "lvd", "--out", "r", "--seed", "-2"), "seed is -2; want a whole number"),
    "guidance": (("make", "a cat", "--guidance", "nan"), "--guidance is nan; want a finite number"),
    "seconds": (("make", "a cat", "--seconds", "inf"), "--seconds is inf; want a finite number"),
    "of a group": (("bench", "generate", "lvd", "--out", "r", "--guidance", "-inf"), "--guidance is -inf; want"),
    "of training": (
        ("train", "--data", "toy", "--out", "t", "--learning-rate", "nan"),
        "--learning-rate is nan; want a finite number",
    ),
    "attention": (
        ("make", "a bear walks to the left on the grass", "--attention-of", "*@99", *QUICK),
        "attention of step 99 is requested; this run has steps 0 to 0",
    ),
    "attention back": (
        ("make", "a bear on the grass", "--attention-back", *QUICK),
        "attention of words was requested without layers",
    ),
    "story file": (("make", "--story", "scenes.txt"), "scenes.txt: cannot be read"),
    "then, model": (("make", "a cat", "--then", "interpolate:4:model=nowhere"), "interpolate: unknown model 'nowhere'"),
    "then, frames": (("make", "a cat", "--then", "motion:4", *QUICK), "motion: 1 frame has nothing between"),
    "then, no network": (
        ("make", "a cat", "--then", "interpolate:4"),
        "no model of its own for a video made by 'mini'; want motion:4 without a network",
    ),
    "then, former model": (
        ("make", "a cat", "--then", "interpolate:4:model=mini-interpolate"),
        "interpolate: model 'mini-interpolate' is no longer bundled; want the stage motion, such as --then motion:4",
    ),
    "then, nothing of its own": (
        ("make", "a cat", "--then", "refine:0.5"),
        "no model of its own for a video made by 'mini'; want refine:model=NAME",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_before_the_work(name, here, tmp_path):
    arguments, message = BAD[name]
    code, _, err = here(*arguments)
    assert code == 2 and message in err, err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert [str(p) for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_stage_that_fails_loses_no_render(here, tmp_path):
    how = ("make", "a red ball", "--steps", "1", "--frames", "2", "--method", "none", "--then")
    code, _, err = here(*how, "refine:0.5:model=mini:overlap=99")
    assert code == 2 and "share 99" in err
    assert "the video before that is kept: out/a-red-ball.0-render.mkv" in err
    kept = Video.load("out/a-red-ball.0-render.mkv")
    assert kept.frames.shape == (2, 64, 64, 3)
    assert sorted(os.listdir("out")) == ["a-red-ball.0-render.mkv", "a-red-ball.json", "a-red-ball.sheet.png"]

    # a model that can never do it is found out before
    code, _, err = here(*how, f"upscale:2:model={tiny.interpolation(tmp_path / 'more')}")
    assert code == 2 and "does not upscale" in err and "kept" not in err

    # it goes on from there, and what is finished says what it went through
    assert here("finish", "out/a-red-ball.0-render.mkv", "--then", "lanczos:2", "--out", ".")[0] == 0
    assert here(*how, "lanczos:2")[0] == 0
    assert GenerationRequest.of(read_info("out/a-red-ball.mp4"), "").finishing.stages == "lanczos:2"
    assert here(*how, "lanczos:4")[0] == 0, "other stages are another result"
    assert Video.load("out/a-red-ball.mp4").frames.shape[1] == 128 * 2
    assert Video.load("out/a-red-ball-2.mp4").frames.shape[1] == 256


class Broken(Control):
    """A network that answers NaN from a step on."""

    def __init__(self, since: int) -> None:
        self.since = since

    def denoise(self, inner, x, step, cond):
        answer = inner(x, step, cond)
        return answer * math.nan if step.index >= self.since else answer


@pytest.mark.parametrize("since", [0, 2])
def test_what_is_not_finite_is_no_video(model, since):
    """Black frames and exit code 0 before: the sample was decoded whatever it was."""
    how = {"steps": 3, "frames": 2, "size": (64, 64), "guidance": 4.0, "callbacks": [Broken(since)]}
    wanted = f"not finite after step {since + 1} of 3 of DDIMScheduler at guidance 4;"
    with pytest.raises(AnimaticError, match=wanted):
        animatic.render(Scene("a cat"), model, "none", **how)
    with pytest.raises(AnimaticError, match="not finite after step"):
        animatic.render(Scene("a cat"), model, "lvd", **how)

    clip = Video(np.zeros((1, model.geometry.height, model.geometry.width, 3), np.uint8))
    with pytest.raises(AnimaticError, match="not finite after step 1 of 1 of DDIMScheduler at guidance 2"):
        complete(Scene("a cat"), model, clip, [True, False], (Guidance(2.0), Broken(0)), steps=1)


def small_model(folder: Path) -> Path:
    """A model as a stranger trains it, reading sentences: 4 frames of 16 x 16 pixels at 4 frames a second."""
    from diffusers import DDIMScheduler

    from animatic.backbones.small import SpaceTimeUNet
    from animatic.backbones.small_model import ClipSentence, SpaceTimeBackbone, pixels, save_model
    from animatic.core.backbone import Geometry

    words = tiny.tokenizer()
    network = SpaceTimeUNet(dim=16, multiples=(1, 2), cond_dim=tiny.WIDTH).eval()
    text = ClipSentence("own", words, tiny.text_encoder(words))
    geometry = Geometry(4, 16, 16, 3, 1, fps=4.0, max_frames=8)
    save_model(folder, SpaceTimeBackbone("own", network, pixels(), text, DDIMScheduler(), geometry, ModelDefaults(2)))
    return folder


def test_a_model_of_ones_own_is_told_what_it_can_do(here, tmp_path):
    """4 frames are 1 s: what is planned lasts as long, and what is longer is made in windows."""
    own = ("--model", str(small_model(tmp_path / "own")), "--steps", "1")
    code, _, err = here("make", "one cat", *own)
    assert code == 2 and "method 'lvd'" in err and "want --method none, which any model can do" in err
    code, _, err = here("make", "one cat", *own, "--method", "none", "--save-attention")
    assert code == 2 and "--save-attention: own has no attention to words; want it without, or another model" in err
    code, out, err = here("make", "one cat", *own, "--method", "none", "--json")
    assert code == 0, err
    video = Video.load(json.loads(out)["videos"][0])
    assert len(video) == 4 and video.fps == 4.0
    code, out, err = here("make", "one cat", *own, "--method", "none", "--seconds", "3", "--json")
    assert code == 0 and len(Video.load(json.loads(out)["videos"][0])) == 12, err
    code, _, err = here("make", "--story", "A cat runs. Then a dog sits.", *own, "--method", "none")
    assert code == 2 and "own takes one prompt a video; want a single scene, or a model for stories" in err


def test_pictures_and_scenes_of_nothing_are_said(here, tmp_path):
    folder = str(tiny.folder(tmp_path / "picture", tiny.unet2d()))
    how = ("--steps", "1", "--size", "64x64", "--method", "none", "--name", "x")
    code, _, err = here("make", "a cat", "--model", folder, *how, "--seconds", "12")
    assert code == 0 and "picture makes pictures: this is one, shown for 12 s" in err
    Scene("a beach", seconds=0).save("beach.json")
    code, _, err = here("render", "beach.json", "--save-attention", "--steps", "1", "--method", "none")
    assert code == 0 and "attention to every word of its prompt is written" in err
    assert Path("out/beach.attention.gif").exists()


def test_a_file_of_long_prompts_is_a_story_of_them(here, tmp_path):
    """DiTCtrl's prompts, one a line, with its flags: every word reaches the model, and the request says how."""
    prompts = [f"the {word} cat runs on the red grass and the two cats and the dog and the bear and on and on and on"
               for word in ("pink", "red")]  # fmt: skip
    Path("cats.txt").write_text("\n".join(f"{prompt}.\n" for prompt in prompts))
    folder = str(tiny.folder(tmp_path / "video", tiny.unet3d()))
    code, _, err = here(
        "make", "--story", "cats.txt", "--model", folder, "--method", "ditctrl:published", "--steps", "2",
        "--size", "16x16", "--overlap", "6/13", "--transitions", "1", "--save-masks", "--name", "cats", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert [scene.prompt for scene in load_story("out/cats.json")] == [f"{prompt}." for prompt in prompts]
    request = GenerationRequest.of(read_info(Path("out/cats.mp4")), "the video")
    assert (request.windows.overlap, request.windows.transitions, request.method) == (6 / 13, 1, "ditctrl:published")

    code, _, err = here("make", "--story", "cats.txt", "--overlap", "6:13")
    assert code != 0 and "overlap is '6:13'; want a part of a window, such as 0.5 or 9/13" in err


def test_attention_within_and_masks_are_files(here):
    story = "A red ball moves to the right on the grass. Then it moves up."
    code, _, err = here(
        "make", "--story", story, "--method", "ditctrl:masked", "--steps", "3", "--format", "gif", "--name", "x",
        "--save-masks", "--attention-within", "mid_block.*@1",
    )  # fmt: skip
    assert code == 0, err
    names = {file.name for file in Path("out/x.attention").iterdir()}
    shown = {name.split(".")[-2] for name in names}
    assert shown == {"space", "time", "mask-source", "mask-target"} and {n[-4:] for n in names} == {".npy", ".png"}
    space = np.load(next(Path("out/x.attention").glob("001-mid_block*.space.npy")))
    assert space.ndim == 2 and space.sum(1) == pytest.approx(np.ones(len(space)), abs=1e-5)
    mask = np.load(next(Path("out/x.attention").glob("*mask-source.npy")))
    assert mask.min() >= 0 and mask.max() <= 1

    code, _, err = here("make", "a ball", "--method", "none", "--steps", "1", "--save-masks")
    assert code == 0 and "nothing shares by a mask under 'none': no masks are written" in err
    code, _, err = here("make", "a ball", "--steps", "1", "--attention-within", "*@7")
    assert code != 0 and "attention of step 7 is requested; this run has steps 0 to 0" in err


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: animatic.render("a cat", m), "scene is 'a cat'; want a Scene, such as animatic.plan makes"),
        (lambda m: animatic.render([1], m), r"scene is 1; want a Scene"),
        (lambda m: animatic.render_batch(Scene("a cat"), m), "scenes is Scene\\(.*; want a list of scenes"),
        (lambda m: animatic.render(Scene("a cat"), m, step=3), "unknown option 'step'; known: steps, guidance"),
        (lambda m: animatic.render(Scene("a cat"), m, guidance=math.inf), "guidance is inf; want a finite number"),
        (lambda m: animatic.render(Scene("a cat"), m, seed=2**63), "seed is 9223372036854775808; want"),
        (lambda m: animatic.render(Scene("a cat"), m, seed=1.5), "seed is 1.5; want a whole number"),
        (
            lambda m: animatic.render(Scene("a cat"), 3),
            "model is 3; want a name, a folder, a hub id or a pipeline",
        ),
    ],
)
def test_the_python_api_names_what_is_wrong(call, message, model):
    with pytest.raises(AnimaticError, match=message):
        call(model)


def test_seeds_are_whole_numbers():
    assert check_seed(np.int64(3)) == 3 and check_seed(2**63 - 1) == 2**63 - 1


NO_POSIX = """
import builtins
found = builtins.__import__

def guarded(name, globals=None, *rest, **more):
    ours = str((globals or {}).get("__name__", "")).startswith("animatic")
    if ours and name in ("fcntl", "pwd", "grp", "termios", "resource"):
        raise ModuleNotFoundError(name)
    return found(name, globals, *rest, **more)

builtins.__import__ = guarded
import animatic.cli, animatic.generation, animatic.editing, animatic.benchmarks.run_store, animatic.studio
"""


def test_nothing_of_ours_needs_posix():
    """`fcntl` and its kin are not there on Windows: importing them fails here as it would there."""
    run = subprocess.run([sys.executable, "-c", NO_POSIX], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-600:]


def test_a_story_of_cogvideox_fifteen_has_the_frames_of_its_windows(tmp_path):
    """Its tokens hold two latent frames, of the first one is spare: 40 frames of windows met a sample of 42."""
    model = animatic.load(str(tiny.cogvideox(tmp_path / "m", pairs=True)))
    seconds = model.geometry.frames / model.geometry.fps
    video = render((Scene("a cat", seconds=2.5 * seconds),), model, "none", steps=1)
    assert len(video) == 17, (
        "3 tokens of time are 6 latent frames; one is to spare, one a frame, four are 4 frames each"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--size", "64000x64000"),
            rf"{FRAMES} frames of 64000x64000 would take \d+\.\d GiB of memory, and .* are free",
        ),
        (("--seconds", "1e12"), f"{ENDLESS} frames of 64x64 would take {ENDLESS * GIB_A_FRAME:.1f} GiB of memory"),
        (("--seconds", "0.0001", "--frames", "8"), "fps is 80000.0; want more than 0, less than 1000"),
        (
            ("--then", "lanczos:100000"),
            f"lanczos to {FRAMES} frames of 6400000 x 6400000 needs about {FRAMES * GB_A_FRAME:.1f} GB",
        ),
        (("--then", "blend:1e9"), "blend:1e9: factor is '1e9'; want a whole number"),
    ],
)
def test_what_no_machine_could_hold_or_show_is_refused_before_the_work(here, monkeypatch, options, said):
    monkeypatch.setattr("animatic.denoising.sample", lambda *a, **k: pytest.fail("the work was begun"))
    code, out, error = here("make", "a red ball", "--method", "none", "--json", *options)
    assert code == 2 and out == "" and re.fullmatch(f"error: {said}.*\n", error)
    assert not list(Path("out").glob("*.*"))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"frames": 2.5}, "frames is 2.5; want a whole number"),
        ({"steps": 2.5}, "steps is 2.5; want a whole number"),
        ({"size": 64}, "size is 64; want (width, height) in pixels, such as (64, 64)"),
        ({"size": (64,)}, "size is (64,); want (width, height) in pixels, such as (64, 64)"),
        ({"size": "64x64"}, "size is '64x64'; want (width, height) in pixels, such as (64, 64)"),
        ({"negative": 5}, "negative is 5; want words, or '' for none"),
    ],
)
def test_a_setting_of_another_kind_is_named(model, how, said):
    with pytest.raises(AnimaticError, match=f"^{re.escape(said)}$"):
        animatic.render(Scene("a ball"), model, "none", **how)


@pytest.mark.parametrize("prompt", [None, 5, b"a ball"])
def test_a_prompt_that_is_no_text_is_named(prompt):
    with pytest.raises(AnimaticError, match=f"^prompt is {re.escape(repr(prompt))}; want a sentence$"):
        animatic.plan(prompt)


def test_numpy_numbers_are_numbers(model):
    how = {"frames": np.int64(1), "steps": np.int64(1), "size": tuple(np.int64([16, 16]))}
    assert animatic.render(Scene("a ball"), model, "none", np.int64(3), **how).frames.shape == (1, 16, 16, 3)
