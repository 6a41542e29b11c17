"""One request, one road: every way in gives the same frames for the same wish, and every file gives them again.

The command line, Python, the studio's API and a benchmark job run here in one process on one machine, so that frames
are equal bit by bit; files without loss are compared.
"""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import animatic
from animatic.benchmarks.generate import JobRenderer, settings_of
from animatic.benchmarks.jobs import Job
from animatic.benchmarks.registry import benchmark_named
from animatic.errors import AnimaticError
from animatic.generation import generate_versions
from animatic.request import FinishingOptions, GenerationRequest, SamplingOptions
from animatic.request_files import check_paths
from animatic.scene import Scene, Track, save_story
from animatic.story_edit import Edit
from animatic.video import Video

RIGHT = ((0.0, 0.25, 0.5, 0.75), (0.5, 0.25, 1.0, 0.75))
BEAR = Scene("A bear on the grass", (Track("bear", RIGHT),), seconds=2.0)
DOG = Scene("A dog on the grass", (Track("dog", RIGHT[::-1]),), seconds=2.0)

WISHES = {
    "none": {"method": "none"},
    "lvd": {"method": "lvd"},
    "story": {"story": (BEAR, DOG), "method": "ditctrl+lvd"},
    "lora": {"method": "none", "lora": True},
    "finished": {"method": "lvd", "then": "upscale:2"},
}


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """A LoRA for a layer of `mini`, large enough to change its frames."""
    path = tmp_path_factory.mktemp("lora") / "hat.safetensors"
    name = next(n for n, m in animatic.load("mini").unet.named_modules() if n.endswith("attn2.to_q"))
    layer = animatic.load("mini").unet.get_submodule(name)
    draw = torch.Generator().manual_seed(0)
    down = torch.randn(2, layer.in_features, generator=draw)
    up = torch.randn(layer.out_features, 2, generator=draw)
    save_file({f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}, path)
    return path


def in_the_studio(folder, wish, story, loras):
    """The frames of a job, without loss, as the API makes it."""
    pytest.importorskip("gradio", reason="the studio's extra is not installed")
    from animatic.studio.api import Api
    from animatic.studio.work import Studio

    studio = Studio(folder, loras=loras)
    try:
        api = Api(studio)
        scene = {"version": 1, "scenes": [json.loads(each.to_json()) for each in story]}
        job = api.render(
            scene, method=wish["method"], seed=3, steps=2, guidance=5.0, loras=loras, then=wish.get("then", "")
        )
        deadline = time.monotonic() + 240
        while (status := api.status(job["id"]))["state"] not in ("done", "failed") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status["state"] == "done", status["message"]
        return studio.log.video(job["id"], 0)
    finally:
        studio.close()


@pytest.mark.parametrize("name", WISHES)
def test_every_door_gives_the_same_frames(name, here, lora, tmp_path):
    """Command line, Python, studio and benchmark; then the file of each is made again from its own request."""
    wish = WISHES[name]
    story = wish.get("story", (BEAR,))
    stages = wish.get("then", "")
    loras = [str(lora)] if wish.get("lora") else []
    request = GenerationRequest(
        story,
        loras=tuple((file, 1.0, "") for file in loras),
        method=wish["method"],
        sampling=SamplingOptions(seed=3, steps=2, guidance=5.0),
        finishing=FinishingOptions(stages),
    )
    videos = {"python": animatic.generate(request)}

    # the command line, of the story's file
    save_story(story, "story.json")
    given = ["--method", wish["method"], "--seed", "3", "--steps", "2", "--guidance", "5"]
    given += ["--then", stages] if stages else []
    given += [part for file in loras for part in ("--lora", file)]
    code, _, error = here("render", "story.json", *given, "-o", "made.mkv")
    assert code == 0, error
    videos["command line"] = Video.load("made.mkv")

    videos["studio"] = in_the_studio(tmp_path / "studio", wish, story, loras)

    # a benchmark job whose plan is the story
    benchmark = benchmark_named("mpv" if len(story) > 1 else "lvd")
    settings = replace(settings_of(benchmark, "b", "mini", wish["method"], "rules"), request=request)
    job = Job(0, 0, "task", request.prompt, (), 3, story if len(story) > 1 else story[0])
    (videos["benchmark"],) = JobRenderer(settings)._render([job])

    first = videos["python"]
    for door, video in videos.items():
        assert np.array_equal(video.frames, first.frames), door
        assert video.fps == first.fps, door
        assert video.request == first.request, door

    # the file remakes itself, in Python and on the command line
    read = animatic.read_request("made.mkv", allowed=loras)
    assert read == first.request
    assert np.array_equal(animatic.generate(read).frames, first.frames)
    again = [part for file in loras for part in ("--lora", file)]
    assert here("make", "made.mkv", *again, "-o", "again.npz")[0] == 0
    assert np.array_equal(Video.load("again.npz").frames, first.frames)


@pytest.mark.parametrize("name", ["mp4", "gif", "webp", "png", "mkv", "npz"])
def test_every_kind_of_file_carries_its_request(name, here):
    options = ["--steps", "1", "--frames", "2", "--method", "none"]
    assert here("make", "a bear walks to the right", *options, "-o", f"bear.{name}")[0] == 0
    request = animatic.read_request(f"bear.{name}")
    code, printed, _ = here("info", f"bear.{name}", "--request")
    assert code == 0 and GenerationRequest.of_dict(json.loads(printed)) == request
    Path("request.json").write_text(printed)
    assert animatic.read_request("request.json") == request
    assert here("render", "request.json", "-o", "again.mkv")[0] == 0
    assert np.array_equal(Video.load("again.mkv").frames, animatic.generate(request).frames)


@pytest.mark.parametrize("story", [(BEAR,), (BEAR, DOG)], ids=["clip", "story"])
def test_the_source_of_an_edit_is_the_video_in_the_file(story, here):
    """Of a clip of four frames under lvd with its own guidance, and of a story."""
    save_story(story, "story.json")
    clip = ["--method", "lvd", "--frames", "4", "--guidance", "9"] if len(story) == 1 else []
    assert here("render", "story.json", *clip, "--steps", "2", "-o", "video.mkv")[0] == 0
    video = Video.load("video.mkv")
    source, target = generate_versions(video.request.edited(Edit(swap={"bear": "cat"})))
    apart = np.abs(source.frames.astype(int) - video.frames.astype(int))
    assert apart.max() <= 1  # two samples in its batch, not one
    assert not np.array_equal(source.frames, target.frames)
    assert np.array_equal(animatic.edit(video, swap={"bear": "cat"}).frames, target.frames)
    assert here("edit", "video.mkv", "--swap", "bear=cat", "-o", "edited.mkv")[0] == 0
    assert np.array_equal(Video.load("edited.mkv").frames, target.frames)
    assert np.array_equal(animatic.generate(animatic.read_request("edited.mkv")).frames, target.frames)


# ---- requests that cannot be used


def _request(**changes):
    data = GenerationRequest((BEAR,), sampling=SamplingOptions(steps=1, frames=1)).to_dict()
    for path, value in changes.items():
        *owners, name = path.split("__")
        place = data
        for owner in owners:
            place = place[owner]
        place[name] = value
    return data


NONSENSE = {
    "newer": ({"version": 2}, "its request is of version 2; this program reads version 1"),
    "unknown field": ({"colour": "red"}, "colour: Unexpected keyword argument"),
    "unknown option": ({"sampling__warp": 9}, "sampling.warp: Unexpected keyword argument"),
    "steps": ({"sampling__steps": -3}, "sampling.steps: Input should be greater than or equal to 1"),
    "seed": ({"sampling__seed": "x"}, "sampling.seed: Input should be a valid integer"),
    "guidance": ({"sampling__guidance": float("nan")}, "sampling.guidance: Input should be a finite number"),
    "story": ({"story": "a bear"}, "story"),
    "no scene": ({"story": []}, "has no scenes"),
    "boxes": (
        {"story": [{"prompt": "a", "tracks": [{"phrase": "a", "boxes": [[9, 9, 9]]}]}]},
        "story.0.tracks.0.boxes",
    ),
    "model": ({"model": "no-such-model"}, "no-such-model"),
    "missing folder": ({"model": "./no/folder"}, "no/folder"),
    "lora": ({"loras": [["no.safetensors", 1.0, ""]]}, "names the lora no.safetensors, which is not there"),
    "method": ({"method": "magic"}, "unknown method 'magic'"),
    "setting": ({"method": "lvd", "settings": {"energy.warp": 1}}, "has no setting 'energy.warp'"),
    "stage": ({"finishing__stages": "magic:2"}, "unknown stage 'magic'"),
    "edit": ({"edits": [{"swap": {"cat": "dog"}}]}, "word 'cat' is not in the prompt"),
    "inverted": ({"inverted": "0123456789abcdef"}, "edits the frames of another video"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_request_edited_into_nonsense_is_one_line(name, here):
    changes, message = NONSENSE[name]
    Path("request.json").write_text(json.dumps(_request(**changes)))
    code, _, error = here("render", "request.json", "-o", "made.mkv")
    assert code == 2 and error.count("\n") == 1 and message in error, error


@pytest.mark.parametrize("kind", ["model", "lora", "stage"])
def test_a_strangers_file_names_no_folder_that_the_user_did_not(kind, here, tmp_path_factory):
    """Folders outside of the file's own and of the working folder are read only where the user names them too."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret"
    changes = {
        "model": {"model": str(elsewhere)},
        "lora": {"loras": [[str(elsewhere), 1.0, ""]]},
        "stage": {"finishing__stages": f"upscale:2:model={elsewhere}"},
    }[kind]
    Path("request.json").write_text(json.dumps(_request(**changes)))
    with pytest.raises(AnimaticError, match=f"names the {'lora' if kind == 'lora' else 'model'} .*outside of its own"):
        animatic.read_request("request.json")
    code, _, error = here("render", "request.json")
    assert code == 2 and "outside of its own and of the working folder" in error
    (elsewhere.parent / "secret").write_text("")
    request = GenerationRequest.of_dict(_request(**changes))
    check_paths(request, elsewhere, [elsewhere])  # the user names it


# ---- what a stranger found


def test_a_flat_key_beside_the_groups_is_refused(here):
    """It is no request of the old form: its groups must not be dropped for it."""
    Path("request.json").write_text(json.dumps({**_request(), "seed": 9}))
    code, _, error = here("render", "request.json")
    assert code == 2 and "seed: Unexpected keyword argument" in error


def test_the_plan_beside_an_edited_video_is_the_edited_one(here):
    save_story((BEAR,), "story.json")
    how = ["--steps", "1", "--frames", "2", "--method", "none"]
    assert here("render", "story.json", *how, "-o", "video.mkv")[0] == 0
    assert here("edit", "video.mkv", "--swap", "bear=cat", "-o", "edited.mkv")[0] == 0
    assert here("render", "edited.mkv", "-o", "again.mkv")[0] == 0
    assert animatic.load_scene("again.json").prompt == "A cat on the grass"


def test_stages_of_a_finished_video_are_joined(here):
    assert here("make", "a bear", "--steps", "1", "--frames", "2", "--then", "blend:2", "-o", "one.mkv")[0] == 0
    assert here("finish", "one.mkv", "--then", "lanczos:2", "-o", "two.mkv")[0] == 0
    video = Video.load("two.mkv")
    assert video.request.finishing.stages == "blend:2,lanczos:2"
    assert np.array_equal(animatic.generate(video.request).frames, video.frames)
    code, _, error = here("finish", "one.mkv", "--then", "lanczos:2", "-o", "two.mkv", "--name", "x")
    assert code == 2 and "name is 'x', and out is the file 'two.mkv'; want one of them" in error


def test_a_list_of_controls_is_named_as_one():
    from animatic.controls.guidance import Guidance

    video = animatic.render(BEAR, method=[Guidance(2.0)], steps=np.int64(1), frames=np.int32(2))
    assert video.info["method"] == "controls: Guidance"
    with pytest.raises(AnimaticError, match="is a list of controls, which no file can hold; want method="):
        animatic.generate(video.request)
    again = animatic.generate(video.request, method=[Guidance(2.0)])
    assert np.array_equal(again.frames, video.frames)


def test_the_guidance_of_a_file_gives_way_to_the_setting(here):
    assert here("make", "a bear", "--steps", "1", "--frames", "2", "-o", "one.mkv")[0] == 0
    assert here("render", "one.mkv", "--set", "guidance.scale=2", "-o", "two.mkv")[0] == 0
    assert Video.load("two.mkv").request.sampling.guidance == 2


def test_a_swap_for_nothing_is_refused():
    with pytest.raises(AnimaticError, match="'ball' is swapped for ''; want a word"):
        Edit(swap={"ball": ""})
