"""`SpaceTimeUNet`: the original's arithmetic on its own recorded values, and what the original got wrong."""

import json
import zlib

import numpy as np
import pytest
import torch
from conftest import close, golden
from torch import Tensor, nn

from animatic.backbones import load
from animatic.backbones.convert import from_vdp, renamed
from animatic.backbones.small import SpaceTimeUNet
from animatic.backbones.spacetime import (
    ChannelRMS,
    FrameLayout,
    LinearAttention,
    RelativePositions,
    ResNet,
    TemporalAttention,
    apply_rotary,
    rotary_tables,
    sinusoids,
)
from animatic.cli import main
from animatic.core.process import Process
from animatic.core.schedule import Schedule
from animatic.errors import AnimaticError
from animatic.rendering import render
from animatic.scene import Scene
from animatic.training.new_network import new_network

TINY = {"dim": 16, "multiples": (1, 2), "cond_dim": 6}


def normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).uniform(0, 1, shape).astype(np.float32))


def recorded(name: str, shape: tuple[int, ...]) -> Tensor:
    """The weight that the recordings gave the original's parameter of this name."""
    n = np.random.RandomState(zlib.crc32(name.encode()) % 2**32).standard_normal(shape)
    if name.endswith("gamma") or (len(shape) == 1 and name.endswith("weight")):
        n = 1 + 0.1 * n
    else:
        n = n / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1 * n
    return torch.from_numpy(np.asarray(n, np.float32))


def filled(module: nn.Module, names: dict[str, tuple[str, tuple[int, ...]]]) -> nn.Module:
    """`module` with recorded weights; ours -> (the original's name, the original's shape)."""
    own = module.state_dict()
    state = {ours: recorded(*theirs).reshape(own[ours].shape) for ours, theirs in names.items()}
    module.load_state_dict(state)
    return module


def same(found: Tensor, wanted: dict) -> None:
    flat = found.detach().double().flatten()
    assert flat.numel() == wanted["n"]
    assert float(flat.abs().sum()) == pytest.approx(wanted["abs_sum"], rel=1e-5)
    assert flat[:6].tolist() == pytest.approx(wanted["first"], rel=1e-5, abs=1e-5)
    assert flat[-3:].tolist() == pytest.approx(wanted["last"], rel=1e-5, abs=1e-5)


def folded(x: Tensor) -> Tensor:
    return x.movedim(2, 1).flatten(0, 1)


def unfolded(x: Tensor, rows: int = 2) -> Tensor:
    return x.unflatten(0, (rows, -1)).movedim(1, 2)


@pytest.fixture
def tiny():
    shapes = golden("vdp/g03_tiny_unet.json")["state_dict_keys_tiny"]
    return from_vdp(
        {name: recorded(name, tuple(s)) if "freqs" not in name else torch.ones(s) for name, s in shapes.items()}
    )


def test_cosine_schedule_and_process():
    wanted = golden("vdp/g01_schedule_and_process.json")
    for levels in (10, 1000):
        process, table = Process("eps", levels=levels), wanted[f"cosine_T{levels}"]
        assert process.betas[table["idx"]].tolist() == pytest.approx(table["betas"], rel=1e-7)
        assert process.alphas_cumprod[table["idx"]].tolist() == pytest.approx(table["alphas_cumprod"], rel=1e-7)
    process, t = Process("eps", loss="l1", min_snr=0), torch.tensor([3, 700])
    x, e = 2 * uniform(1, 2, 3, 4, 8, 8) - 1, normal(2, 2, 3, 4, 8, 8)
    noisy = process.add_noise(x, e, t)
    same(noisy, wanted["q_sample"])
    answer = 0.5 * noisy + 0.001 * t.view(-1, 1, 1, 1, 1)
    assert process.error(answer, x, e, t).mean() == pytest.approx(wanted["p_losses_l1"], rel=1e-5)
    squared = Process("eps", loss="l2", min_snr=0)
    assert squared.error(answer, x, e, t).mean() == pytest.approx(wanted["p_losses_l2"], rel=1e-5)


def test_clean_estimate_and_ancestral_step():
    wanted = golden("vdp/g01_schedule_and_process.json")
    scheduler = Process("eps").scheduler(ancestral=True)
    x, e = uniform(1, 2, 3, 4, 8, 8), normal(2, 2, 3, 4, 8, 8)
    levels = list(Schedule(scheduler, 1000))
    rows = [
        Schedule(scheduler, 1000).estimate(x[i : i + 1], e[i : i + 1], levels[999 - t]) for i, t in enumerate((3, 700))
    ]
    same(torch.cat(rows), wanted["predict_start_from_noise"])
    scheduler.alphas_cumprod = Process("eps").alphas_cumprod  # in float64: diffusers' own table is float32
    means = []
    for i, t in enumerate((3, 700)):  # the answer whose estimate is x, at the sample e
        noise = torch.randn(1, *x.shape[1:], generator=torch.Generator().manual_seed(0))
        level = scheduler.alphas_cumprod[t]
        answer = (e[i : i + 1] - level.sqrt() * x[i : i + 1]) / (1 - level).sqrt()
        scheduler.set_timesteps(1000)
        drawn = scheduler.step(answer, t, e[i : i + 1], generator=torch.Generator().manual_seed(0)).prev_sample
        means.append(drawn - wanted["q_posterior"]["var"][i] ** 0.5 * noise)
    same(torch.cat(means), wanted["q_posterior"]["mean"])


def test_positions_in_time():
    wanted = golden("vdp/g02_layers.json")
    bias = filled(RelativePositions(8), {"table.weight": ("relative_attention_bias.weight", (32, 8))})
    same(bias(5), wanted["rel_pos_bias_n5"])
    far = torch.arange(24)
    assert bias.bucket(far).tolist() == wanted["rel_pos_bucket_row0_keys0..23"]
    assert bias.bucket(-far).tolist() == wanted["rel_pos_bucket_col0_queries0..23"]
    same(apply_rotary(normal(3, 1, 2, 5, 40), rotary_tables(5, 32)), wanted["rotary_dim32_of_40"]["out"])
    for t, row in zip((0, 1, 500), wanted["sinusoidal_dim8_t[0,1,500]"], strict=True):
        assert sinusoids(torch.tensor([t]), 8)[0].tolist() == pytest.approx(row, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "alone"),
    [
        ("temporal_attention", None),
        ("temporal_attention_focus_mixed", [True, False]),
        ("temporal_attention_focus_all", [True, True]),
    ],
)
def test_time_attention(name, alone):
    wanted = golden("vdp/g02_layers.json")[name]
    bias = filled(RelativePositions(8), {"table.weight": ("relative_attention_bias.weight", (32, 8))})(5)
    layer = filled(
        TemporalAttention(16, 8, 32),
        {
            "norm.weight": ("norm.weight", (16,)),
            "qkv.weight": ("to_qkv.weight", (768, 16)),
            "out.weight": ("to_out.weight", (16, 256)),
        },
    )
    layer.norm = nn.Identity()  # the recording has neither norm nor residual
    x = normal(4, 2, 6, 5, 16)  # [row, cell, frame, channel]
    grid = x.permute(0, 2, 3, 1).flatten(0, 1)[..., None]
    clip = FrameLayout(
        5, focus_present=None if alone is None else torch.tensor(alone), bias=bias, rotary=rotary_tables(5, 32)
    )
    out = (layer(grid, clip) - grid)[..., 0].unflatten(0, (2, 5)).permute(0, 3, 1, 2)
    same(out, wanted)


def test_layers_in_space():
    wanted, x = golden("vdp/g02_layers.json"), normal(5, 2, 16, 3, 4, 6)
    linear = filled(
        LinearAttention(16, 8),
        {"norm.weight": ("", (16,)), "qkv.weight": ("to_qkv.weight", (768, 16, 1, 1)),
         "out.weight": ("to_out.weight", (16, 256, 1, 1)), "out.bias": ("to_out.bias", (16,))},
    )  # fmt: skip
    linear.norm = nn.Identity()
    same(unfolded(linear(folded(x), FrameLayout(3)) - folded(x)), wanted["spatial_linear_attention"])
    rms = filled(ChannelRMS(16), {"gain": ("gamma", (16, 1, 1, 1))})
    same(unfolded(rms(folded(x))), wanted["rms_norm"])
    norm = filled(nn.LayerNorm(16, bias=False), {"weight": ("gamma", (1, 16, 1, 1, 1))})
    same(norm(x.movedim(1, -1)).movedim(-1, 1), wanted["channel_layer_norm"])
    shrink = filled(nn.Conv2d(16, 16, 4, stride=2, padding=1), {k: (k, s) for k, s in _conv(16, 16, 4).items()})
    same(unfolded(shrink(folded(x))), wanted["downsample"]["out"])
    grow = filled(nn.ConvTranspose2d(16, 16, 4, stride=2, padding=1), {k: (k, s) for k, s in _conv(16, 16, 4).items()})
    same(unfolded(grow(folded(x))), wanted["upsample"]["out"])


def _conv(out: int, channels: int, size: int) -> dict[str, tuple[int, ...]]:
    return {"weight": (out, channels, 1, size, size), "bias": (out,)}


def test_resnet_block():
    wanted = golden("vdp/g02_layers.json")["resnet_block_16_24"]
    gains = {f"block{i}.norm.gamma": (24, 1, 1, 1) for i in (1, 2)}
    theirs = {"mlp.1.weight": (48, 12), "mlp.1.bias": (48,), **gains}
    for name, sizes in (("block1.proj", (24, 16, 3)), ("block2.proj", (24, 24, 3)), ("res_conv", (24, 16, 1))):
        theirs |= {f"{name}.{k}": shape for k, shape in _conv(*sizes).items()}
    block = filled(
        ResNet(16, 24, 12, True), {renamed(f"mid_block1.{k}").removeprefix("mid1."): (k, s) for k, s in theirs.items()}
    )
    told = normal(6, 2, 12).repeat_interleave(3, 0)
    same(unfolded(block(folded(normal(5, 2, 16, 3, 4, 6)), told)), wanted)


def test_the_originals_checkpoint_gives_the_originals_answers(tiny):
    wanted = golden("vdp/g03_tiny_unet.json")
    x, t, cond = normal(1, 2, 3, 4, 8, 8), torch.tensor([3, 700]), normal(2, 2, 6)
    answer = tiny(x, t, cond)
    same(answer, wanted["tiny_cond"]["out"])
    nothing = tiny(x, t, cond, null=torch.tensor([True, True]))
    same(nothing, wanted["tiny_null"])
    same(nothing + 2 * (answer - nothing), wanted["tiny_cfg_scale2"])
    assert tiny(normal(1, 1, 3, 7, 8, 8), t[:1], cond[:1]).shape == (1, 3, 7, 8, 8)


def test_sizes_of_the_original():
    wanted = golden("vdp/g03_tiny_unet.json")["params"]
    with torch.device("meta"):
        for key, kwargs in (
            ("{'dim': 64}", {}),
            ("{'dim': 64, 'cond_dim': 64}", {"cond_dim": 64}),
            ("{'dim': 64, 'dim_mults': (1, 2, 4)}", {"multiples": (1, 2, 4)}),
        ):
            network = SpaceTimeUNet(64, design="original", **kwargs)
            assert (
                sum(p.numel() for p in network.parameters()) + 16 == wanted[key]
            )  # 16: its table of rotary frequencies


@pytest.mark.parametrize("design", ["fast", "original"])
def test_a_picture_sees_no_other_frame(design):
    torch.manual_seed(0)
    network = SpaceTimeUNet(**TINY, design=design).eval()
    x, t, cond = normal(1, 2, 3, 4, 8, 8), torch.tensor([3, 700]), normal(2, 2, 4, 6)
    other = x.clone()
    other[:, :, 2] += 1

    def moved(**told) -> Tensor:
        with torch.no_grad():
            return (network(other, t, cond, **told) - network(x, t, cond, **told)).abs().amax((1, 3, 4))

    assert moved().min() > 1e-3  # a clip is one thing
    for told in ({"focus_present": torch.tensor([True, True])}, {"images": 4}, {"images": 2}):
        change = moved(**told)  # of the others: none at all, for masked cells are added as zeros
        assert change[:, [0, 1, 3]].max() == 0 and change[:, 2].min() > 0
    mixed = moved(focus_present=torch.tensor([True, False]))
    assert mixed[0, [0, 1, 3]].max() == 0 and mixed[1].min() > 1e-3
    other[:, :, 2] = x[:, :, 2]
    other[:, :, 1] += 1
    change = moved(images=2)  # a video frame reaches its video, and no picture
    assert change[:, :2].min() > 1e-3 and change[:, 2:].max() == 0


def test_a_picture_beside_a_clip_is_what_it_is_alone():
    torch.manual_seed(0)
    network = SpaceTimeUNet(**TINY).eval()
    x, t, cond = normal(1, 1, 3, 5, 8, 8), torch.tensor([9]), normal(2, 1, 5, 6)
    with torch.no_grad():
        joint = network(x, t, cond, images=2)
        clip = network(x[:, :, :3], t, cond[:, :3])
        pictures = [network(x[:, :, i : i + 1], t, cond[:, i : i + 1]) for i in (3, 4)]
    assert close(joint, torch.cat([clip, *pictures], 2))


def test_the_null_condition_learns():
    network = SpaceTimeUNet(**TINY)
    x, t, cond = normal(1, 2, 3, 2, 8, 8), torch.tensor([3, 700]), normal(2, 2, 6)
    network(x, t, cond, null=torch.tensor([True, False])).square().mean().backward()
    assert network.null is not None and network.null.grad is not None and network.null.grad.abs().min() > 0


def test_a_new_network_begins_without_its_branches_and_all_of_it_learns():
    torch.manual_seed(0)
    network = new_network("SpaceTimeUNet", dict(TINY))
    x, t, cond = normal(1, 2, 3, 2, 8, 8), torch.tensor([3, 700]), normal(2, 2, 6)
    with torch.no_grad():
        later = network(x, torch.tensor([900, 900]), cond)
        assert close(network(x, t, cond), later), "no branch takes part, so that the timestep has no effect"

    # at the third step every parameter has a gradient
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        network(x, t, cond, null=torch.tensor([True, False])).sub(1).square().mean().backward()
        optimizer.step()
    used = network.positions.table.weight.grad.abs().sum(1) > 0
    assert used.sum() == 3, "offsets -1, 0 and 1 of two frames"
    idle = [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert idle == []
    with pytest.raises(AnimaticError, match="norms at the end"):
        SpaceTimeUNet(**TINY, design="original").begin_as_identity()


def test_saved_and_read_again(tmp_path):
    network = SpaceTimeUNet(**TINY).eval()
    network.save_pretrained(tmp_path)
    again = SpaceTimeUNet.from_pretrained(tmp_path)
    x, t, cond = normal(1, 1, 3, 2, 8, 8), torch.tensor([5]), normal(2, 1, 6)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in again.state_dict().items()), "a copy"
    assert close(again(x, t, cond), network(x, t, cond))  # the copy lies elsewhere in memory


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda n: n(normal(0, 1, 3, 2, 9, 8), torch.tensor([1])), "height is 9; this network takes multiples of 2"),
        (lambda n: n(normal(0, 1, 4, 2, 8, 8), torch.tensor([1])), "4 channels; this network takes 3"),
        (lambda n: n(normal(0, 1, 3, 2, 8, 8), torch.tensor([1]), normal(0, 1, 7)), "condition of width 7"),
        (lambda n: n(normal(0, 1, 3, 2, 8, 8), torch.tensor([1]), images=3), "images is 3; want 0 to 2"),
        (lambda n: SpaceTimeUNet(design="slow"), "design is 'slow'; want one of fast, original"),
        (lambda n: SpaceTimeUNet(multiples=(1, 2), blocks=(1,)), "blocks are \\[1\\]; want one number"),
        (lambda n: from_vdp({"init_conv.weight": torch.zeros(1)}), "want a Unet3D of video-diffusion-pytorch 0.7"),
        (lambda n: Process("noise"), "target is 'noise'; want one of eps, x0, v, flow"),
        (lambda n: Process("eps", "zero-snr"), "whose last level is all noise; want v or x0"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(AnimaticError, match=words):
        call(SpaceTimeUNet(**TINY))


def test_a_checkpoint_of_the_original_becomes_a_model(tiny, tmp_path, capsys):
    """As its Trainer writes it: {step, model, ema, scaler}, the network under `denoise_fn.`."""
    shapes = golden("vdp/g03_tiny_unet.json")["state_dict_keys_tiny"]
    state = {n: recorded(n, tuple(s)) if "freqs" not in n else torch.ones(s) for n, s in shapes.items()}
    diffusion = {"betas": torch.zeros(1000), **{f"denoise_fn.{k}": v for k, v in state.items()}}
    torch.save({"step": 1, "model": {}, "ema": diffusion, "scaler": {}}, tmp_path / "model-1.pt")
    vectors = {"wave": [0.1] * 6, "jump": [-0.3] * 6}
    (tmp_path / "classes.json").write_text(json.dumps(vectors))
    options = ["--size", "8", "--frames", "4", "--classes", str(tmp_path / "classes.json")]
    with pytest.raises(SystemExit) as end:
        main(["convert", "vdp", str(tmp_path / "model-1.pt"), str(tmp_path / "m"), *options])
    assert not end.value.code
    model = load(str(tmp_path / "m"))
    x, t = normal(1, 1, 3, 4, 8, 8), torch.tensor([700])
    assert close(model.unet(x, t, torch.full((1, 6), 0.1)), tiny(x, t, torch.full((1, 6), 0.1)))
    a, b = (render(Scene(name, (), seconds=0.5), model, "none", steps=25).frames for name in vectors)
    assert a.shape == (4, 8, 8, 3) and (a != b).any()
    again = render(Scene("wave", (), seconds=0.5), model, "none", steps=25, scheduler="dpm++")  # 25 steps for 1,000
    assert again.frames.shape == a.shape
    for arguments, words in (
        (["convert", "other", "x.pt", "m"], "unknown kind 'other'; known: vdp"),
        (["convert", "vdp", str(tmp_path / "none.pt"), "m"], "cannot be read"),
        (["convert", "vdp", str(tmp_path / "classes.json"), "m"], "cannot be read"),
        (["convert", "vdp", str(tmp_path / "model-1.pt"), str(tmp_path / "m"), "--size", "9"], "multiples of 2"),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2 and words in capsys.readouterr().err
