"""What `Trainer` and the constructors of video-diffusion-pytorch 0.7 are told, told to ours: each does the same."""

import json
import math
import random
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import golden
from test_data import clip, shades
from test_fit import SMALL
from test_small import normal, recorded

from animatic.backbones import load
from animatic.backbones.convert import convert_vdp, from_vdp
from animatic.backbones.small_model import pixels
from animatic.cli import main
from animatic.core.schedule import Schedule
from animatic.errors import AnimaticError
from animatic.rendering import render
from animatic.scene import Scene
from animatic.training.checkpoints import claim
from animatic.training.clips import Cut
from animatic.training.fit import DiffusionTrainer, fit
from animatic.training.loop import new_ema
from animatic.video import Video


@pytest.mark.parametrize(("start", "every"), [(20, 5), (18, 5), (3, 5), (2, 1)])
def test_weights_are_averaged_as_there(start, every):
    """A copy at the updates before `step_start_ema`, then beta old + (1 - beta) new, at every `update_ema_every`-th."""
    now, settings = torch.nn.Parameter(torch.zeros(1)), replace(SMALL, ema_decay=0.9, ema_start=start, ema_every=every)
    average, wanted = new_ema([now], settings), 0.0
    for step in range(40):
        now.data.fill_(step**2 + 1)
        if step % every:
            continue
        wanted = now.item() if step < start else 0.9 * wanted + 0.1 * now.item()
        average.step([now])
        assert average.shadow_params[0].item() == pytest.approx(wanted, rel=1e-6), step


def test_a_run_averages_from_its_start_on(tmp_path):
    """Before the start the model is the network as it was at the last update: after one step of three, or of four."""
    settings = replace(SMALL, ema_start=9, ema_every=3, max_grad_norm=0)
    made = {n: fit(replace(settings, steps=n, out=str(tmp_path / f"{n}"))) for n in (1, 3, 4)}
    one, three, four = (load(str(folder)).unet.conv_in.weight for folder in made.values())
    assert torch.allclose(one, three, atol=1e-6) and not torch.allclose(one, four, atol=1e-4)


def test_gradients_of_any_size_where_nothing_bounds_them(tmp_path):
    """`max_grad_norm=None`: the same as a bound that is never reached, and not as one that is."""
    ends = [
        load(
            str(fit(replace(SMALL, steps=2, max_grad_norm=most, learning_rate=0.1, out=str(tmp_path / f"{most:g}"))))
        ).unet.conv_in.weight
        for most in (0, 1e9, 1e-9)
    ]
    assert torch.allclose(ends[0], ends[1], atol=1e-6) and not torch.allclose(ends[0], ends[2], atol=1e-3)


def test_the_first_frames_then_black_ones():
    """`cast_num_frames`: too long, the first; too short, black ones behind; the middle of the picture (CenterCrop)."""
    bright, chance = clip(5, start=1), random.Random(0)
    cut = Cut(3, 16, 16, short="black", steady=True)
    assert shades(cut(bright, chance)) == [1, 2, 3]
    there = golden("vdp/g04_trainer.json")["cast_num_frames"]["5->7"]  # 0, 3, 6, 9, 12, then black
    short = shades(Cut(7, 20, 16, short="black", steady=True)(bright, chance))
    assert short == [1, 2, 3, 4, 5, 0, 0] and there[-2:] == [0, 0] and there[4] > 0
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8)[None, None, :, None], (3, 16, 20, 3)).copy()
    assert (cut(Video(ramp), chance)[0, 0, :, 0] == np.arange(2, 18)).all()
    with pytest.raises(AnimaticError, match="steady and crop are given"):
        replace(SMALL, steady=True, crop=True)


@pytest.mark.parametrize("levels", [20, 100])
def test_so_many_timesteps_as_it_was_told(tmp_path, levels):
    """Of a checkpoint by its own table, and of a run here: sampled in as many steps, from the noisiest on."""
    state = original()
    torch.save(
        {"ema": {"betas": torch.zeros(levels), **{f"denoise_fn.{n}": p for n, p in state.items()}}}, tmp_path / "x.pt"
    )
    folder = convert_vdp(tmp_path / "x.pt", tmp_path / "m", 8, 2)
    trained = fit(replace(SMALL, target="eps", text="none", levels=levels, steps=1, out=str(tmp_path / "run")))
    for model in map(load, (str(folder), str(trained))):
        assert model.defaults.steps == levels == model.scheduler.config.num_train_timesteps
        times = [step.t for step in Schedule(model.scheduler, levels) if not step.clean]
        assert times == list(range(levels - 1, -1, -1))
    assert render(Scene("x", (), seconds=0.25), str(folder), "none", steps=2).frames.shape == (2, 8, 8, 3)
    with pytest.raises(AnimaticError, match=f"levels is 7, but .* has {levels}; want that"):
        DiffusionTrainer(replace(SMALL, model=str(trained), text="none", levels=7, out=str(tmp_path / "on")))


def test_grey_clips(tmp_path):
    """`channels=1`: decoded in three equal colours, learnt from their mean; clips with alpha are refused."""
    grey = torch.linspace(-1, 1, 16).view(1, 1, 4, 4)
    coloured = pixels(1).decode(grey).sample
    assert torch.allclose(coloured, grey.expand(1, 3, 4, 4), atol=1e-6)
    assert torch.allclose(pixels(1).encode(coloured).latents, grey, atol=1e-6)
    torch.save(original(channels=1), tmp_path / "x.pt")
    frames = render(Scene("x", (), seconds=0.25), str(convert_vdp(tmp_path / "x.pt", tmp_path / "m", 8, 2)), "none",
                    steps=2).frames  # fmt: skip
    assert (frames == frames[..., :1]).all() and frames.std() > 0
    torch.save(original(channels=4), tmp_path / "y.pt")
    with pytest.raises(AnimaticError, match="4 channels in, 4 out; want 3, or 1"):
        convert_vdp(tmp_path / "y.pt", tmp_path / "n", 8, 2)

    card = {"_class_name": "SpaceTimeUNet", "dim": 8, "multiples": [1, 2], "in_channels": 1, "design": "original"}
    (tmp_path / "grey.json").write_text(json.dumps(card))
    model = load(str(fit(replace(SMALL, model=str(tmp_path / "grey.json"), steps=1, out=str(tmp_path / "run")))))
    assert model.geometry.channels == 1 and model.unet.conv_in.weight.shape[1] == 1


def test_other_sizes_of_its_network():
    """`init_kernel_size`, `channels`, `use_sparse_linear_attn`, read from the weights, as they are in the answer."""
    network = from_vdp(original(channels=1, kernel=3, linear=False))
    config = network.config
    assert (config["first_kernel"], config["in_channels"], config["linear_attention"]) == (3, 1, False)
    x, t = normal(1, 1, 1, 4, 8, 8), torch.tensor([700])
    assert network(x, t).shape == x.shape


def test_conditions_that_were_given(tmp_path):
    """`cond=vectors` in training: captions name them, they do not learn, and the model's folder keeps them."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    for name in ("up", "down"):
        Video(frames).save(tmp_path / "d" / f"{name}.gif", scale=1)
        (tmp_path / "d" / f"{name}.txt").write_text(name)
    vectors = {"up": [1.0, 0.5, -1.0], "down": [0.0, 0.25, 2.0], "left": [0.0, 0.0, 0.0]}
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps(vectors))
    settings = replace(SMALL, data=str(tmp_path / "d"), text=f"vectors:{file}", learning_rate=0.1, steps=2)
    model = load(str(fit(replace(settings, out=str(tmp_path / "o")))))
    assert model.unet.config["cond_dim"] == 3
    assert torch.equal(model.text(list(vectors))[:, 0], torch.tensor(list(vectors.values())))
    assert model.encode(["up"], [""]).text[1, 0].tolist() == vectors["up"]

    file.write_text(json.dumps({"up": [1.0]}))
    with pytest.raises(AnimaticError, match=r"down\.gif: class 'down' is unknown; want up"):
        DiffusionTrainer(replace(settings, out=str(tmp_path / "p")))
    for content in ({"up": [1.0], "down": [1.0, 2.0]}, {}, {"up": 3}, {"up": [math.nan]}):
        file.write_text(json.dumps(content))
        with pytest.raises(AnimaticError, match=r"vectors\.json: .*; want names with equally many numbers each"):
            DiffusionTrainer(replace(settings, out=str(tmp_path / "q")))
    with pytest.raises(AnimaticError, match="reads with what it has; want own or auto"):
        DiffusionTrainer(replace(settings, model=str(tmp_path / "o" / "model"), out=str(tmp_path / "r")))


def test_the_example_of_its_readme(tmp_path, capsys):
    """As docs/training.md types it, at tiny size: on a processor, which has no fp16."""
    page = (Path(__file__).parents[1] / "docs" / "training.md").read_text("utf-8")
    (command,) = re.findall(r"animatic (train --data \./data .*?)\n```", page, re.DOTALL)
    for i in range(2):
        clip(5 - 2 * i, 16, 16, start=1).save(tmp_path / "data" / f"{i}.gif", scale=1)
    tiny = "--dim 8 --multiples 1,2 --size 8 --frames 4 --batch-size 2 --steps 2 --mixed-precision no --levels 4"
    tiny += " --save-every 2 --sample-every 2 --samples 4 --ema-start 1 --ema-every 1 --json"
    places = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "results")]
    with pytest.raises(SystemExit) as end:
        main([*shlex.split(command.replace("\\\n", " ")), *tiny.split(), *places])
    assert not end.value.code, capsys.readouterr().err
    assert len(Video.load(tmp_path / "results" / "samples" / "step-0000002.mp4")) == 4
    assert load(str(tmp_path / "results" / "model")).defaults.steps == 4


def test_a_run_from_before_a_setting_goes_on(tmp_path):
    """What it could not say is what it did then: the default."""
    told = {name: value for name, value in vars(SMALL).items() if name not in ("levels", "ema_every")}
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(told))
    with pytest.raises(AnimaticError, match="levels was 1000, now 500; want the same"):
        claim(file, vars(replace(SMALL, levels=500)))
    claim(file, vars(SMALL))
    assert json.loads(file.read_text())["levels"] == 1000


def original(channels: int = 3, kernel: int = 7, linear: bool = True) -> dict[str, torch.Tensor]:
    """A checkpoint of the original's unconditional network: its names, weights that anyone can rebuild."""
    told = json.loads((Path(__file__).parent / "published" / "vdp_p_sample.json").read_text())["weights"]
    shapes = {name: [64 if size == 70 else size for size in shape] for name, shape in told.items()}
    shapes |= {"init_conv.weight": [16, channels, 1, kernel, kernel]}
    shapes |= {"final_conv.1.weight": [channels, 16, 1, 1, 1], "final_conv.1.bias": [channels]}
    shapes.pop("null_cond_emb")
    kept = {n: s for n, s in shapes.items() if linear or not re.match(r"(down|up)s\.\d\.2\.", n)}
    return {n: torch.ones(s) if "freqs" in n else recorded(n, tuple(s)) for n, s in kept.items()}
