"""The originals' flags and README commands (runs/originals.py): each has its place here, and each command runs."""

import json
import runpy
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import typer
from networks import image_network, video_network
from seeded import recorded

from animatic import load
from animatic.backbones import PRESETS
from animatic.backbones.lavie_unet import LaVieUNet
from animatic.benchmarks import registry
from animatic.benchmarks.run_store import Run
from animatic.cli import app
from animatic.finishing.stages import stages_of
from animatic.methods import method_named
from animatic.methods.settings import settings_of
from animatic.video import Video

ROOT = Path(__file__).parents[2]
ORIGINALS = runpy.run_path(str(ROOT / "runs" / "originals.py"), run_name="originals")
SYSTEMS = ORIGINALS["SYSTEMS"]


def commands_of(tree, path=()):
    """Every command by its words."""
    if not hasattr(tree, "commands"):
        return {" ".join(path): tree}
    return {k: v for name, each in tree.commands.items() for k, v in commands_of(each, (*path, name)).items()}


OURS = commands_of(typer.main.get_command(app))


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_every_flag_of_theirs_has_its_place(system):
    found = recorded("flags")[system.name]
    assert sorted(flag.theirs for flag in system.flags) == sorted(found)
    assert all(flag.ours or flag.note for flag in system.flags), "what is not there says why"


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_every_option_and_setting_of_ours_is_real(system):
    mini = load("mini")
    for flag in filter(lambda flag: flag.ours, system.flags):
        option, _, value = flag.ours.partition(" ")
        words = {word for p in OURS[flag.command].params for word in (*p.opts, *p.secondary_opts)}
        assert option in words, f"{flag.theirs}: animatic {flag.command} has no {option}"
        if option == "--set":
            assert value in settings_of(method_named(flag.method), mini), flag.theirs
        if option == "--then":
            assert stages_of(value)


def test_overall_flags_of_the_baselines():
    """LMD's --overall_loss_scale, --overall_loss_threshold, --overall_max_iter, --overall_max_index_step."""
    for method in ("backward-guidance:published", "boxdiff:published"):
        known_settings = settings_of(method_named(method), load("mini"))
        assert {"energy.scale", "energy.threshold", "energy.iterations", "energy.until"} <= known_settings.keys()


# ---- commands, at tiny size

ALL = [(system.name, i) for system in SYSTEMS for i in range(len(system.commands))]
LAVIE = {
    "layers_per_block": 1, "cross_attention_dim": tiny.WIDTH, "block_out_channels": (32, 32, 64, 64), "sample_size": 8,
}  # fmt: skip
REPLY = "[('a red car', [100, 100, 200, 200])]\nBackground prompt: A realistic scene\nNegative prompt: "


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Folders of the tiny counterparts of the models that the commands name."""
    folder = tmp_path_factory.mktemp("weights")
    for name, network in {
        "video": video_network(), "boxed-video": video_network(boxes=True), "image": image_network(),
        "boxed-image": image_network(boxes=True),
    }.items():  # fmt: skip
        config = tiny.folder(folder / name, network) / "unet" / "config.json"
        if name == "boxed-video":  # as its published folder says it
            config.write_text(json.dumps({**json.loads(config.read_text()), "attention_type": "gated"}))
    tiny.sam(folder / "sam")
    tiny.owl(folder / "owl", "owlvit")

    torch.manual_seed(0)
    network = LaVieUNet(**LAVIE)
    torch.save({"ema": network.state_dict()}, folder / "lavie_base.pt")
    return folder


@pytest.fixture
def small(weights, tmp_path, monkeypatch):
    """The models of the commands are tiny and take 2 steps; the originals' kept replies lie where they are read."""
    pairs = {
        "modelscope": "video", "zeroscope": "video", "zeroscope-xl": "video", "modelscope-gligen": "boxed-video",
        "sd15": "image", "sd14-gligen": "boxed-image",
    }  # fmt: skip
    hub = {PRESETS[name].source: weights / folder for name, folder in pairs.items()}
    hub |= {"CompVis/stable-diffusion-v1-4": weights / "image"}  # LaVie's text encoder and VAE
    for caller in ("load", "locating"):
        fetched = lambda name, source, *_: hub[source]  # noqa: E731
        monkeypatch.setattr(sys.modules[f"animatic.backbones.{caller}"], "fetched", fetched)
    for name in pairs:
        preset = PRESETS[name]
        size = replace(preset.geometry, frames=min(preset.geometry.frames, 2), height=64, width=64)
        monkeypatch.setitem(PRESETS, name, replace(preset, geometry=size, defaults=replace(preset.defaults, steps=2)))
    monkeypatch.setitem(registry.DETECTORS, "owlvit", str(weights / "owl"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    # of the hundreds of prompts a few, with the replies that were kept
    files = {"lvd": "cache_lvd_v0.1_gpt-4-1106-preview.json", "lmd": "cache_lmd_v0.1_gpt-3.5-turbo.json"}
    kept = {}
    for name, file in files.items():
        cases = registry.BENCHMARKS[name].cases()[::50]
        monkeypatch.setitem(
            registry.BENCHMARKS, name, replace(registry.BENCHMARKS[name], cases=lambda cases=cases: cases)
        )
        replies = json.loads((ROOT / f"tests/golden/lmd_lvd/{name}_replies.json").read_text())
        kept[name] = {prompt: replies[prompt] for prompt in {case.prompt.rstrip(".") for case in cases}}
        (tmp_path / file).write_text(json.dumps(kept[name]))
    film = kept["lvd"]
    prompt = next(iter(film))
    (tmp_path / "cache_demo_v0.1_gpt-4-1106-preview.json").write_text(json.dumps({prompt: film[prompt]}))
    (tmp_path / "cache_demo_v0.1_gpt-4.json").write_text(json.dumps({prompt: [REPLY]}))
    for file in ("demo.txt", "prompts.txt"):
        (tmp_path / file).write_text(prompt + "\n")
    (tmp_path / "reply.txt").write_text(film[prompt][0])
    Video(np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8), 8.0).save(tmp_path / "video.mp4")
    (tmp_path / "lavie_base.pt").write_bytes((weights / "lavie_base.pt").read_bytes())
    return weights


def shrunk(command, weights):
    """What a tiny run needs beside what is typed: one prompt, two frames or repeats, the tiny SAM."""
    words = shlex.split(command.replace("width=1024:height=576", "width=128:height=64"))
    if "generate" in words:
        words += ["--limit", "1"]
    if "--repeats" in words:
        words[words.index("--repeats") + 1] = "2"
    if "--frames" in words and "score" not in words:
        words[words.index("--frames") + 1] = "2"
    if any(word.startswith("lmd") and "published" in word for word in words):
        words += ["--set", f"composition.mask.source={weights / 'sam'}"]
    return words[1:]


@pytest.mark.parametrize(("name", "place"), ALL, ids=lambda value: str(value))
def test_their_readme_as_it_is_typed_here(name, place, here, small, tmp_path):
    system = next(each for each in SYSTEMS if each.name == name)
    for command in needed(system, place):
        code, out, err = here(*shrunk(command, small))
        assert code == 0, f"{command}\n{out}{err}"
        if "convert" in command:
            shrink_card(tmp_path / "data/animatic/models/lavie/animatic.json")
    looked_into(command, tmp_path)


def needed(system, place):
    """A command's lines, and before them those of earlier ones that made what they read."""
    own = system.commands[place].ours
    before = [line for each in system.commands[:place] for line in each.ours]
    wanted = []
    for line in before:
        words = shlex.split(line)
        reads_replies = "import" in words and any(
            f"cached:{words[words.index('--model') + 1]} " in o + " " for o in own
        )
        makes = "--out" in words and any(f"score {words[words.index('--out') + 1]} " in each for each in own)
        if reads_replies or makes:
            wanted.append(line)
    if any("score" in line for line in own):  # what was made was planned from kept replies
        wanted = [line for line in before if "import" in line] + [w for w in wanted if "import" not in w]
    return [*wanted, *own]


def shrink_card(file):
    card = json.loads(file.read_text())
    card["geometry"] |= {"frames": 2, "height": 64, "width": 64}
    card["defaults"] |= {"steps": 2}
    file.write_text(json.dumps(card))


def looked_into(command, folder):
    """What was typed is what was made."""
    words = shlex.split(command)
    given = dict(
        word.split("=") for word in words if "=" in word and word.startswith(("energy", "comp", "glig", "regi"))
    )
    if "generate" in words:
        run = Run(folder / words[words.index("--out") + 1])
        files = [run.folder / job.file for job in run.jobs() if job.file]
        assert run.settings.request.settings.keys() >= given.keys() and len(files) == 1
    elif "make" in words or words[1:3] == ["render", "--prompts"]:
        made = folder / words[words.index("--out") + 1]
        files = [f for f in made.iterdir() if f.suffix in (".mp4", ".png") and "sheet" not in f.name]
        assert len(files) == (2 if "--repeats" in words else 1)
    else:
        return
    for file in files:
        request = Video.load(file).info["request"]
        assert given.keys() <= request["settings"].keys()


def test_the_page_shows_what_is_run():
    page = ORIGINALS["flags"]()
    for system in SYSTEMS:
        for command in system.commands:
            assert all(line in page for line in command.ours) and command.theirs in page
    assert sys.getsizeof(page) > 1000
