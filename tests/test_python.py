"""What `render` takes and gives in Python: frames in other forms, latents in and out, generators, a function a step."""

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import animatic
from animatic.core.backbone import Geometry
from animatic.errors import AnimaticError
from animatic.generation import generate_latents
from animatic.scene import Scene, Track
from animatic.video import Video

CAT = Scene("a cat", (Track("cat", ((0, 0, 0.4, 0.4), (0.6, 0, 1, 0.4))),))
QUICK = {"steps": 2, "frames": 2, "size": (64, 32)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return animatic.load(str(tiny.folder(tmp_path_factory.mktemp("tiny") / "tiny", tiny.unet3d())))


def made(model, **more):
    return animatic.render(CAT, model, "none", **{**QUICK, **more})


def test_frames_in_other_forms():
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    video = Video(frames)
    pictures = video.to_pil()
    assert [type(picture) for picture in video] == [Image.Image] * 3 == [type(picture) for picture in pictures]
    assert pictures[0].size == (6, 4) and np.array_equal(np.stack([np.asarray(p) for p in pictures]), frames)
    tensor = video.to_tensor()
    assert tensor.shape == (3, 3, 4, 6) and tensor.dtype == torch.float32
    assert np.array_equal((tensor * 255).round().numpy().transpose(0, 2, 3, 1), frames)


def test_latents_out_are_what_the_frames_are_decoded_of(model):
    latents = made(model, seed=3, output_type="latent")
    assert latents.shape == (1, 4, 2, 4, 8)
    assert np.array_equal(model.decode(latents)[0].numpy(), made(model, seed=3).frames)
    with pytest.raises(AnimaticError, match=r"output_type is 'pil'; want video or latent: a video has .*\.to_pil\(\)"):
        made(model, output_type="pil")
    with pytest.raises(AnimaticError, match="want a request without edits and finishing stages"):
        made(model, output_type="latent", stages="interpolate:2")


def test_latents_in_are_the_first(model):
    noise = model.noise([3], 2, 32, 64)
    video = made(model, latents=noise)
    assert np.array_equal(video.frames, made(model, seed=3).frames)
    request = video.request
    assert len(request.noise) == 16 and not made(model, seed=3).request.noise
    assert np.array_equal(animatic.generate(request, model, latents=noise).frames, video.frames)
    for wrong in ({}, {"latents": noise + 1}, {"latents": torch.Generator().manual_seed(3)}):
        with pytest.raises(AnimaticError, match=r"is of given latents \(\w+\); want generate\(..., latents="):
            animatic.generate(request, model, **wrong)
    with pytest.raises(AnimaticError, match=r"latents are \[1, 4, 3, 4, 8\]; want \[1, 4, 2, 4, 8\]: \[1, channel"):
        made(model, latents=model.noise([3], 3, 32, 64))
    with pytest.raises(AnimaticError, match="not finite"):
        made(model, latents=noise / 0)
    with pytest.raises(AnimaticError, match="latents are str; want a tensor"):
        made(model, latents="noise")


def test_latents_of_an_edit_are_given_again(model):
    noise = model.noise([3], 2, 32, 64)
    request = made(model, latents=noise, seed=5).request.edited(animatic.story_edit.Edit(swap={"cat": "dog"}))
    with pytest.raises(AnimaticError, match="want generate"):
        animatic.generate(request, model)
    edited = animatic.generate(request, model, latents=noise)
    assert edited.request == request and edited.info["prompt"] == "a dog"


def test_a_generator_is_a_seed_until_it_draws(model):
    draw = torch.Generator().manual_seed(3)
    first, second = made(model, seed=draw), made(model, seed=draw)
    assert np.array_equal(first.frames, made(model, seed=3).frames)
    assert (first.request.sampling.seed, first.request.noise) == (3, "")
    assert len(second.request.noise) == 16 and not np.array_equal(first.frames, second.frames)
    with pytest.raises(AnimaticError, match="latents are given, and a generator"):
        made(model, seed=draw, latents=model.noise([3], 2, 32, 64))


def test_a_still_takes_the_latents_of_image_pipelines(tmp_path):
    model = animatic.load(str(tiny.folder(tmp_path, tiny.unet2d())))
    assert isinstance(model.geometry, Geometry)
    noise = model.noise([3], 1, 32, 32)
    options = {"steps": 1, "size": (32, 32)}
    four_axes = animatic.render(Scene("a cat", seconds=0), model, "none", latents=noise[:, :, 0], **options)
    five_axes = animatic.render(Scene("a cat", seconds=0), model, "none", latents=noise, **options)
    assert np.array_equal(four_axes.frames, five_axes.frames)


def test_a_function_is_called_after_each_step(model):
    seen = []

    def callback(step, total, latents):
        seen.append((step, total, latents))

    last = made(model, callbacks=callback, output_type="latent")
    assert [(step, total) for step, total, _ in seen] == [(1, 2), (2, 2)]
    assert torch.equal(seen[-1][2], last) and not torch.equal(seen[0][2], last)
    made(model, callbacks=[callback, callback])
    assert len(seen) == 6
    changing = made(model, callbacks=lambda step, total, latents: latents.zero_(), output_type="latent")
    assert torch.equal(changing, last), "a function is given a copy"
    for wrong in ("print", [1], animatic.Callback, lambda step: None):
        with pytest.raises(AnimaticError, match=r"callback is .*; want a Callback, a Control, or a function of"):
            made(model, callbacks=wrong)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"num_inference_steps": 5}, "want steps"),
        ({"guidance_scale": 5}, "want guidance"),
        ({"generator": None}, "want seed, which may be a generator"),
        ({"callback_on_step_end": None}, "want callbacks"),
        ({"colour": 1}, "known: steps, guidance"),
    ],
)
def test_unknown_keywords_are_one_line(model, given, meant):
    with pytest.raises(AnimaticError, match=f"unknown option '{next(iter(given))}'; {meant}"):
        made(model, **given)


def test_options_of_loading_are_refused_for_a_loaded_model(model):
    with pytest.raises(AnimaticError, match="dtype is given, and a model that is loaded already"):
        made(model, dtype="float16")
    with pytest.raises(AnimaticError, match="loras is given"):
        animatic.render_batch([CAT], model, "none", [0], loras=["a.safetensors"])


def test_a_prompt_is_no_scene(model):
    with pytest.raises(AnimaticError, match=r"scene is 'a cat'; want a Scene, such as animatic\.plan makes"):
        animatic.render("a cat", model)  # pyright: ignore
    with pytest.raises(AnimaticError, match="model is 5; want a name, a folder"):
        animatic.render(CAT, 5)  # pyright: ignore


def test_requests_of_latents_are_of_one_render(model):
    request = made(model).request.edited(animatic.story_edit.Edit(swap={"cat": "dog"}))
    with pytest.raises(AnimaticError, match="want a request without edits"):
        generate_latents(request, model)


def test_names_at_the_top():
    names = {"render", "load", "plan", "edit", "generate", "Control", "Callback", "METHODS", "Video", "__version__"}
    assert names <= set(dir(animatic)) and all(hasattr(animatic, name) for name in names)
