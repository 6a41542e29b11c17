"""Layout attention: nothing when off, and attention where the boxes are when on, without a gradient."""

from dataclasses import replace

import pytest
import tiny
import torch
from conftest import RUN, close

from animatic.backbones import load
from animatic.controls.guidance import Guidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.core.attention import fused_attention
from animatic.core.control import Run
from animatic.core.loop import sample
from animatic.core.types import AttentionCall, AttentionMapRequest, Step
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track

CAT = Scene("a cat and a dog", (Track("cat", ((0, 0, 0.5, 0.5), None, (0.5, 0.5, 1, 1))),))


@pytest.fixture(scope="module", params=["unet2d", "unet3d"])
def model(request, tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), getattr(tiny, request.param)())))


def run(model, *controls, scenes=(CAT,)):
    frames = 3 if "video" in model.provides else 1
    cond = model.encode([s.prompt for s in scenes], [""] * len(scenes))
    noise = model.noise(range(len(scenes)), frames, 64, 64)
    return sample(model, model.schedule(3, "ddim"), noise, cond, [Guidance(2.0), *controls], scenes=scenes)


def test_identity_when_off_and_effect_when_on(model):
    plain_run = run(model)
    for off in (
        LayoutAttention(0, 0),
        LayoutAttention(until=0),
        LayoutAttention(layers=("nowhere",)),
    ):
        assert torch.equal(run(model, off), plain_run), "off, it does the same passes"
    assert close(run(model, LayoutAttention(), scenes=(replace(CAT, tracks=()),)), plain_run, RUN), "a bias of zeros"
    assert not torch.allclose(run(model, LayoutAttention()), plain_run)


def test_rows_do_not_mix(model):
    dog = Scene("a cat and a dog", (Track("dog", ((0.5, 0, 1, 1),) * 3),))
    both = run(model, LayoutAttention(), scenes=(CAT, dog))
    assert close(both[:1], run(model, LayoutAttention()), RUN)


def test_words_are_looked_at_in_their_boxes(model):
    """The attention to "cat" in the box against the rest, with the bias and without; the negative row is as it was."""
    frames = 3 if "video" in model.provides else 1
    cond = model.encode([CAT.prompt], [""])
    token = model.text.positions(CAT.prompt, "cat")[0]
    x = model.noise([0], frames, 64, 64)

    def shares(control):
        maps = AttentionMapRequest(torch.tensor([[token], [token]]))

        bound = control.begin(Run(model, model.schedule(4), x, cond, scenes=[CAT]))
        step = Step(0, 4, 999, noise=1.0)
        with torch.no_grad():
            model(x[[0, 0]], step, replace(cond, map_request=maps), lambda *a: bound.attend(fused_attention, *a))
        p = next(iter(maps.found.values())).mean(2)[..., 0]  # [row, frame, height, width]
        half = p.shape[-1] // 2
        return p[:, 0, :half, :half].mean((1, 2)) / p[:, 0].mean((1, 2)), p

    (negative, positive), maps = shares(LayoutAttention(2, 4))
    (negative_off, positive_off), maps_off = shares(LayoutAttention(0, 0))
    assert positive > 2 * positive_off and negative == pytest.approx(negative_off.item(), rel=1e-5)
    if frames == 3:  # absent in the second frame: hardly looked at
        assert maps[1, 1].mean() < 0.1 * maps_off[1, 1].mean()


def test_the_first_levels_are_biased_most(model):
    """The bias of one cell and word by level: `first` times as strong at the first, as without it from `until` on."""
    x, cond = model.noise([0], 1, 64, 64), model.encode([CAT.prompt], [""])
    token = model.text.positions(CAT.prompt, "cat")[0]

    def bias(index, **settings):
        control = LayoutAttention(inside=1, outside=2, until=0.5, **settings)
        bound = control.begin(Run(model, model.schedule(8), x, cond, scenes=[CAT]))
        step = Step(index, 8, 999, noise=0.5)
        keys = cond.text.shape[1]
        call = AttentionCall("attn2", "cross", 1, slice(0, keys), (1, 2, 2), step, cond)
        q, k = torch.zeros(2, 1, 4, 8), torch.zeros(2, 1, keys, 8)
        masks = []
        bound.attend(lambda call, q, k, v, mask: masks.append(mask) or q, call, q, k, k, None)
        return None if masks[0] is None else masks[0][1, 0, :, token].tolist()

    assert bias(0, first=3) == pytest.approx([1.5, -3, -3, -3]), "3 times (1 inside, -2 outside) x noise"
    assert bias(2, first=3) == pytest.approx([1, -2, -2, -2]), "half way to `until`: twice"
    assert bias(0) == bias(2) == pytest.approx([0.5, -1, -1, -1])
    assert bias(4, first=3) is None, "past `until` there is none"


@pytest.mark.parametrize(("kind", "added"), [("self", 1.5), ("joint", 0.75)])
def test_cells_outside_attend_to_the_box(model, kind, added):
    """Channels of queries and keys against the bias written out; text, cells of the box and negatives have none."""
    x, cond = model.noise([0], 1, 64, 64), model.encode([CAT.prompt], [""])
    control = LayoutAttention(0, 0, self_bias=3, joint=0.5).begin(Run(model, model.schedule(4), x, cond, scenes=[CAT]))
    text = 5 if kind == "joint" else 0
    call = AttentionCall("attn1", kind, 1, slice(0, text), (1, 2, 2), Step(0, 4, 999, noise=0.5), cond)
    q, k, v = torch.randn(3, 2, 2, text + 4, 8, generator=torch.Generator().manual_seed(0))

    bias = torch.zeros(2, 1, text + 4, text + 4)  # of the negative branch, and of the positive
    bias[1, 0, text + 1 :, text] = added  # the box is the first of four cells
    expected = fused_attention(call, q, k, v, bias)
    assert close(control.attend(fused_attention, call, q, k, v, None), expected, RUN)
    assert not close(fused_attention(call, q, k, v, None), expected, RUN)


def test_bias_of_self_attention_in_a_run(model):
    """It changes what has boxes, entry by entry, and nothing without boxes."""
    control = LayoutAttention(0, 0, self_bias=2)
    dog = Scene("a cat and a dog", (Track("dog", ((0.5, 0, 1, 1),) * 3),))
    alone = run(model, control)
    assert close(run(model, control, scenes=(CAT, dog))[:1], alone, RUN)
    assert not torch.allclose(alone, run(model))
    assert close(run(model, control, scenes=(replace(CAT, tracks=()),)), run(model), RUN)


def test_it_needs_scenes(model):
    with pytest.raises(AnimaticError, match="LayoutAttention needs scenes"):
        LayoutAttention().begin(Run(model, model.schedule(3), model.noise([0], 1, 64, 64)))
