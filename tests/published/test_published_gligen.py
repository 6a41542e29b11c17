"""Methods that tell boxes give, as published, what LMD's and LVD's own code gave (gligen.json says how recorded)."""

from dataclasses import replace

import pytest
from networks import Counted, agree, heard, image_network, model, video_network
from seeded import NEGATIVE, recorded, seeded
from test_published_lmd import SCENE as STILL
from test_published_lvd import SCENE as MOVING

from animatic.controls.composition import Composition
from animatic.controls.energy import Energy
from animatic.controls.grounding import Gligen
from animatic.methods import METHODS
from animatic.prompt_styles import style_of, told
from animatic.sampling import sample

RECORDED = recorded("gligen")["runs"]


@pytest.fixture(scope="module")
def image_model(tmp_path_factory):
    return model(tmp_path_factory.mktemp("image"), seeded(image_network(boxes=True), loud=2), "stable")


@pytest.fixture(scope="module")
def video_model(tmp_path_factory):
    return model(tmp_path_factory.mktemp("video"), video_network(boxes=True), "modelscope")


def first_steps(backbone, name, scene, shape, guidance, solver, change=lambda control: control):
    """The first four steps of a method as published: its passes, energies and latents."""
    want, method = RECORDED[name], METHODS[name.partition(" ")[0]]
    backbone.habits = replace(backbone.habits, negative=NEGATIVE)
    scenes, losses, counted = told([scene], style_of(method)), [], Counted()
    controls = [heard(change(control), losses) for control in method(scenes, backbone, guidance)]

    schedule = backbone.schedule(want["steps"], solver)
    cond = backbone.encode([scenes[0].prompt], [NEGATIVE])
    noise = backbone.noise([5], *shape)
    x = sample(backbone, schedule.again(3), noise, cond, [*controls, counted], seeds=[5])
    return list(counted.passes.values()), losses, x


def same(found, name):
    passes, losses, x = found
    assert passes == RECORDED[name]["passes"]
    assert losses == pytest.approx(RECORDED[name]["losses"], rel=1e-4)
    agree(x, RECORDED[name]["latents"])


@pytest.mark.parametrize("name", [name for name in RECORDED if name.startswith("gligen")])
def test_gligen_as_lmd_ran_it(image_model, name):
    same(first_steps(image_model, name, STILL, (1, 128, 128), 7.5, "ddim"), name)


def test_lmd_plus_tells_boxes_of_the_whole(image_model):
    """Without its pictures of single objects: what the composed picture and its guided passes are told."""

    def uncomposed(control):
        return replace(control.energy, iters=(2, 2, 1)) if isinstance(control, Composition) else control

    name = "lmd+:published (nothing composed)"
    same(first_steps(image_model, name, STILL, (1, 512, 512), 7.5, "ddim", uncomposed), name)


@pytest.mark.parametrize("name", [name for name in RECORDED if name.startswith("lvd")])
def test_lvds_methods_that_tell_boxes(video_model, name):
    def judged(control):
        lowered = isinstance(control, Energy) and "threshold" in RECORDED[name]
        return replace(control, threshold=RECORDED[name]["threshold"]) if lowered else control

    same(first_steps(video_model, name, MOVING, (4, 128, 128), 9.0, "dpm++", judged), name)


@pytest.mark.parametrize("other", [{"naming": "name"}, {"naming": "phrase"}, {"legacy": False}])
def test_the_recordings_tell_other_choices_apart(image_model, other):
    """What objects are called beside their boxes, and how the levels at which they are told are counted."""

    def changed(control):
        return replace(control, **other) if isinstance(control, Gligen) else control

    name = "gligen:published (8 steps)"
    found = first_steps(image_model, name, STILL, (1, 128, 128), 7.5, "ddim", changed)
    with pytest.raises(AssertionError):
        same(found, name)
