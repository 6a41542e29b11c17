"""Methods that steer by boxes work inside stories: each word is asked of its own part, in its own frames."""

from dataclasses import replace

import pytest
import tiny
import torch

from animatic.backbones import load
from animatic.controls.boxdiff import BoxDiff
from animatic.controls.energy import Energy
from animatic.controls.guidance import Guidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.controls.targets import Targets
from animatic.controls.terms import Ratio
from animatic.controls.windows import Windows
from animatic.core.attention import fused_attention
from animatic.core.control import Run
from animatic.core.loop import sample
from animatic.core.types import AttentionMapRequest, Branch, Conditioning
from animatic.denoising import encode_stories
from animatic.methods import method_named
from animatic.scene import Scene, Track
from animatic.timeline import timeline_of

BOX = ((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0))
STORY = (Scene("a cat runs", (Track("cat", BOX),)), Scene("the red dog", (Track("dog", BOX[::-1]),)))
BLIND = (replace(STORY[0], tracks=()), replace(STORY[1], tracks=()))
EFFECT = 1e-4  # of the largest value, far above the last bits
METHODS = ["lvd", "lvd:weak", "lvd:benchmark", "layout-attention", "boxdiff", "backward-guidance", "ditctrl+lvd"]


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet3d())))


@pytest.fixture(scope="module")
def dit(tmp_path_factory):
    return load(str(tiny.cogvideox(tmp_path_factory.mktemp("model"))))


def lasting(story, model, windows=1.0):
    """The story with scenes of so many of the model's own lengths each."""
    geometry = model.geometry
    return tuple(replace(scene, seconds=windows * geometry.frames / geometry.fps) for scene in story)


def latents(model, story, chain):
    """Clean latents of a story under the controls `chain`."""
    story = lasting(story, model)
    reel = timeline_of(story, model.geometry)
    controls = chain
    if not any(isinstance(control, Windows) for control in controls):
        controls = [*controls, Windows()]
    noise = model.noise([0], 2 * model.geometry.frames, 32, 48, windowed=True)[:, :, : reel.plan.frames]
    return sample(
        model, model.schedule(2), noise, encode_stories([story], model), controls, scenes=[reel], guidance=2.0
    )


def steered(model, chain):
    """How far boxes move the latents of each half of a story, in parts of their largest value."""
    on, off = (latents(model, story, chain) for story in (STORY, BLIND))
    assert on.isfinite().all()
    return [float(part.abs().max() / off.abs().max()) for part in (on - off).chunk(2, 2)]


@pytest.mark.parametrize("method", METHODS)
def test_boxes_steer_a_story_of_a_unet(unet, method):
    assert min(steered(unet, method_named(method).on(unet))) > EFFECT


@pytest.mark.parametrize("method", ["lvd", "lvd:weak", "layout-attention", "ditctrl+lvd"])
def test_boxes_steer_a_story_of_a_transformer(dit, method):
    assert min(steered(dit, method_named(method).on(dit))) > EFFECT


@pytest.mark.parametrize("terms", [BoxDiff(), Ratio()])
def test_other_energies_steer_a_story_of_a_transformer(dit, terms):
    chain = [Guidance(2.0), Energy(terms, scale=100, until=0.6, iterations=1)]
    assert min(steered(dit, chain)) > EFFECT


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_every_word_of_each_prompt_is_asked(kind, request):
    model = request.getfixturevalue(kind)
    story = lasting(STORY, model)
    reel, cond = timeline_of(story, model.geometry), encode_stories([story], model)
    x = torch.zeros(1, 4, reel.plan.frames, 4, 6)
    goal = Targets.in_run(Run(model, model.schedule(2), x, cond, scenes=[reel]), every_word=True)
    size = cond.text.shape[1] // 2
    assert goal.tokens_per_prompt == size == model.text.limit and goal.tokens.tolist() == [list(range(2 * size))]
    asked = {int(goal.tokens[0, column]) for column in goal.columns}
    dog = {size + at for at in model.text.positions("the red dog", "dog")}
    assert asked == dog | set(model.text.positions("a cat runs", "cat"))


def test_layout_attention_finds_the_words_of_a_later_part(dit):
    """Text and video are one sequence: a part's tokens are counted by those of a prompt, not by all keys."""
    story = lasting(STORY, dit)
    reel, whole = timeline_of(story, dit.geometry), encode_stories([story], dit)
    frames, size = reel.plan.size, dit.text.limit
    x = dit.noise([0], dit.geometry.frames * 2, 32, 48, windowed=True)[:, :, : reel.plan.frames]
    last = reel.plan.frames - frames
    step = next(iter(dit.schedule(2)))
    row = Branch(first_frame=last, prompt_weights=((1, 1.0),))

    def inside(control):
        """The share of the attention to "dog" that is in its box, frame by frame."""
        maps = AttentionMapRequest(torch.tensor([dit.text.positions("the red dog", "dog")]))
        bound = control.begin(Run(dit, dit.schedule(2), x, whole, scenes=[reel]))
        cond = Conditioning(whole.text[1:, size:], (row,), map_request=maps)
        with torch.no_grad():
            dit(x[:, :, last:], step, cond, lambda *a: bound.attend(fused_attention, *a))
        p = torch.stack(list(maps.found.values())).mean((0, 3))[0].mean(-1)  # [frame, height, width]
        mask = torch.from_numpy(reel.masks(reel.plan.frames, *p.shape[1:]))[1, last:].float()
        return (p * mask).sum((1, 2)) / p.sum((1, 2)), mask.amax((1, 2)) > 0

    (on, there), (off, _) = inside(LayoutAttention()), inside(LayoutAttention(0, 0))
    assert there.any() and bool((on[there] > 1.5 * off[there]).all())
