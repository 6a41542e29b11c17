"""Finishing by video transformers, whose latent frames hold several frames; wrong models are refused before work."""

import itertools
import json

import numpy as np
import pytest
import tiny
import torch
from conftest import close_frames

from animatic.backbones import load
from animatic.completing import known_latents
from animatic.core.backbone import Geometry
from animatic.errors import AnimaticError
from animatic.finishing.checks import check_stages
from animatic.finishing.stage import Shape, StageContext
from animatic.finishing.stages import finish, stages_of
from animatic.video import Video


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each family, at 32 x 48 pixels."""
    root = tmp_path_factory.mktemp("models")
    made = {
        "cogvideox-2b": tiny.cogvideox(root / "cogvideox-2b"),
        "cogvideox-1.5": tiny.cogvideox(root / "cogvideox-1.5", pairs=True),
        "wan-2.1": tiny.wan(root / "wan-2.1"),
        "wan-a14b": tiny.wan(root / "wan-a14b", second=True),
        "pictures": tiny.folder(root / "pictures", tiny.unet2d()),
    }
    card = {
        "geometry": {
            "frames": 9, "height": 32, "width": 48, "channels": 4, "vae_spatial_ratio": 8, "vae_temporal_ratio": 4,
            "patch": [1, 2, 2],
        },
        "defaults": {"steps": 2, "guidance": 2.0},
    }  # fmt: skip
    for name in ("wan-2.1", "wan-a14b"):
        (made[name] / "animatic.json").write_text(json.dumps(card))
    return made


@pytest.fixture
def video():
    """11 frames, which fill no whole number of latent frames."""
    coarse = np.random.default_rng(0).integers(0, 256, (11, 4, 6, 3), np.uint8)
    return Video(coarse.repeat(8, 1).repeat(8, 2), 8.0, {"prompt": "a cat"})


TRANSFORMERS = ["cogvideox-2b", "cogvideox-1.5", "wan-2.1", "wan-a14b"]


def refined(folder, video, strength, size=""):
    stages = stages_of(f"refine:{strength}:model={folder}:steps=4:window=9{size}")
    return finish(video, stages, StageContext("a cat")).frames


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_refine_samples_details_anew(folders, family, video):
    """In every frame of a clip longer than the window. Where no level is sampled it is the autoencoder's own clip."""
    model = load(str(folders[family]), "cpu")
    whole = {"cogvideox-1.5": 17}.get(family, 13)  # frames that fill latent frames, or tokens of two of them
    filled = np.pad(video.frames, ((0, whole - 11), (0, 0), (0, 0), (0, 0)), mode="edge")
    passed = model.decode(model.to_latents(torch.from_numpy(filled)[None]))[0, :11].numpy()
    assert close_frames(refined(folders[family], video, 0.1), passed)
    change = np.abs(refined(folders[family], video, 0.75).astype(int) - passed).mean((1, 2, 3))
    assert (change > 0.05).all()


def test_refine_makes_sizes_off_the_grid(folders, video):
    assert refined(folders["wan-2.1"], video, 0.5, ":width=50:height=36").shape == (11, 36, 50, 3)


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_extend_goes_on_from_the_last_frame(folders, family, video):
    """The first frame of the new clip is the last of the old, as the autoencoder has it; the others are new."""
    stages = stages_of(f"extend:2:model={folders[family]}:steps=2:window=9")
    made = finish(video, stages, StageContext("a cat"))
    assert len(made) == 11 + 2 * 8 and close_frames(made.frames[:11], video.frames)
    new = made.frames[11:]
    assert all(not close_frames(a, b) for a, b in itertools.pairwise(new))


def test_known_frames_are_whole_latent_frames():
    """The first latent frame holds one frame and the others four; of CogVideoX 1.5 a spare one goes before."""
    wan = Geometry(9, 32, 48, vae_temporal_ratio=4, patch=(1, 2, 2))
    assert known_latents([True] * 5 + [False] * 4, wan, 3).tolist() == [True, True, False]
    pairs = Geometry(9, 32, 48, vae_temporal_ratio=4, patch=(2, 2, 2))
    assert known_latents([True] + [False] * 8, pairs, 4).tolist() == [True, True, False, False]
    for where in ([True, True, False], [False, True, True]):
        with pytest.raises(AnimaticError, match=r"a latent frame holds 4; want the first 1, 5, 9 ... frames"):
            known_latents(where, wan, 3)
    assert known_latents([False, True], Geometry(2, 32, 48), 2).tolist() == [False, True]


@pytest.mark.parametrize(
    ("then", "family", "message"),
    [
        ("interpolate:4", "wan-2.1", "interpolate: wan-2.1 does not interpolate; want motion:4 without a network"),
        ("upscale:2", "cogvideox-2b", "upscale: cogvideox-2b does not upscale"),
        ("extend:1", "pictures", "extend: pictures makes pictures and cannot extend a video; want a model of videos"),
    ],
)
def test_a_stage_by_a_model_that_cannot_is_refused_before_the_render(folders, then, family, message):
    """Found out by the configurations: no weights are read."""
    with pytest.raises(AnimaticError) as error:
        check_stages(stages_of(f"{then}:model={folders[family]}"), Shape(9, 32, 48, 8.0), "mini")
    assert str(error.value).startswith(message)


def test_a_stage_by_a_model_that_can_is_not_refused(folders):
    for name in TRANSFORMERS:
        stages = stages_of(f"refine:0.5:model={folders[name]},extend:1:model={folders[name]}")
        check_stages(stages, Shape(9, 32, 48, 8.0), "")


def test_the_size_of_a_refined_video_is_that_of_whole_tokens(folders):
    assert load(str(folders["wan-2.1"]), "cpu").size_multiple == 16
