"""Models of video-diffusion-pytorch 0.7 sample as its own sampler does: values recorded from its own runs."""

import json
import zlib
from pathlib import Path

import diffusers.schedulers.scheduling_ddpm as ddpm
import numpy as np
import pytest
import torch
from torch import Tensor

from animatic.backbones import load
from animatic.backbones.convert import convert_vdp, from_vdp
from animatic.controls.guidance import Guidance
from animatic.core.attention import fused_attention
from animatic.core.loop import sample
from animatic.core.process import Process
from animatic.core.schedule import Schedule
from animatic.core.schedulers import scheduler_named
from animatic.errors import AnimaticError
from animatic.training.fit import fit
from animatic.training.settings import TrainingSettings

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "vdp_p_sample.json").read_text())


def normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def recorded(name: str, shape: tuple[int, ...]) -> Tensor:
    """The weight that the recordings gave the original's parameter of this name."""
    n = np.random.RandomState(zlib.crc32(name.encode()) % 2**32).standard_normal(shape)
    if name.endswith("gamma") or (len(shape) == 1 and name.endswith("weight")):
        n = 1 + 0.1 * n
    else:
        n = n / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1 * n
    return torch.from_numpy(np.asarray(n, np.float32))


@pytest.fixture(scope="module")
def network():
    shapes = RECORDED["weights"]
    return from_vdp({n: torch.ones(s) if "freqs" in n else recorded(n, tuple(s)) for n, s in shapes.items()})


@pytest.mark.parametrize(("kind", "threshold"), [("clipped", 1.0), ("thresholded", 0.9)])
def test_the_sampler_is_the_originals(network, monkeypatch, kind, threshold):
    """x0 and latents after each of four steps, from the noisiest level on, in the middle, and to the clean sample."""
    told = normal(2, 2, 6)
    for run in RECORDED[kind]:
        schedule = Schedule(Process("eps").scheduler(ancestral=True, threshold=threshold), 1000)
        levels, x = list(schedule), normal(run["from"], 2, 3, 4, 8, 8)
        for wanted in run["steps"]:
            step, t = levels[999 - wanted["t"]], torch.full((2,), wanted["t"])
            noise = normal(10 * wanted["t"] + 1, *x.shape)
            monkeypatch.setattr(ddpm, "randn_tensor", lambda *given, noise=noise, **options: noise)
            with torch.no_grad():
                nothing, answer = (network(x, t, told, null=torch.tensor([null] * 2)) for null in (True, False))
            answer = nothing + 2 * (answer - nothing)

            clean = schedule.estimate(x, answer, step).flatten(1)
            most = clean.abs().quantile(threshold, 1, keepdim=True).clamp(min=1) if threshold < 1 else torch.ones(2, 1)
            same(clean.clamp(-most, most) / most, wanted["x0"], wanted["t"])
            x = schedule.advance(x, answer, step)
            same(x, wanted["latents"], wanted["t"])


def same(found: Tensor, wanted: dict, t: int) -> None:
    """To 1e-4 of the largest value, which is 1 for x0: the networks' own sums differ by 5e-7."""
    assert found[0].flatten()[:8].tolist() == pytest.approx(wanted["first"], abs=1e-4), t
    assert found[1].flatten()[-8:].tolist() == pytest.approx(wanted["last"], abs=1e-4), t
    assert float(found.double().abs().sum()) == pytest.approx(wanted["abs_sum"], rel=1e-4), t


def test_solvers_keep_what_bounds_x0():
    """Clipped or thresholded under every solver that can; those that cannot are refused where noise is predicted."""
    clipped, thresholded = (Process("eps").scheduler(threshold=share) for share in (1.0, 0.9))
    x, wild = normal(3, 1, 3, 2, 4, 4), normal(4, 1, 3, 2, 4, 4)
    for name in ("ddim", "dpm++", "unipc", "DDPMScheduler"):
        for like in (clipped, thresholded):
            schedule = Schedule(scheduler_named(name, like), 5)
            after = schedule.advance(schedule.start(x), wild, next(iter(schedule)))  # x0 is up to 1e5 there
            assert after.abs().max() < 5, name
    for like in (clipped, thresholded):
        with pytest.raises(AnimaticError, match=r"'euler' is not one that bounds clean estimates.*; want ddim, dpm"):
            scheduler_named("euler", like)
    assert scheduler_named("euler", Process("v").scheduler(threshold=1.0)) is not None
    assert not scheduler_named("dpm++", Process("eps").scheduler()).config.thresholding


def test_estimates_are_exact_where_there_is_almost_no_signal():
    """At the last level alpha_bar is 2.4e-10, of which 1 - noise^2 keeps no digit."""
    schedule = Schedule(Process("eps").scheduler(), 4)
    step = next(iter(schedule))
    assert schedule.signal(step) ** 2 == pytest.approx(2.4286e-10, rel=1e-3) and step.noise == 1
    clean, noise = normal(1, 1, 3, 2, 4, 4).double(), normal(2, 1, 3, 2, 4, 4).double()
    assert torch.allclose(schedule.estimate(schedule.noised(clean, noise, step), noise, step), clean, atol=1e-9)


def trained(whose, tmp_path):
    """One trained by the original's code and converted, or one by ours; and the weights by the original's names."""
    kept = np.load(HERE / f"vdp_trained_{whose}.npz")
    state = {name: torch.from_numpy(kept[name].astype(np.float32)) for name in kept.files}
    if whose == "theirs":
        torch.save(state, tmp_path / "model-1.pt")
        model = load(str(convert_vdp(tmp_path / "model-1.pt", tmp_path / "m", size=8, frames=4)))
    else:  # its folder is what a run of one step leaves, but for the weights, which are those of 1,200
        sizes = {"dim": 4, "multiples": [1, 2], "heads": 2, "head_dim": 8}
        (tmp_path / "network.json").write_text(
            json.dumps({"_class_name": "SpaceTimeUNet", "design": "original", **sizes})
        )
        model = load(str(fit(TrainingSettings(
            data="toy", text="none", model=str(tmp_path / "network.json"), target="eps", loss="l1", min_snr=0, frames=4,
            size="8", batch_size=1, steps=1, sample_every=0, out=str(tmp_path / "run"),
        ))))  # fmt: skip
        model.unet.load_state_dict(from_vdp(state).state_dict())
    return model, state


@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_trained_networks_are_read_with_their_sampler(whose, tmp_path):
    """The weights, and 1,000 ancestral steps, which `test_the_sampler_is_the_originals` compares one by one."""
    model, state = trained(whose, tmp_path)
    wanted = from_vdp(state).state_dict()
    assert all(torch.equal(weight, wanted[name]) for name, weight in model.unet.state_dict().items()) and wanted
    schedule = model.schedule(model.defaults.steps, model.defaults.scheduler)
    assert len(schedule) == 1000 and schedule.name == "DDPMScheduler"
    x = schedule.start(normal(7, 8, 3, 4, 8, 8))
    cond = model.encode([""] * 8, [model.defaults.negative] * 8)
    step = next(iter(schedule))
    with torch.no_grad():
        answer = model(x, step, cond.positive, fused_attention)
    assert schedule.advance(x, answer, step).isfinite().all() and answer.std() > 0.1


@pytest.mark.sweep("a thousand steps, eight clips")
@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_trained_networks_sample_as_there(whose, tmp_path):
    """Saturated pixels and mean within two points."""
    model, _ = trained(whose, tmp_path)
    habits, x = model.defaults, normal(7, 8, 3, 4, 8, 8)
    cond = model.encode([""] * 8, [habits.negative] * 8)
    latents = sample(model, model.schedule(habits.steps, habits.scheduler), x, cond, [Guidance(habits.guidance)])
    pixels = model.decode(latents)
    found = {"saturated": ((pixels == 0) | (pixels == 255)).float().mean(), "mean": pixels.float().mean() / 255}
    wanted = json.loads((HERE / "vdp_trained.json").read_text())[whose]
    for name, value in found.items():
        assert float(value) == pytest.approx(wanted[name], abs=0.02), name
    # roundings of a thousand steps add up to some 3e-4 of the range
    assert float(latents.double().abs().sum()) == pytest.approx(wanted["abs_sum"], rel=1e-3)
