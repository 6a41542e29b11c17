"""`ditctrl:published` and its edits give what DiTCtrl's own code gave (ditctrl.json says how it was recorded)."""

import pytest
from networks import agree, transformer_model
from seeded import recorded

from animatic.editing import edited
from animatic.methods import METHODS
from animatic.methods.usage import layout_of, usage_of
from animatic.rendering import encode, encode_stories
from animatic.request import Edit
from animatic.sampling import sample
from animatic.scene import Scene
from animatic.stories import reel_of

RECORDED = recorded("ditctrl")
METHOD = METHODS["ditctrl:published"]
GUIDANCE = 6.0


@pytest.fixture(scope="module")
def model():
    return transformer_model()


@pytest.mark.parametrize("name", RECORDED["stories"])
def test_a_story_is_what_ditctrl_made(model, name):
    """Plan of windows, mixed prompts, zeros for the negative, sharing, blending, guidance and solver in one run."""
    want = RECORDED["stories"][name]
    story = tuple(map(Scene, want["prompts"]))
    layout = layout_of(METHOD, want["overlap"] / 13, want["transitions"], want["longer_middle"])
    reel = reel_of(story, model.geometry, layout)
    assert reel.plan.frames == want["frames"]

    schedule = model.schedule(want["steps"], usage_of(METHOD).scheduler).again(want["levels"] - 1)
    controls = METHOD([reel], model, GUIDANCE)
    noise = model.noise([5], model.geometry.pixel_frames(reel.plan.frames), 32, 48, windowed=True)
    agree(sample(model, schedule, noise, encode_stories([story], model), controls), want["latents"])


@pytest.mark.parametrize("name", RECORDED["edits"])
def test_an_edit_is_what_ditctrl_made(model, name):
    """Word swap and reweighting: source and target, from one noise."""
    want = RECORDED["edits"][name]
    source, target = want["prompts"]
    word, factor = want["weight"] or ("", 1.0)
    edit = Edit(weight={word: factor}) if word else Edit(swap={"cat": "dog"})
    scenes = [Scene(source), edit.of(Scene(source))]
    assert scenes[1].prompt == target

    schedule = model.schedule(want["steps"], usage_of(METHOD).scheduler).again(want["levels"] - 1)
    controls = edited(METHOD(scenes, model, GUIDANCE), [[scene] for scene in scenes], [edit], model, as_published=True)
    noise = model.noise([5], 49, 32, 48).expand(2, -1, -1, -1, -1)
    made = sample(model, schedule, noise, encode(scenes, model), controls)
    for x, latents in zip(made, want["latents"], strict=True):
        agree(x, latents)
