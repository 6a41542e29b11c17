"""Edits on tiny real networks: the source stays what it was, the target is other only as far as it was told."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import tiny
import torch
from conftest import RUN, close
from edit_pairs import edit_pair

from animatic.backbones import load
from animatic.controls.edits import FollowSource, LocalBlend, PromptToPrompt
from animatic.controls.guidance import Guidance
from animatic.controls.sharing import ShareKV
from animatic.core.loop import sample
from animatic.core.schedule import Schedule
from animatic.errors import AnimaticError
from animatic.inversion import Backwards, invert
from animatic.rendering import render
from animatic.scene import Scene, Track
from animatic.story_edit import Edit
from animatic.video import Video

SCENE = Scene("a red cat runs")


@pytest.fixture(scope="module")
def dit(tmp_path_factory):
    torch.manual_seed(0)
    return load(str(tiny.cogvideox(tmp_path_factory.mktemp("model"), layers=3)))


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    torch.manual_seed(0)
    return load(str(tiny.folder(tmp_path_factory.mktemp("model"), tiny.unet3d())))


def pair(model, controls, prompts=("a red cat runs", "a red dog runs"), steps=4):
    x = torch.randn(1, 4, 3, 4, 6, generator=torch.manual_seed(0)).expand(len(prompts), -1, -1, -1, -1).contiguous()
    cond, scenes = model.encode(prompts, [""] * len(prompts)), [Scene(prompt) for prompt in prompts]
    return sample(model, model.schedule(steps), x, cond, controls, scenes=scenes)


def test_what_an_edit_says():
    scene = Scene("A red cat, and a red catfish", (Track("red cat", ((0, 0, 1, 1),)),), background="grass")
    other = Edit(swap={"cat": "dog", "grass": "sea"}).of(scene)
    assert other.prompt == "A red dog, and a red catfish" and other.background == "sea"
    assert other.tracks[0].phrase == "red dog" and other.tracks[0].boxes == scene.tracks[0].boxes
    assert Edit(prompt="a blue cat").of(scene).prompt == "a blue cat"
    with pytest.raises(AnimaticError, match="word 'bear' is not in the prompt 'A red cat, and a red catfish'"):
        Edit(swap={"bear": "dog"}).of(scene)
    with pytest.raises(AnimaticError, match="weight of 'red' is nan; want a finite number"):
        Edit(weight={"red": float("nan")})
    with pytest.raises(AnimaticError, match="the edit changes nothing"):
        Edit()


def apart(a, b):
    return np.abs(a.frames.astype(int) - b.frames).max()


@pytest.mark.parametrize("name", ["dit", "unet"])
def test_the_source_is_what_it_would_be_alone(name, request):
    """g05, g06: a source row does not notice its target; a weight of one is no edit; a word's weight is."""
    model = request.getfixturevalue(name)
    how = {"steps": 2, "frames": 5, "size": (48, 32)}
    alone = render(SCENE, model, "none", 3, **how)
    source, target = edit_pair(SCENE, Edit(weight={"red": 1.0}), model, seed=3, **how)
    assert apart(source, alone) <= 1 and apart(target, alone) <= 1  # other rows beside it move the last bit
    source, target = edit_pair(SCENE, Edit(weight={"cat": -30.0}), model, seed=3, **how)
    assert apart(source, alone) <= 1 < apart(target, alone)
    with pytest.raises(AnimaticError, match="word 'pink' is not in the prompt"):
        edit_pair(SCENE, Edit(weight={"pink": 2.0}), model, **how)


def test_sharing_keeps_the_target_near_the_source(dit):
    """g13 of the invariants: the gap between source and target shrinks."""
    free = pair(dit, [Guidance(6.0)])
    led = pair(dit, [Guidance(6.0), FollowSource((0.0, 1.0)), ShareKV(("*.2.attn1",))])
    assert close(free[0], led[0], RUN)
    assert 0 < (led[0] - led[1]).abs().mean() < (free[0] - free[1]).abs().mean()
    same = pair(dit, [Guidance(6.0), FollowSource(), ShareKV(("*",))], ("a cat", "a cat"))
    assert close(same[0], same[1], RUN)


def test_prompt_to_prompt(unet):
    words = ("a red cat runs", "a red dog runs")
    free = pair(unet, [Guidance(4.0)], words)
    off = pair(unet, [Guidance(4.0), PromptToPrompt(cross=0.0, self_until=0.0)], words)
    led = pair(unet, [Guidance(4.0), PromptToPrompt(cross=1.0, self_until=1.0)], words)
    assert close(off, free, RUN) and close(led[0], free[0], RUN)
    assert not torch.allclose(led[1], free[1], atol=1e-4) and not torch.allclose(led[1], led[0], atol=1e-4)
    more = ("a cat", "a cat runs fast")
    refined = pair(unet, [Guidance(4.0), PromptToPrompt()], more)
    assert not torch.allclose(refined[1], refined[0], atol=1e-4), "added words are heard"


def test_prompt_to_prompt_where_text_and_video_are_one_sequence(dit):
    """The source's attention keeps the target near it, its words still nearer; a target of the same words is it."""
    words = ("a red cat runs", "a red dog runs")
    free = pair(dit, [Guidance(4.0)], words)
    off = pair(dit, [Guidance(4.0), PromptToPrompt(joint=0.0)], words)
    led = pair(dit, [Guidance(4.0), PromptToPrompt(joint=1.0, begins=0.0)], words)
    held = pair(dit, [Guidance(4.0), PromptToPrompt(joint=1.0, begins=1.0)], words)
    assert close(off, free, RUN) and close(led[0], free[0], RUN) and close(held[0], free[0], RUN)
    gaps = [(rows[0] - rows[1]).abs().mean() for rows in (free, led, held)]
    assert gaps[0] > gaps[1] > gaps[2]

    same = pair(dit, [Guidance(4.0), PromptToPrompt(joint=1.0)], ("a cat", "a cat"))
    assert close(same[0], same[1], RUN)
    refined = pair(dit, [Guidance(4.0), PromptToPrompt(joint=1.0, begins=0.0)], ("a cat", "a cat runs fast"))
    assert not torch.allclose(refined[1], refined[0], atol=1e-4), "added words are heard"


@pytest.mark.parametrize("name", ["dit", "unet"])
def test_blending_changes_only_where_the_words_are(name, request):
    model = request.getfixturevalue(name)
    tokens = [model.text.positions(p, w) for p, w in (("a red cat runs", "cat"), ("a red dog runs", "dog"))]
    nowhere = pair(model, [LocalBlend(tokens, threshold=1.0), Guidance(4.0)])
    assert torch.equal(nowhere[0], nowhere[1]), "a copy of the source"
    high = 0.7 if name == "dit" else 0.999  # a random UNet looks everywhere alike
    half = pair(model, [LocalBlend(tokens, threshold=high), Guidance(4.0)])
    changed = (half[0] != half[1]).any(0).float().mean()
    assert 0 < changed < 1
    how = {"steps": 2, "frames": 1, "size": (48, 32)}
    source, target = edit_pair(SCENE, Edit(swap={"cat": "dog"}, blend=True), model, **how)
    assert len(source) == len(target) == 1


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "flow"])
def test_steps_backwards_undo_steps(unet, scheduler):
    like = diffusers.FlowMatchEulerDiscreteScheduler() if scheduler == "flow" else None
    schedule = Schedule(like, 5) if like else unet.schedule(5, scheduler)
    back = Backwards(schedule)
    x, answer = torch.randn(2, 1, 4, 2, 4, 4, generator=torch.manual_seed(0))
    levels = list(schedule)[:-1]
    after = [schedule.advance(x, answer, step) for step in levels]
    ways = list(back)[:-1]
    for step, low in zip(ways, reversed(after), strict=True):
        assert torch.allclose(back.advance(low, answer, step), x, atol=2e-3)
    assert ways[0].noise < ways[-1].noise and len(back) == 5


def test_an_inverted_video_is_made_again(unet):
    cond = unet.encode(["a cat"], [""])
    latents = sample(unet, unet.schedule(10, "ddim"), unet.noise([5], 3, 32, 32), cond, [Guidance(1.0)])
    noise = invert(latents, cond, unet, 10, times=6)
    again = sample(unet, unet.schedule(10, "ddim"), noise, cond, [Guidance(1.0)])
    far = sample(unet, unet.schedule(10, "ddim"), invert(latents, cond, unet, 10, times=0), cond, [Guidance(1.0)])
    assert (again - latents).abs().mean() < 0.05 * latents.abs().mean()
    assert (again - latents).abs().mean() <= (far - latents).abs().mean()
    frames = torch.randint(0, 255, (3, 32, 32, 3), dtype=torch.uint8).numpy()
    with pytest.raises(AnimaticError, match="the video measures 32x32"):
        edit_pair(SCENE, Edit(swap={"cat": "dog"}), unet, video=Video(frames, 8.0, {}))
    made = edit_pair(SCENE, Edit(swap={"cat": "dog"}), unet, size=(32, 32), steps=3, video=Video(frames, 8.0, {}))
    assert made[1].frames.shape == (3, 32, 32, 3) and made[1].fps == 8


@pytest.mark.parametrize("method", ["ditctrl", "ditctrl:masked", "ditctrl:chained"])
@pytest.mark.parametrize("name", ["dit", "unet"])
def test_a_story_whose_windows_share_is_edited(name, method, request):
    """A window of the target follows the source's, and reads what the target's window before it computed."""
    model = request.getfixturevalue(name)
    seconds = model.geometry.frames / model.geometry.fps
    story = tuple(replace(SCENE, prompt=f"a red {noun} runs", seconds=seconds) for noun in ("cat", "dog"))
    story = tuple(replace(s, tracks=(Track(s.prompt.split()[2], ((0.0, 0.0, 0.5, 0.5),)),)) for s in story)
    how = {"steps": 5, "size": (48, 32)}
    source, target = edit_pair(story, Edit(swap={"red": "blue"}), model, method, 3, **how)
    assert apart(source, render(story, model, method, 3, **how)) <= 1 < apart(target, source)
