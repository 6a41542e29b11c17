"""Known frames stay, the others are pulled towards what explains them; LoRA files go in and out."""

import json

import numpy as np
import pytest
import tiny
import torch
from conftest import close
from safetensors.torch import load_file, save_file
from torch import nn

from animatic.backbones import load
from animatic.backbones.lora import add_adapters, apply_lora, save_lora, target_layers
from animatic.backbones.small import SpaceTimeUNet
from animatic.cli import main
from animatic.completing import Known, Reconstruction, Threshold, complete
from animatic.controls.guidance import Guidance
from animatic.core.loop import sample
from animatic.errors import AnimaticError
from animatic.scene import Scene, Track
from animatic.training.fit import DiffusionTrainer, fit
from animatic.training.settings import TrainingSettings
from animatic.video import Video

SMALL = TrainingSettings(
    data="toy", frames=4, size="16", dim=8, multiples="1,2", batch_size=2, steps=2, warmup_steps=1, sample_every=0
)
SCENE = Scene("a bear", (), seconds=0.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(str(fit(TrainingSettings(**{**vars(SMALL), "out": str(tmp_path_factory.mktemp("small"))}))))


@pytest.fixture
def known():
    return Video(np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8))


@pytest.mark.parametrize("scheduler", ["", "dpm++", "euler"])
def test_known_frames_come_out_as_they_went_in(model, known, scheduler):
    habits = model.defaults
    model.defaults = type(habits)(5, habits.guidance, scheduler=scheduler)
    try:
        made = complete(SCENE, model, known, [True, True, False, False], (Guidance(2.0),), weight=1.0)
    finally:
        model.defaults = habits
    assert np.array_equal(made.frames[:2], known.frames) and made.frames.shape == (4, 16, 16, 3)


def test_known_frames_are_noised_to_the_level_they_are_seen_at(model):
    latents, where = torch.full((1, 3, 4, 16, 16), 0.5), torch.tensor([True, False, False, False])
    x = model.noise([0], 4, 16, 16)
    seen = []

    class Look(Known):
        def steer(self, inner, x, step, cond):
            seen.append((step.noise, float((x[:, :, 0] - step.noise * noise[:, :, 0]).mean())))
            return x

        def begin(self, run):
            return self

    noise = x.clone()
    sample(
        model, model.schedule(4), x, model.encode([""], [""]).positive, [Known(latents, where), Look(latents, where)]
    )
    for level, mean in seen[:-1]:
        assert mean == pytest.approx(0.5 * (1 - level**2) ** 0.5, abs=1e-4)


def test_reconstruction_explains_the_known_frames_better(model, known):
    """The pulled estimate of the unknown frames is another; weight 0 is the identity."""
    where = torch.tensor([True, True, False, False])
    latents = torch.zeros(1, 3, 4, 16, 16)
    x, cond = model.noise([1], 4, 16, 16), model.encode(["a bear"], [""]).positive
    plain, off, on = (
        sample(model, model.schedule(3), x, cond, controls)
        for controls in ([], [Reconstruction(latents, where, 0.0)], [Reconstruction(latents, where, 5.0)])
    )
    assert torch.equal(plain, off), "off, it does the same passes"
    assert (on - plain)[:, :, 2:].abs().max() > 1e-3


@pytest.mark.parametrize("percentile", [1.0, 0.9])
def test_threshold_bounds_the_estimate(model, percentile):
    from animatic.core.attention import fused_attention
    from animatic.core.control import Run

    schedule = model.schedule(4)
    x, cond = 3 * model.noise([1], 4, 16, 16), model.encode(["a bear"], [""]).positive
    step = next(iter(schedule))
    control = Threshold(percentile).begin(Run(model, schedule, x))
    step = list(schedule)[1]
    with torch.no_grad():
        answer = control.denoise(lambda x, s, c: model(x, s, c, fused_attention), x, step, cond)
    assert schedule.estimate(x, answer, step).abs().max() <= 1 + 1e-3


def test_what_cannot_be_completed_is_named(model, known):
    with pytest.raises(AnimaticError, match="3 of 4 frames are to be known, but 2 are given"):
        complete(SCENE, model, known, [True, True, True, False])
    with pytest.raises(AnimaticError, match="want 16x16"):
        complete(SCENE, model, known.enlarged(2), [True, True, False])


@pytest.fixture
def folder(tmp_path):
    return tiny.folder(tmp_path / "m", tiny.unet3d())


@pytest.mark.parametrize("which", ["space", "all", "*attn2.to_k,*attn2.to_v"])
def test_a_lora_added_to_the_weights_is_the_adapted_network(tmp_path, which):
    pytest.importorskip("peft", reason="the extra `train` is not installed")
    network = tiny.unet3d()
    plain = network.state_dict()
    add_adapters(network, 2, which)
    for name, p in network.named_parameters():
        assert p.requires_grad == (".lora_" in name)
        if "lora_B" in name:
            p.data.normal_(std=0.1)
    x, t, text = torch.randn(1, 4, 2, 8, 8), torch.tensor([5]), torch.randn(1, 3, 16)
    with torch.no_grad():
        wanted = network(x, t, encoder_hidden_states=text).sample
    file = save_lora(network, tmp_path / "a.safetensors", ["robot"])
    keys = load_file(file).keys()
    assert all(k.startswith("unet.") and k.endswith((".lora_A.weight", ".lora_B.weight")) for k in keys)
    fresh = load(str(tiny.folder(tmp_path / "m", tiny.unet3d())))
    assert all(torch.equal(v, plain[k]) for k, v in fresh.unet.state_dict().items()), "a copy"
    apply_lora(fresh, file)
    with torch.no_grad():
        assert close(fresh.unet(x, t, encoder_hidden_states=text).sample, wanted)
    apply_lora(fresh, file, -1.0)  # and out again
    assert all(close(v, plain[k], 8) for k, v in fresh.unet.state_dict().items())
    assert fresh.name == "m + a:1 + a:-1"


def test_space_and_time_layers_share_nothing():
    for network in (tiny.unet3d(), SpaceTimeUNet(8, (1, 2))):
        space, time, both = (set(target_layers(network, w)) for w in ("space", "time", "all"))
        assert space and time and not space & time and space | time == both
    assert not any("temp" in name for name in target_layers(tiny.unet3d(), "space"))


def test_lora_training_leaves_the_network_and_its_time_layers(tmp_path, folder):
    pytest.importorskip("peft", reason="the extra `train` is not installed")
    for i in range(3):
        Video(np.full((1, 64, 64, 3), 80 * i, np.uint8)).save(tmp_path / "d" / f"{i}.png", scale=1)
        (tmp_path / "d" / f"{i}.txt").write_text("a robot")
    settings = TrainingSettings(
        data=str(tmp_path / "d"), out=str(tmp_path / "o"), model=str(folder), frames=1, size="64", lora=2,
        teach="robot", steps=2, batch_size=2, warmup_steps=1, sample_every=0,
    )  # fmt: skip
    file = fit(settings)
    state = load_file(file)
    assert any(v.abs().max() > 0 for k, v in state.items() if "lora_B" in k)
    trainer = DiffusionTrainer(settings)
    trained = [n for n, p in trainer.train_module.named_parameters() if p.requires_grad]
    assert all("lora_" in n for n in trained)


def test_render_with_a_lora(tmp_path, capsys):
    pytest.importorskip("peft", reason="the extra `train` is not installed")
    network = load("mini").unet
    add_adapters(network, 2)
    for name, p in network.named_parameters():
        if "lora_B" in name:
            p.data.normal_(std=0.5)
    file = save_lora(network, tmp_path / "robot.safetensors", ["robot"])
    scene = Scene("a robot", (Track("robot", ((0.2, 0.2, 0.6, 0.6),)),), seconds=0.0)
    scene.save(tmp_path / "s.json")
    base = [
        "render",
        str(tmp_path / "s.json"),
        "--model",
        "mini",
        "--steps",
        "2",
        "--format",
        "png",
        "--json",
        "--out",
        str(tmp_path),
    ]
    frames = {}
    for name, more in {"half": [f"{file}:0.5"], "off": [f"{file}:0"], "whole": [str(file)]}.items():
        with pytest.raises(SystemExit) as end:
            main([*base, "--name", name, "--lora", *more])
        assert not end.value.code
        made = Video.load(json.loads(capsys.readouterr().out)["videos"][0])
        frames[name] = made.frames
    assert (frames["half"] != frames["off"]).any() and (frames["whole"] != frames["half"]).any()
    assert "robot:1" in made.info["model"]
    with pytest.raises(SystemExit) as end:
        main(base)  # without it `mini` does not know the word
    assert end.value.code == 2 and "cannot show 'robot'" in capsys.readouterr().err


def test_bad_loras_are_named(tmp_path, folder):
    model = load(str(folder))
    before = {k: v.clone() for k, v in model.unet.state_dict().items()}
    (tmp_path / "x.safetensors").write_bytes(b"no")
    name = next(n for n, m in model.unet.named_modules() if isinstance(m, nn.Linear))
    half = {f"unet.{name}.lora_A.weight": torch.zeros(2, 3)}
    other = {**half, f"unet.{name}.lora_B.weight": torch.zeros(3, 2)}
    for state, words in (
        (None, "x.safetensors: cannot be read"),
        ({"a": torch.zeros(1)}, "no LoRA in it"),
        (half, "has no partner"),
        (other, "does not fit m; want a LoRA of this network"),
    ):
        if state is not None:
            save_file(state, tmp_path / "x.safetensors")
        with pytest.raises(AnimaticError, match=words):
            apply_lora(model, tmp_path / "x.safetensors")
    assert all(torch.equal(v, before[k]) for k, v in model.unet.state_dict().items()), "nothing was added"
    with pytest.raises(AnimaticError, match="no layer matches 'nothing'"):
        target_layers(model.unet, "nothing")
