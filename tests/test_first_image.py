"""Videos that begin with an image: diffusers' own pipelines, one image on every way in, and what controls change."""

import base64
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import (
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
    FlowMatchEulerDiscreteScheduler,
    WanImageToVideoPipeline,
)
from diffusers.pipelines.cogvideo import pipeline_cogvideox_image2video
from diffusers.pipelines.wan import pipeline_wan, pipeline_wan_i2v
from PIL import Image

import animatic
from animatic.backbones import load
from animatic.benchmarks.generate import JobRenderer, settings_of
from animatic.benchmarks.jobs import Job
from animatic.benchmarks.registry import benchmark_named
from animatic.controls.first_frame import FirstFrame
from animatic.controls.guidance import Guidance
from animatic.core.loop import sample
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.first_image import read_image
from animatic.request import GenerationRequest
from animatic.scene import Scene, Track, save_story
from animatic.video import Video

KINDS = {
    "wan2.2-5b": (tiny.wan, {"each_token": True}),
    "cogvideox-5b-i2v": (tiny.cogvideox_i2v, {}),
    "cogvideox1.5-5b-i2v": (tiny.cogvideox_i2v, {"pairs": True}),
    "wan2.2-i2v-a14b": (tiny.wan_i2v, {"second": True}),
    "wan2.1-i2v": (tiny.wan_i2v, {}),
}
PROMPTS, NEGATIVES = ["the cat", "a dog"], ["red", "bear"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {name: make(root / name, **how) for name, (make, how) in KINDS.items()}


def picture(width=48, height=32, seed=0):
    """Smooth noise."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def pixels_of(image):
    return torch.from_numpy(np.array(image))[None, None]


@pytest.fixture(autouse=True)
def without_ftfy(monkeypatch):
    """diffusers' pipeline of images needs a package that its pipeline of text does without."""
    monkeypatch.setattr(pipeline_wan_i2v, "prompt_clean", pipeline_wan.prompt_clean)


def stock(folder, x, image, guidance, output="latent", scheduler=None, **more):
    """What diffusers' own pipeline makes of the same noise and image."""
    is_wan = "wan" in folder.name
    cls = WanImageToVideoPipeline if is_wan else CogVideoXImageToVideoPipeline
    pipeline = cls.from_pretrained(folder, **({} if scheduler is None else {"scheduler": scheduler}))
    pipeline.set_progress_bar_config(disable=True)
    tokens = pipeline.tokenizer.model_max_length
    images = image if is_wan else [image] * len(x)
    made = pipeline(
        image=images, prompt=PROMPTS, negative_prompt=NEGATIVES, num_frames=9, height=32, width=48,
        latents=(x if is_wan else x.movedim(2, 1)).clone(), num_inference_steps=4, guidance_scale=guidance,
        max_sequence_length=tokens, output_type=output, **more,
    ).frames  # fmt: skip
    return made if is_wan or output != "latent" else made.movedim(1, 2)


def ours(model, x, image, guidance, schedule=None):
    shown = model.with_image(pixels_of(image), 9)
    given = [] if shown.first_frame is None else [FirstFrame(shown.first_frame)]
    cond = shown.encode(PROMPTS, NEGATIVES)
    return sample(shown, schedule or shown.schedule(4), x, cond, [*given, Guidance(guidance)])


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("name", KINDS)
def test_the_pipelines_of_diffusers(folders, name, guidance):
    model = load(str(folders[name]))
    x = model.noise([0, 1], 9, 32, 48)
    made = ours(model, x, picture(), guidance)
    theirs = stock(folders[name], x, picture(), guidance)
    assert made.shape == theirs.shape
    assert close(made, theirs, RUN) and (made - theirs).abs().max() <= 1e-5 * theirs.abs().max()

    # the image matters, in the frames after it, too
    other = ours(model, x, picture(seed=1), guidance)
    assert (made - other)[:, :, -1].abs().max() > 1e-3


def mean(encoding, generator=None):
    """The mean of a posterior, in place of a sample of it."""
    return encoding.latent_dist.mode()


@pytest.mark.parametrize("name", ["wan2.2-5b", "wan2.2-i2v-a14b", "cogvideox1.5-5b-i2v"])
def test_other_schedulers(folders, name, monkeypatch):
    """Euler's steps of flow matching, and CogVideoX's stochastic solver with the noise of the seeds."""
    model = load(str(folders[name]))
    x = model.noise([0, 1], 9, 32, 48)
    more: dict[str, Any] = {}
    if name.startswith("wan"):
        model.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        schedule = model.schedule(4)
    else:
        model.scheduler = CogVideoXDPMScheduler.from_config(model.scheduler.config)
        schedule = model.schedule(4)
        schedule.start(x)
        more["generator"] = [torch.Generator().manual_seed(g.initial_seed()) for g in schedule._draws]
        monkeypatch.setattr(pipeline_cogvideox_image2video, "retrieve_latents", mean)  # draws nothing
    made = ours(model, x, picture(), 6.0, schedule)
    theirs = stock(folders[name], x, picture(), 6.0, scheduler=model.scheduler, **more)
    assert (made - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("name", ["wan2.2-5b", "cogvideox1.5-5b-i2v", "wan2.1-i2v"])
def test_a_loaded_pipeline(folders, name):
    """Its own modules, its encoder of images among them, make what the folder makes."""
    is_wan = name.startswith("wan")
    cls: Any = WanImageToVideoPipeline if is_wan else CogVideoXImageToVideoPipeline
    borrowed = animatic.load(cls.from_pretrained(folders[name]))
    folder = load(str(folders[name]))
    x = folder.noise([0, 1], 9, 32, 48)
    assert close(ours(borrowed, x, picture(), 6.0), ours(folder, x, picture(), 6.0), RUN)


BOXES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
SCENE = Scene("the cat runs", (Track("cat", BOXES),), seconds=1.0)
OPTIONS: dict[str, Any] = {"method": "none", "seed": 3, "steps": 2, "guidance": 5.0, "frames": 9, "size": (48, 32)}


@pytest.fixture
def file(here):
    """A picture in the working directory."""
    picture().save("first.png")
    return "first.png"


def test_every_door_gives_the_same_frames(folders, here, file):
    """Python of a file and of an image, the command line, a benchmark job; the file is made again from its request."""
    folder = str(folders["wan2.2-5b"])
    first = animatic.render(SCENE, folder, image=file, **OPTIONS)
    assert first.request.image == file and first.request.image_digest == read_image(file).digest
    without = animatic.render(SCENE, folder, **OPTIONS)
    assert not np.array_equal(first.frames, without.frames) and not without.request.image_digest

    save_story((SCENE,), "scene.json")
    given = ["--method", "none", "--seed", "3", "--steps", "2", "--guidance", "5", "--frames", "9", "--size", "48x32"]
    code, _, error = here("render", "scene.json", "--model", folder, "--image", file, *given, "-o", "made.mkv")
    assert code == 0, error
    made = Video.load("made.mkv")
    assert np.array_equal(made.frames, first.frames) and made.request == first.request

    benchmark = benchmark_named("lvd")
    sampling = replace(first.request.sampling, seed=3)
    request = GenerationRequest((), folder, method="none", sampling=sampling, image=file)
    renderer = JobRenderer(replace(settings_of(benchmark, "b", folder, "none", "rules"), request=request))
    (video,) = renderer._render([Job(0, 0, "task", SCENE.prompt, (), 3, SCENE)])
    assert np.array_equal(video.frames, first.frames)

    # of a picture in memory the request has the digest alone
    shown = animatic.render(SCENE, folder, image=picture(), **OPTIONS)
    assert np.array_equal(shown.frames, first.frames) and not shown.request.image
    with pytest.raises(AnimaticError, match=r"is of a given image .*; want generate\(..., image=...\)"):
        animatic.generate(shown.request)
    again = animatic.generate(shown.request, image=np.array(picture()))
    assert np.array_equal(again.frames, first.frames)

    # files remake themselves, and say so where the picture is another one by now
    read = animatic.read_request("made.mkv", allowed=[folder])
    assert np.array_equal(animatic.generate(read).frames, first.frames)
    picture(seed=1).save(file)
    with pytest.raises(AnimaticError, match=r"first\.png has the digest \w+; the request is of"):
        animatic.generate(read)
    code, _, error = here("render", "made.mkv", "--model", folder, "--image", file, "-o", "other.mkv")
    assert code == 0 and not np.array_equal(Video.load("other.mkv").frames, first.frames), error


def test_a_batch_and_an_edit_begin_with_the_same_image(folders, file):
    folder = str(folders["wan2.2-5b"])
    scenes = [SCENE, replace(SCENE, prompt="the dog runs", tracks=())]
    options = {name: value for name, value in OPTIONS.items() if name != "seed"}
    two = animatic.render_batch(scenes, folder, image=file, seeds=[3, 4], **options)
    apart = [np.abs(a.frames[0].astype(int) - two[0].frames[0].astype(int)).max() for a in two]
    assert max(apart) <= 1 and not np.array_equal(two[0].frames[-1], two[1].frames[-1])
    edited = animatic.edit(two[0], swap={"cat": "dog"})
    assert np.abs(edited.frames[0].astype(int) - two[0].frames[0].astype(int)).max() <= 1
    assert edited.request.image == file


def test_a_strangers_file_names_no_picture_that_the_user_did_not(folders, here, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    picture().save(elsewhere)
    request = GenerationRequest((SCENE,), str(folders["wan2.2-5b"]), image=str(elsewhere))
    Path("request.json").write_text(json.dumps(request.to_dict()))
    with pytest.raises(AnimaticError, match=r"names the image .*outside of its own .*to use it say --image"):
        animatic.read_request("request.json", allowed=[folders["wan2.2-5b"]])
    Path("request.json").write_text(json.dumps({**request.to_dict(), "image": "no.png"}))
    with pytest.raises(AnimaticError, match=r"names the image no\.png, which is not there; want --image FILE"):
        animatic.read_request("request.json", allowed=[folders["wan2.2-5b"]])


def test_what_cannot_be_done_is_one_line(folders, file, tmp_path):
    sizes = {"frames": 9, "size": (48, 32), "steps": 1, "method": "none"}
    i2v = str(folders["cogvideox-5b-i2v"])
    with pytest.raises(AnimaticError, match=r"i2v animates an image, and has none; want image=FILE \(--image FILE\)"):
        animatic.render(SCENE, i2v, **sizes)
    with pytest.raises(AnimaticError, match="mini reads no image; want a model that animates one"):
        animatic.render(SCENE, "mini", image=file)
    with pytest.raises(AnimaticError, match=r"size is 64x32; cogvideox-5b-i2v takes 48x32 alone"):
        animatic.render(SCENE, i2v, image=file, **{**sizes, "size": (64, 32)})
    with pytest.raises(AnimaticError, match="begins every clip with the image, and this is made in windows"):
        animatic.render((SCENE, SCENE), i2v, image=file, steps=1)
    with pytest.raises(AnimaticError, match="frames is 1, which the image itself would be; want more, or no image"):
        animatic.render(SCENE, i2v, image=file, **{**sizes, "frames": 1})
    with pytest.raises(AnimaticError, match="image is an array of float64"):
        animatic.render(SCENE, i2v, image=np.zeros((4, 4, 3)), **sizes)
    with pytest.raises(AnimaticError, match=r"the request has the image first\.png, and another is given"):
        animatic.generate(GenerationRequest((SCENE,), i2v, image=file), image=picture())
    clip = np.arange(3, dtype=np.uint8)[:, None, None, None] * 80 + np.zeros((32, 48, 3), np.uint8)
    Video(clip, 8.0).save(tmp_path / "clip.gif")
    with pytest.raises(AnimaticError, match=r"clip\.gif: has 3 frames; want a picture"):
        animatic.render(SCENE, i2v, image=tmp_path / "clip.gif", **sizes)

    # networks that read something else besides the text
    index = folders["cogvideox-5b-i2v"] / "model_index.json"
    text = index.read_text()
    index.write_text(text.replace("CogVideoXImageToVideoPipeline", "CogVideoXFunControlPipeline"))
    try:
        with pytest.raises(AnimaticError, match="is of a CogVideoXFunControlPipeline; want CogVideoXImageToVideo"):
            load(i2v)
    finally:
        index.write_text(text)


def test_a_first_and_a_last_image_are_refused(folders, tmp_path):
    config = json.loads((folders["wan2.1-i2v"] / "transformer" / "config.json").read_text())
    folder = tmp_path / "transformer"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**config, "pos_embed_seq_len": 34}))
    with pytest.raises(
        AnimaticError, match=r"reads a first and a last image \(pos_embed_seq_len\); want a model of one"
    ):
        type(load(str(folders["wan2.1-i2v"]))).read(folder, torch.float32)


def test_a_picture_of_another_shape_is_cut_around_its_middle(folders, here):
    picture(96, 32).save("wide.png")
    cut = read_image("wide.png").fitted(48, 32)
    assert torch.equal(cut, pixels_of(picture(96, 32).crop((24, 0, 72, 32))))
    note = r"wide\.png measures 96x32, and 50% of it is cut away in 48x32; --size 64x16 is nearer to its shape"
    with pytest.warns(AnimaticWarning, match=note):
        animatic.render(SCENE, str(folders["wan2.2-5b"]), image="wide.png", **OPTIONS)


def test_a_story_begins_with_the_image(folders, file):
    """Of Wan 2.2 5B, in windows: the first frame is the image's, and the windows after the first read no image."""
    model = load(str(folders["wan2.2-5b"]))
    model.geometry = replace(model.geometry, frames=9, height=32, width=48, fps=9.0)
    story = (SCENE, Scene("a dog", seconds=1.0))
    latents = animatic.render(story, model, "none", image=file, steps=1, output_type="latent")
    given = model.to_latents(pixels_of(picture()))
    assert close(latents[:, :, :1], given) and latents.shape[2] > 3
    other = animatic.render(story, model, "none", steps=1, output_type="latent")
    assert not torch.allclose(latents[:, :, 1], other[:, :, 1], atol=1e-3)
    assert close(latents[:, :, -1], other[:, :, -1], RUN)  # the last window is no part of the first


@pytest.mark.parametrize("name", KINDS)
def test_a_rehearsal_reads_an_image(folders, name):
    """As many operations a step as the network counts with the image among its inputs, guided passes too."""
    cost = animatic.rehearse(str(folders[name]), "lvd", frames=9, size=(48, 32), steps=2)
    assert cost.step_flops > 0 and cost.guided_flops > 0 and cost.fits


def test_the_studio_keeps_an_image_by_its_digest(folders, file, tmp_path):
    pytest.importorskip("gradio", reason="the studio's extra is not installed")
    from animatic.studio.api import Api
    from animatic.studio.work import Studio

    folder = str(folders["wan2.2-5b"])
    sent = base64.b64encode(Path(file).read_bytes()).decode()
    options = {"model": folder, "method": "none", "seed": 3, "steps": 2, "guidance": 5.0, "frames": 9, "size": "48x32"}
    scene = {"version": 1, "scenes": [json.loads(SCENE.to_json())]}
    studio = Studio(tmp_path / "studio", models=("mini", folder))
    try:
        api = Api(studio)
        made = [
            waited(api, api.render(scene, image=image, **options)) for image in (sent, f"data:image/png;base64,{sent}")
        ]
        videos = [studio.log.video(status["id"], 0) for status in made]
        first = animatic.render(SCENE, folder, image=file, **OPTIONS)
        assert all(np.array_equal(video.frames, first.frames) for video in videos)
        assert videos[0].request.image_digest == first.request.image_digest
        assert [path.stem for path in (tmp_path / "studio" / "images").iterdir()] == [first.request.image_digest]

        # a job made again with other words begins with it, too; nothing says where it lies
        edited = waited(api, api.edit(made[0]["id"], swap={"cat": "dog"}))
        apart = studio.log.video(edited["id"], 0).frames[0].astype(int) - first.frames[0].astype(int)
        assert np.abs(apart).max() <= 1 and "images/" not in json.dumps(api.gallery())

        with pytest.raises(AnimaticError, match="image is no picture; want PNG, JPEG, WEBP in base64"):
            api.render(scene, image="YWJj", **options)
        with pytest.raises(AnimaticError, match="mini reads no image"):
            api.render(scene, image=sent, **{**options, "model": "mini", "size": "64x64"})
    finally:
        studio.close()


def waited(api, job):
    """The status of a job that is over."""
    deadline = time.monotonic() + 120
    while (status := api.status(job["id"]))["state"] not in ("done", "failed") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status["state"] == "done", status["message"]
    return status
