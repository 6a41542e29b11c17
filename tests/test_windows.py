"""Windows in time: plans, blending, schedules; recorded values of the original."""

import pytest
import torch
from conftest import golden

from animatic.backbones.presets import PRESETS
from animatic.controls.windows import Windows, _mixed
from animatic.core.types import Branch, Step
from animatic.errors import AnimaticError
from animatic.scene import Scene
from animatic.timeline import Timeline, timeline_of
from animatic.window_plan import Window, WindowPlan, by_count, by_time


def test_plans_are_the_originals():
    """g01: windows, frames and starts; what crashed there or lost frames is made here."""
    for case in golden("ditctrl/g01_layout.json")["layout"]:
        plan = by_count(case["prompts"], case["tile"], case["overlap"], case["transitions"], case["longer_mid"])
        if "error" in case:
            assert [w.first for w in plan.windows] == [0, 13, 26]
            continue
        assert len(plan.windows) == case["total_segments"] and plan.frames == case["latent_frames"]
        assert [w.first for w in plan.windows] == case["tile_starts"]
        first = [next(w.first for w in plan.windows if w.prompt_weights == ((i, 1.0),)) for i in range(case["prompts"])]
        assert first == case["base_prompt_tile_starts"]


@pytest.mark.parametrize(
    ("name", "values", "transitions", "middle"),
    [("ABC_nt2_lm0", (1, 2, 4), 2, 0), ("AB_nt1_lm0", (1, 2), 1, 0), ("ABC_nt1_lm1", (1, 2, 4), 1, 1),
     ("AB_nt3_lm0", (1, 2), 3, 0)],
)  # fmt: skip
def test_words_are_mixed_as_the_original_mixes_them(name, values, transitions, middle):
    """g01: prompts with the "embeddings" 1, 2, 4; a negative row is told the prompt that weighs more."""
    want = golden("ditctrl/g01_layout.json")["embedding_schedule_A1_B2_C4"][name]
    plan = by_count(len(values), 13, 6, transitions, middle)
    windows = Windows().over([Timeline(tuple(Scene("a") for _ in values), plan)])
    text = torch.tensor(values, dtype=torch.float32)[:, None, None]
    for negative, key in ((False, "cond"), (True, "uncond_owner")):
        rows = [windows._branch(Branch(negative), k, False) for k in range(len(plan.windows))]
        assert [float(_mixed(text, row)) for row in rows] == pytest.approx(want[key], abs=1e-6)


def blended(plan: WindowPlan, step: Step | None = None, **told) -> torch.Tensor:
    """Weight of each window in each frame: windows answer with their own number as a one-hot channel."""
    windows = Windows(**told).over([Timeline((Scene("a"),) * (len(plan.edges) - 1), plan)])
    firsts = [w.first for w in plan.windows]

    def inner(x, step, cond):
        out = torch.zeros(len(x), len(firsts), *x.shape[2:])
        for i, row in enumerate(cond.branches):
            out[i, firsts.index(row.first_frame)] = 1
        return out

    from animatic.core.types import Conditioning

    x = torch.zeros(1, len(firsts), plan.frames, 1, 1)
    cond = Conditioning(torch.zeros(1, (len(plan.edges) - 1) * 2, 1), (Branch(),))
    return windows.denoise(inner, x, step or Step(0, 50, 0.0), cond)[0, :, :, 0, 0]


@pytest.mark.parametrize("tile", [(13, 9, 4), (13, 6, 3), (13, 6, 2), (4, 2, 3), (3, 1, 3)])
@pytest.mark.parametrize("index", [0, 10])
def test_blending_is_the_originals(tile, index):
    """g02: the share of each window in each frame, whether windows are asked in pairs or once each."""
    size, overlap, count = tile
    want = golden("ditctrl/g02_blend.json")[f"tile{size}_ov{overlap}_n{count}"]["W"]
    plan = by_count(2, size, overlap, count - 2)
    for pairs in (True, False):
        got = blended(plan, Step(index, 50, 0.0), source="previous", pairs=pairs)
        assert torch.allclose(got, torch.tensor(want), atol=1e-5)


def test_the_profile_is_the_originals():
    want = golden("ditctrl/g02_blend.json")["triangular_window_13"]
    assert Windows()._profile(13).tolist() == pytest.approx(want, abs=1e-6)
    assert Windows(profile="flat")._profile(4).tolist() == [1, 1, 1, 1]


def test_plans_by_time():
    plan = by_time([16, 8, 16], 8, 4, 1)
    assert plan.frames == 40 and plan.edges == (0, 0.4, 0.6, 1)
    assert [w.first for w in plan.windows] == [*range(0, 33, 4)]
    assert plan.windows[0] == Window(0, ((0, 1.0),)) and plan.windows[-1] == Window(32, ((2, 1.0),))
    assert plan.windows[3] == Window(12, ((0, 0.5), (1, 0.5)))
    assert all(sum(w for _, w in window.prompt_weights) == pytest.approx(1) for window in plan.windows)
    odd = by_time([5, 6], 8, 4, 0)
    assert [w.first for w in odd.windows] == [0, 3] and odd.frames == 11, "the last window ends with the story"
    assert by_time([8], 8, 0, 2).windows == (Window(0, ((0, 1.0),)),), "one prompt, one window"
    assert [w.first for w in by_time([8, 8], 8, 0, 0).windows] == [0, 8]
    with pytest.raises(AnimaticError, match="overlap is 8; want 0 to 7"):
        by_time([8], 8, 8, 0)
    with pytest.raises(AnimaticError, match="scene 2 of the story has 0 frames"):
        by_time([8, 0], 8, 4, 0)


VIDEO_PRESETS = [name for name, preset in PRESETS.items() if preset.geometry and preset.geometry.frames > 1]


@pytest.mark.parametrize("name", VIDEO_PRESETS)
@pytest.mark.parametrize("seconds", [(8.0,), (10.0,), (20.0,), (4.0, 5.5), (6.0, 3.3, 9.7)])
def test_windows_cover_the_sample_of_every_known_model(name, seconds, monkeypatch):
    """At its own geometry: as many latent frames as the noise of a video of that length has."""
    monkeypatch.setattr("animatic.timeline.check_memory", lambda *sizes, **more: None)  # on any machine
    geometry = PRESETS[name].geometry
    story = tuple(Scene("a cat", seconds=each) for each in seconds)
    plan = timeline_of(story, geometry).plan
    frames = geometry.pixel_frames(plan.frames)
    _, latent_frames, *_ = geometry.latent(frames, geometry.height, geometry.width, windowed=True)
    assert plan.frames == latent_frames
    whole_tokens = [window.first % geometry.patch[0] for window in plan.windows]
    assert not any(whole_tokens) and plan.windows[-1].first + plan.size == plan.frames
    # to the nearest token, of which the first holds one frame, and no shorter than one window
    token = geometry.vae_temporal_ratio * geometry.patch[0]
    assert abs(frames - max(sum(seconds) * geometry.fps, geometry.frames)) <= 1.5 * token
