"""Models as people have them: one file, pickles, half precision alone, shards, revisions, a cache without a network."""

import json
import shutil
from pathlib import Path

import ldm_layout
import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

import animatic
from animatic.backbones import PRESETS, load
from animatic.backbones.layouts import ORIGINAL_IDS
from animatic.backbones.locating import preset_of
from animatic.benchmarks.contents import contents
from animatic.benchmarks.jobs import RunSettings
from animatic.core.backbone import MemoryOptions
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.scene import Scene, Track

CAT = Scene("a cat", (Track("cat", ((0, 0, 0.5, 0.5),)),), seconds=0)
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
pytestmark = pytest.mark.filterwarnings("ignore::animatic.errors.AnimaticWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.folder(tmp_path_factory.mktemp("models") / "sd", tiny.unet2d())


@pytest.fixture
def copy(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    home = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    return home


def cached(cache: Path, repo: str, folder: Path, commit: str = "c" * 40, ref: str = "main") -> Path:
    """A repository in the hub's cache: its refs, and a snapshot of each commit."""
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / ref).write_text(commit)
    return Path(shutil.copytree(folder, root / "snapshots" / commit))


def latents(model) -> torch.Tensor:
    options = {"steps": 2, "size": (64, 64), "guidance": 5.0, "negative": "", "scheduler": "ddim"}
    return animatic.render(CAT, load(model), "none", output_type="latent", **options)


@pytest.fixture(scope="module")
def single(folder, tmp_path_factory):
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    file = tmp_path_factory.mktemp("single") / "dreams_v7.safetensors"
    save_file(ldm_layout.whole(pipe), file)
    return file


def test_one_file_is_the_folder(single, folder, copy):
    """A1111's layout, with the configurations of a folder that has no weights."""
    for weights in copy.rglob("*.safetensors"):
        weights.unlink()
    model = load(f"{single}@{copy}")
    assert close(latents(f"{single}@{copy}"), latents(str(folder)), RUN)
    assert (model.name, model.reference) == ("dreams_v7", f"{single}@{copy}")
    pixels = torch.randint(0, 256, (1, 1, 64, 64, 3), dtype=torch.uint8)
    whole = load(str(folder))
    assert close(model.to_latents(pixels), whole.to_latents(pixels), RUN)
    video = animatic.render(CAT, f"{single}@{copy}", "lvd", steps=2, size=(64, 64))
    again = animatic.generate(video.request)
    assert (again.frames == video.frames).all()
    assert load(f"{single}@{copy}", memory=MemoryOptions("float16")).unet.dtype == torch.float16


def test_one_file_needs_configurations(single, folder, cache, tmp_path):
    with pytest.raises(AnimaticError) as error:
        load(str(single))
    said = str(error.value)
    assert f"needs the configurations and the tokenizer of sd15: {SD15} is not on this machine" in said
    assert f"want {single}@FOLDER" in said

    # Those of the hub's cache, by diffusers' name of the model.
    bare = Path(shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors")))
    cached(cache, SD15, bare)
    assert close(latents(str(single)), latents(str(folder)), RUN)


def test_a_pickle_in_one_file(single, folder, tmp_path):
    file = tmp_path / "model.ckpt"
    torch.save({"state_dict": load_file(single), "global_step": 5}, file)
    assert close(latents(f"{file}@{folder}"), latents(str(folder)), RUN)


class Hook:
    """Stands for what trainers pickle with their weights."""


def test_files_that_are_no_whole_model(single, folder, tmp_path):
    state = load_file(single)
    cases = {
        "novae": ({k: v for k, v in state.items() if "first_stage" not in k}, "has no VAE; want a whole model"),
        "lora": ({"lora_unet_mid_block.lora_down.weight": torch.ones(2, 2)}, "is a LoRA; want a model, and --lora"),
        "other": ({"blocks.0.weight": torch.ones(2, 2)}, r"holds weights such as blocks\.0\.weight; want Stable"),
        "short": (
            {k: v for k, v in state.items() if "time_embed.2" not in k},
            "its weights do not fit .*, or some are missing",
        ),
    }
    for name, (tensors, said) in cases.items():
        file = tmp_path / f"{name}.safetensors"
        save_file(tensors, file)
        with pytest.raises(AnimaticError, match=f"{name}.safetensors: {said}"):
            load(f"{file}@{folder}")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(single.read_bytes()[:1000])
    with pytest.raises(AnimaticError, match=r"damaged\.safetensors: cannot be read"):
        load(str(damaged))
    torch.save({"state_dict": state, "callbacks": Hook()}, tmp_path / "code.ckpt")
    with pytest.raises(AnimaticError, match=r"code\.ckpt: cannot be read .*; want a checkpoint without code"):
        load(str(tmp_path / "code.ckpt"))
    (tmp_path / "notes.txt").write_text("a")
    with pytest.raises(AnimaticError, match=r"notes\.txt: want a folder in diffusers layout, or one file of"):
        load(str(tmp_path / "notes.txt"))


def test_a_request_may_not_name_configurations_elsewhere(single, folder, tmp_path):
    video = animatic.render(CAT, f"{single}@{folder}", "none", steps=1, size=(64, 64))
    file = video.save(tmp_path / "cat.png")
    with pytest.raises(AnimaticError, match="its request names the model"):
        animatic.read_request(file, allowed=[single])
    assert animatic.read_request(file, allowed=[single.parent, folder]) == video.request


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("text2video_pytorch_model.pth", r"ModelScope's own layout; .*convert_ms_text_to_video_to_diffusers\.py"),
        ("VQGAN_autoencoder.pth", "or --model modelscope or zeroscope"),
        ("transformer/1000/mp_rank_00_model_states.pt", r"CogVideoX for SAT.*convert_cogvideox_to_diffusers\.py"),
        ("Wan2.1_VAE.pth", r"Wan's own layout; .*convert_wan_to_diffusers\.py.*-Diffusers"),
    ],
)
def test_layouts_of_the_first_authors_are_named(tmp_path, file, said):
    path = tmp_path / "download" / file
    path.parent.mkdir(parents=True)
    path.touch()
    for given in (tmp_path / "download", path):
        with pytest.raises(AnimaticError, match=said):
            load(str(given))
    (tmp_path / "lavie_base.pt").touch()
    with pytest.raises(AnimaticError, match=r"is LaVie's own; want animatic convert lavie .*lavie_base\.pt"):
        load(str(tmp_path / "lavie_base.pt"))


@pytest.mark.parametrize(
    ("hub_id", "name"),
    [
        ("Wan-AI/Wan2.1-T2V-1.3B", "wan2.1-1.3b"),
        ("ali-vilab/modelscope-damo-text-to-video-synthesis", "modelscope"),
        ("tencent/HunyuanVideo-1.5", "hunyuanvideo1.5-480p"),
    ],
)
def test_hub_ids_of_the_first_authors_are_named(hub_id, name):
    with pytest.raises(AnimaticError, match=f"{hub_id} is in its authors' layout; want {name}, the same as "):
        load(hub_id)
    assert all(name in PRESETS and not preset_of(hub_id) for hub_id, name in ORIGINAL_IDS.items())


def test_the_command_line_takes_one_file(single, folder, here):
    code, out, err = here(
        "make", "a cat", "--model", f"{single}@{folder}", "--method", "none", "--steps", "1", "--size", "64x64",
        "--seed", "1", "-o", "cat.png",
    )  # fmt: skip
    assert code == 0 and "cat.png" in out + err, err
    assert animatic.read_request("cat.png", allowed=[single.parent, folder]).model == f"{single}@{folder}"
    code, _, err = here("make", "a cat", "--model", str(single), "-o", "other.png")
    assert code == 2 and "needs the configurations" in err and err.count("\n") <= 2


def test_a_run_is_of_one_file(single, folder, tmp_path):
    """Of a run's model in one file the weights are compared, and the folder of its configurations."""
    file = Path(shutil.copy(single, tmp_path / "a.safetensors"))
    settings = RunSettings("toy", "", "video", "rules", animatic.GenerationRequest((CAT,), f"{file}@{folder}"))
    before = contents(settings)
    assert contents(settings) == before and {"weights", "configurations"} <= before.keys()
    save_file({name: value + 1 for name, value in load_file(file).items()}, file)
    after = contents(settings)
    assert after["weights"] != before["weights"] and after["configurations"] == before["configurations"]


def test_pickles_alone(copy, folder):
    """`.bin` of every part, as folders from before safetensors have them."""
    for file in copy.rglob("*.safetensors"):
        name = "pytorch_model.bin" if file.parent.name == "text_encoder" else "diffusion_pytorch_model.bin"
        torch.save(load_file(file), file.with_name(name))
        file.unlink()
    assert torch.equal(latents(str(copy)), latents(str(folder)))


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_half_precision_alone(copy, folder, ending):
    for file in copy.rglob("*.safetensors"):
        half = {name: value.half() for name, value in load_file(file).items()}
        file.unlink()
        is_text = file.parent.name == "text_encoder"
        stem = "pytorch_model" if is_text and ending == "bin" else file.stem
        target = file.with_name(f"{stem}.fp16.{ending}")
        save_file(half, target, {"format": "pt"}) if ending == "safetensors" else torch.save(half, target)
    with pytest.warns(AnimaticWarning, match="the weights are in float16 alone"):
        halved = latents(str(copy))
    assert close(halved, latents(str(folder)), 0.02 / torch.finfo(torch.float32).eps)
    assert load(str(copy), memory=MemoryOptions("float16")).unet.dtype == torch.float16


def test_shards(copy, folder):
    """Networks and text encoders in several files with an index, as large models are published."""
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        file = copy / part / f"{stem}.safetensors"
        state = load_file(file)
        file.unlink()
        index = {}
        names = sorted(state)
        for i in range(2):
            shard = f"{stem}-{i + 1:05}-of-00002.safetensors"
            own = {name: state[name] for name in names[i::2]}
            save_file(own, copy / part / shard, {"format": "pt"})
            index |= dict.fromkeys(own, shard)
        content = {"metadata": {"total_size": 1}, "weight_map": index}
        (copy / part / f"{stem}.safetensors.index.json").write_text(json.dumps(content))
    assert torch.equal(latents(str(copy)), latents(str(folder)))
    (copy / "text_encoder" / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(AnimaticError, match="1 of 2 weight files are missing, the first is model-00002-of-00002"):
        load(str(copy))


def test_a_cache_without_a_network(cache, folder, copy):
    """HF_HOME as a download left it: a preset's name, its hub id, and a revision of it by branch and commit."""
    other = tiny.unet2d()
    with torch.no_grad():
        other.conv_out.weight *= -1
    other.save_pretrained(copy / "unet")
    cached(cache, SD15, folder)
    cached(cache, SD15, copy, commit="d" * 40, ref="tuned")
    plain, tuned = latents(str(folder)), latents(str(copy))
    assert not close(plain, tuned, RUN)
    for name in ("sd15", SD15, f"{SD15}@main", f"{SD15}@{'c' * 40}"):
        assert torch.equal(latents(name), plain), name
    for name in (f"{SD15}@tuned", f"{SD15}@{'d' * 40}"):
        assert torch.equal(latents(name), tuned), name
    model = load(f"{SD15}@tuned")
    assert (model.family, model.name, model.reference) == ("sd15", "sd15@tuned", f"{SD15}@tuned")
    with pytest.raises(AnimaticError, match=f"{SD15}@gone|{SD15}.* at gone is not on this machine"):
        load(f"{SD15}@gone")
    with pytest.raises(AnimaticError, match="unknown model"):
        load(f"{SD15}@")
