"""LVD's methods as published give what LVD's own code gave (lvd.json says how it was recorded)."""

from dataclasses import replace

import pytest
from networks import Counted, agree, heard, model, video_network
from scenes import MOVING
from seeded import NEGATIVE, recorded

from animatic.controls.energy import Energy
from animatic.core.loop import sample
from animatic.methods import METHODS
from animatic.prompting.styles import styled

RECORDED = recorded("lvd")["runs"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """By the heads of their outer levels."""
    return {
        heads: model(tmp_path_factory.mktemp("model"), video_network(heads=heads), "modelscope") for heads in (4, 16)
    }


@pytest.mark.parametrize("name", RECORDED)
def test_it_gives_what_lvd_gave(models, name):
    """Four of 40 steps: passes, losses and latents.

    The tiny network's few heads and frames keep energies far under LVD's own threshold, with which it stops after the
    first pass; other recordings have a lower one.
    """
    want = RECORDED[name]
    method, _, _ = name.partition(" ")
    backbone = models[want.get("heads", 4)]
    backbone.family = want["family"]
    width, height = want["size"]
    schedule = backbone.schedule(40, "dpm++")
    controls, losses, counted = [], [], Counted()
    scenes = styled([MOVING], METHODS[method].prompt_style)
    for control in METHODS[method].on(backbone):
        if isinstance(control, Energy) and "threshold" in want:
            control = replace(control, threshold=want["threshold"])
        controls.append(heard(control, losses))

    noise = backbone.noise([5], want.get("frames", 4), height, width)
    cond = backbone.encode([scenes[0].prompt], [NEGATIVE])
    x = sample(backbone, schedule.again(3), noise, cond, [*controls, counted], scenes=scenes, guidance=9.0)

    assert list(counted.passes.values()) == want["passes"]
    assert losses == pytest.approx(want["losses"], rel=1e-4)
    if "latents" in want:
        agree(x, want["latents"])
