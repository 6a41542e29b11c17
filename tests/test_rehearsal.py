"""A rehearsal: its numbers against what a run takes, and what it says of models that do not fit."""

import json
from dataclasses import replace

import pytest
import tiny
import torch
from diffusers import UNet2DConditionModel
from torch.profiler import ProfilerActivity, profile

import animatic
from animatic.cli import main
from animatic.core import counting
from animatic.core.attention import fused_attention
from animatic.core.types import AttentionMapRequest, Branch, Conditioning, Step
from animatic.errors import AnimaticError
from animatic.methods import method_named
from animatic.rehearsal_costs import TOKENS, energy_of, passes_of

STEP = Step(0, 2, 500.0, 0.5)
TOLERANCE = 0.05


def medium():
    """A network wide enough that its tensors, not its layers' bookkeeping, decide."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=32, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), block_out_channels=(64, 128), layers_per_block=1,
        norm_num_groups=8, cross_attention_dim=tiny.WIDTH, attention_head_dim=4,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def quick_measurement(monkeypatch):
    monkeypatch.setattr("animatic.rehearsal.SECONDS", 0.05)


@pytest.fixture
def folder(tmp_path):
    made = tiny.folder(tmp_path / "medium", medium())
    geometry = {"frames": 1, "height": 256, "width": 256, "max_frames": 1}
    card = {"family": "", "geometry": geometry, "defaults": {"steps": 10, "guidance": 5.0}}
    (made / "animatic.json").write_text(json.dumps(card))
    return made


def most_allocated(run):
    """The most bytes of tensors at once while `run` computes, by torch's own record of its allocator."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    live, most = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


def conditioning(branches):
    text = torch.randn(branches, 77, tiny.WIDTH)
    return Conditioning(text, tuple(Branch(sample=i) for i in range(branches)))


@pytest.mark.slow("passes of a network of medium width")
@pytest.mark.parametrize("save_memory", [False, True])
def test_memory_is_what_a_run_takes(folder, save_memory, monkeypatch):
    """The count is what the hungriest processor takes: all others take between that and no copies of a convolution."""
    rehearsal = animatic.rehearse(str(folder), "lvd", save_memory=save_memory)
    with monkeypatch.context() as patch:
        patch.setattr(counting, "CONVOLUTIONS", ())
        without_copies = animatic.rehearse(str(folder), "lvd", save_memory=save_memory)
    model = animatic.load(str(folder))
    if save_memory:
        model.save_memory()
    x = torch.randn(2, 4, 1, 32, 32)

    @torch.no_grad()
    def predict():
        model(x, STEP, conditioning(2), fused_attention)

    def guide():
        layers = energy_of(method_named("lvd").on(model)).layers
        request = AttentionMapRequest(torch.zeros(1, TOKENS, dtype=torch.long), layers, maps_only=True)
        start = x[:1].clone().requires_grad_()
        model(start, STEP, replace(conditioning(1), map_request=request), fused_attention)
        torch.autograd.grad(sum(maps.mean() for maps in request.found.values()), start)

    truth = {"denoising": predict, "guiding": guide, "decoding": lambda: model.decode(x[:1])}
    for stage, run in truth.items():
        run()  # what is allocated once
        least, most = getattr(without_copies, stage), getattr(rehearsal, stage)
        assert least <= most < 1.25 * least, stage
        assert (1 - TOLERANCE) * least < most_allocated(run) < (1 + TOLERANCE) * most, stage
    weights = sum(p.nbytes for part in (model.unet, model.vae, model.text) for p in part.parameters())
    assert sum(rehearsal.weights.values()) == pytest.approx(weights, rel=0.01)


def test_options_change_what_they_should(folder):
    plain = animatic.rehearse(str(folder))
    assert animatic.rehearse(str(folder), dtype="bfloat16").weights["network"] == plain.weights["network"] // 2
    saved = animatic.rehearse(str(folder), save_memory=True)
    assert saved.guiding < plain.guiding
    assert saved.guided_flops > plain.guided_flops  # computed twice
    assert animatic.rehearse(str(folder), steps=20).flops > 1.5 * plain.flops
    assert plain.fits and not plain.would_fit and plain.download == 0
    none = animatic.rehearse(str(folder), "none")
    assert none.guiding == none.guided_flops == none.passes.guided == 0


def test_passes_by_method(folder):
    model = animatic.load(str(folder))
    assert passes_of(method_named("none").on(model), 50, 2).guided == 0
    assert passes_of(method_named("lvd").on(model), 40, 2).guided == 10 * 5  # 10 of 40 levels, 5 iterations
    of_lmd = passes_of(method_named("lmd").on(model), 50, 3)
    assert of_lmd.predictions == 100 and of_lmd.branches == 6  # the objects' run, and the scene's
    assert of_lmd.evaluated == 50 * 6 + 50 * 2 and of_lmd.differentiated == 2 * of_lmd.guided  # 3 objects, one scene
    assert of_lmd.guided == 2 * (5 * 4 + 5 * 3 + 10 * 2 + 10)
    assert passes_of(method_named("multidiffusion").on(model), 50, 2).branches == 6


def test_long_videos_are_counted_in_windows(tmp_path):
    """Of a video model with clips of 2 seconds: 5 seconds are 4 windows, which overlap by half."""
    made = tiny.folder(tmp_path / "video", tiny.unet3d())
    geometry = {"frames": 8, "height": 64, "width": 64, "fps": 4}
    card = {"family": "", "geometry": geometry, "defaults": {"steps": 10, "guidance": 5.0}}
    (made / "animatic.json").write_text(json.dumps(card))
    clip, long = (animatic.rehearse(str(made), "lvd", seconds=seconds) for seconds in (2.0, 5.0))
    assert clip == replace(animatic.rehearse(str(made), "lvd"), seconds=clip.seconds, free=clip.free)
    assert (clip.frames, long.frames) == (8, 20)
    assert long.passes == replace(
        clip.passes, branches=8, samples=4, evaluated=4 * clip.passes.evaluated,
        differentiated=4 * clip.passes.differentiated,
    )  # fmt: skip
    assert long.step_flops == 4 * clip.step_flops and long.guided_flops == 4 * clip.guided_flops
    assert long.guiding > 3 * clip.guiding and long.denoising > 3 * clip.denoising
    with pytest.raises(AnimaticError, match="frames is 8, and seconds is 5; want one of them"):
        animatic.rehearse(str(made), "lvd", frames=8, seconds=5.0)


def test_what_does_not_fit_says_what_would(monkeypatch):
    """On a machine of 16 GiB, of Stable Diffusion's clips of 16 frames."""
    import psutil

    free = type("Free", (), {"available": 12 * 2**30})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    tight = animatic.rehearse("modelscope", frames=16, device="cpu")
    assert not tight.fits
    assert any("--save-memory" in options for options in tight.would_fit)
    chosen = animatic.rehearse("modelscope", frames=16, device="cpu", save_memory=True)
    assert chosen.fits and chosen.peak < tight.peak


def test_models_and_methods_that_cannot_are_named():
    with pytest.raises(AnimaticError, match="unknown model 'modelscop'"):
        animatic.rehearse("modelscop")
    with pytest.raises(AnimaticError, match="method 'gligen' needs a model that is conditioned on boxes"):
        animatic.rehearse("sd15", "gligen")
    with pytest.raises(AnimaticError, match=r"does not cover hunyuanvideo1\.5-480p: its network sorts tokens"):
        animatic.rehearse("hunyuanvideo1.5-480p")
    with pytest.raises(AnimaticError, match="multiples of 8 pixels"):
        animatic.rehearse("sd15", size=(100, 64))
    with pytest.raises(AnimaticError, match="conditioned on classes"):
        animatic.rehearse("mini-upscale")


@pytest.mark.parametrize(
    "name", ["sd-x4", "sdxl-refiner", "lavie", "lavie-interpolation", "lavie-vsr", "mini", "mini-dit"]
)
def test_models_of_every_kind(name):
    """Those with further inputs: a small image, key frames, a noise level, sizes, coordinates; none has weights."""
    made = animatic.rehearse(name, "none", frames=1, size=(64, 64))
    assert min(made.peak, made.flops, made.denoising, made.decoding) > 0
    assert made.weights["network"] > 0 and made.frames == 1


def test_command_in_one_screen_and_as_json(folder, capsys):
    with pytest.raises(SystemExit) as done:
        main(["rehearse", str(folder), "--steps", "5"])
    assert not done.value.code
    lines = capsys.readouterr().out.splitlines()
    assert 8 <= len(lines) <= 12 and lines[-1] == "it fits"
    with pytest.raises(SystemExit):
        main(["rehearse", str(folder), "--steps", "5", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["steps"] == 5 and data["passes"]["predictions"] == 5
