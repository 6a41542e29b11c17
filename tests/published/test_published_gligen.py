"""Methods that tell boxes give, as published, what LMD's and LVD's own code gave (gligen.json says how recorded)."""

from dataclasses import replace

import pytest
from networks import Counted, agree, heard, image_network, model, video_network
from scenes import MOVING, STILL
from seeded import NEGATIVE, recorded, seeded

from animatic.controls.composition import Composition
from animatic.controls.energy import Energy
from animatic.controls.grounding import Gligen
from animatic.core.loop import sample
from animatic.methods import METHODS
from animatic.prompting.styles import styled

RECORDED = recorded("gligen")["runs"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """LMD's and LVD's."""
    image, video = seeded(image_network(boxes=True), loud=2), video_network(boxes=True)
    return {
        "lmd": model(tmp_path_factory.mktemp("image"), image, "stable"),
        "lvd": model(tmp_path_factory.mktemp("video"), video, "modelscope"),
    }


def as_recorded(control, want):
    """LMD+ without its pictures of single objects; energies with the iterations and the threshold of the recordings."""
    if isinstance(control, Composition):
        return replace(control.energy, iterations=(2, 2, 1))
    return replace(control, threshold=want["threshold"]) if isinstance(control, Energy) else control


def check(models, name, **other):
    """The first four steps of a method give the recorded passes, energies and latents; `other` changes its boxes."""
    want, method = RECORDED[name], METHODS[name.partition(" ")[0]]
    moves = name.startswith("lvd")
    backbone, scene = (models["lvd"], MOVING) if moves else (models["lmd"], STILL)
    if "names" in want:
        tracks = tuple(replace(t, phrase=n) for t, n in zip(scene.tracks, want["names"], strict=True))
        scene = replace(scene, tracks=tracks)
    guidance, solver, frames = (9.0, "dpm++", 4) if moves else (7.5, "ddim", 1)

    scenes, losses, counted = styled([scene], method.prompt_style), [], Counted()
    backbone.defaults = replace(backbone.defaults, negative=NEGATIVE)
    controls = [as_recorded(control, want) for control in method.on(backbone)]
    controls = [replace(c, **other) if isinstance(c, Gligen) else heard(c, losses) for c in controls]

    width, height = want["size"]
    noise, cond = backbone.noise([5], frames, height, width), backbone.encode([scenes[0].prompt], [NEGATIVE])
    schedule = backbone.schedule(want["steps"], solver)
    x = sample(backbone, schedule.again(3), noise, cond, [*controls, counted], [5], scenes=scenes, guidance=guidance)

    assert list(counted.passes.values()) == want["passes"]
    assert losses == pytest.approx(want["losses"], rel=1e-4)
    agree(x, want["latents"])


@pytest.mark.parametrize("name", RECORDED)
def test_it_gives_what_the_original_gave(models, name):
    check(models, name)


RERUN = pytest.mark.sweep("a recorded run once more, of which one other choice is told apart here already")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("gligen:published", {"naming": "name"}),
        ("gligen:published", {"naming": "phrase"}),
        ("gligen:published (8 steps)", {"legacy": False}),  # 0.4 of 8 steps are three there, begun ones four
        ("lvd-gligen:published (8 steps)", {"until": 0.5}),
        ("lvd+:published (threshold 0)", {"guided": "boxes"}),
        pytest.param("lvd+:published (threshold 0)", {"guided": "nothing"}, marks=RERUN),
        ("lmd+:published (nothing composed)", {"guided": "boxes"}),
        pytest.param("lmd+:published (nothing composed)", {"guided": "no word"}, marks=RERUN),
        pytest.param("lmd+:published (nothing composed)", {"naming": "name"}, marks=RERUN),
    ],
)
def test_the_recordings_tell_other_choices_apart(models, name, other):
    with pytest.raises(AssertionError):
        check(models, name, **other)
