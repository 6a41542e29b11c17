"""Sizes whose levels do not halve evenly: every layer's grid is its true one, and every reader of it runs."""

import itertools
import re
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from tiny import WIDTH, folder

from animatic.backbones import load
from animatic.backbones.attention_hooks import grid_of
from animatic.controls.guidance import Guidance
from animatic.core.attention import fused_attention, mean_map
from animatic.core.control import Control
from animatic.core.loop import sample
from animatic.core.types import AttentionMapRequest
from animatic.errors import AnimaticError
from animatic.rendering import render
from animatic.scene import Scene, Track

SIDES = range(128, 1025, 8)  # pixels: 113 x 113 = 12,769 sizes
AWKWARD = ((600, 400), (480, 272), (400, 400), (256, 144))  # width x height in pixels


def levels(height: int, width: int, count: int = 4) -> list[tuple[int, int]]:
    """What four levels of stride-2 convolutions with padding 1 make of a picture, by the convolution's own formula."""
    found = [(height, width)]
    for _ in range(count - 1):
        found.append(tuple((side + 2 - 3) // 2 + 1 for side in found[-1]))
    return found


def test_every_level_of_every_size_has_its_grid():
    sizes = list(itertools.product(SIDES, SIDES))
    assert len(sizes) == 12_769
    for height, width in sizes:
        for level in levels(height // 8, width // 8):
            assert grid_of(height // 8, width // 8, level[0] * level[1], "x") == level


def test_a_layer_of_no_level_is_named():
    with pytest.raises(AnimaticError, match=re.escape("layer mid has 88 positions; no level of 75 x 50 cells")):
        grid_of(75, 50, 88, "mid")


def test_real_convolutions_agree():
    """The formula is that of the network's own downsampling layers."""
    down = torch.nn.Conv2d(1, 1, 3, stride=2, padding=1)
    for width, height in AWKWARD:
        x = torch.zeros(1, 1, height // 8, width // 8)
        for level in levels(height // 8, width // 8):
            assert x.shape[2:] == level
            x = down(x)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Four levels in Stable Diffusion's layout, each with text attention but the last."""
    torch.manual_seed(0)
    network = UNet2DConditionModel(
        sample_size=32, block_out_channels=(8, 8, 8, 8), layers_per_block=2, norm_num_groups=4,
        cross_attention_dim=WIDTH, attention_head_dim=2,
    )  # fmt: skip
    return load(str(folder(tmp_path_factory.mktemp("sizes") / "four", network)), "cpu")


class Grids(Control):
    """Notes the grid of every layer."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, int, int]] = {}

    def attend(self, inner, site, q, k, v, mask):
        self.found[site.layer] = site.grid
        return inner(site, q, k, v, mask)


@pytest.mark.parametrize(("width", "height"), AWKWARD)
def test_layers_of_a_real_network_know_their_grid(model, width, height):
    noted = Grids()
    noise = model.noise([0], 1, height, width)
    sample(model, model.schedule(1), noise, model.encode(["a cat"], [""]), [Guidance(2.0), noted])
    four = levels(height // 8, width // 8)
    assert noted.found["mid_block.attentions.0.transformer_blocks.0.attn2"] == (1, *four[3])
    for i in range(3):
        assert noted.found[f"down_blocks.{i}.attentions.0.transformer_blocks.0.attn2"] == (1, *four[i])
        assert noted.found[f"up_blocks.{3 - i}.attentions.2.transformer_blocks.0.attn1"] == (1, *four[i])


SCENE = Scene("a cat", (Track("cat", ((0.1, 0.2, 0.6, 0.8),)),), seconds=0.0)


@pytest.mark.parametrize("method", ["lmd", "backward-guidance", "layout-attention", "lvd", "boxdiff"])
@pytest.mark.parametrize(("width", "height"), [(600, 400), (256, 144)])
def test_methods_that_read_the_mid_block_run(model, method, width, height):
    """The grid is right at all other sizes by the tests above."""
    video = render(SCENE, model, method, steps=1, size=(width, height))
    assert video.frames.shape[1:] == (height, width, 3)


@pytest.mark.parametrize(("width", "height"), AWKWARD)
def test_attention_maps_have_the_grid_of_their_layer(model, width, height):
    noise = model.noise([0], 1, height, width)
    request = AttentionMapRequest(torch.tensor([[1]]), maps_only=True)
    cond = replace(model.encode(["a cat"], [""]).positive, map_request=request)
    model(noise, next(iter(model.schedule(1))), cond, fused_attention)
    four = levels(height // 8, width // 8)
    grids = {tuple(maps.shape[3:5]) for maps in request.found.values()}
    assert grids == set(four), "each level has text attention, and the mid block that of the last"
    assert mean_map(request.found).shape[-2:] == four[0]
