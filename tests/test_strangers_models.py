"""Model folders of strangers: what their cards and configurations may ask for, refused by name before it is taken."""

import json
import threading
import time
from pathlib import Path

import psutil
import pytest
import tiny
from torch import nn

from animatic.backbones import load
from animatic.backbones.network_size import MOST_TENSORS, VARIABLE, limited_network
from animatic.backbones.skeleton import skeleton
from animatic.errors import AnimaticError

CARD = {
    "geometry": {"frames": 1, "height": 64, "width": 64},
    "defaults": {"steps": 4, "guidance": 4.0},
}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"geometry": []}, "geometry is []; want an object with frames, height"),
        ({"geometry": {"height": 16, "width": 16}}, "geometry.frames is missing; want it, such as 16"),
        ({"geometry": {"frames": "4"}}, "geometry.frames is '4'; want a value such as 16, without quotes"),
        ({"geometry": {"frames": 4.0}}, "geometry.frames is 4.0; want whole, 1 to"),
        ({"geometry": {"frames": True}}, "geometry.frames is True; want whole, 1 to"),
        ({"geometry": {"width": -16}}, "geometry.width is -16; want whole, 1 to"),
        ({"geometry": {"channels": 10**30}}, "geometry.channels is 1000000000000000000000000000000; want whole, 1 to"),
        ({"geometry": {"fps": 0}}, "geometry.fps is 0; want"),
        ({"geometry": {"patch": [1, 2]}}, "geometry.patch is [1, 2]; want three whole numbers"),
        ({"geometry": {"patch": 2}}, "geometry.patch is 2; want three whole numbers"),
        ({"geometry": {"frame": 4}}, "geometry.frame is not known; want one of frames,"),
        ({"defaults": "no"}, "defaults is 'no'; want an object with steps, guidance"),
        ({"defaults": {"steps": [25]}}, "defaults.steps is [25]; want whole, 1 to"),
        ({"defaults": {"guidance": float("nan")}}, "defaults.guidance is nan; want a number"),
        ({"defaults": {"negative": None}}, "defaults.negative is None; want words"),
        ({"defaults": {"low_noise_guidance": {}}}, "defaults.low_noise_guidance is {}; want a number"),
        ({"defaults": {"guidance_interval": 0.5}}, "defaults.guidance_interval is 0.5; want numbers with commas"),
        ({"defaults": {"guidance_interval": [0.8, 0.2]}}, "guidance_interval is 0.8,0.2; want a smaller fraction"),
        ({"defaults": {"method": "lmd"}}, "defaults.method is 'lmd'; want one of none, lvd, lvd-gligen"),
        ({"coordinates": "yes"}, "coordinates is 'yes'; want true or false"),
        ({"words": ["bear", 3]}, "words is ['bear', 3]; want a list of words"),
        ({"backgrounds": "grass"}, "backgrounds is 'grass'; want a list of words"),
    ],
)
def test_a_field_of_a_card_with_another_type_is_named(tmp_path: Path, damage, reason):
    folder = tiny.folder(tmp_path / "m", tiny.unet2d())
    card = {**CARD, **damage}
    for part, values in damage.items():
        if isinstance(values, dict) and "height" not in values:
            card[part] = {**CARD[part], **values}
    (folder / "animatic.json").write_text(json.dumps(card))
    with pytest.raises(AnimaticError) as refusal:
        load(folder, "cpu")
    assert f"m/animatic.json: cannot be used ({reason}" in str(refusal.value)


def changed(folder: Path, part: str, **values: object) -> Path:
    """A model folder with other values in the configuration of a part."""
    file = folder / part / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return folder


@pytest.mark.parametrize(
    ("part", "values", "reason"),
    [
        # More than its files hold, in one tensor of 160 GB, in many layers, and in a few more than there are.
        ("unet", {"block_out_channels": [200_000] * 2}, "unet: its configuration asks for"),
        (
            "text_encoder",
            {"hidden_size": 250_000, "intermediate_size": 250_000},
            "text_encoder: its configuration asks",
        ),
        ("text_encoder", {"num_hidden_layers": 10**6}, "text_encoder: its configuration"),
        ("vae", {"block_out_channels": [1024] * 4}, "vae: its configuration asks for"),
        ("unet", {"block_out_channels": [512] * 2}, "parameters or more, which its weight files of"),
        ("text_encoder", {"vocab_size": 200_000}, "parameters or more, which its weight files of"),
        # No size of any network.
        ("text_encoder", {"max_position_embeddings": 10**12}, "max_position_embeddings is 1000000000000; want 16,777"),
        ("unet", {"sample_size": [64, -(10**30)]}, "sample_size is -10000000000000000000000000000"),
    ],
)
def test_a_network_too_large_is_refused_before_memory_is_taken(tmp_path: Path, part, values, reason):
    folder = changed(tiny.folder(tmp_path / "m", tiny.unet2d()), part, **values)
    process = psutil.Process()
    resident, began = process.memory_info().rss, time.process_time()
    with pytest.raises(AnimaticError) as refusal:
        load(folder, "cpu")
    assert reason in str(refusal.value)
    assert process.memory_info().rss < resident + 2**28, "a network of more than 100 GB would not be there"
    assert time.process_time() - began < 30


def test_more_than_the_limit_is_refused_whatever_the_files_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Tensors of 2 GB each, which are requested one by one, and never written."""
    folder = changed(tiny.folder(tmp_path / "m", tiny.unet2d()), "unet", block_out_channels=[8_000] * 2)
    with (folder / "unet" / "more.bin").open("wb") as file:
        file.truncate(2**38)  # a file with a hole: it takes no disk
    monkeypatch.setenv(VARIABLE, "5e9")
    resident = psutil.Process().memory_info().rss
    with pytest.raises(AnimaticError, match=r"unet: .* billion parameters or more; want 5 billion at most, or ANIM"):
        load(folder, "cpu")
    assert psutil.Process().memory_info().rss < resident + 2**28


def test_the_limit_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tiny.folder(tmp_path / "m", tiny.unet2d())
    load(folder, "cpu")
    monkeypatch.setenv(VARIABLE, "10")
    with pytest.raises(AnimaticError, match=rf"billion at most, or {VARIABLE} with another limit"):
        load(folder, "cpu")
    for wrong in ("many", "-1", "nan", "0"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(AnimaticError, match=f"{VARIABLE} is '{wrong}'; want a number of parameters"):
            load(folder, "cpu")


def test_what_is_rehearsed_has_the_limit_too(tmp_path: Path):
    """Nothing takes memory there, but layers without end would take time."""
    folder = changed(tiny.folder(tmp_path / "m", tiny.unet2d()), "text_encoder", num_hidden_layers=10**6)
    with pytest.raises(AnimaticError, match=f"the text encoder: .* more than {MOST_TENSORS:,} tensors"):
        skeleton(str(folder))


def test_networks_of_other_threads_are_not_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "100")
    with limited_network("the network"):
        other = threading.Thread(target=nn.Linear, args=(100, 100))
        other.start()
        other.join()
        nn.Linear(9, 9)
        with pytest.raises(AnimaticError, match="network: its"), limited_network("the network"):
            nn.Linear(10, 10)
    nn.Linear(10, 10)  # the limit is of its context alone
