"""Attention seen: the run is not changed, and the maps are where the model looks."""

import pytest
import tiny
from conftest import RUN, close

from animatic.backbones import load
from animatic.controls.attention_maps import AttentionMaps
from animatic.controls.energy import Energy
from animatic.controls.guidance import Guidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.controls.terms import BoxEnergy
from animatic.core.loop import sample
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track

BOXES = ((0, 0, 0.5, 0.5),) * 3
SCENE = Scene("two cats and a dog", (Track("cat", BOXES), Track("cat", ((0.5, 0.5, 1, 1),) * 3), Track("dog", BOXES)))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet3d())))


def run(model, *controls, scenes=(SCENE,), scale=2.0, show=None, layers=("*",)):
    cond = model.encode([s.prompt for s in scenes], [""] * len(scenes))
    watch = [AttentionMaps(show, layers)] if show else []
    noise = model.noise(range(len(scenes)), 3, 64, 64)
    return sample(model, model.schedule(3, "ddim"), noise, cond, [*watch, Guidance(scale), *controls], scenes=scenes)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_look_changes_nothing(model, scale):
    seen = {}
    looked = run(model, scale=scale, show=lambda row, phrase, heat: seen.update({(row, phrase): heat}))
    assert close(looked, run(model, scale=scale), RUN)  # V rides with more columns: another kernel
    assert set(seen) == {(0, "cat"), (0, "dog")}
    assert all(h.shape == (3, 8, 8) and h.min() >= 0 and h.max() == 1 for h in seen.values())


def test_maps_are_of_their_row_and_follow_control(model):
    other = Scene("a dog", (Track("dog", ((0.5, 0.5, 1, 1),) * 3),))
    seen = {}
    controls = [
        LayoutAttention(),
        Energy(BoxEnergy(), scale=1.0, until=0.5, iterations=1),
    ]
    run(model, *controls, scenes=(SCENE, other), show=lambda row, phrase, heat: seen.update({(row, phrase): heat}))
    assert set(seen) == {(0, "cat"), (0, "dog"), (1, "dog")}
    corner = {key: (h[:, :4, :4].mean() / h.mean()).item() for key, h in seen.items()}
    assert corner[0, "dog"] > 1.2 > 0.8 > corner[1, "dog"]


def test_no_layer_is_an_error(model):
    with pytest.raises(AnimaticError, match="match no text attention layer"):
        run(model, show=print, layers=("nowhere",))
