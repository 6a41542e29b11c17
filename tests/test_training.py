"""The trainer: its losses mean what they say, and a run that was cut off and resumed is the same run."""

import json
import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import close, distance

from animatic.backbones import load
from animatic.backbones.codec import PatchCodec
from animatic.core.attention import fused_attention
from animatic.core.process import Process
from animatic.core.types import Step
from animatic.errors import AnimaticError
from animatic.toy import mini
from animatic.toy.captions import invent
from animatic.toy.curriculum import CurriculumConfig, TrainBatch
from animatic.toy.train_decoder import new_codec
from animatic.toy.train_mini import MiniTrainer
from animatic.training.loss import attention_loss, phrase_tokens, sample_timesteps, weighted_mse
from animatic.training.temporal_layers import without_temporal_layers


@pytest.fixture(scope="module")
def model():
    return mini.build(new_codec())


def test_the_codec_keeps_the_picture(model):
    rng = random.Random(3)
    films, _ = TrainBatch(0, 0, 1, [invent(rng, 1) for _ in range(32)], [""] * 32, [True] * 32).draw()
    images = films[:, 0].movedim(-1, 1) / 127.5 - 1
    latents = model.vae.encode(images).latents
    error = (model.vae.decode(latents).sample - images).square().mean()
    assert latents.shape == (32, 12, 16, 16) and 10 * torch.log10(4 / error) > 28
    assert latents.square().mean() == pytest.approx(1.0, abs=0.2)
    whole = PatchCodec(4, 48)
    assert torch.allclose(whole.decode(whole.encode(images).latents).sample, images, atol=1e-5)


def test_every_word_is_one_token(model):
    rng = random.Random(2)
    words = {w.strip(".,").lower() for _ in range(500) for w in invent(rng, 8).prompt.split() if "-" not in w}
    split = [w for w in words if len(model.text.tokenizer(w)["input_ids"]) != 3]
    assert split == []


def test_noised_is_the_velocity_parametrisation(model):
    x, e, t = torch.randn(2, 1, 1, 2, 2), torch.randn(2, 1, 1, 2, 2), torch.tensor([100, 700])
    process, alphas = Process.of(model.scheduler), model.scheduler.alphas_cumprod
    noisy, v = process.add_noise(x, e, t), process.prediction_target(x, e, t)
    a, s = (alphas[t].sqrt().view(2, 1, 1, 1, 1), (1 - alphas[t]).sqrt().view(2, 1, 1, 1, 1))
    assert torch.allclose(a * noisy - s * v, x, atol=1e-6)


@pytest.mark.parametrize("target", ["eps", "x0", "v", "flow"])
def test_clean_and_noise_are_found_again(target):
    x, e, t = torch.randn(2, 1, 1, 2, 2), torch.randn(2, 1, 1, 2, 2), torch.tensor([100, 700])
    process = Process(target)
    found = process.clean_and_noise(process.add_noise(x, e, t), process.prediction_target(x, e, t), t)
    assert torch.allclose(found[0], x, atol=1e-5) and torch.allclose(found[1], e, atol=1e-5)


def test_weights_of_the_error():
    target, cover = torch.zeros(1, 1, 1, 2, 2), torch.zeros(1, 1, 8, 8)
    cover[..., :4, :4] = 1
    inside, outside = torch.zeros(2, 1, 1, 1, 2, 2)
    inside[..., 0, 0], outside[..., 1, 1] = 1, 1
    noisy, clear = torch.tensor([0.1]), torch.tensor([0.99])
    assert weighted_mse(inside, target, cover, noisy) == pytest.approx(
        6 * float(weighted_mse(outside, target, cover, noisy))
    )
    assert weighted_mse(inside, target, cover, clear) == pytest.approx(
        0.5 * float(weighted_mse(inside, target, cover, noisy))
    )
    assert sample_timesteps(100, 1000).min() >= 0 and sample_timesteps(100, 1000).max() <= 999


def test_attention_in_place_costs_nothing(model):
    scene = invent(random.Random(4), 1)
    _, tracks = phrase_tokens(model.text, [scene])
    assert tracks[0].any(0).tolist() == [True] * len(scene.tracks)
    cover = torch.zeros(1, 1, 1, 8, 8)
    cover[..., 2:4, 2:4] = 1
    here = cover[:, 0][:, :, None, :, :, None] / 4  # [row, frame, head, height, width, wanted]
    names = torch.ones(1, 1, 1, dtype=torch.bool)
    assert attention_loss({"a": here}, cover, names) == pytest.approx(0, abs=1e-6)
    assert attention_loss({"a": here.flip(3)}, cover, names) == pytest.approx(1)
    assert attention_loss({"a": here.flip(3)}, cover, ~names) == 0


def test_attention_is_judged_on_the_cells_of_all_tracks_that_a_token_names(model):
    """As in pixels: the largest cover of the tracks that a token names, then the cells that it mostly covers."""
    scenes = [invent(random.Random(i), 3) for i in range(8)]
    covers = torch.rand(8, max(len(scene.tracks) for scene in scenes), 3, 32, 32) ** 40  # few pixels are an object's
    tokens, names_track = phrase_tokens(model.text, scenes)
    maps = {"a": torch.rand(8, 3, 2, 8, 8, tokens.shape[1]), "b": torch.rand(8, 3, 2, 4, 4, tokens.shape[1])}

    # a pixel is a token's by the largest cover of its tracks, a cell by its largest pixel
    by_pixel = (names_track[..., None, None, None] * covers[:, None]).amax(2)
    losses = []
    for found in maps.values():
        mass = found.mean(2).movedim(-1, 1)
        cells = F.adaptive_max_pool2d(by_pixel.flatten(0, 1), mass.shape[-2:]).view_as(mass) > 0.25
        counted = names_track.any(-1)[..., None] & cells.any(-1).any(-1)
        outside = 1 - (mass * cells).sum((-2, -1)) / mass.sum((-2, -1))
        losses.append(outside[counted].square().mean())
    assert 0 < counted.float().mean() < 1  # some objects are absent
    assert attention_loss(maps, covers, names_track) == pytest.approx(float(sum(losses)) / 2, rel=1e-4)


def test_left_out_time_layers_are_what_fresh_ones_do(model):
    x = model.noise([0], 1, 64, 64)
    cond = model.encode(["a bear"], [""]).positive
    with torch.no_grad():
        whole = model(x, Step(0, 1, 500.0), cond, fused_attention)
        with without_temporal_layers(model.unet):
            assert close(model(x, Step(0, 1, 500.0), cond, fused_attention), whole)
        assert torch.equal(model(x, Step(0, 1, 500.0), cond, fused_attention), whole), "the same pass again"


@pytest.mark.slow("trains twice, once in three parts")
@pytest.mark.usefixtures("quick_start")
def test_resume_is_the_same_run(tmp_path):
    whole = CurriculumConfig(
        still_steps=2, clip_steps=2, stills=2, clips=1, warmup_steps=1, decay=1, still_fraction=0.0
    )
    straight = load(str(MiniTrainer(whole, tmp_path / "a").train()))
    MiniTrainer(whole, tmp_path / "b").train(stop_at=1)
    MiniTrainer(whole, tmp_path / "b").train(stop_at=3)
    resumed = load(str(MiniTrainer(whole, tmp_path / "b").train()))
    assert distance(resumed.unet.state_dict(), straight.unet.state_dict()) < 1e-5
    assert resumed.coordinates and "bear" in resumed.words
    assert resumed.geometry == mini.GEOMETRY and resumed.defaults == mini.DEFAULTS


@pytest.mark.usefixtures("quick_start")
def test_another_plan_does_not_go_on_with_a_run(tmp_path):
    plan = CurriculumConfig(still_steps=1, clip_steps=0, stills=2, warmup_steps=1, decay=1)
    MiniTrainer(plan, tmp_path).train()
    assert CurriculumConfig(**json.loads((tmp_path / "plan.json").read_text())) == plan
    with pytest.raises(AnimaticError, match="holds another run: stills was 2, now 3"):
        MiniTrainer(replace(plan, stills=3), tmp_path)
    MiniTrainer(replace(plan, clip_steps=1), tmp_path)  # longer is the same run
