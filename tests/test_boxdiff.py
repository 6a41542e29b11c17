"""BoxDiff equals the values recorded from the original, and keeps the inner term of small boxes."""

from dataclasses import replace

import pytest
import torch
from conftest import golden
from test_terms import closed, energy, lmd_targets, seed0, targets

from animatic.controls.boxdiff import BoxDiff, blur
from animatic.controls.energy import LinearDecay
from animatic.core.types import Step
from animatic.scene import Track


@pytest.mark.parametrize(("name", "smooth"), [("defaults", True), ("no smoothing", False)])
@pytest.mark.parametrize("kind", ["closed", "seed0"])
def test_it_equals_the_original(name, smooth, kind):
    want = golden("lmd_lvd/lmd_loss.json")[f"boxdiff 16x16 h3 T12 {kind} :: {name}"]
    a = (closed(1, 3, 256, 12) if kind == "closed" else seed0(3, 256, 12)[None]).requires_grad_()
    loss = energy(BoxDiff(smooth=smooth, legacy=True), [(a + 0.001 * i, 16, 16) for i in range(5)], lmd_targets(12))
    (gradient,) = torch.autograd.grad(loss, a)
    assert loss.item() == pytest.approx(want["loss"], rel=1e-4)
    assert gradient.norm().item() == pytest.approx(want["grad_l2"], rel=1e-4)


def test_the_kernel_is_the_papers():
    spot = torch.zeros(1, 1, 5, 5)
    spot[..., 2, 2] = 1
    want = golden("lmd_lvd/lmd_loss.json")["boxdiff gaussian kernel (exponent uses ((x-m)/(2s))^2)"]
    assert torch.allclose(blur(spot)[0, 0, 1:4, 1:4], torch.tensor(want), atol=1e-6)


def test_a_small_box_keeps_its_inner_term():
    """Under 5 cells the original takes the mean of nothing, and loses the term."""
    goal = targets([(Track("a", ((0.0, 0.0, 0.125, 0.125),)), [4])], 1, 12)
    a = closed(1, 3, 256, 12)
    kept, lost = (energy(BoxDiff(legacy=legacy), [(a, 16, 16)], goal).item() for legacy in (False, True))
    assert torch.isfinite(torch.tensor([kept, lost])).all() and kept > lost + 0.1


def test_its_step_fades():
    sizes = [LinearDecay(0.5)(Step(i, 50, 0.0, 0.9)) for i in (0, 49)]
    assert sizes == pytest.approx([1.0, 0.5**0.5])


def test_words_are_sharpened_over_their_own_prompt():
    """In a story the words of all prompts are asked; a word of the second competes with those of the second alone."""
    size, box = 6, (Track("a", ((0.0, 0.0, 0.5, 0.5),)),)
    asked = torch.rand(1, 2, 3, 4, 4, 2 * size, generator=torch.Generator().manual_seed(0)) * 0.02
    goal = targets([(box[0], [2])], 2, size)
    both = replace(
        goal,
        tokens=torch.arange(2 * size)[None],
        columns=torch.tensor([size + 2]),
        samples=torch.tensor([0]),
        tokens_per_prompt=size,
    )
    alone = replace(
        goal,
        tokens=torch.arange(size)[None],
        columns=torch.tensor([2]),
        samples=torch.tensor([0]),
        tokens_per_prompt=size,
    )
    got = BoxDiff().words({"layer": asked}, both)
    assert torch.allclose(got, BoxDiff().words({"layer": asked[..., size:]}, alone), atol=1e-6)
    by_hand = (asked[0, :, :, :, :, size + 1 : -1].mean(1) * 100).softmax(-1)[..., 1]
    assert torch.allclose(got[0], by_hand, atol=1e-6)
