"""Files of strangers, mutated: whatever was changed in them they are read or refused in one line, in bounded time.

`KINDS` says for each kind of file how a good one is made, how it is changed, and what reads it; see `fuzzing`.
Seeds are kept: input n of a kind depends on its good file alone, `input_of(KINDS[name], good, SEED, n)`.
"""

import json
import random
import sqlite3
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import test_lora_files as loras
import tiny
import torch
from fuzzing import (
    Kind,
    fuzz,
    input_of,
    mutated_bytes,
    mutated_json,
    mutated_png,
    mutated_safetensors,
    mutated_text,
    time_limit,
)
from PIL import Image
from safetensors.torch import save_file
from test_strangers_files import SCENE

from animatic.backbones import folder as model_folder
from animatic.backbones import load, parts, plugged, unet2d
from animatic.backbones.lora import apply_lora
from animatic.backbones.textual_inversion import read_embedding
from animatic.benchmarks.generate import settings_of
from animatic.benchmarks.jobs import Job
from animatic.benchmarks.registry import BENCHMARKS
from animatic.benchmarks.run_store import Run
from animatic.errors import AnimaticError
from animatic.exchange.importing import read_annotations, scene_of
from animatic.files import read_text
from animatic.planning import replies
from animatic.request import GenerationRequest
from animatic.request_files import read_request
from animatic.scene import load_story, parse_story
from animatic.video import Video

SEED = 20
MOST_BYTES = 2**26  # of a picture's or a video's frames
READ_NETWORK = model_folder.read_network
installed_once = cache(plugged.installed)  # a third of the time of reading a tiny model
ODD_REPLIES = Path(__file__).parent / "odd_replies"


def written(name: str, text: str) -> Callable[[Path], Path]:
    """A maker of a file of this name with this text."""

    def make(folder: Path) -> Path:
        file = folder / name
        file.write_text(text, "utf-8")
        return file

    return make


# Requests and replies.
REQUEST = GenerationRequest(parse_story(SCENE, "scene"), method="lvd", settings={"guidance": 3.0}).to_dict()
LVD_REPLY = (ODD_REPLIES / "29-lvd-no-background.txt").read_text("utf-8")
STILL_REPLY = "Objects: [('a bear', [10, 20, 200, 300]), ('a ball', [300, 300, 80, 90])]\nBackground prompt: A field\n"
STORY_REPLY = json.dumps({"scenes": [{"prompt": "a bear walks", "seconds": 2, "tracks": SCENE["tracks"]}] * 2})


def read_reply(file: Path) -> object:
    return replies.read(read_text(file)).scene("a bear walks")


def read_story_reply(file: Path) -> object:
    return [reply.scene(prompt) for prompt, reply in replies.read_story(read_text(file))]


# Annotations.
MOT = "".join(f"{f},{track},{10 * f},20,30,40,1,-1,-1,-1\n" for f in range(1, 5) for track in (1, 2))
COCO = {
    "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48, "frame_id": i} for i in range(3)],
    "categories": [{"id": 1, "name": "bear"}],
    "annotations": [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [4, 5, 10, 12], "track_id": 7, "attributes": {"a": 1}}
        for i in range(3)
    ],
}
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><size>3</size><original_size><width>64</width><height>48</height>
</original_size></task></meta><track id="0" label="bear">
<box frame="0" outside="0" xtl="1" ytl="2" xbr="20" ybr="30"/><box frame="2" outside="1" xtl="1" ytl="2" xbr="20"
 ybr="30"/></track></annotations>"""


def read_boxes(file: Path) -> object:
    found = read_annotations(file)
    return scene_of(found, size=(64, 48), names=dict.fromkeys(found.boxes, "a thing"))


# Model folders and what is added to models.
CARD = {
    "family": "sd15",
    "coordinates": False,
    "words": ["bear"],
    "geometry": {"frames": 1, "height": 64, "width": 64, "channels": 4, "vae_spatial_ratio": 8, "fps": 4.0},
    "defaults": {"steps": 4, "guidance": 4.0, "negative": "", "scheduler": "", "prompt_suffix": ""},
}


def model_file(name: str) -> Callable[[Path], Path]:
    """A maker of a tiny model folder; the file `name` in it is the mutated one."""

    def make(folder: Path) -> Path:
        made = tiny.folder(folder / "model", tiny.unet2d())
        (made / "animatic.json").write_text(json.dumps(CARD))
        file = made / name
        assert file.is_file(), sorted(str(path.relative_to(made)) for path in made.rglob("*"))
        return file

    return make


@cache
def part_read_once(cls: Any, folder: Path, dtype: torch.dtype, options: frozenset[tuple[str, Any]]) -> Any:
    """A network of a folder that stays as it is."""
    return READ_NETWORK(cls, folder, dtype, **dict(options))


def read_model(file: Path) -> object:
    """Loads the whole folder; the networks beside the mutated file are read once: they take most of the time."""
    home = next(parent for parent in file.parents if (parent / "unet").is_dir())

    def read_part(cls: Any, folder: Path, dtype: torch.dtype, **options: Any) -> Any:
        if folder == file.parent:
            return READ_NETWORK(cls, folder, dtype, **options)
        return part_read_once(cls, folder, dtype, frozenset(options.items()))

    with pytest.MonkeyPatch.context() as patch:
        for module in (parts, unet2d):
            patch.setattr(module, "read_network", read_part)
        patch.setattr(plugged, "installed", installed_once)
        model = load(home, "cpu")
    model.hooks.give_back()  # its network may be that of the next one, too
    return model


@cache
def tiny_model(kind: str) -> Any:
    """A tiny model in memory, made once for all LoRAs."""
    with TemporaryDirectory() as name:
        folder = Path(name) / kind
        return load(tiny.wan(folder) if kind == "wan" else tiny.folder(folder, tiny.unet2d()), "cpu")


def lora_of(style: str) -> Callable[[Path], Path]:
    """A maker of a LoRA with the names of one program."""

    def make(folder: Path) -> Path:
        network = tiny_model("wan" if style in ("wan", "musubi") else "sd").unet
        if style in ("wan", "musubi"):
            state, _ = loras.wan_state(tiny_model("wan"), style)
            return loras.saved(folder / "lora.safetensors", state)
        pairs = loras.random_pairs(network, loras.attention(network)[:2])
        config = {"lora_alpha": 8, "r": 4, "alpha_pattern": {"to_q": 5}, "rank_pattern": {}, "use_rslora": False}
        if style == "kohya":
            return loras.saved(folder / "lora.safetensors", loras.kohya_state(pairs, "lora_unet_", 2.0))
        if style == "peft":
            (folder / "adapter_config.json").write_text(json.dumps(config))
            return loras.saved(folder / "adapter_model.safetensors", loras.peft_state(pairs, "base_model.model."))
        if style == "scripts":
            state = {}
            for name, (down, up) in pairs.items():
                layer, _, last = name.removesuffix(".0").rpartition(".")
                state[f"unet.{layer}.processor.{last}_lora.down.weight"] = down
                state[f"unet.{layer}.processor.{last}_lora.up.weight"] = up
            return loras.saved(folder / "lora.safetensors", state)
        header = {
            "lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in config.items()}),
            "animatic": json.dumps({"words": ["bear"]}),
        }
        return loras.saved(folder / "lora.safetensors", loras.peft_state(pairs, "unet."), header)

    return make


def lora_config(folder: Path) -> Path:
    return lora_of("peft")(folder).with_name("adapter_config.json")


def lora_reader(kind: str) -> Callable[[Path], object]:
    """Adds the LoRA, so weakly that thousands leave the model as it was."""

    def read(file: Path) -> object:
        model = tiny_model(kind)
        name, words = model.name, model.words
        if file.name == "adapter_config.json":
            file = file.with_name("adapter_model.safetensors")
        try:
            return apply_lora(model, file, 1e-12)
        finally:
            model.name, model.words, model.loras = name, words, ()

    return read


def embedding(folder: Path) -> Path:
    file = folder / "word.safetensors"
    save_file({"emb_params": torch.ones(2, 16)}, file)
    return file


# Pictures and videos.
def frames() -> Any:
    torch.manual_seed(0)
    return torch.randint(0, 256, (6, 32, 48, 3), dtype=torch.uint8).numpy()


def picture(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = folder / f"picture{suffix}"
        images = [Image.fromarray(frame) for frame in frames()]
        moving = {"save_all": True, "append_images": images[1:3], "duration": 80} if suffix in (".gif", ".webp") else {}
        images[0].save(file, **moving)
        return file

    return make


def video(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = folder / f"video{suffix}"
        Video(frames(), 8.0, {"request": REQUEST}).save(file)
        return file

    return make


def read_video(file: Path) -> object:
    return Video.load(file, MOST_BYTES)


# Runs.
LVD = BENCHMARKS["lvd"]
SETTINGS = settings_of(LVD, "lvd", "mini", "none", "rules")


def run_folder(folder: Path) -> Path:
    jobs = [Job(i, i, "task", "a bear walks", ("bear",), i) for i in range(3)]
    run = Run.prepared(folder / "run", SETTINGS, {"animatic": "0"}, jobs)
    run.keep_plans([(0, parse_story(SCENE, "scene"))])
    return run.folder


def manifest(folder: Path) -> Path:
    return run_folder(folder) / "manifest.json"


def database(folder: Path) -> Path:
    return run_folder(folder) / "jobs.sqlite"


def row(folder: Path) -> Path:
    """The first row of the database as a JSON file, which `read_row` writes into it."""
    home = run_folder(folder)
    with sqlite3.connect(home / "jobs.sqlite") as base:
        base.row_factory = sqlite3.Row
        values = dict(base.execute("select * from jobs where number = 0").fetchone())
    base.close()
    file = home / "row.json"
    file.write_text(json.dumps(values))
    return file


def read_run(file: Path) -> object:
    run = Run(file.parent)
    run.states()
    done = [job for job in run.jobs() if job.file]
    return [run.path(job) for job in done], run.progress()


def read_row(file: Path) -> object:
    """Any values that SQLite takes: columns have no fixed types there."""
    try:
        values = json.loads(file.read_bytes())
        names = [name for name in values if name.isidentifier() and len(name) < 100]
        base = sqlite3.connect(file.with_name("jobs.sqlite"), timeout=0)
        with base:
            base.execute("delete from jobs where number is not 1 and number is not 2")
            marks = ", ".join("?" * len(names))
            base.execute(f"insert into jobs ({', '.join(names)}) values ({marks})", [values[n] for n in names])
    except (TypeError, ValueError, AttributeError, sqlite3.Error, OverflowError, RecursionError) as error:
        if "locked" in str(error):  # by the reader of an earlier row
            raise
        return None  # no row that a database could hold
    finally:
        if "base" in locals():
            base.close()
    return read_run(file)


MODEL_FILES: dict[str, tuple[str, Callable[[bytes, random.Random], bytes]]] = {
    "model_index.json": ("model_index.json", mutated_json),
    "animatic.json": ("animatic.json", mutated_json),
    "config.json of the network": ("unet/config.json", mutated_json),
    "config.json of the VAE": ("vae/config.json", mutated_json),
    "config.json of the text encoder": ("text_encoder/config.json", mutated_json),
    "scheduler_config.json": ("scheduler/scheduler_config.json", mutated_json),
    "weights of the network": ("unet/diffusion_pytorch_model.safetensors", mutated_safetensors),
}
KINDS: dict[str, Kind] = {
    "scene": Kind(written("scene.json", json.dumps(SCENE)), load_story, mutated_json),
    "request": Kind(written("request.json", json.dumps(REQUEST)), read_request, mutated_json),
    "reply in JSON": Kind(written("reply.txt", json.dumps(SCENE)), read_reply, mutated_json),
    "reply of frames": Kind(written("reply.txt", LVD_REPLY), read_reply, mutated_text),
    "reply of a still": Kind(written("reply.txt", STILL_REPLY), read_reply, mutated_text),
    "reply of a story": Kind(written("reply.txt", STORY_REPLY), read_story_reply, mutated_json),
    "boxes of MOT": Kind(written("boxes.csv", MOT), read_boxes, mutated_text),
    "boxes of COCO": Kind(written("boxes.json", json.dumps(COCO)), read_boxes, mutated_json),
    "boxes of CVAT": Kind(written("boxes.xml", CVAT), read_boxes, mutated_text),
    **{name: Kind(model_file(file), read_model, mutate, 3) for name, (file, mutate) in MODEL_FILES.items()},
    "LoRA of diffusers": Kind(lora_of("diffusers"), lora_reader("sd"), mutated_safetensors),
    "LoRA of the training scripts": Kind(lora_of("scripts"), lora_reader("sd"), mutated_safetensors),
    "LoRA of kohya": Kind(lora_of("kohya"), lora_reader("sd"), mutated_safetensors),
    "LoRA of peft": Kind(lora_of("peft"), lora_reader("sd"), mutated_safetensors),
    "adapter_config.json of peft": Kind(lora_config, lora_reader("sd"), mutated_json),
    "LoRA of Wan": Kind(lora_of("wan"), lora_reader("wan"), mutated_safetensors, 20),
    "LoRA of musubi": Kind(lora_of("musubi"), lora_reader("wan"), mutated_safetensors, 20),
    "embedding": Kind(embedding, read_embedding, mutated_safetensors),
    "PNG": Kind(picture(".png"), read_video, mutated_png),
    "JPEG": Kind(picture(".jpg"), read_video, mutated_bytes),
    "GIF": Kind(picture(".gif"), read_video, mutated_bytes),
    "WebP": Kind(picture(".webp"), read_video, mutated_bytes),
    "npz": Kind(video(".npz"), read_video, mutated_bytes),
    "MP4": Kind(video(".mp4"), read_video, mutated_bytes, 30),
    "MKV": Kind(video(".mkv"), read_video, mutated_bytes, 30),
    "manifest.json of a run": Kind(manifest, read_run, mutated_json),
    "jobs.sqlite of a run": Kind(database, read_run, mutated_bytes),
    "row of a run": Kind(row, read_row, mutated_json, 30),
}


def test_a_pattern_that_takes_for_ever_is_stopped(tmp_path: Path):
    """A LoRA's configuration may have any regular expression for layers; this one is exponential in their names."""
    layer = "unet." + "a" * 60 + "!"
    state = {f"{layer}.lora_A.weight": torch.ones(2, 4), f"{layer}.lora_B.weight": torch.ones(4, 2)}
    header = {"lora_adapter_metadata": json.dumps({"unet.alpha_pattern": {"(a|aa)+x": 1}, "unet.lora_alpha": 2})}
    file = loras.saved(tmp_path / "slow.safetensors", state, header)
    with time_limit(30), pytest.raises(AnimaticError, match="alpha_pattern"):
        apply_lora(tiny_model("sd"), file)


def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path: Path):
    """900 million pixels in a few bytes."""
    file = picture(".png")(tmp_path)
    data = bytearray(file.read_bytes())
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    file.write_bytes(data)
    with time_limit(5), pytest.raises(AnimaticError, match=r"picture\.png"):
        read_video(file)


def check(name: str, folder: Path, count: int, budget: float = float("inf")) -> None:
    outcome = fuzz(KINDS[name], folder, count, SEED, budget)
    tried = (
        f"{outcome.tried} inputs, {outcome.refused} refused, {outcome.seconds:.1f} s, slowest {outcome.slowest:.2f} s"
    )
    print(f"{name}: {tried}, {len(outcome.failures)} failures")
    assert not outcome.failures, outcome.failures[:5]
    assert outcome.refused, "nothing was refused: the mutations reach nothing"


@pytest.mark.parametrize("name", KINDS)
def test_a_mutated_file_is_read_or_refused_in_one_line(name: str, tmp_path: Path):
    check(name, tmp_path, KINDS[name].few)


FOUND = [
    *[("request", number) for number in (3896, 5100)],  # half a character, and a zero byte, in the path of a LoRA
    ("reply of frames", 3886),  # a frame's number of 6,001 digits
    *[("reply of a still", number) for number in (2305, 5150, 6600)],  # an object without a name
]  # inputs of the long test that ended in a traceback once


@pytest.mark.parametrize(("name", "number"), FOUND)
def test_what_failed_once_is_refused_in_one_line(name: str, number: int, tmp_path: Path):
    kind = KINDS[name]
    file = kind.make(tmp_path)
    file.write_bytes(input_of(kind, file.read_bytes(), SEED, number))
    with pytest.raises(AnimaticError) as refusal:
        kind.read(file)
    assert "\n" not in str(refusal.value)


@pytest.mark.sweep("ten thousand inputs of a kind")
@pytest.mark.parametrize("name", KINDS)
def test_ten_thousand_mutated_files(name: str, tmp_path: Path):
    check(name, tmp_path, KINDS[name].many)
