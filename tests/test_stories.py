"""Stories on tiny real networks: schedules of windows, sharing between them, boxes inside them, and bad input."""

import pytest
import tiny
import torch
from conftest import RUN, close, close_frames

from animatic.backbones import load
from animatic.controls.energy import Energy
from animatic.controls.guidance import Guidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.controls.sharing import ShareKV
from animatic.controls.terms import BoxEnergy
from animatic.controls.windows import Windows
from animatic.core.backbone import Geometry
from animatic.core.control import Run
from animatic.core.loop import sample
from animatic.core.types import AttentionMapRequest, Branch, Conditioning, Step
from animatic.denoising import encode_stories
from animatic.errors import AnimaticError
from animatic.rendering import render
from animatic.scene import Scene, Track
from animatic.timeline import Timeline, WindowLayout, check_memory, timeline_of
from animatic.window_plan import by_count

BOX = ((0.1, 0.1, 0.5, 0.6), (0.5, 0.4, 0.9, 0.9))
SCENES = tuple(Scene(f"a {word} cat runs", (Track("cat", BOX),)) for word in ("red", "pink", "the"))
LAST = ("transformer_blocks.3.attn1",)


@pytest.fixture(scope="module")
def dit(tmp_path_factory):
    return load(str(tiny.cogvideox(tmp_path_factory.mktemp("model"), layers=4)))


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet3d())))


def told(model, plan, controls, steps=4, scenes=SCENES):
    x = torch.randn(1, 4, plan.frames, 4, 6, generator=torch.manual_seed(0))
    scenes = tuple(scenes[: len(plan.edges) - 1])
    return sample(
        model, model.schedule(steps), x, encode_stories([scenes], model), controls, scenes=[Timeline(scenes, plan)]
    )


def shared(masked=False, **how):
    how = {"source": "previous", "during": (0.25, 0.75), **how}
    return [Guidance(6.0), Windows(**how), ShareKV(LAST, masked)]


@pytest.mark.parametrize("masked", [False, True])
def test_every_window_once_equals_the_pairs(dit, masked):
    """g11: rows that are shared begin in the middle, where they were left unshared; the result is the same."""
    plan = by_count(3, 3, 1, 1)
    counts, made = [], []
    for how in ({"pairs": True}, {"batch": 8}, {"batch": 1}):
        count = 0

        def hook(module, args, out):
            nonlocal count
            count += len(out[0])

        hooks = [block.attn1.register_forward_hook(hook) for block in dit.unet.transformer_blocks]
        made.append(told(dit, plan, shared(masked, **how)))
        for handle in hooks:
            handle.remove()
        counts.append(count)
    off = told(dit, plan, shared(during=(0.0, 0.0)))
    assert all(close(m, made[0], RUN) for m in made)
    assert (made[0] - off).abs().mean() > 1e-4
    windows, steps, sharing, layers = 5, 4, 2, 4
    assert counts[0] == 4 * (windows - 1) * steps * layers
    assert counts[1] == counts[2] == 2 * windows * steps * layers + 2 * (windows - 2) * sharing * 1


@pytest.mark.parametrize("source", ["chained", "first"])
def test_windows_may_be_asked_together_or_one_by_one(dit, source):
    plan = by_count(2, 3, 1, 1)
    one, all_ = (told(dit, plan, shared(source=source, batch=batch)) for batch in (1, 8))
    assert close(one, all_, RUN)
    assert not torch.allclose(one, told(dit, plan, [Guidance(6.0), Windows()]), atol=1e-4)


def test_one_window_is_no_window(dit):
    plan = by_count(1, 3, 1, 1)
    plain_run = told(dit, plan, [Guidance(6.0)])
    for how in ({"pairs": True}, {}):
        assert close(told(dit, plan, shared(**how)), plain_run, RUN)


def test_sharing_needs_things_only_where_it_is_masked(unet):
    bare = (Scene("a cat"), Scene("a dog"))
    reel = Timeline(bare, by_count(2, 3, 1, 0))
    with pytest.raises(AnimaticError, match="masked sharing needs objects"):
        ShareKV(masked=True).begin(Run(unet, unet.schedule(2), torch.zeros(1, 4, 5, 8, 8), scenes=[reel]))
    one = Run(unet, unet.schedule(2), torch.zeros(1, 4, 5, 8, 8), scenes=bare[:1])
    assert not ShareKV(masked=True).begin(one)._words, "a single scene has no windows that share"


@pytest.mark.parametrize("name", ["dit", "unet"])
def test_sharing_by_masks_wherever_words_are_looked_at(name, request):
    """In one sequence with the cells, or in layers of their own, before those that share."""
    model, plan = request.getfixturevalue(name), by_count(2, 3, 1, 0)
    sites = LAST if name == "dit" else ("up_blocks.*.attn1",)

    def run(masked):
        share = ShareKV(sites, masked)
        return told(model, plan, [Guidance(6.0), Windows(source="previous", during=(0.0, 1.0)), share])

    masked = run(True)
    assert masked.isfinite().all() and not torch.allclose(masked, run(False), atol=1e-4)


def test_maps_are_of_the_windows_that_were_told_the_word():
    """Tokens count through a story's parts; a window that lacks the part says nothing of its words."""
    plan = by_count(2, 4, 2, 0)  # windows at 0 and 2 of 6 frames, part 0 and part 1
    asked = []

    def inner(x, step, cond):
        asked.append(cond.map_request.tokens.tolist())
        cond.map_request.found["layer"] = torch.stack(
            [torch.full((4, 1, 1, 1, 2), float(r.first_frame + 1)) for r in cond.branches]
        )
        return x

    maps = AttentionMapRequest(torch.tensor([[1, 7]]), maps_only=True)
    cond = Conditioning(torch.zeros(1, 10, 1), (Branch(),), map_request=maps)
    Windows().over([Timeline(SCENES[:2], plan)]).denoise(inner, torch.zeros(1, 1, 6, 1, 1), Step(0, 2, 0.0), cond)
    found = maps.found["layer"][0, :, 0, 0, 0]
    assert asked == [[[1, 2], [1, 2]]]
    assert found[:, 0].tolist() == [1, 1, 1, 1, 0, 0] and found[:, 1].tolist() == pytest.approx([0, 0, 3, 3, 3, 3])


def test_each_window_sees_the_boxes_of_its_own_frames():
    reel = Timeline(SCENES[:2], by_count(2, 4, 2, 0))
    masks = reel.masks(6, 4, 4)
    assert masks[0, :3].any((1, 2)).all() and not masks[0, 3:].any()
    assert masks[1, 3:].any((1, 2)).all() and not masks[1, :3].any()
    assert [t.phrase for t in reel.tracks] == ["cat", "cat"] and reel.part(1) == (1, SCENES[1])


@pytest.mark.parametrize("name", ["dit", "unet"])
def test_an_energy_guides_windows_that_share(name, request):
    """`at_once`: energy outside, windows and sharing inside; one window's energy is the plain one's."""
    model = request.getfixturevalue(name)
    sites = LAST if name == "dit" else ("up_blocks.*.attn1",)

    guided = Energy(BoxEnergy(), scale=20.0, until=1.0, iterations=1)

    x = torch.randn(1, 4, 3, 4, 6, generator=torch.manual_seed(0))
    alone = Timeline(SCENES[:1], by_count(1, 3, 1, 1))
    cond = model.encode([SCENES[0].prompt], [""])
    controls = [Guidance(3.0), guided, Windows(), ShareKV(sites)]
    got = sample(model, model.schedule(2), x, cond, controls, scenes=[alone])
    want = sample(model, model.schedule(2), x, cond, [Guidance(3.0), guided], scenes=SCENES[:1])
    assert close(got, want, RUN)
    plan = by_count(2, 3, 1, 0)
    windows = [Windows(source="previous", during=(0.0, 1.0)), ShareKV(sites)]
    free = told(model, plan, [Guidance(3.0), *windows], 2)
    steered = told(model, plan, [Guidance(3.0), guided, *windows], 2)
    assert steered.isfinite().all() and not torch.allclose(steered, free, atol=1e-5)


@pytest.mark.parametrize("name", ["dit", "unet"])
def test_layout_attention_inside_a_story(name, request):
    """Its bias is on the words of the part that a window is told; a story of one part is a scene."""
    model = request.getfixturevalue(name)
    alone = Timeline(SCENES[:1], by_count(1, 3, 1, 1))
    x = torch.randn(1, 4, 3, 4, 6, generator=torch.manual_seed(0))
    cond = model.encode([SCENES[0].prompt], [""])
    one, scene = (
        sample(model, model.schedule(2), x, cond, [Guidance(3.0), LayoutAttention(), Windows()], scenes=[s])
        for s in (alone, SCENES[0])
    )
    assert close(one, scene, RUN)
    plan = by_count(2, 3, 1, 1)
    windows = [Windows(source="previous", during=(0.0, 1.0)), ShareKV(LAST, masked=True)]
    got = told(model, plan, [Guidance(3.0), LayoutAttention(), *windows], 2)
    assert got.isfinite().all()
    assert not torch.allclose(got, told(model, plan, [Guidance(3.0), *windows], 2), atol=1e-4)


def test_stories_of_any_length(unet):
    """Each scene as long as it says, one prompt for long, and no overlap."""
    size = unet.geometry.frames
    each = size / unet.geometry.fps
    long = tuple(Scene(s.prompt, s.tracks, seconds=n * each) for s, n in zip(SCENES, (1, 1.5, 1), strict=True))
    video = render(long, unet, "ditctrl:chained", steps=1, size=(16, 16))
    assert len(video) == 56 and video.info["story"]["scenes"][1]["seconds"] == 1.5 * each
    one = Scene("a cat", seconds=2 * each)
    assert len(render((one,), unet, "none", steps=1, size=(16, 16), overlap=0.0)) == 32
    short = render((Scene("a cat", seconds=each),), unet, "none", steps=1, size=(16, 16))
    assert close_frames(short.frames, render(Scene("a cat"), unet, "none", steps=1, size=(16, 16)).frames)


def test_bad_stories(unet):
    with pytest.raises(AnimaticError, match="scene 2 of the story lasts 0 seconds"):
        render((SCENES[0], Scene("a cat", seconds=0.0)), unet)
    with pytest.raises(AnimaticError, match=r"scene 2 lasts 0.1 s, too short to be shown: the model sees 2 s, each 1"):
        render((SCENES[0], Scene("a cat", seconds=0.1), SCENES[1]), unet)
    with pytest.raises(AnimaticError, match="overlap is 1; want a fraction"):
        timeline_of(SCENES, unet.geometry, WindowLayout(overlap=1))
    cog = Geometry(49, 480, 720, 16, 8, 8.0, vae_temporal_ratio=4)
    forty = timeline_of(tuple(Scene(f"a cat {i}", seconds=6.125) for i in range(40)), cog)
    with pytest.raises(AnimaticError, match=r"1957 frames of 720x480 would take 10.\d GiB of memory, and 4.0 GiB are"):
        check_memory((forty.plan.frames - 1) * 4 + 1, 480, 720, 16 * forty.plan.frames * 60 * 90, free=4 * 2**30)


class Counted(torch.nn.Module):
    """A layer that counts the rows it is asked of."""

    rows = 0

    def forward(self, x):
        Counted.rows += len(x)
        return x


@torch.no_grad()
@pytest.mark.parametrize(("pairs", "forwards"), [(True, 1200), (False, 738)])
def test_work_at_full_size(pairs, forwards):
    """Three prompts on 30 layers in 50 steps, five layers sharing in 23 of them: whole passes of one row."""
    layers = {f"transformer_blocks.{i}": Counted() for i in range(30)}

    class Chain:
        def chain(self, step):
            return layers

    reel = Timeline(SCENES, by_count(3, 13, 9, 2))
    sites = tuple(f"transformer_blocks.{i}.attn1" for i in range(25, 30))
    windows = Windows(source="previous", pairs=pairs).over([reel])
    share = ShareKV(sites).begin(Run(Chain(), None, None))
    cond, x = Conditioning(torch.zeros(2, 6, 1), (Branch(True), Branch())), torch.zeros(2, 1, 37, 1, 1)

    def network(x, step, cond):
        for layer in layers.values():
            x = layer(x)
        return x

    Counted.rows = 0
    for index in range(50):
        step = Step(index, 50, 0.0)
        windows.denoise(lambda x, s, c: share.denoise(network, x, s, c), x, step, cond)
    assert Counted.rows // 30 == forwards
