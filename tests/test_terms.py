"""The LVD energy equals the values recorded from the original, and stays finite where that one does not."""

from dataclasses import replace

import pytest
import torch
from conftest import golden

from animatic.controls.energy import Targets
from animatic.controls.terms import BoxEnergy, Corners, CrossEntropy, Ratio, Sum, Sync, Term, top_mean
from animatic.core.encoded_prompt import EncodedPrompt
from animatic.core.types import Step
from animatic.scene import Scene, Track

RIGHT = Track("a", ((0, 0.25, 0.25, 0.5), (0.25, 0.25, 0.5, 0.5), (0.5, 0.25, 0.75, 0.5), (0.75, 0.25, 1, 0.5)))
LATE = Track("b", (None, None, (0.10, 0.60, 0.45, 0.95), (0.15, 0.60, 0.50, 0.95)))
WIDE = Track("c", ((0, 0.3, 0.2, 0.7), (0.4, 0.3, 0.6, 0.7), (0.8, 0.3, 1, 0.7)))
SETTINGS = {
    "defaults": BoxEnergy(legacy=True),
    "weak": BoxEnergy(0.25, 0.25, 1, 2, legacy=True),
    "defaults+com0.03": BoxEnergy(centre=0.03, legacy=True),
    "com_only_1": BoxEnergy(foreground=0, background=0, centre=1, legacy=True),
    "fg_only": BoxEnergy(background=0, legacy=True),
    "bg_only": BoxEnergy(foreground=0, legacy=True),
    "ratio": Ratio(legacy=True),
    "ce": CrossEntropy(legacy=True),
    "defaults+boxdiff1_normed": Sum(((1, BoxEnergy(legacy=True)), (1, Corners(legacy=True)))),
    "defaults+boxdiff1_sum": Sum(((1, BoxEnergy(legacy=True)), (1, Corners(normed=False, legacy=True)))),
}


def closed(frames: int, heads: int, cells: int, tokens: int) -> torch.Tensor:
    """The reference's closed-form attention map `[frame, head, cell, token]`."""
    f, h, i, j = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in (frames, heads, cells, tokens)), indexing="ij"
    )
    return (3 * torch.sin(0.37 * f + 0.73 * h + 0.11 * i + 1.3 * j + 0.5)).softmax(-1).float()


def seed0(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.manual_seed(0)).softmax(-1)


def targets(tracks: list[tuple[Track, list[int]]], frames: int, tokens: int) -> Targets:
    """Targets by token numbers, where the original was given numbers too."""
    columns = [t for _, some in tracks for t in some]
    things = [(0, (i,)) for i, (_, some) in enumerate(tracks) for _ in some]
    share = torch.tensor([1 / len(some) / len(tracks) for _, some in tracks for _ in some])
    scene = Scene("a b c", tuple(t for t, _ in tracks))
    rows, prompts = torch.zeros(len(columns), dtype=torch.long), [EncodedPrompt((scene.prompt,), tokens, Words())]
    numbers = torch.tensor(columns, dtype=torch.long)
    return Targets(torch.arange(tokens)[None], rows, numbers, share, [scene], prompts, things, frames, True)


def energy(terms: Term, maps: list[tuple[torch.Tensor, int, int]], goal: Targets) -> torch.Tensor:
    found = {str(n): m.unflatten(2, (h, w))[None] for n, (m, h, w) in enumerate(maps)}
    return terms(found, goal, Step(0, 1, 0.0))[0]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", ["closed", "seed0"])
def test_one_map_equals_the_original(name, kind):
    want = golden("lmd_lvd/lvd_loss.json")[f"ms256 8x8 F4 h2 T10 {kind} :: {name}"]
    a = (closed(4, 2, 64, 10) if kind == "closed" else seed0(4, 2, 64, 10)).requires_grad_()
    loss = 2 * energy(SETTINGS[name], [(a, 8, 8)], targets([(RIGHT, [2]), (LATE, [4, 5])], 4, 10))
    (gradient,) = torch.autograd.grad(loss, a)
    assert loss.item() == pytest.approx(want["loss"], rel=1e-4)
    assert gradient.norm().item() == pytest.approx(want["grad_l2"], rel=1e-4)
    assert gradient.sum().item() == pytest.approx(want["grad_sum"], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", ["defaults", "weak", "defaults+com0.03"])
def test_two_layers_equal_the_original(name):
    want = golden("lmd_lvd/lvd_loss.json")[
        f"compute_ca_lossv3 keys[down2.0(8x8),up2.2(16x16)] F4 h2 T10 closed :: {name}"
    ]
    maps = [(closed(4, 2, 64, 10), 8, 8), (closed(4, 2, 256, 10), 16, 16)]
    loss = energy(SETTINGS[name], maps, targets([(RIGHT, [2]), (LATE, [4, 5])], 4, 10))
    assert loss.item() == pytest.approx(want["loss"] if isinstance(want, dict) else want, rel=1e-4)


@pytest.mark.parametrize("name", ["weak", "defaults+com0.03"])
@pytest.mark.parametrize(("cells", "height", "width"), [(180, 10, 18), (720, 20, 36)])
def test_zeroscope_geometry_equals_the_original(name, cells, height, width):
    want = golden("lmd_lvd/lvd_loss.json")[f"zeroscope hw{cells} F3 h3 T8 closed :: {name}"]
    loss = energy(SETTINGS[name], [(closed(3, 3, cells, 8), height, width)], targets([(WIDE, [3, 4])], 3, 8))
    assert loss.item() == pytest.approx(want["loss"], rel=1e-4)


def test_no_things_cost_nothing():
    assert energy(BoxEnergy(legacy=True), [(closed(4, 2, 64, 10), 8, 8)], targets([], 4, 10)) == 0


EVERY = (BoxEnergy, Ratio, CrossEntropy, Corners, Sync)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("kind", EVERY)
def test_absent_things_are_finite(kind, legacy):
    """LVD's attention sync is NaN here."""
    nowhere = Track("a", (None, None, None, None))
    a = closed(4, 2, 64, 10).requires_grad_()
    loss = energy(kind(legacy=legacy), [(a, 8, 8)], targets([(nowhere, [2]), (LATE, [4])], 4, 10))
    (gradient,) = torch.autograd.grad(loss, a)
    assert torch.isfinite(loss) and torch.isfinite(gradient).all() and gradient.abs().sum() > 0


@pytest.mark.parametrize("terms", [BoxEnergy(), BoxEnergy(centre=1), Ratio(), CrossEntropy(), Corners()], ids=repr)
def test_energies_fall_when_attention_moves_into_the_box(terms):
    goal = targets([(RIGHT, [2])], 4, 10)
    inside = (
        torch.from_numpy(goal.scenes[0].masks(4, 8, 8))[0].float().flatten(1)[:, None, :, None].expand(4, 2, 64, 10)
    )
    good, some, bad = (energy(terms, [(m, 8, 8)], goal).item() for m in (inside, closed(4, 2, 64, 10), 1 - inside))
    assert good == pytest.approx(0, abs=0.06) and good < some < bad


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("terms", [Ratio(least=0), BoxEnergy(foreground=0, background=0, centre=1)], ids=repr)
def test_where_attention_is_counts_however_little_there_is(terms, legacy):
    """The original divides by whatever the sum is; below 1e-12 it was taken for 1e-12 here."""
    terms, goal, a = replace(terms, legacy=legacy), targets([(RIGHT, [2])], 4, 10), closed(4, 2, 64, 10)
    want = energy(terms, [(a, 8, 8)], goal).item()
    assert energy(terms, [(a * 1e-20, 8, 8)], goal).item() == pytest.approx(want, rel=1e-5)


def test_sync_asks_for_likeness_from_frame_to_frame():
    goal, still = targets([(Track("a", (RIGHT.boxes[0],) * 4), [2])], 4, 10), closed(1, 2, 64, 10).expand(4, 2, 64, 10)
    assert energy(Sync(), [(still, 8, 8)], goal) == 0 < energy(Sync(), [(closed(4, 2, 64, 10), 8, 8)], goal)


def test_top_mean():
    assert top_mean(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([2.7])).item() == 2.5
    assert top_mean(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0.2])).item() == 3.0


PAIR = [
    Track("a", ((0.05, 0.30, 0.40, 0.70),)),
    Track("a", ((0.60, 0.30, 0.95, 0.70),)),
    Track("b", ((0.2, 0.75, 0.8, 1),)),
]


class Words:
    """Where LMD found the words of "a" (two tokens) and "b"."""

    def positions(self, prompt, phrase):
        return {"a": (2, 3), "b": (6,)}[phrase]


def lmd_targets(tokens):
    """LMD's two phrases: one of two boxes and two tokens, one of one box and one token."""
    share = torch.tensor([0.25, 0.25, 0.5])
    things = [(0, (0, 1)), (0, (0, 1)), (0, (2,))]
    columns, rows = torch.tensor([2, 3, 6]), torch.zeros(3, dtype=torch.long)
    prompts = [EncodedPrompt(("a b",), tokens, Words())]
    return Targets(
        torch.arange(tokens)[None], rows, columns, share, [Scene("a b", tuple(PAIR))], prompts, things, 1, True
    )


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("lmd(max-based)", BoxEnergy(0.2, 0.2, legacy=True)),
        ("max fgw1 bgw1", BoxEnergy(0.2, 0.2, 1, 1, legacy=True)),
        ("backward_guidance(ratio)", Ratio(least=0, legacy=True)),
    ],
)
@pytest.mark.parametrize("kind", ["closed", "seed0"])
def test_lmd_energies_equal_the_original(name, terms, kind):
    want = golden("lmd_lvd/lmd_loss.json")[f"per-map 8x8 h3 T12 {kind} :: {name}"]
    a = (closed(1, 3, 64, 12) if kind == "closed" else seed0(3, 64, 12)[None]).requires_grad_()
    loss = 2 * energy(terms, [(a, 8, 8)], lmd_targets(12))
    (gradient,) = torch.autograd.grad(loss, a)
    assert loss.item() == pytest.approx(want["loss"], rel=1e-4)
    assert gradient.norm().item() == pytest.approx(want["grad_l2"], rel=1e-4)
    assert gradient.sum().item() == pytest.approx(want["grad_sum"], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "terms"), [("lmd", BoxEnergy(0.2, 0.2, legacy=True)), ("backward_guidance", Ratio(least=0, legacy=True))]
)
def test_lmd_energies_of_four_layers_equal_the_original(name, terms):
    want = golden("lmd_lvd/lmd_loss.json")[f"compute_ca_lossv3 4 keys (mid 8x8, up1 16x16) :: {name}"]
    maps = [(closed(1, 3, n * n, 12) + 0.001 * i, n, n) for i, n in enumerate((8, 16, 16, 16))]
    assert energy(terms, maps, lmd_targets(12)).item() == pytest.approx(want, rel=1e-4)
