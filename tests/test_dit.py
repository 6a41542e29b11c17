"""Diffusion transformers: CogVideoX and Wan are diffusers' own to the last bit, and every control reaches them."""

import json
from dataclasses import replace
from importlib import import_module

import pytest
import tiny
import torch
from conftest import RUN, close, golden
from diffusers import AutoencoderKLWan, CogVideoXPipeline, WanPipeline, WanTransformer3DModel

from animatic.backbones import PRESETS, load
from animatic.backbones.video_vae import decoded_pieces
from animatic.controls.attention_maps import AttentionMaps
from animatic.controls.guidance import Guidance, WaveGuidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.core.attention import fused_attention
from animatic.core.control import Run
from animatic.core.loop import sample
from animatic.core.schedule import Schedule
from animatic.core.schedulers import scheduler_named
from animatic.core.types import AttentionMapRequest, Step
from animatic.errors import AnimaticError
from animatic.rendering import render
from animatic.scene import Scene, Track

KINDS = {
    "cogvideox-2b": (tiny.cogvideox, {}),
    "cogvideox-5b": (tiny.cogvideox, {"rotary": True}),
    "cogvideox1.5": (tiny.cogvideox, {"pairs": True}),
    "wan2.1": (tiny.wan, {}),
    "wan2.2-a14b": (tiny.wan, {"second": True}),
    "wan2.2-5b": (tiny.wan, {"each_token": True}),
}
SCENE = Scene("the cat and a dog", (Track("cat", ((0, 0, 1 / 3, 0.5),) * 3),))
STEP = Step(0, 4, 900.0, noise=1.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {name: make(root / name, **how) for name, (make, how) in KINDS.items()}


@pytest.fixture(params=["cogvideox-2b", "cogvideox-5b", "cogvideox1.5", "wan2.1"])
def model(request, folders):
    return load(str(folders[request.param]))


def stock(folder, x, output, **more):
    """What diffusers' own pipeline makes of the same noise."""
    cls = WanPipeline if "wan" in folder.name else CogVideoXPipeline
    pipeline = cls.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    x = x if cls is WanPipeline else x.movedim(2, 1)
    return pipeline(
        prompt=["the cat", "a dog"], negative_prompt=["red", "bear"], latents=x.clone(), num_inference_steps=4,
        guidance_scale=6.0, num_frames=9, height=32, width=48, max_sequence_length=16, output_type=output, **more,
    ).frames  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_the_pipelines_of_diffusers(folders, name):
    """Saved by save_pretrained, read by from_pretrained. Wan's pipeline asks its two halves apart, in other batches."""
    model = load(str(folders[name]))
    x = model.noise([0, 1], 9, 32, 48)
    made = sample(model, model.schedule(4), x, model.encode(["the cat", "a dog"], ["red", "bear"]), [Guidance(6.0)])
    spare = model.geometry.patch[0] - 1
    theirs = stock(folders[name], x, "latent")
    theirs = theirs if "wan" in name else theirs.movedim(1, 2)
    assert close(made[:, :, made.shape[2] - theirs.shape[2] :], theirs, RUN)
    assert theirs.shape[2] in (3, 3 + spare)
    pixels = torch.from_numpy(stock(folders[name], x, "np")) * 255
    assert (model.decode(made).float() - pixels).abs().max() <= 0.5 + 1e-3  # theirs is not rounded


@pytest.mark.parametrize("name", ["wan2.1", "wan2.2-5b"])
def test_the_transformer_of_wan(folders, name):
    model = load(str(folders[name]))
    x, cond = model.noise([0, 1], 9, 32, 48), model.encode(["the cat", "a dog"], ["red", "bear"])
    network = WanTransformer3DModel.from_pretrained(folders[name], subfolder="transformer").eval()
    with torch.no_grad():
        theirs = network(x[[0, 1, 0, 1]], torch.full((4,), 900.0), cond.text).sample
        assert close(model(x[[0, 1, 0, 1]], STEP, cond, fused_attention), theirs)


def test_wan_2_2_asks_its_second_network_at_low_noise(folders):
    model = load(str(folders["wan2.2-a14b"]))
    x, cond = model.noise([0], 5, 32, 48), model.encode(["the cat"], [""]).positive
    high, low = (model(x, replace(STEP, t=t), cond, fused_attention) for t in (880.0, 870.0))
    only = load(str(folders["wan2.1"]))  # the same network at all times
    assert close(high, only(x, replace(STEP, t=880.0), cond, fused_attention))
    assert not torch.allclose(low, only(x, replace(STEP, t=870.0), cond, fused_attention), atol=1e-2)


def test_the_noise_of_a_stochastic_solver_is_the_seeds(tmp_path):
    """`CogVideoXDPMScheduler` against its pipeline, and a row alone against a row among others."""
    folder = tiny.cogvideox(tmp_path / "dpm", dpm=True)
    model = load(str(folder))
    x, cond = model.noise([0, 1], 9, 32, 48), model.encode(["the cat", "a dog"], ["red", "bear"])
    schedule = model.schedule(4)
    schedule.start(x)
    draws = [torch.Generator().manual_seed(g.initial_seed()) for g in schedule._draws]
    made = sample(model, schedule, x, cond, [Guidance(6.0)])
    assert close(made.movedim(1, 2), stock(folder, x, "latent", generator=draws), RUN)
    alone = sample(model, model.schedule(4), x[1:], model.encode(["a dog"], ["bear"]), [Guidance(6.0)])
    assert close(made[1:], alone, RUN)


@pytest.mark.parametrize("steps", [7, 13])
def test_steps_that_a_scheduler_cannot_do(folders, steps):
    model = load(str(folders["cogvideox-2b"]))
    with pytest.raises(AnimaticError, match=rf"steps is {steps}, with which CogVideoXDDIMScheduler never comes to a"):
        model.schedule(steps)
    for other in (30, 50):
        assert len(model.schedule(other)) == other


def test_steps_that_end_clean_are_those_recorded(folders):
    """g12: with 7 steps CogVideoX's solver never comes to a clean sample; with all others recorded it does."""
    scheduler = CogVideoXPipeline.from_pretrained(folders["cogvideox-2b"]).scheduler
    for steps, told in golden("ditctrl/g12_cheap_equivalents.json")["dpm_scheduler_steps"].items():
        if told["ends_at_x0"]:
            levels = list(Schedule(scheduler_named("CogVideoXDPMScheduler", scheduler), int(steps)))
            assert levels[-2].t == told["last_t"]
        else:
            with pytest.raises(AnimaticError, match="never comes to a clean sample"):
                Schedule(scheduler_named("CogVideoXDPMScheduler", scheduler), int(steps))


def test_levels_of_sat_are_ditctrls(folders):
    """g03: the levels that DiTCtrl's own solver visits."""
    scheduler = CogVideoXPipeline.from_pretrained(folders["cogvideox-2b"]).scheduler
    for steps in (50, 25, 10):
        told = golden("ditctrl/g03_schedule.json")[f"steps{steps}"]
        schedule = Schedule(scheduler_named("sat-dpm++", scheduler), steps)
        signal = [schedule.signal(step) for step in schedule][:-1]
        assert [*signal[:4], *signal[-3:]] == pytest.approx(told["orig_sqrt_abar_head_tail"], abs=2e-6)


def test_no_solver_brings_a_shift_of_its_own(tmp_path):
    """CogVideoX's solvers shift the noise by default: a model that was trained without is not shifted."""
    model = load(str(tiny.folder(tmp_path, tiny.unet3d())))
    plain = [step.noise for step in model.schedule(10, "ddim")]
    for name in ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler", "sat-dpm++"):
        assert [step.noise for step in model.schedule(10, name)] == pytest.approx(plain, abs=1e-6)


def test_other_schedulers_keep_the_noise_of_the_model(folders):
    """CogVideoX shifts its noise, which others do not know; Wan's path is a straight one, which DDIM cannot go."""
    model = load(str(folders["cogvideox-2b"]))
    own = [step.noise for step in model.schedule(5)]
    for name in ("ddim", "unipc", "dpm++"):
        assert [step.noise for step in model.schedule(5, name)] == pytest.approx(own, abs=1e-3), name
    model = load(str(folders["wan2.1"]))
    with pytest.raises(AnimaticError, match="scheduler 'ddim' does not support flow matching"):
        model.schedule(5, "ddim")
    x = torch.ones(1, 4, 1, 4, 6)
    for name in ("", "flow", "dpm++"):  # a network that answers noise - sample leads to the sample
        schedule = model.schedule(5, name)
        clean, noise = 2 * x, -x
        now = noise.clone()
        for step in list(schedule)[:-1]:
            assert torch.allclose(schedule.estimate(schedule.noised(clean, noise, step), noise - clean, step), clean)
            now = schedule.advance(now, noise - clean, step)
        assert torch.allclose(now, clean, atol=0.02), name


@pytest.mark.parametrize(
    ("name", "frames"), [("cogvideox-2b", (1, 13, 16)), ("cogvideox1.5", (13,)), ("wan2.1", (5, 8))]
)
def test_any_number_of_frames_is_kept(folders, name, frames):
    """13 frames are 4 latent frames, of which CogVideoX's pipeline makes 16 frames, and DiTCtrl loses some."""
    model = load(str(folders[name]))
    for count in frames:
        video = render(Scene("the cat", (), seconds=1.0), model, "none", steps=1, frames=count, size=(48, 32))
        assert video.frames.shape == (count, 32, 48, 3)


def test_decoding_in_pieces_is_decoding(folders):
    patched = AutoencoderKLWan(  # Wan 2.2 TI2V
        base_dim=3, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        patch_size=2, in_channels=12, out_channels=12, is_residual=True, scale_factor_spatial=16,
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    ).eval()  # fmt: skip
    for vae in (load(str(folders["cogvideox-2b"])).vae, load(str(folders["wan2.1"])).vae, patched):
        latents = torch.randn(1, 4, 5, 2, 2)
        with torch.no_grad():
            pieces = list(decoded_pieces(vae, latents))
            assert len(pieces) > 1 and close(torch.cat(pieces, 2), vae.decode(latents).sample)


def test_pixels_to_latents_and_back(folders):
    for name in ("cogvideox-2b", "cogvideox1.5", "wan2.1"):
        model = load(str(folders[name]))
        pixels = torch.randint(0, 255, (1, 9, 32, 48, 3), dtype=torch.uint8)
        latents = model.to_latents(pixels)
        assert latents.shape[1:] == model.geometry.latent(9, 32, 48) and model.decode(latents).shape == pixels.shape


def test_phrases_are_found_by_offsets(folders):
    """T5 has no piece for the article "a": it is two tokens, and all that follows stands one later."""
    text = load(str(folders["cogvideox-2b"])).text
    pieces = text.tokenizer.tokenize("a dog and the bear")
    assert pieces == ["▁", "a", "▁dog", "▁and", "▁the", "▁bear"]
    assert text.positions("a dog and the bear", "dog") == (2,)
    assert text.positions("a dog and the bear", "brown bear") == (5,)
    zebra = text.positions("the zebra runs", "zebra")
    assert len(zebra) == 6 and zebra[0] == 1, "a word of letters: every piece of it"
    with pytest.raises(AnimaticError, match="reads at most 16"):
        text(["zebra zebra zebra zebra"])


def test_wan_does_not_read_padding(folders):
    states = load(str(folders["wan2.1"])).text(["the cat"])
    assert states[0, 3:].abs().sum() == 0 < states[0, 2].abs().sum()


def test_maps_are_the_softmax_and_change_nothing(model):
    """Columns of fused attention over text and video against attention written out by hand."""
    x, cond = model.noise([0], 9, 32, 48), model.encode([SCENE.prompt], [""])
    wanted, seen = torch.tensor([[2, 3], [3, 5]]), {}

    def listen(site, q, k, v, mask):
        if site.kind != "self":
            p = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
            p = torch.stack([p[i][..., wanted[i]] for i in range(2)])[
                :, :, q.shape[2] - k.new_zeros(site.grid).numel() :
            ]
            seen[site.layer] = p.unflatten(2, site.grid).movedim(1, 2).repeat_interleave(x.shape[2] // site.grid[0], 1)
            assert (
                site.kind == ("joint" if site.text_keys.stop < k.shape[2] else "cross") and site.entries_per_branch == 1
            )
        return fused_attention(site, q, k, v, mask)

    maps = AttentionMapRequest(wanted)
    with torch.no_grad():
        quiet = model(x[[0, 0]], STEP, cond, fused_attention)
        asked = model(x[[0, 0]], STEP, replace(cond, map_request=maps), listen)
    assert close(asked, quiet) and len(maps.found) == len(seen) == 2
    for name, p in seen.items():
        assert maps.found[name].shape == p.shape and close(maps.found[name], p)


def test_gradients_survive_checkpointing_and_an_early_end(model):
    x, cond = model.noise([0], 9, 32, 48), model.encode([SCENE.prompt], [""]).positive
    first = model.hooks.text_layers[0]

    def gradient(only):
        maps, leaf = AttentionMapRequest(torch.tensor([[1, 4]]), (first,), maps_only=only), x.clone().requires_grad_()
        answer = model(leaf, STEP, replace(cond, map_request=maps), fused_attention)
        assert bool(torch.isnan(answer).all()) is only
        return torch.autograd.grad(maps.found[first].square().sum(), leaf)[0]

    whole = gradient(False)
    assert whole.abs().sum() > 0 and close(gradient(True), whole)
    model.save_memory()
    assert close(gradient(True), whole) and close(gradient(False), whole)


def test_layout_attention_moves_attention_into_the_box(model):
    """The box is the cell, of six, that the word is looked at from least; the negative row is left alone."""
    x, cond = model.noise([0], 9, 32, 48), model.encode([SCENE.prompt], [""])
    token = model.text.positions(SCENE.prompt, "cat")

    def shares(box, **how):
        scene = replace(SCENE, tracks=(Track("cat", (box,) * 3),))
        control, maps = LayoutAttention(**how), AttentionMapRequest(torch.tensor([token, token]))
        bound = control.begin(Run(model, model.schedule(4), x, scenes=[scene]))
        with torch.no_grad():
            model(x[[0, 0]], STEP, replace(cond, map_request=maps), lambda *a: bound.attend(fused_attention, *a))
        p = torch.stack(list(maps.found.values())).mean((0, 2, 3, -1))
        return p / p.sum((1, 2), keepdim=True)  # [row, height, width]

    off = shares((0, 0, 1, 1), inside=0, outside=0)
    i, j = divmod(int(off[1].argmin()), 3)
    on = shares((j / 3, i / 2, (j + 1) / 3, (i + 1) / 2))
    assert on[1, i, j] >= 3 * off[1, i, j] and on[1, i, j] > 0.9 and close(on[0], off[0])


def test_layout_attention_is_a_bias_on_the_logits(model):
    """Its channels in queries and keys against the bias written out, tokens x tokens."""
    x, cond = model.noise([0], 9, 32, 48), model.encode([SCENE.prompt], [""])
    control = LayoutAttention().begin(Run(model, model.schedule(4), x, scenes=[SCENE]))
    step, looked = replace(STEP, noise=0.7), []

    def listen(site, q, k, v, mask):
        out = control.attend(fused_attention, site, q, k, v, mask)
        if site.kind != "self":
            boxes = control._targets.masks(*site.grid[1:])[0, : site.grid[0]].flatten()
            bias = torch.zeros(2, 1, q.shape[2], k.shape[2])
            for token in model.text.positions(SCENE.prompt, "cat"):
                bias[1, 0, q.shape[2] - len(boxes) :, token] = 0.7 * (12 * boxes - 8)
            looked.append((out - fused_attention(site, q, k, v, bias)).abs().max())
        return out

    with torch.no_grad():
        model(x[[0, 0]], step, cond, listen)
    assert len(looked) == 2 and max(looked) < 1e-5


def test_attention_seen_per_layer_and_step_in_both_directions(model):
    x, cond = model.noise([0], 9, 32, 48), model.encode([SCENE.prompt], [""])

    def look(**how):
        heats, each = {}, []
        heat = AttentionMaps(
            lambda row, phrase, map: heats.update({phrase: map}), each=lambda *a: each.append(a), **how
        )
        made = sample(model, model.schedule(4), x, cond, [heat, Guidance(6.0)], scenes=[SCENE])
        return heats, each, made

    heats, each, made = look(steps=(1, 3))
    assert heats["cat"].shape == x.shape[2:] and heats["cat"].max() == 1
    assert [(a[2], a[3]) for a in each] == [(name, step) for step in (1, 3) for name in model.hooks.text_layers]
    assert close(made, sample(model, model.schedule(4), x, cond, [Guidance(6.0)]), RUN)
    if "attn2" in model.hooks.text_layers[0]:
        with pytest.raises(AnimaticError, match="words attend to no cells"):
            look(from_text=True)
    else:
        _, back, again = look(steps=(1,), from_text=True, layers=("*.1.*",))
        assert len(back) == 1 and close(again, made, RUN)
        assert not torch.allclose(back[0][4], each[1][4][: len(back[0][4])])


def test_folders_that_cannot_be_used(tmp_path):
    folder = tiny.cogvideox(tmp_path / "m")
    index = {"weight_map": {f"w{i}": f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}}
    (folder / "text_encoder" / "model.safetensors").rename(folder / "text_encoder" / "model-00001-of-00002.safetensors")
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        AnimaticError, match=r"text_encoder: 1 of 2 weight files are missing, the first is model-00002-of"
    ):
        load(str(folder))
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "in_channels": 12}))
    with pytest.raises(AnimaticError, match="reads 12 channels and answers 4; want a text-to-video or image-to-video"):
        load(str(folder))


def test_tokenizers_of_the_hub_need_sentencepiece(tmp_path, monkeypatch):
    folder = tiny.cogvideox(tmp_path / "m")
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / "spiece.model")
    monkeypatch.setattr(import_module("animatic.backbones.folder"), "find_spec", lambda name: None)
    with pytest.raises(AnimaticError, match=r"spiece\.model needs sentencepiece and protobuf"):
        load(str(folder))


def test_sizes_are_multiples_of_a_token(folders):
    model = load(str(folders["cogvideox-2b"]))
    with pytest.raises(AnimaticError, match="width is 40; this model takes multiples of 16 pixels"):
        model.noise([0], 9, 32, 40)
    assert {"cogvideox-2b", "wan2.1-1.3b"} <= set(PRESETS)
    assert PRESETS["cogvideox1.5-5b"].geometry.latent(81, 768, 1360) == (16, 22, 96, 170)


def test_times_levels_and_guidance_as_recorded(folders):
    """g03. DiTCtrl's own levels differ from these in the third digit; its times and its guidance do not."""
    wanted = golden("ditctrl/g03_schedule.json")
    scheduler = CogVideoXPipeline.from_pretrained(folders["cogvideox-2b"]).scheduler
    for steps in (50, 25, 10):
        told, levels = wanted[f"steps{steps}"], list(Schedule(scheduler, steps))[:-1]
        ends = [*levels[:4], *levels[-3:]]
        assert [step.t for step in ends] == told["orig_timesteps_head_tail"]
        signal = [(1 - step.noise**2) ** 0.5 for step in ends]
        assert signal == pytest.approx(told["diffusers_sqrt_abar_head_tail"], abs=2e-5)
    scales = [WaveGuidance(6.0).at(step) for step in list(Schedule(scheduler, 50))[:-1]]
    assert scales == pytest.approx(wanted["dynamic_cfg"]["orig"], abs=1e-4)


@pytest.mark.parametrize("second", [None, 3.0])
def test_the_second_network_of_wan_has_a_guidance_scale_of_its_own(folders, second):
    """`guidance_scale_2` of diffusers' pipeline, which is the first where it is not given."""
    folder = folders["wan2.2-a14b"]
    model = load(str(folder))
    x, cond = model.noise([0, 1], 9, 32, 48), model.encode(["the cat", "a dog"], ["red", "bear"])
    given = sample(model, model.schedule(4), x, cond, [Guidance(6.0, low_noise_scale=second)])
    theirs = stock(folder, x, "latent", guidance_scale_2=second)
    assert close(given, theirs, RUN)

    # It is the model's own where the first scale is, too; a chosen one is that of both networks.
    model.defaults = replace(model.defaults, guidance=6.0, low_noise_guidance=3.0)
    own = sample(model, model.schedule(4), x, cond, [Guidance()], guidance=6.0)
    assert close(own, given, RUN) == (second == 3.0)
    model.defaults = replace(model.defaults, guidance=5.0)
    chosen = sample(model, model.schedule(4), x, cond, [Guidance()], guidance=6.0)
    assert close(chosen, given, RUN) == (second is None)

    other = load(str(folders["wan2.1"]))
    with pytest.raises(AnimaticError, match=r"no step of .* is of a second network for low noise"):
        sample(other, other.schedule(2), x, cond, [Guidance(6.0, low_noise_scale=3.0)])
