"""LaVie: schedules, frame maps, blocks and networks on the originals' recorded values; its checkpoints converted."""

import json
import pickle

import numpy as np
import pytest
import tiny
import torch
from conftest import close, golden
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from test_small import normal, recorded
from torch import Tensor, nn

from animatic.backbones import load
from animatic.backbones.concat_conditioning import NearestKeyframeConditioning, NoisyLowResolutionConditioning
from animatic.backbones.lavie import BETAS, CARDS, convert_lavie, recognised
from animatic.backbones.lavie_layers import FrameFolding, TemporalAttention, TemporalTransformerBlock
from animatic.backbones.lavie_unet import BASE, DOWN, INTERPOLATION, UP, VSR, LaVieUNet
from animatic.backbones.lora import add_adapters, apply_lora, save_lora
from animatic.cli import main
from animatic.controls.tiles import spans
from animatic.core.schedule import Schedule
from animatic.errors import AnimaticError
from animatic.finishing.checks import planned_shapes
from animatic.finishing.interpolate import Interpolate, Shape, interpolated_shape
from animatic.finishing.prompts import videos_of
from animatic.finishing.recipes import RECIPES
from animatic.finishing.stage import SamplingRun, StageContext
from animatic.finishing.stages import finish, stage_context, stages_of
from animatic.finishing.upscale import Upscale
from animatic.rendering import render
from animatic.scene import Scene, Track
from animatic.video import Video

SMALL = {"layers_per_block": 1, "cross_attention_dim": 24, "attention_head_dim": 2, "norm_num_groups": 16}
WIDE = {**SMALL, "block_out_channels": (64, 64, 128, 128)}
TINY = {  # tests' own text encoder is 16 wide, and LaVie has 8 heads
    "layers_per_block": 1, "cross_attention_dim": tiny.WIDTH, "block_out_channels": (32, 32, 64, 64), "sample_size": 8,
}  # fmt: skip


def theirs(name: str, vsr: bool = False) -> str:
    """The original's name of one of our parameters."""
    name = name.replace("positions.table.", "time_rel_pos_bias.relative_attention_bias.")
    return name.replace("attn_temp.", "attn_temporal.").replace("norm_temp.", "norm_temporal.") if vsr else name


def filled(module: nn.Module, vsr: bool = False) -> nn.Module:
    module.load_state_dict({n: recorded(theirs(n, vsr), tuple(p.shape)) for n, p in module.state_dict().items()})
    return module.eval()


def same(found: Tensor, wanted: dict) -> None:
    flat = found.detach().double().flatten()
    assert flat.numel() == wanted["n"]
    assert float(flat.abs().sum()) == pytest.approx(wanted["abs_sum"], rel=1e-6)
    assert flat[:6].tolist() == pytest.approx(wanted["first"], rel=1e-4, abs=1e-5)
    assert flat[-3:].tolist() == pytest.approx(wanted["last"], rel=1e-4, abs=1e-5)


def test_schedules():
    """g01: levels, the interpolation's grid and its 50 steps, what base samplers visit, noise on small video."""
    wanted = golden("lavie/g01_schedules.json")
    levels = DDIMScheduler(**BETAS).alphas_cumprod
    told = wanted["linear_1e-4_2e-2_T1000"]["alphas_cumprod[0,1,500,999]"]
    assert levels[[0, 1, 500, 999]].tolist() == pytest.approx(told, rel=1e-5)
    schedule = Schedule(DDIMScheduler(**BETAS, **CARDS["lavie-interpolation"]["scheduler"]), 50)
    times = [step.t for step in schedule if not step.clean]
    assert times[::-1] == wanted["interpolation_50_steps"]["timesteps"]
    x, beside = normal(1, 2, 4, 5, 4, 4), normal(2, 2, 4, 5, 4, 4)
    for step in schedule:
        if not step.clean:
            x = schedule.advance(x, 0.1 * x + 0.01 * beside, step)
    same(x, wanted["interpolation_ddim_loop_50"]["out"])
    for cls, name, told in (
        (DDIMScheduler, "ddim", {"steps_offset": 1}),
        (DDPMScheduler, "ddpm", {"steps_offset": 1}),
        (EulerDiscreteScheduler, "eulerdiscrete", {"timestep_spacing": "linspace"}),
    ):
        now = wanted["base_samplers"]["now"][name]
        config = {k: v for k, v in BETAS.items() if cls is not EulerDiscreteScheduler or k != "clip_sample"}
        levels = [step.t for step in Schedule(cls(**config, **told), 50) if not step.clean]
        assert levels[:3] == pytest.approx(now["first"]) and levels[-2:] == pytest.approx(now["last"])
    base = Schedule(DDPMScheduler(**BETAS, **CARDS["lavie"]["scheduler"]), 50)
    assert [step.t for step in base][:-1] == list(range(980, -1, -20))  # as the paper's own pinned library visits
    vsr = wanted["vsr"]
    same(
        NoisyLowResolutionConditioning(level=50).noised(normal(5, 1, 3, 2, 4, 4), normal(6, 1, 3, 2, 4, 4)),
        vsr["low_res_add_noise_level50"],
    )
    with pytest.raises(AnimaticError, match="level is 351; the upscaler knows noise levels 0 to 350"):
        NoisyLowResolutionConditioning(level=351)


def test_frame_maps():
    """g02: which key each frame sees, windows of upscaling, durations, rounding."""
    wanted = golden("lavie/g02_frames.json")
    keys = torch.arange(16.0).view(1, 1, 16, 1, 1)
    guess, told = NearestKeyframeConditioning().condition(keys)
    assert told.flatten().int().tolist() == wanted["copied_layout_source_frame_of_16"] and not guess.any()
    assert list(range(0, 61, 4)) == wanted["key_positions_in_61"]
    for count in wanted["vsr_unet_chunks"]:
        assert [list(s) for s in spans(int(count), 8, 0)] == wanted["vsr_unet_chunks"][count]
    told = wanted["durations_s"]
    out = interpolated_shape(Shape(16, 320, 512, 8.0), 4)
    assert (out.frames, out.fps) == (61, 32.0)  # every key at its time; 30.5 would last as long, and be slower
    assert (out.frames - 1) / out.fps == 15 / 8
    slow = interpolated_shape(Shape(16, 320, 512, 8.0), 4, fps=24)
    assert slow.frames / slow.fps == pytest.approx(told["interpolation_61f_24fps"], abs=1e-4)
    rounding = wanted["to_uint8"]
    levels = ((torch.tensor(rounding["x"]) + 1) * 127.5 + 0.5).floor().clamp(0, 255)
    assert levels.int().tolist() == rounding["base_and_interpolation_round_half_up"]


def block(frames: FrameFolding, only_text: bool = False, **how: bool) -> TemporalTransformerBlock:
    like = BasicTransformerBlock(80, 2, 40, cross_attention_dim=24, only_cross_attention=only_text)
    return filled(TemporalTransformerBlock(like, frames, **how), only_text)


@torch.no_grad()
def test_temporal_blocks():
    """g03: attention over time with and without positions, the three blocks, sparse-causal attention."""
    wanted, frames = golden("lavie/g03_temporal_blocks.json"), FrameFolding()
    frames.count = 16
    x = normal(11, 3, 16, 80).transpose(0, 1)  # recorded as [cell, frame, channel]
    attention = filled(TemporalAttention(80, 2, True, frames))
    same(attention(x).transpose(0, 1), wanted["base_temporal_attention"]["out"])
    attention.positions.table.weight.zero_()
    same(attention(x).transpose(0, 1), wanted["same_with_zero_bias_table"])
    plain = filled(TemporalAttention(80, 2, False, frames))
    same(plain(x).transpose(0, 1), wanted["interpolation_temporal_attention"]["out"])
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert close(plain(x[order]), plain(x)[order])

    frames.count = 5
    x, text = normal(12, 10, 6, 80), normal(13, 10, 7, 24)
    base = block(frames, time_last=False, positions=True, sparse=False)
    same(base(x, encoder_hidden_states=text), wanted["base_block"]["out"])
    interpolation = block(frames, time_last=True, positions=False, sparse=True)
    same(interpolation(x, encoder_hidden_states=text), wanted["interpolation_block"]["out"])
    vsr = block(frames, True, time_last=False, positions=True, sparse=False)
    same(vsr(x, encoder_hidden_states=text), wanted["vsr_block_only_cross"]["out"])
    attention = filled(BasicTransformerBlock(80, 2, 40, cross_attention_dim=24).attn1)
    same(attention(x, interpolation._sparse_source(x)), wanted["sparse_causal"]["out"])
    other = x.clone()
    other[[3, 8]] += 1
    moved = (
        attention(other, interpolation._sparse_source(other)) - attention(x, interpolation._sparse_source(x))
    ).abs()
    assert [i for i, part in enumerate(moved.view(2, 5, -1).amax((0, 2)).tolist()) if part] == [3, 4]


@torch.no_grad()
def test_the_three_networks():
    """g04, on tiny networks with recorded weights."""
    wanted, text = golden("lavie/g04_unets.json"), normal(22, 2, 7, 24)
    base = filled(LaVieUNet(**{**BASE, **WIDE}))
    same(base(normal(21, 2, 4, 5, 8, 16), 500, text), wanted["tiny_base"]["out"])
    interpolation = filled(LaVieUNet(**{**INTERPOLATION, **WIDE}))
    same(interpolation(normal(23, 2, 8, 5, 8, 16), 500, text), wanted["tiny_interpolation"]["out"])
    vsr = filled(LaVieUNet(**{**VSR, **SMALL, "block_out_channels": (64, 64, 64, 128)}), vsr=True)
    x = torch.cat([normal(25, 2, 4, 5, 8, 16), normal(24, 2, 3, 5, 8, 16)], 1)
    same(vsr(x, 500, text, torch.tensor([50, 50])), wanted["tiny_vsr"]["out"])
    x = normal(21, 2, 4, 5, 8, 16)[:1].expand(2, -1, -1, -1, -1)
    prompt, negative = base(x, 500, text)
    same((negative + 4 * (prompt - negative)).expand(2, -1, -1, -1, -1), wanted["forward_with_cfg"]["out"])
    for frames, size in ((1, (8, 16)), (24, (8, 16)), (2, (10, 12))):
        assert base(normal(1, 1, 4, frames, *size), 5, text[:1]).shape[2:] == (frames, *size)


@torch.no_grad()
def test_one_frame_is_the_image_model():
    """g05, g06: with time silenced, of one frame or of equal frames; of unequal ones it must not be."""
    torch.manual_seed(0)
    network = LaVieUNet(**WIDE).eval()
    for module in network.modules():
        if isinstance(module, TemporalAttention):
            module.to_out[0].weight.zero_()
            module.to_out[0].bias.zero_()
    image = UNet2DConditionModel(
        **WIDE, down_block_types=DOWN, up_block_types=UP, in_channels=4, out_channels=4, sample_size=64
    ).eval()
    image.load_state_dict({n: p for n, p in network.state_dict().items() if "_temp" not in n})
    started = golden("lavie/g06_cfg_and_init.json")["from_pretrained_2d"]
    assert len(image.state_dict()) == started["sd_tensors"] == started["base_copied"]  # g06: each has its place
    x, text = normal(1, 1, 4, 1, 8, 8), normal(2, 1, 7, 24)
    alone = image(x[:, :, 0], 500, text).sample
    assert close(network(x, 500, text)[:, :, 0], alone)
    assert close(network(x.expand(-1, -1, 4, -1, -1), 500, text)[:, :, 2], alone)
    clip = normal(3, 1, 4, 4, 8, 8)
    assert (network(clip, 500, text)[:, :, 0] - image(clip[:, :, 0], 500, text).sample).abs().max() > 0.05


@pytest.mark.parametrize(("config", "name"), [(BASE, "base"), (INTERPOLATION, "interpolation"), (VSR, "vsr")])
def test_checkpoints_of_full_size(config, name):
    """Right shapes without the numbers: every published key is used, none is left; what is wrong is named."""
    with torch.device("meta"):
        network = LaVieUNet(**config)
    state = {theirs(n, name == "vsr"): torch.zeros(1).expand(p.shape) for n, p in network.state_dict().items()}
    state |= {"down_blocks.1.attentions.0.transformer_blocks.0.attn_temp.rotary_emb.freqs": torch.zeros(16)}
    kind, found, weights = recognised(state)
    assert kind == {"base": "lavie", "interpolation": "lavie-interpolation", "vsr": "lavie-vsr"}[name]
    assert found["block_out_channels"] == network.config.block_out_channels and len(weights) == len(state) - 1
    published = golden(f"lavie/keys_{name}.json")
    freqs = {key for key in published if key.endswith("freqs")}
    assert {n: list(t.shape) for n, t in state.items() if not n.endswith("freqs")} == {
        n: shape for n, shape in published.items() if n not in freqs
    }
    key = "mid_block.attentions.0.transformer_blocks.0.ff.net.2.bias"
    with pytest.raises(AnimaticError, match=f"{key} is missing; want all weights of {kind}"):
        recognised({n: t for n, t in state.items() if n != key})
    with pytest.raises(AnimaticError, match="one_more is unknown"):
        recognised({**state, "one_more": torch.zeros(1)})
    with pytest.raises(AnimaticError, match=rf"{key} has shape \[3\]; want \[\d+\]"):
        recognised({**state, key: torch.zeros(3)})


def checkpoint(path, config, vsr: bool = False):
    torch.manual_seed(0)
    network = LaVieUNet(**{**config, **TINY})
    state = {theirs(n, vsr): p for n, p in network.state_dict().items()}
    torch.save({"ema": {**state, "temporal_rotary_emb.freqs": torch.zeros(16)} if vsr else state}, path)
    return network


def test_conversion_round_trip(tmp_path, monkeypatch):
    """A checkpoint becomes a folder that `--model lavie` finds, renders under every control, and learns LoRAs of SD."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    with pytest.raises(AnimaticError, match=r"lavie is not on this machine; .* animatic convert lavie lavie_base\.pt"):
        load("lavie")
    parts, file = tiny.folder(tmp_path / "sd", tiny.unet2d()), tmp_path / "lavie_base.pt"
    network = checkpoint(file, BASE)
    with pytest.raises(SystemExit) as end:
        main(["convert", "lavie", str(file), "--parts", str(parts)])
    assert end.value.code == 0
    model = load("lavie")
    own = model.unet.state_dict()
    assert all(torch.equal(own[name], value) for name, value in network.state_dict().items())
    box = Track("bear", ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)))
    scene = Scene("a bear", (box,), seconds=1)
    size = {"frames": 2, "size": (64, 64), "steps": 2}
    one, other = (render(scene, model, method, 1, **size) for method in ("none", "lvd"))
    assert one.frames.shape == (2, 64, 64, 3) and one.info["scheduler"] == "DDPMScheduler"
    again = render(scene, model, "none", 1, **size)
    assert np.array_equal(again.frames, one.frames), "its noise hangs on the seed"
    assert not np.array_equal(one.frames, other.frames)

    pytest.importorskip("peft")
    image = UNet2DConditionModel(**TINY, down_block_types=DOWN, up_block_types=UP)
    add_adapters(image, 2)
    for name, parameter in image.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    apply_lora(model, save_lora(image, tmp_path / "style.safetensors"))
    assert not np.array_equal(render(scene, model, "none", 1, **size).frames, one.frames)


def test_what_carries_code_is_refused(tmp_path):
    flag = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (open, (str(flag), "w"))

    for name, save in (("a.pt", torch.save), ("b.pt", lambda data, path: path.write_bytes(pickle.dumps(data)))):
        save({"ema": Trap()}, tmp_path / name)
        with pytest.raises(AnimaticError, match=r"cannot be read .*want a \.pt file"):
            convert_lavie(tmp_path / name, tmp_path / "out")
    assert not flag.exists() and not (tmp_path / "out").exists()


def test_the_other_two_convert(tmp_path):
    for config, kind in ((INTERPOLATION, "lavie-interpolation"), (VSR, "lavie-vsr")):
        checkpoint(tmp_path / f"{kind}.pt", config, kind == "lavie-vsr")
        folder = convert_lavie(tmp_path / f"{kind}.pt", tmp_path / kind, "nowhere/at-all")
        card = json.loads((folder / "animatic.json").read_text())
        assert card["parts"] == "nowhere/at-all" and card["concat_conditioning"] == CARDS[kind]["concat_conditioning"]
        with pytest.raises(AnimaticError, match="nowhere/at-all is not on this machine"):
            load(str(folder))


def test_the_released_ways_by_name():
    """Options 1 to 4 of the README, with the numbers of the released configurations."""
    assert stages_of("lavie-option-1") == []
    (_, more), (_, larger) = both = stages_of("lavie-option-4")
    assert stages_of("lavie-option-2") + stages_of("lavie-option-3") == both
    assert isinstance(more, Interpolate) and isinstance(larger, Upscale)
    assert (more.factor, more.fps, more.steps, more.guidance, more.keep) == (4, 24, 50, 4.0, False)
    assert (larger.level, larger.steps, larger.guidance, larger.window, larger.overlap) == (50, 50, 5.0, 8, 0)
    assert (more.seed, larger.seed, larger.still) == (3418, 10, False)
    clip = Shape(16, 320, 512, 8.0)
    assert planned_shapes(clip, stages_of("lavie-option-4")) == [Shape(61, 320, 512, 24.0), Shape(61, 1280, 2048, 24.0)]


def test_upscaling_draws_as_released(tmp_path, monkeypatch):
    """Of each 8 frames: noise on the small clip, then the first latents, one after another from one generator of 10."""
    checkpoint(tmp_path / "vsr.pt", VSR, vsr=True)
    folder = convert_lavie(tmp_path / "vsr.pt", tmp_path / "lavie-vsr", str(tiny.x4_folder(tmp_path / "x4")))
    seen = []

    def answer(call, noise, beside, level):
        seen.append((beside, noise, level))
        return noise

    monkeypatch.setattr(SamplingRun, "__call__", answer)
    grey = Video(np.full((11, 16, 16, 3), 128, np.uint8), 8.0)
    then = RECIPES["lavie-option-3"][0].replace("model=lavie-vsr", f"model={folder}")
    finish(grey, stages_of(then), StageContext(seed=3))

    draws, signal = torch.Generator().manual_seed(10), float(levels_of_upscaler()[50])
    for frames, (small, first, level) in zip((8, 3), seen, strict=True):
        noise = torch.randn(1, 3, frames, 16, 16, generator=draws)
        wanted = signal**0.5 * (128 / 127.5 - 1) + (1 - signal) ** 0.5 * noise
        assert torch.allclose(small, wanted, atol=1e-6) and level == 50
        assert torch.equal(first, torch.randn(1, 4, frames, 16, 16, generator=draws))


def test_a_stage_has_a_seed_of_its_own(monkeypatch, tmp_path):
    """It begins from the noise of a run of that seed; bad ones are refused in one line."""
    video = Video(np.full((2, 16, 16, 3), 128, np.uint8), 4.0, {"prompt": "a ball", "model": "mini"})
    noises = []

    def answer(call, noise, beside=None, level=None):
        noises.append(noise)
        return noise

    def first_noise(then: str, seed: int) -> Tensor:
        noises.clear()
        finish(video, stages_of(then), stage_context(video, "", seed))
        return noises[0]

    monkeypatch.setattr(SamplingRun, "__call__", answer)
    more = f"interpolate:2:model={tiny.interpolation(tmp_path / 'more')}"
    for then in (more, "upscale:2", "refine:0.9:model=mini"):
        own = first_noise(f"{then}:seed=7", 1)
        assert torch.equal(own, first_noise(then, 7)) and not torch.equal(own, first_noise(then, 1)), then
    with pytest.raises(AnimaticError, match="seed is -1; want a whole number from 0"):
        stages_of("upscale:2:seed=-1")


def levels_of_upscaler() -> torch.Tensor:
    """alpha_bar of the x4 upscaler's own noise on small pictures."""
    return (1 - torch.linspace(1e-4**0.5, 0.02**0.5, 1000, dtype=torch.float64).square()).cumprod(0)


def test_prompts_in_videos_out():
    """A video is the same in any list; what cannot be done is said before the first is made."""
    how = {"frames": 2, "size": (64, 64), "steps": 1}
    first, second = videos_of(["a bear", "a cat"], "mini", "blend:2", seed=3, **how)
    (alone,) = videos_of(["a cat"], "mini", "blend:2", seed=3, **how)
    assert first.info["prompt"] == "a bear" and first.frames.shape == (3, 64, 64, 3)
    assert np.array_equal(second.frames, alone.frames) and not np.array_equal(first.frames, second.frames)
    with pytest.raises(AnimaticError, match="lavie-interpolation is not on this machine"):
        videos_of(["a bear"], "mini", "lavie-option-2")
