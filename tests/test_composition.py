"""LMD's composition: its geometry as recorded, attention transfer, and what it does to a run."""

from dataclasses import dataclass, replace

import pytest
import tiny
import torch
from conftest import RUN, close, golden
from test_terms import closed, lmd_targets

from animatic.backbones import load
from animatic.controls.compositing import centred, composed, enlarged, mass, offsets, shifted
from animatic.controls.composition import Composition
from animatic.controls.energy import Energy
from animatic.controls.guidance import Guidance
from animatic.controls.masks import AttentionMask, SamMask, choose
from animatic.controls.terms import BoxEnergy
from animatic.controls.transfer import Transfer
from animatic.core.control import Control
from animatic.core.loop import sample
from animatic.core.types import Step
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track

CATS = Scene("a cat and a dog", (Track("cat", ((0, 0.1, 0.4, 0.6),)), Track("dog", ((0.5, 0.5, 1, 1),))), seconds=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet2d())))


def layout(name: str):
    return golden("lmd_lvd/lmd_layout.json")[name]


def test_centred_boxes_are_lmds():
    want = layout("centered box floor_padding .2")
    assert centred((0.1, 0.2, 0.4, 0.7)) == pytest.approx(want)
    assert centred((0.0, 0.0, 1.0, 1.0)) == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("by", [(0.25, 0.0), (-0.13, 0.3), (0.0625, 0.0), (0.1875, 0.0), (0.3125, 0.0)])
def test_shifts_are_lmds(by):
    """Quantised to eighths, half to even; zeros come in."""
    columns, rows, _ = layout(f"shift 64x64 by {by} (quantised to 1/8): nonzero cols/rows, sum")
    moved = shifted(torch.ones(1, 1, 64, 64), torch.tensor([[[round(by[0] * 8), round(by[1] * 8)]]]))[0, 0]
    assert [moved.any(0).sum(), moved.any(1).sum()] == [columns, rows]
    assert moved[-1 if by[1] > 0 else 0, -1 if by[0] > 0 else 0] == 1, "it moved the right way"


def test_middles_and_surroundings_are_lmds():
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[10:20, 30:50] = True
    assert mass(mask) == pytest.approx(layout("mask->center normalised"))
    left, top, right, bottom = layout("mask->box (enlarged by one)")
    want = torch.zeros_like(mask)
    want[top : bottom + 1, left : right + 1] = True
    assert torch.equal(enlarged(mask), want)


@pytest.mark.parametrize(
    ("confidence", "overlap", "want"),
    [((0.9, 0.95, 0.99), (0.5, 0.5, 0.1), 900), ((0.9, 0.8, 0.7), (0.5,) * 3, 100), ((0.5,) * 3, (0.1,) * 3, 4096),
     ((0.9, 0.95, 0.99), (0.5, 0.5, 0.3), 4096)],
)  # fmt: skip
def test_the_choice_among_sams_masks_is_lmds(confidence, overlap, want):
    sizes = (100, 900, 4096)
    assert sizes[choose(sizes, confidence, overlap)] == want
    assert layout(f"select_mask sizes 100/900/4096 conf {confidence} iou {overlap}") == want


def test_offsets_bring_middles_together():
    mask, goal = torch.zeros(1, 1, 8, 8, dtype=torch.bool), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[..., 4:6, 3:5], goal[..., 0:4, 0:2] = True, True
    by = offsets(mask, goal)
    assert by.tolist() == [[[-3, -3]]]
    assert torch.equal(shifted(mask, by)[0, 0].nonzero().min(0).values, torch.tensor([1, 0]))


def test_small_things_stand_in_front():
    masks = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    masks[0, :, 1:3, 1:3], masks[1] = True, True
    levels = [torch.full((2, 1, 1, 4, 4), 1.0) * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1, 1)]
    start, laid, cover = composed(torch.zeros(1, 1, 1, 4, 4), levels, masks, [0, 0])
    assert laid[0][0, 0, 0, 1, 1] == 1 and laid[0][0, 0, 0, 0, 0] == 2 and cover.all()
    assert start[0, 0, 0].eq(1).all(), "the noise around a thing goes with it"


@pytest.mark.parametrize(("weight", "key"), [(1.0, "weight 1.0"), (2.0, "weight 2.0")])
def test_transfer_equals_the_original(weight, key):
    """Four layers, each thing's own attention a ramp, that of the second reversed."""
    recorded = golden("lmd_lvd/lmd_loss.json")
    want = recorded[f"compute_ca_lossv3 + ref_ca {key}"]
    without = recorded["compute_ca_lossv3 4 keys (mid 8x8, up1 16x16) :: lmd"]
    maps, reference = {}, {}
    for i, n in enumerate((8, 16, 16, 16)):
        maps[str(i)] = (closed(1, 3, n * n, 12) + 0.001 * i).unflatten(2, (n, n))[None]
        ramp = torch.linspace(0.1, 1, n * n)
        own = torch.stack([ramp, ramp.flip(0), ramp]).view(3, 1, 1, n, n)
        reference[str(i), 0] = own.expand(3, 1, 3, n, n)

    goal = lmd_targets(12)
    transfer = Transfer(weight, [(0, 0), (0, 1), (0, 2)], reference)
    assert transfer(maps, goal, Step(0, 1, 0.0)).item() == pytest.approx(want - without, rel=1e-4)
    assert transfer(maps, goal, Step(1, 2, 0.0)).item() == 0, "nothing is known of that level"


def run(model, controls, scenes=(CATS,), steps=5):
    cond = model.encode([s.prompt for s in scenes], [""] * len(scenes))
    noise = model.noise(range(len(scenes)), 1, 64, 64)
    return sample(
        model, model.schedule(steps, "ddim"), noise, cond, [Guidance(), *controls], scenes=scenes, guidance=2.0
    )


def composition(**settings) -> Composition:
    energy = Energy(BoxEnergy(), scale=100.0, until=0.4, iterations=1)
    return Composition(energy, (Guidance(), energy), **settings)


def test_off_it_is_its_energy_alone(model):
    off = composition(frozen=0.0, transfer=0.0)
    assert torch.equal(run(model, [off]), run(model, [off.energy])), "off, it does the same passes"
    empty = replace(CATS, tracks=())
    assert torch.equal(run(model, [composition()], (empty,)), run(model, [], (empty,)))


def test_on_it_holds_the_sample_to_its_things(model):
    """At the held levels the sample inside the masks is what the things were, and the masks lie in the boxes."""
    seen = []

    @dataclass
    class Look(Control):
        def steer(self, inner, x, step, cond):
            seen.append(x.clone())
            return x

    still = replace(composition().energy, iterations=0)
    made = replace(composition(), energy=still)
    run(model, [made, Look()])
    begun = []

    @dataclass
    class Spy(Composition):
        def begin(self, run):
            begun.append(super().begin(run))
            return begun[0]

    run(model, [Spy(still, made.object_controls)])
    laid = begun[0]._latents
    cover = laid.cover[:, None].expand_as(seen[0])
    for level in (1, 2):
        assert close(seen[level][cover], laid.levels[level][cover], RUN)
    assert not close(seen[3][cover], seen[2][cover], RUN), "after half of the levels it is let go"
    boxes = torch.from_numpy(CATS.masks(1, 8, 8)).any(0)
    assert laid.cover.any() and (laid.cover[0] & ~boxes).sum() <= 0.5 * laid.cover.sum()


def test_rows_are_composed_apart(model):
    """Two scenes at once equal two runs, given the same noise of their things."""
    other = Scene("a dog", (Track("dog", ((0.0, 0.0, 0.5, 0.5),)),), seconds=0)
    together = run(model, [composition()], (CATS, other))
    assert close(together[:1], run(model, [composition()]), RUN)


def test_attention_masks_lie_in_their_boxes():
    boxes = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    boxes[:, :, 2:6, 2:6] = True
    heat = torch.zeros(2, 1, 4, 4)
    heat[0, 0, 1, 1] = 1.0
    masks = AttentionMask()(heat, lambda: torch.zeros(0), boxes)
    assert masks.any(-1).any(-1).all() and not (masks & ~boxes).any()
    assert masks[0].sum() < boxes[0].sum() and torch.equal(masks[1], boxes[1]), "no attention there: the whole box"


def test_sam_cuts_things_out(tmp_path):
    """A tiny Segment Anything of the real classes, in the real format."""
    tiny.sam(tmp_path)
    boxes = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    boxes[:, :, 2:6, 2:6] = True
    heat, pixels = torch.rand(1, 1, 4, 4), torch.randint(0, 255, (1, 1, 64, 64, 3), dtype=torch.uint8)
    for point in (False, True):
        masks = SamMask(str(tmp_path), point)(heat, lambda: pixels, boxes)
        assert masks.shape == boxes.shape and masks.dtype == torch.bool and masks.any()
    with pytest.raises(AnimaticError, match="SAM 'nowhere' cannot be loaded"):
        SamMask("nowhere")(heat, lambda: pixels, boxes)


def test_the_noise_of_a_thing_is_mostly_the_backgrounds(model):
    """LMD's blend inside the box: sqrt(1-r) background + sqrt(r) own, 1.294987 and 1.897367 of 1 and 3."""
    first = []

    @dataclass
    class Look(Control):
        def steer(self, inner, x, step, cond):
            if step.index == 0:
                first.append(x)
            return x

    for blend, want in ((0.01, 1.294987), (0.1, 1.897367)):
        assert (1 - blend) ** 0.5 * 1 + blend**0.5 * 3 == pytest.approx(want, rel=1e-5)
        made = replace(composition(blend=blend, centre=False), object_controls=(Guidance(2.0), Look()))
        run(model, [made], steps=2)
        shared, cat = model.noise([0], 1, 64, 64)[0], first.pop(0)[0]
        own = torch.randn(shared.shape, generator=torch.Generator().manual_seed(made.seed))
        inside = torch.from_numpy(CATS.masks(1, 8, 8))[0].expand_as(shared)
        mixed = (1 - blend) ** 0.5 * shared + blend**0.5 * own
        assert torch.allclose(cat, torch.where(inside, mixed, shared), atol=1e-6)
