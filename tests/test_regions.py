"""MultiDiffusion: one region is the model itself, several are laid side by side; bootstrapping; pixels to latents."""

from dataclasses import dataclass, replace

import pytest
import tiny
import torch
from conftest import RUN, close

from animatic.backbones import load
from animatic.controls.guidance import Guidance
from animatic.controls.regions import Regions
from animatic.core.control import Control, Run
from animatic.core.loop import sample
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track

CAT = Scene("a cat", (Track("cat", ((0.0, 0.0, 0.5, 1.0),)),), background="a road", seconds=0)


@pytest.fixture(scope="module", params=["2d", "3d"])
def model(request, tmp_path_factory):
    network = tiny.unet2d() if request.param == "2d" else tiny.unet3d()
    return load(str(tiny.folder(tmp_path_factory.mktemp("model") / "m", network)))


def run(model, scene, controls, steps=3, solver="ddim"):
    cond, noise = model.encode([scene.prompt], [""]), model.noise([0], 1, 64, 64)
    return sample(model, model.schedule(steps, solver), noise, cond, controls, scenes=[scene])


@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
def test_one_region_is_the_model_itself(model, solver):
    empty = replace(CAT, tracks=(), prompt="a road")
    want = run(model, empty, [Guidance(2.0)], solver=solver)
    assert close(run(model, empty, [Regions(0.0), Guidance(2.0)], solver=solver), want, RUN)


def test_each_region_answers_to_its_own_words(model):
    """Other words for the thing change its side alone, at the first step."""
    sides = []
    for words in ("cat", "dog"):
        scene = replace(CAT, tracks=(replace(CAT.tracks[0], prompt=words),))
        sides.append(run(model, scene, [Regions(0.0), Guidance(2.0)], steps=1))
    change = (sides[0] - sides[1]).abs().amax((0, 1, 2, 3))
    assert (change[:4] > 1e-6).all() and (change[4:] == 0).all()  # masked: multiplied by zero


def test_later_things_stand_in_front(model):
    both = replace(CAT, tracks=(*CAT.tracks, Track("dog", ((0.0, 0.0, 1.0, 1.0),))))
    alone = replace(CAT, tracks=(both.tracks[1],))
    made = [run(model, s, [Regions(0.0), Guidance(2.0)], steps=1) for s in (both, alone)]
    assert close(*made, RUN)


def test_bootstrapping_asks_before_a_plain_colour(model):
    """Outside its box a thing's sample is the noised colour while it lasts, and the sample itself after."""
    seen = []

    @dataclass
    class Look(Control):
        def denoise(self, inner, x, step, cond):
            seen.append(x.clone())
            return inner(x, step, cond)

    run(model, CAT, [Regions(0.5), Look(), Guidance(2.0)], steps=2)
    (first, later) = seen
    noise = model.noise([0], 1, 64, 64)[0]
    background, cat = first
    assert torch.equal(cat[..., :4], noise[..., :4]) and torch.equal(background[..., 4:], noise[..., 4:])  # by a mask
    assert not torch.equal(cat[..., 4:], noise[..., 4:]) and not torch.equal(background[..., :4], noise[..., :4])
    assert torch.equal(later[0], later[1]), "then all regions look at the same sample"


def test_latents_of_pixels_come_back(model):
    """`to_latents` is what the VAE says, in the scheduler's units."""
    pixels = torch.randint(0, 255, (2, 3, 64, 64, 3), dtype=torch.uint8)
    latents = model.to_latents(pixels)
    assert latents.shape == (2, 4, 3, 8, 8)
    image = pixels[1, 2].movedim(-1, 0)[None] / 127.5 - 1
    want = model.vae.encode(image).latent_dist.mode() * model.vae.config.scaling_factor
    assert close(latents[1, :, 2], want[0])


def test_bad_input(model):
    x = model.noise([0], 1, 64, 64)
    with pytest.raises(AnimaticError, match="Regions needs scenes"):
        Regions().begin(Run(model, model.schedule(3), x))
