"""The trainer: the same run after a kill, with two processes, with any network; what it leaves can be rendered."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import tiny
import torch
from conftest import MINI, distance
from safetensors.torch import load_file

from animatic.backbones import load
from animatic.cli import main
from animatic.core.process import Process
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.rendering import render
from animatic.scene import Scene
from animatic.training.clips import Clips, Cut
from animatic.training.fit import DiffusionTrainer, fit, grid
from animatic.training.settings import TrainingSettings
from animatic.training.sources import items_of
from animatic.video import Video

SMALL = TrainingSettings(
    data="toy", frames=3, size="16", dim=8, multiples="1,2", batch_size=2, steps=4, warmup_steps=1, save_every=2,
    sample_every=0, learning_rate=1e-3,
)  # fmt: skip


def weights(out: Path) -> dict[str, torch.Tensor]:
    files = [*out.glob("model/unet/*.safetensors"), *out.glob("model/text_encoder/*.safetensors")]
    return {f"{f.parent.name}/{k}": v for f in files for k, v in load_file(f).items()}


@pytest.mark.slow("trains twice, and once more in a process that is killed")
def test_killed_and_taken_up_again_is_the_same_run(tmp_path):
    """16 steps at once equal 8, a kill without warning, and 8 more: weights, averages and losses.

    Another processor's instructions make 7e-6 of the norm in 40 steps; taken up without Adam's momentum it is 1e-2.
    """
    long = replace(
        SMALL,
        steps=16,
        save_every=8,
        images=1,
        focus_present=0.25,
        gradient_accumulation=2,
        batch_size=1,
        out=str(tmp_path / "a"),
    )
    fit(long)
    code = (
        "import os, sys; from animatic.training.fit import fit\n"
        "from animatic.training.settings import TrainingSettings\n"
        "fit(TrainingSettings(**eval(sys.argv[1])), lambda done, count, told: done == 11 and os._exit(9))"
    )
    cut = replace(long, out=str(tmp_path / "b"))
    killed = subprocess.run([sys.executable, "-c", code, repr(vars(cut))], capture_output=True, check=False)
    assert killed.returncode == 9
    assert [p.name for p in (tmp_path / "b" / "checkpoints").iterdir()] == ["step-0000008"]
    fit(cut)
    assert distance(weights(tmp_path / "a"), weights(tmp_path / "b")) < 1e-4
    logs = [[json.loads(line) for line in (tmp_path / x / "log.jsonl").read_text().splitlines()] for x in "ab"]
    assert [row["step"] for row in logs[1]] == list(range(1, 17)), "a step that is taken again has one line"
    whole, rest = logs[0][8:], logs[1][8:]
    assert [row["loss"] for row in whole] == pytest.approx([row["loss"] for row in rest], rel=1e-3)


@pytest.mark.slow("two processes import, meet and train")
def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    both = replace(SMALL, batch_size=1, steps=3, text="none", out=str(tmp_path / "two"))
    code = """
import atexit, os, sys, torch
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
at_exit = lambda: Path(sys.argv[2] + os.environ["RANK"]).write_text(str(torch.distributed.is_initialized()))
atexit.register(at_exit)  # the last that is called
from animatic.training.fit import DiffusionTrainer
from animatic.training.settings import TrainingSettings

say = lambda line: os.write(1, f"{line}\\n".encode())  # whole: both processes write to one pipe
trainer = DiffusionTrainer(TrainingSettings(**eval(sys.argv[1])))
tracker = SimpleNamespace(name="a tracker", log=mock.Mock(), finish=lambda: say(f"tracked {tracker.log.call_count}"))
trainer.accelerator.trackers = [tracker]
trainer.settings = replace(trainer.settings, log="tensorboard")
trainer.accelerator.init_trackers = mock.Mock()
say(trainer.train().name)
"""
    script = tmp_path / "run.py"
    script.write_text(code)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*run, str(script), repr(vars(both)), str(tmp_path / "open")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout.count("tracked 3") == 1 and done.stdout.count("model") == 2, done.stdout
    is_open = [(tmp_path / f"open{rank}").read_text() for rank in range(2)]
    assert is_open == ["False", "False"]  # messages after the interpreter's end abort a process
    fit(replace(both, batch_size=2, out=str(tmp_path / "one")))
    assert distance(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-5
    assert len((tmp_path / "two" / "log.jsonl").read_text().splitlines()) == 3  # one process tells


def test_checkpoints_samples_and_the_model(tmp_path):
    out = tmp_path / "run"
    settings = replace(SMALL, steps=5, save_every=1, keep_checkpoints=2, sample_every=5, samples=3, out=str(out))
    made = fit(settings)
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["step-0000004", "step-0000005"]
    sheet = Video.load(out / "samples" / "step-0000005.mp4")
    assert len(sheet) == 3
    model = load(str(made))
    assert model.provides == {"video"} and model.geometry.frames == 3
    video = render(Scene("a bear", (), seconds=3 / 8), model, "none", seed=1, steps=2)
    assert video.frames.shape == (3, 16, 16, 3)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [1, 2, 3, 4, 5] and log[0]["videos/s"] > 0 and log[-1]["eta s"] == 0
    with pytest.raises(AnimaticError, match="holds another run: dim was 8, now 16"):
        fit(replace(settings, dim=16))
    fit(replace(settings, steps=6))  # longer is the same run


def test_the_grid_is_the_originals():
    wanted = (24, 24)  # 2 x 2 videos of 8 pixels, a border of 2 on every side
    videos = [Video(torch.full((2, 8, 8, 3), 60 * i + 20, dtype=torch.uint8).numpy()) for i in range(4)]
    page = grid(videos).frames
    assert page.shape[1:3] == wanted and page[0, 0, 0, 0] == 0 and page[0, 14, 14, 0] == 200


def test_the_null_condition_learns_by_default():
    trainer = DiffusionTrainer(replace(SMALL, batch_size=8, out="unused"))
    samples = [trainer.clips[i] for i in range(8)]
    x = trainer.model.to_latents(torch.stack([s.frames for s in samples]))
    parameters = [p for p in trainer.train_module.parameters() if p.requires_grad]
    descent = torch.optim.SGD(parameters, 0.1)
    for _ in range(2):  # residual branches begin at zero: what they read has a gradient from the second step on
        descent.zero_grad()
        trainer.train_module(x, samples, 0, 0.5, 0.0).backward()
        descent.step()
    assert trainer.train_module.network.null.grad.abs().max() > 0
    assert TrainingSettings(data="toy").cfg_dropout > 0


@pytest.mark.parametrize("target", ["eps", "x0", "v", "flow"])
@pytest.mark.parametrize("loss", ["l1", "huber"])
def test_a_perfect_answer_costs_nothing_and_samples_itself(target, loss):
    """With the right answer at every level, loss is 0 and the scheduler arrives at the clip."""
    from animatic.core.schedule import Schedule

    process = Process(target, "cosine", loss=loss)
    x, e = torch.randn(2, 1, 1, 2, 2).clamp(-1, 1), torch.randn(2, 1, 1, 2, 2)
    t = torch.tensor([5, 700])
    assert process.error(process.prediction_target(x, e, t), x, e, t).max() == 0  # the difference of a thing to itself
    assert process.error(process.prediction_target(x, e, t) + 1, x, e, t).min() > 0
    schedule = Schedule(process.scheduler(), 10)
    sample = schedule.start(e)
    for step in schedule:
        if step.clean:
            break
        noise = step.noise
        signal = 1 - noise if target == "flow" else (1 - noise**2) ** 0.5
        left = (sample - signal * x) / max(noise, 1e-6)
        answer = {"eps": left, "x0": x, "v": signal * left - noise * x, "flow": left - x}[target]
        sample = schedule.advance(sample, answer, step)
    assert torch.allclose(sample, x, atol=1e-3)


def test_min_snr_weights_agree_on_the_clean_estimate():
    t = torch.tensor([3, 300, 700, 990])
    for target in ("eps", "v", "x0"):
        process = Process(target)
        signal, noise = process.signal_and_noise(t)
        slope = {"eps": noise / signal, "v": noise, "x0": torch.ones_like(noise)}[target]
        expected = (signal / noise).square().clamp(max=5) * slope**2
        assert torch.allclose(process.weight(t), expected, rtol=1e-4)
    assert Process("v", "zero-snr").alphas_cumprod[-1] == 0
    assert torch.isfinite(Process("v", "zero-snr").weight(torch.tensor([999]))).all()


CONFIGS = {
    "UNet3DConditionModel": {
        "sample_size": 8, "in_channels": 3, "out_channels": 3, "layers_per_block": 1, "norm_num_groups": 8,
        "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
        "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
        "block_out_channels": [8, 16], "cross_attention_dim": 16, "attention_head_dim": 8,
    },
    "CogVideoXTransformer3DModel": {
        "num_attention_heads": 2, "attention_head_dim": 16, "in_channels": 3, "out_channels": 3, "time_embed_dim": 8,
        "text_embed_dim": 16, "num_layers": 1, "sample_width": 16, "sample_height": 16, "sample_frames": 3,
        "patch_size": 2, "temporal_compression_ratio": 1, "max_text_seq_length": 64,
    },
    "WanTransformer3DModel": {
        "patch_size": [1, 2, 2], "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 3,
        "out_channels": 3, "text_dim": 16, "freq_dim": 16, "ffn_dim": 32, "num_layers": 1, "rope_max_seq_len": 32,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", CONFIGS)
def test_networks_of_diffusers_from_a_config(tmp_path, kind):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"_class_name": kind, **CONFIGS[kind]}))
    out = tmp_path / "run"
    target = "flow" if kind.startswith("Wan") else "v"
    settings = replace(SMALL, model=str(config), target=target, images=1, focus_present=0.5, out=str(out), steps=2)
    made = fit(settings)
    assert render(Scene("a bear", (), seconds=0.4), load(str(made)), "none", steps=2).frames.shape == (3, 16, 16, 3)
    trainer = DiffusionTrainer(settings)
    samples = [trainer.clips[i] for i in range(4)]
    x = trainer.model.to_latents(torch.stack([s.frames for s in samples]))
    trainer.train_module(x, samples, 1, 0.0, 0.5).backward()
    still = [n for n, p in trainer.train_module.network.named_parameters() if p.grad is None]
    assert still == []


def test_pictures_are_masked_in_every_network(tmp_path):
    """With the clip taken as pictures, changing frame 2 changes the loss of frame 0 by exactly nothing."""
    config = tmp_path / "config.json"
    for kind in CONFIGS:
        config.write_text(json.dumps({"_class_name": kind, **CONFIGS[kind]}))
        learner = DiffusionTrainer(replace(SMALL, model=str(config), text="own", out=str(tmp_path))).train_module.eval()
        torch.manual_seed(0)
        x, t, captions = torch.randn(1, 3, 3, 16, 16), torch.tensor([500]), [["a bear"]]
        other = x.clone()
        other[:, :, 2] += 1
        with torch.no_grad():
            for taken in (True, False):
                alone = torch.tensor([taken])
                a, b = (learner._predict_separately(v, t, captions, 0, alone) for v in (x, other))
                leak = (a - b)[:, :, 0].abs().max()
                assert (leak == 0) == taken, kind  # masked: added as zeros


def test_latents_and_captions_kept_on_request(tmp_path):
    for i in range(3):
        Video(torch.randint(0, 255, (5, 20, 20, 3), dtype=torch.uint8).numpy()).save(
            tmp_path / "d" / f"{i}.gif", scale=1
        )
    settings = replace(SMALL, data=str(tmp_path / "d"), text="none", cache=True, out=str(tmp_path / "a"), steps=2)
    fit(settings)
    kept = list((tmp_path / "a" / "cache").iterdir())
    assert len(kept) == 3
    fresh = Clips(items_of(settings.data), Cut(3, 16, 16, steady=True))
    trainer = DiffusionTrainer(replace(settings, out=str(tmp_path / "a")))
    for i in range(3):
        x = trainer.model.to_latents(fresh[i].frames[None])[0].movedim(1, 0)
        assert torch.equal(x, trainer.clips[i].frames), "pixels, scaled one by one"
    Video(torch.zeros(5, 20, 20, 3, dtype=torch.uint8).numpy()).save(tmp_path / "d" / "0.gif", scale=1)
    shutil.rmtree(tmp_path / "a" / "checkpoints")  # of a run that has learned from the file it would be refused
    changed = DiffusionTrainer(replace(settings, out=str(tmp_path / "a"))).clips
    assert min(changed[i].frames.max() for i in range(3)) == -1  # a file that was replaced is encoded anew


def test_class_labels(tmp_path):
    for name in ("up", "down"):
        frames = torch.randint(0, 255, (3, 16, 16, 3), dtype=torch.uint8).numpy()
        Video(frames).save(tmp_path / "d" / f"{name}.gif", scale=1)
        (tmp_path / "d" / f"{name}.txt").write_text(name)
    made = fit(replace(SMALL, data=str(tmp_path / "d"), text="labels", steps=1, out=str(tmp_path / "o")))
    model = load(str(made))
    scenes = [Scene(name, (), seconds=0.5) for name in ("up", "down")]
    a, b = (render(scene, model, "none", seed=0, steps=2).frames for scene in scenes)
    assert (a != b).any()
    with pytest.raises(AnimaticError, match="unknown class 'left'; this model knows down, up"):
        render(Scene("left", ()), model, "none")


def test_from_the_command_line(tmp_path, capsys):
    arguments = ["train", "--data", "toy", "--out", str(tmp_path / "o"), "--frames", "2", "--size", "16", "--dim", "8"]
    arguments += ["--multiples", "1,2", "--batch-size", "2", "--steps", "1", "--json"]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--dry-run"])
    told = json.loads(capsys.readouterr().out)
    assert not end.value.code and told["network"] == "SpaceTimeUNet" and len(told["first captions"]) == 2
    assert not (tmp_path / "o").exists()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code and Path(json.loads(capsys.readouterr().out)["made"]).is_dir()
    stored = json.loads((tmp_path / "o" / "settings.json").read_text())
    assert stored["dim"] == 8 and TrainingSettings(**stored).dim == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("lavie x.pt out --size 32", "--size is given, which convert lavie has no use for"),
        ("lavie x.pt out --classes c.json", "--classes is given, which convert lavie has no use for"),
        ("vdp x.pt out --parts folder", "--parts is given, which convert vdp has no use for"),
    ],
)
def test_options_of_the_other_kind_are_refused(arguments, words, capsys):
    with pytest.raises(SystemExit) as end:
        main(["convert", *arguments.split()])
    assert end.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": ""}, "data is not given"),
        ({"size": "18"}, "width is 18; this network takes multiples of 4"),
        ({"size": "big"}, "size is 'big'; want SIDE or WIDTHxHEIGHT"),
        ({"multiples": "1,x"}, "multiples are '1,x'"),
        ({"model": "nowhere.json"}, "model 'nowhere.json' cannot be read"),
        ({"steps": 0}, "steps is 0; want 1 or more"),
        ({"cfg_dropout": 1.5}, "cfg_dropout is 1.5; want 0 to 1"),
        ({"mixed_precision": "fp8"}, "mixed_precision is 'fp8'; want no, bf16 or fp16"),
        ({"text": "bert"}, "text is 'bert'; want one of auto, none, labels, own"),
        ({"log": "nobody"}, "log is 'nobody'; want tensorboard"),
        ({"model": "mini", "size": "62"}, f"height is 62; this model takes multiples of {MINI['vae_spatial_ratio']}"),
        ({"model": "mini", "size": "72"}, "width is 72; this network takes multiples of 16"),
        ({"model": "mini", "size": "64", "frames": 99}, f"frames is 99; this model takes 1 to {MINI['max_frames']}"),
    ],
)
def test_bad_input_is_named(change, words, tmp_path):
    with pytest.raises(AnimaticError, match=words):
        DiffusionTrainer(TrainingSettings(**{**vars(SMALL), "multiples": "1,2,4", "out": str(tmp_path), **change}))


@pytest.mark.slow("trains until a disk is full, and again")
def test_no_room_left_names_the_checkpoint_and_keeps_the_others(tmp_path):
    out = tmp_path / "run"
    fit(replace(SMALL, steps=2, save_every=1, out=str(out)))
    code = (
        "import resource, signal, sys; from animatic.training.fit import fit, DiffusionTrainer\n"
        "from animatic.training.settings import TrainingSettings; from animatic.errors import AnimaticError\n"
        "t = DiffusionTrainer(TrainingSettings(**eval(sys.argv[1])))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: t.train()\n"
        "except AnimaticError as e: sys.exit(str(e))"
    )
    longer = replace(SMALL, steps=4, save_every=1, out=str(out))
    full = subprocess.run([sys.executable, "-c", code, repr(vars(longer))], capture_output=True, text=True, check=False)
    assert "step-0000003: cannot be written" in full.stderr and "earlier checkpoints are whole" in full.stderr
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["step-0000001", "step-0000002"]
    fit(longer)  # with room again it goes on
    damaged = out / "checkpoints" / "step-0000004" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.warns(AnimaticWarning, match="step-0000004: cannot be resumed .*; resumed from step-0000003"):
        fit(longer)


def flipped(path: Path, at: float = 0.6) -> None:
    """Turn one bit of a file over."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "progress.json", "average.safetensors"])
def test_a_damaged_checkpoint_is_passed_over(name, tmp_path):
    """One bit of one file, or nothing left of it: the checkpoint before it is taken, and the end is the same."""
    whole = replace(SMALL, steps=3, save_every=1, out=str(tmp_path / "a"))
    fit(whole)
    expected = weights(tmp_path / "a")
    newest, before = (tmp_path / "a" / "checkpoints" / f"step-000000{n}" for n in (3, 2))
    for damage in (flipped, lambda file: file.write_bytes(b"")):
        damage(newest / name)
        with pytest.warns(
            AnimaticWarning, match=f"step-0000003: cannot be resumed .*{name}.*; resumed from step-0000002"
        ):
            fit(whole)
        assert distance(expected, weights(tmp_path / "a")) < 1e-4
    for checkpoint in (newest, before):
        flipped(checkpoint / name)
    with pytest.raises(AnimaticError, match=r"step-0000003: cannot be resumed .*; want a checkpoint of this run"):
        fit(whole)


def test_a_loaded_model_goes_on_with_its_own_schedule(tmp_path):
    folder = tiny.folder(tmp_path / "m", tiny.unet3d())
    trainer = DiffusionTrainer(replace(SMALL, model=str(folder), size="64", frames=2, out=str(tmp_path)))
    assert trainer.train_module.process.target == "eps"
    wanted = load(str(folder)).scheduler.alphas_cumprod
    assert torch.allclose(trainer.train_module.process.alphas_cumprod.float(), wanted, atol=1e-6)
    assert trainer.preview()["network"] == "UNet3DConditionModel"


def test_the_page_names_real_options():
    page = (Path(__file__).parents[1] / "docs" / "training.md").read_text("utf-8")
    said = {word.replace("-", "_") for word in re.findall(r"(?<![-|])--([a-z][a-z-]+)", page)}
    others = {"help", "dry_run", "method", "model", "lora", "nproc_per_node", "nproc", "json"}
    others |= {"methods", "bert", "pool", "classes", "scheduler", "then", "inner", "teacher"}  # of other commands
    assert said - others <= {f.name for f in fields(TrainingSettings)}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        for call in re.findall(r"Settings\((.*?)\)[,)\n]", code):
            assert eval(f"Settings({call})", {"Settings": TrainingSettings})
