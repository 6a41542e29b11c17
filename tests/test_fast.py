"""`--fast`: unguided passes reuse features of the network, guided and observed ones do not; the default is exact."""

from dataclasses import dataclass, replace

import diffusers
import pytest
import tiny
import torch
from conftest import close
from typer.testing import CliRunner

import animatic
from animatic.attention_export import AttentionExport
from animatic.backbones import feature_caches, load
from animatic.cli import app
from animatic.controls.guidance import Guidance
from animatic.core.control import Control
from animatic.core.feature_reuse import FIRST, guided_until
from animatic.core.loop import sample
from animatic.errors import AnimaticError
from animatic.methods import METHODS
from animatic.scene import Scene, Track

STEPS = 8
BEAR = Scene("A bear on the grass", (Track("bear", ((0.0, 0.2, 0.5, 0.7), (0.5, 0.2, 1.0, 0.7))),), seconds=2.0)
TRANSFORMERS = {"cogvideox": tiny.cogvideox, "wan": tiny.wan, "ltx": tiny.ltx, "hunyuan": tiny.hunyuan}


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.fixture(scope="module", params=TRANSFORMERS)
def transformer(request, tmp_path_factory):
    return load(TRANSFORMERS[request.param](tmp_path_factory.mktemp(request.param) / request.param))


def latents(model, reuse=None, controls=(), steps=STEPS):
    """Clean latents of a prompt, guided by text alone unless controls are given."""
    _, _, height, width = model.geometry.latent(5, model.geometry.height, model.geometry.width)
    ratio = model.geometry.vae_spatial_ratio
    noise = model.noise([3], 5, height * ratio, width * ratio)
    cond = model.encode([BEAR.prompt], [""])
    chain = [*controls, Guidance(4.0)]
    return sample(model, model.schedule(steps), noise, cond, chain, [3], scenes=[BEAR], reuse=reuse)


def likeness(a, b):
    """Cosine of the angle between two tensors."""
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), 0))


def test_a_u_net_computes_its_inner_levels_at_every_third_step(mini):
    calls = []
    handle = mini.unet.mid_block.register_forward_pre_hook(lambda *_: calls.append(1))
    exact = latents(mini)
    whole = len(calls)
    calls.clear()

    reuse = mini.feature_cache()
    fast = latents(mini, reuse)
    handle.remove()

    # of 8 steps 2 are before the first quarter's end, then one of three is whole
    assert whole == STEPS
    assert (reuse.passes, reuse.reused) == (STEPS, 4)
    assert len(calls) == 4 + 4  # hooks see the calls that are answered from what was kept
    assert 0.98 < likeness(fast, exact) < 1
    assert close(latents(mini), exact)  # the network is as it was


def test_where_every_pass_is_whole_nothing_changes(mini, monkeypatch):
    monkeypatch.setattr(feature_caches, "INTERVAL", 1)
    assert close(latents(mini, mini.feature_cache()), latents(mini))


def test_blocks_of_transformers_are_reused(transformer, monkeypatch):
    exact = latents(transformer)
    reuse = transformer.feature_cache()

    # no change is below 0: every block is computed, through the hooks of diffusers and our attention
    monkeypatch.setattr(feature_caches, "THRESHOLD", -1.0)
    assert close(latents(transformer, reuse), exact)
    assert not reuse.reused
    assert "changed nothing" in reuse.report

    # all are: the first pass after the first quarter is the only whole one of the rest
    monkeypatch.setattr(feature_caches, "THRESHOLD", 1e9)
    fast = latents(transformer, reuse)
    assert reuse.reused == STEPS - STEPS // 4 - 1
    assert fast.isfinite().all() and not close(fast, exact)

    # nothing is left on the network
    assert not transformer.unet.is_cache_enabled
    assert close(latents(transformer), exact)


@pytest.mark.parametrize("name", ["lvd", "layout-attention", "lmd"])
def test_guided_levels_are_exact(mini, name):
    controls = METHODS[name].on(mini)
    until = guided_until(controls)
    assert until > FIRST
    reuse = mini.feature_cache()
    with reuse.running(controls):
        assert reuse.first == until


def test_passes_with_gradients_reuse_nothing(mini):
    reuse = mini.feature_cache()
    energy = replace(METHODS["lvd"].on(mini)[1], until=0.5, iterations=1)
    latents(mini, reuse, [energy])

    # 4 guided levels of two passes each; of the 4 others two are whole
    assert (reuse.passes, reuse.reused) == (STEPS + 4, 2)


def test_attention_that_is_asked_for_is_exact(mini):
    plain = animatic.render(BEAR, mini, "none", 3, steps=STEPS)
    export = AttentionExport(whole=True)
    request = animatic.GenerationRequest((BEAR,), method="none")
    request = request.with_sampling(seed=3, steps=STEPS, fast=True)
    video = animatic.generate(request, mini, [export])
    assert "AttentionMaps reads the attention" in video.info["fast"]
    assert int(abs(video.frames.astype(int) - plain.frames).max()) <= 1


def test_what_was_reused_is_said_and_the_request_has_it(mini):
    notes = []

    class Notes(animatic.Callback):
        def on_note(self, message):
            notes.append(message)

    video = animatic.render(BEAR, mini, "none", 3, steps=STEPS, fast=True, callbacks=[Notes()])
    assert video.request.sampling.fast
    assert "reused" in video.info["fast"] and f"4 of {STEPS} passes" in video.info["fast"]
    assert notes == [video.info["fast"]]

    # and nothing is, where nobody asks for it
    exact = animatic.render(BEAR, mini, "none", 3, steps=STEPS)
    assert "fast" not in exact.info and not exact.request.sampling.fast


def test_calls_of_one_level_with_the_same_branches_are_kept_apart(mini):
    @dataclass
    class Halves(Control):
        """Evaluates the frames of each half by themselves."""

        def denoise(self, inner, x, step, cond):
            return torch.cat([inner(half, step, cond) for half in x.chunk(2, 2)], 2)

    reuse = mini.feature_cache()
    exact = latents(mini, None, [Halves()])
    fast = latents(mini, reuse, [Halves()])
    assert (reuse.passes, reuse.reused) == (2 * STEPS, 8)
    for a, b in zip(fast.chunk(2, 2), exact.chunk(2, 2), strict=True):
        assert likeness(a, b) > 0.97


def test_a_sample_does_not_depend_on_its_batch(mini):
    scenes = [BEAR, replace(BEAR, prompt="A cat at night", tracks=())]
    together = animatic.render_batch(scenes, mini, "none", [3, 4], steps=STEPS, fast=True)
    alone = animatic.render(scenes[1], mini, "none", 4, steps=STEPS, fast=True)
    assert int(abs(together[1].frames.astype(int) - alone.frames).max()) <= 1


def test_the_command_line(tmp_path):
    out = tmp_path / "bear.png"
    options = ["--method", "none", "--steps", str(STEPS), "--frames", "1", "--out", str(out), "--fast"]
    result = CliRunner().invoke(app, ["make", "a bear on the grass", *options])
    assert result.exit_code == 0, result.output
    assert "inner levels of the U-Net reused" in " ".join(result.output.split())
    assert animatic.Video.load(out).request.sampling.fast


def test_models_without_features_to_reuse_are_refused(tmp_path):
    model = load(tiny.sd3(tmp_path / "sd3"))
    with pytest.raises(AnimaticError, match="fast is on, and nothing in sd3 can be reused"):
        animatic.render(replace(BEAR, seconds=0.0), model, "none", fast=True)


def test_a_network_with_a_cache_of_its_own_is_refused(tmp_path):
    model = load(tiny.wan(tmp_path / "wan"))
    model.unet.enable_cache(diffusers.FirstBlockCacheConfig())
    with pytest.raises(AnimaticError, match="has a cache of diffusers already"):
        model.feature_cache()
