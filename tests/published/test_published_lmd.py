"""LMD's methods and its baselines as published give what LMD's own code gave (lmd.json says how it was recorded)."""

from dataclasses import dataclass, field, fields, replace

import pytest
from networks import Counted, Heard, agree, heard, image_network, model
from scenes import STILL, boxes
from seeded import NEGATIVE, recorded

from animatic.controls.composition import Composition
from animatic.controls.energy import Energy
from animatic.controls.regions import Regions
from animatic.core.loop import sample
from animatic.methods import METHODS
from animatic.prompting.styles import styled
from animatic.scene import Track

RECORDED = recorded("lmd")["runs"]
BIRD = Track("a bird", boxes((180, 250, 160, 100)))  # in front of a cat and of the dog
CROWDED = replace(STILL, tracks=(*STILL.tracks, BIRD))


@dataclass(frozen=True)
class Boxes:
    """Masks that are the boxes, as in the recordings."""

    needs_pixels = False

    def __call__(self, heat, pixels, boxes):
        return boxes.bool()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {boxes: model(tmp_path_factory.mktemp("model"), image_network(boxes), "stable") for boxes in (False, True)}


@dataclass
class HeardComposition(Composition):
    """A composition that keeps its whole energies, attention transfer included."""

    losses: list = field(default_factory=list)

    def begin(self, run):
        own = super().begin(run)
        own.energy.terms = Heard(own.energy.terms, self.losses)
        return own


def as_recorded(control, losses):
    """The eight steps of LMD and LMD+, the short negative prompts of MultiDiffusion, and what `heard` does."""
    if isinstance(control, Regions):
        return replace(control, negative="big, cut", around="big")
    if not isinstance(control, Composition):
        return heard(control, losses)
    shorter = {"iterations": (2, 2, 1)}
    control = HeardComposition(**{f.name: getattr(control, f.name) for f in fields(control)}, losses=losses)
    energy = replace(control.energy, **shorter)
    parts = tuple(replace(part, **shorter) if isinstance(part, Energy) else part for part in control.object_controls)
    return replace(
        control, energy=energy, object_controls=parts, mask=Boxes(), mask_layers=(), seed=control.seed + 2, negative=""
    )


SLOW = pytest.mark.slow("64 x 64 cells, the least that LMD's geometry takes, on one core")


@pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW if RECORDED[n]["size"] == 512 else ()) for n in RECORDED])
def test_it_gives_what_lmd_gave(models, name):
    """The first four evaluations: passes, losses and latents."""
    want, method = RECORDED[name], METHODS[name]
    backbone = models[name.startswith(("gligen", "lmd+"))]
    backbone.defaults = replace(backbone.defaults, negative=NEGATIVE)
    losses, counted = [], Counted()
    scenes = styled([CROWDED if name.startswith("multi") else STILL], method.prompt_style)
    backbone.defaults = replace(backbone.defaults, guidance=7.5)
    guidance = method.guidance_on(backbone)
    controls = [as_recorded(control, losses) for control in method.on(backbone)]

    noise = backbone.noise([5], 1, want["size"], want["size"])
    cond = backbone.encode([scenes[0].prompt], [NEGATIVE])
    schedule = backbone.schedule(want["steps"], want.get("scheduler", "ddim"))
    x = sample(backbone, schedule.again(3), noise, cond, [*controls, counted], [5], scenes=scenes, guidance=guidance)

    assert list(counted.passes.values()) == want["passes"]
    assert losses == pytest.approx(want["losses"], rel=1e-4)
    agree(x, want["latents"])
