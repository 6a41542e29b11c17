"""`ditctrl:published` and its edits give what DiTCtrl's own code gave (ditctrl.json says how it was recorded)."""

from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch
from conftest import close_frames
from edit_pairs import edit_pair
from networks import agree, transformer_model
from seeded import recorded

from animatic.backbones import load
from animatic.controls.guidance import ZeroNegative
from animatic.controls.self_attention import SelfAttention
from animatic.core.attention import fused_attention
from animatic.core.control import Run
from animatic.core.loop import sample
from animatic.core.types import AttentionCall, Branch, Conditioning, Step
from animatic.denoising import encode, encode_stories
from animatic.editing import edited
from animatic.errors import AnimaticError
from animatic.generation import generate
from animatic.methods import METHODS
from animatic.rendering import render
from animatic.request import GenerationRequest
from animatic.scene import Scene
from animatic.story_edit import Edit
from animatic.timeline import timeline_of

RECORDED = recorded("ditctrl")
METHOD = METHODS["ditctrl:published"]
GUIDANCE = 6.0


@pytest.fixture(scope="module")
def model():
    return transformer_model()


@pytest.fixture(scope="module")
def tiny_dit(tmp_path_factory):
    return load(str(tiny.cogvideox(tmp_path_factory.mktemp("model"))))


@pytest.mark.parametrize("name", RECORDED["stories"])
def test_a_story_is_what_ditctrl_made(model, name):
    """Plan of windows, mixed prompts, zeros for the negative, sharing, blending, guidance and solver in one run."""
    want = RECORDED["stories"][name]
    story = tuple(map(Scene, want["prompts"]))
    layout = METHOD.layout_with(want["overlap"] / 13, want["transitions"], want["longer_middle"])
    reel = timeline_of(story, model.geometry, layout)
    assert reel.plan.frames == want["frames"]

    schedule = model.schedule(want["steps"], METHOD.scheduler).again(want["levels"] - 1)
    noise = model.noise([5], model.geometry.pixel_frames(reel.plan.frames), 32, 48, windowed=True)
    cond = encode_stories([story], model)
    agree(sample(model, schedule, noise, cond, METHOD.on(model), scenes=[reel], guidance=GUIDANCE), want["latents"])


@pytest.mark.parametrize("name", RECORDED["edits"])
def test_an_edit_is_what_ditctrl_made(model, name):
    """Word swap and reweighting: source and target, from one noise."""
    want = RECORDED["edits"][name]
    source, target = want["prompts"]
    word, factor = want["weight"] or ("", 1.0)
    edit = Edit(weight={word: factor}) if word else Edit(swap={"cat": "dog"})
    scenes = [Scene(source), edit.of(Scene(source))]
    assert scenes[1].prompt == target

    schedule = model.schedule(want["steps"], METHOD.scheduler).again(want["levels"] - 1)
    controls = edited(METHOD.on(model), [[scene] for scene in scenes], [edit], model, as_published=True)
    noise = model.noise([5], 49, 32, 48).expand(2, -1, -1, -1, -1)
    made = sample(model, schedule, noise, encode(scenes, model), controls, scenes=scenes, guidance=GUIDANCE)
    for x, latents in zip(made, want["latents"], strict=True):
        agree(x, latents)


def test_maps_within_text_and_video_are_ditctrls():
    """Its maps are a mean over the layers so far, stretched to 0..1; here each layer is shown by itself."""
    random, seen = np.random.RandomState(7), {}
    control = SelfAttention(lambda layer, step, first, kind, map: seen.setdefault(kind, []).append(map), steps=(25,))
    cond = Conditioning(torch.zeros(2, 5, 4), (Branch(negative=True), Branch()))
    for layer in range(2):
        q, k = (torch.from_numpy((2 * random.standard_normal((1, 2, 23, 4))).astype(np.float32)) for _ in "qk")
        at = AttentionCall(f"blocks.{layer}.attn1", "joint", 1, slice(0, 5), (3, 2, 3), Step(25, 50, 0.0), cond, 4)
        q, k = (torch.cat([torch.zeros_like(part), part]) for part in (q, k))  # nothing of the unconditional branch
        with torch.no_grad():
            assert torch.equal(control.attend(fused_attention, at, q, k, k, None), fused_attention(at, q, k, k, None))

    assert {kind: len(maps) for kind, maps in seen.items()} == {"text": 2, "space": 2, "time": 2}
    for kind, want in RECORDED["maps"].items():
        mean = torch.stack(seen[kind]).mean(0)
        stretched = (mean - mean.min()) / (mean.max() - mean.min() + 1e-6)
        assert stretched.numpy() == pytest.approx(np.array(want), abs=1e-5)


def test_its_own_prompts_are_rendered_and_the_file_makes_the_same_again(tiny_dit):
    """No track, no seconds needed; what is not said is the script's own, and the request says all of it."""
    story = tuple(Scene(f"a {word} cat runs", seconds=0.0) for word in ("red", "pink", "two"))
    video = render(story, tiny_dit, "ditctrl:published", 3, steps=4, overlap=1 / 3)
    request = GenerationRequest.of(video.info, "test")
    windows = request.windows
    assert (request.sampling.scheduler, windows.transitions, windows.longer_middle) == ("sat-dpm++", 2, 0)
    windows = 3 + 2 * 2
    assert len(video) == (3 + (windows - 1) * 2 - 1) * 4 + 1
    assert video.info["prompt_text"] == " | ".join(scene.prompt for scene in story)

    again = generate(request, tiny_dit)
    assert close_frames(again.frames, video.frames)
    longer = render(story, tiny_dit, "ditctrl:published", 3, steps=4, overlap=1 / 3, longer_middle=1)
    assert len(longer) == len(video) + 2 * 4


def test_a_negative_prompt_that_is_given_is_told(tiny_dit):
    x = tiny_dit.noise([0], 1, 32, 48)
    for words, zeros in (("", True), ("a dog", False)):
        run = Run(tiny_dit, tiny_dit.schedule(4), x, scenes=[Scene("a cat", negative=words)])
        assert isinstance(ZeroNegative().begin(run), ZeroNegative) is zeros
    a, b = (render(Scene("a cat"), tiny_dit, "ditctrl:published", steps=4, negative=n) for n in ("", "a dog"))
    assert (a.frames != b.frames).any()


def test_an_edit_of_a_published_video_weights_as_published(tiny_dit):
    """Through the door that users take: the source does not notice, and the target is not the plain method's."""
    scene, edit, how = Scene("a red cat runs"), Edit(weight={"red": 0.0}), {"steps": 4, "scheduler": "sat-dpm++"}
    source, target = edit_pair(scene, edit, tiny_dit, "ditctrl:published", 3, **how)
    assert close_frames(source.frames, render(scene, tiny_dit, "ditctrl:published", 3, **how).frames)
    assert (target.frames != source.frames).any()


def test_windows_that_cannot_be(tiny_dit):
    story = (Scene("a cat", seconds=9.0), Scene("a dog", seconds=9.0))
    for how, why in (
        ({"longer_middle": 1}, "longer_middle is 1, and scenes last their seconds here"),
        ({"overlap": 1.0}, "overlap is 1.0; want a fraction of the window"),
    ):
        with pytest.raises(AnimaticError, match=why):
            render(story, tiny_dit, "ditctrl", steps=4, **how)
    with pytest.raises(AnimaticError, match="transitions is -1"):
        render(story, tiny_dit, "ditctrl:published", steps=4, transitions=-1)
    with pytest.raises(AnimaticError, match="GiB of memory"):
        render(story * 2, tiny_dit, "ditctrl:published", steps=4, longer_middle=10**12)


def test_more_windows_are_more_video(tiny_dit):
    """The plan is of the window's length: 9 of 13 latent frames on CogVideoX-2B, as near as may be elsewhere."""
    story = tuple(Scene(f"a cat {i}") for i in range(5))
    counts = [
        timeline_of(story, tiny_dit.geometry, METHOD.layout_with(1 / 3, transitions)).plan.frames
        for transitions in range(4)
    ]
    assert [b - a for a, b in pairwise(counts)] == [4 * 2] * 3
