"""Models without any control give what the originals' plain runs gave (baselines.json says how recorded).

CogVideoX and Wan are held to diffusers' own pipelines, live, in `test_dit.py`.
"""

from itertools import count

import diffusers.schedulers.scheduling_ddpm as ddpm
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from networks import agree, image_network, model, video_network
from scenes import MOVING, STILL
from seeded import NEGATIVE, SOLVER, UNET, recorded, seeded, weight

from animatic.backbones.lavie import BETAS, CARDS
from animatic.backbones.lavie_unet import BASE, LaVieUNet
from animatic.core.loop import sample
from animatic.core.schedule import Schedule
from animatic.methods import METHODS

RECORDED = recorded("baselines")["runs"]
LAVIE = {**BASE, **UNET, "sample_size": 8, "block_out_channels": (64, 64, 128, 128), "attention_head_dim": 2}
ORIGINAL_TABLE = "time_rel_pos_bias.relative_attention_bias."


def plain_run(backbone, want, prompt, frames, schedule, guidance, negative=NEGATIVE):
    """The latents after the first four steps."""
    controls = METHODS["none"].on(backbone)
    width, height = want["size"]
    noise = backbone.noise([5], frames, height, width)
    return sample(
        backbone, schedule.again(3), noise, backbone.encode([prompt], [negative]), controls, guidance=guidance
    )


@pytest.mark.parametrize("family", ["modelscope", "zeroscope"])
def test_lvds_models(tmp_path, family):
    backbone, want = model(tmp_path, video_network(), family), RECORDED[family]
    agree(plain_run(backbone, want, MOVING.prompt, 4, backbone.schedule(40, "dpm++"), 9.0), want["latents"])


def test_stable_diffusion(tmp_path):
    backbone, want = model(tmp_path, seeded(image_network(), loud=2), "stable"), RECORDED["stable"]
    agree(plain_run(backbone, want, STILL.prompt, 1, backbone.schedule(50), 7.5), want["latents"])


@pytest.fixture
def lavie(tmp_path):
    network = LaVieUNet(**LAVIE)
    names = {name: name.replace("positions.table.", ORIGINAL_TABLE) for name in network.state_dict()}
    network.load_state_dict({n: weight(names[n], tuple(p.shape), 2) for n, p in network.state_dict().items()})
    return model(tmp_path, network.eval(), "lavie")


def test_lavie(lavie, monkeypatch):
    """By its own solver, with the original's noise in the place of the seed's."""
    draws = count(1)
    monkeypatch.setattr(ddpm, "randn_tensor", lambda shape, **options: normal(next(draws), shape))
    card = CARDS["lavie"]
    want, schedule = RECORDED["lavie"], Schedule(card["solver"](**BETAS, **card["scheduler"]), card["defaults"].steps)
    agree(plain_run(lavie, want, MOVING.prompt, 4, schedule, card["defaults"].guidance, ""), want["latents"])


def test_lavie_by_ddim(lavie):
    """Of Stable Diffusion 1.4's scheduler file the original keeps all but the betas."""
    want, schedule = RECORDED["lavie, ddim"], Schedule(DDIMScheduler(**{**SOLVER, **BETAS}), 50)
    agree(plain_run(lavie, want, MOVING.prompt, 4, schedule, 7.5, ""), want["latents"])


def normal(seed, shape):
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))
