"""Every model known by name as it is published, on the meta device: facts with their sources are in `tests/real`."""

import json
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import diffusers
import pytest
import torch
import transformers

from animatic.backbones.fetching import needed
from animatic.backbones.identity import known_by_config
from animatic.backbones.load import NETWORKS
from animatic.backbones.locating import NETWORKS as NETWORK_FOLDERS
from animatic.backbones.locating import SHARED
from animatic.backbones.parts import ENCODERS
from animatic.backbones.presets import CONVERT_COMMAND, PRESETS
from animatic.backbones.skeleton import published, skeleton
from animatic.core.attention import TEXT_KINDS, matches_any
from animatic.core.types import AttentionMapRequest
from animatic.errors import AnimaticError
from animatic.methods import method_named
from animatic.prompting import negatives
from animatic.rehearsal_costs import energy_of

FACTS = {file.stem: json.loads(file.read_text()) for file in sorted((Path(__file__).parent / "real").glob("*.json"))}
ON_HUB = {name for name, each in PRESETS.items() if each.source and not each.source.startswith(CONVERT_COMMAND)}
TEXT = ("text_encoder", "text_encoder_2", "text_encoder_3")
SHARD = re.compile(r"-\d+-of-\d+")
ALL = sorted(FACTS)
ENERGIES = ("lvd", "boxdiff", "backward-guidance")
UNETS = {"UNet2DConditionModel", "UNet3DConditionModel"}


@cache
def bones_of(name):
    """The skeleton of a model, made once: half a second for the largest. Tests leave it as it is."""
    return skeleton(name)


def size(module):
    """How many numbers its file of weights holds: parameters, and a table of positions (Stable Diffusion 3's)."""
    tensors = {id(tensor): tensor for tensor in module.state_dict(keep_vars=True).values()}  # T5's are tied
    return sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point())


def parts_of(bones):
    model = bones.model
    network = model.network_folder
    names = [part for part in TEXT if part in published()["models"][bones.model.name]]
    return {network: model.unet, "vae": model.vae, **dict(zip(names, model.text.encoders, strict=True))}


def stored_files(facts):
    """Sizes of the files in the hub's folder, or of those with weights alone."""
    return {**facts["files"], **facts.get("weights", {})}


def test_every_model_of_the_hub_has_its_facts_with_their_sources():
    assert set(FACTS) == ON_HUB
    for name, facts in FACTS.items():
        assert facts["repository"] == PRESETS[name].source
        assert facts["sources"]
        own = {part: key for part, key in published()["models"][name].items() if part != "download"}
        assert own == facts["configurations"]
    # and a converted model those of its text encoder and autoencoder
    assert set(published()["models"]) == {name for name, each in PRESETS.items() if each.source}


@pytest.mark.parametrize("name", ALL)
def test_classes_are_known(name):
    index = FACTS[name]["model_index"]
    network = "transformer" if "transformer" in index else "unet"
    assert index[network][1] in NETWORKS
    assert hasattr(diffusers, index["vae"][1]) and hasattr(diffusers, index["scheduler"][1])
    encoders = [index[part][1] for part in TEXT if index.get(part, [None])[0]]
    tokenizers = [index[f"tokenizer{part[12:]}"][1] for part in TEXT if index.get(part, [None])[0]]
    # those of several encoders have classes of their own, which are not read from the index
    assert set(encoders) <= {*ENCODERS, "CLIPTextModelWithProjection", "Qwen2_5_VLTextModel"}
    assert all(hasattr(transformers, tokenizer) for tokenizer in tokenizers)
    known = published()["configurations"]
    for part, key in FACTS[name]["configurations"].items():
        own = index[part][1]
        assert own in (known[key].get("_class_name"), *known[key].get("architectures", ()))


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_as_many_as_published(name):
    parts = parts_of(bones_of(name))
    for part, published_count in FACTS[name]["parameters"].items():
        assert size(parts[part]) == pytest.approx(published_count["count"], rel=published_count["tolerance"])

    # files of weights hold them, whole or in shards, each with a header of less than a megabyte
    stored = defaultdict(int)
    for file, count in stored_files(FACTS[name]).items():
        stored[SHARD.sub("", file)] += count
    for part, module in parts.items():
        for stem in ("diffusion_pytorch_model", "model"):
            for variant, width in {"": FACTS[name].get("bytes", 4), ".fp16": 2}.items():
                found = stored.get(f"{part}/{stem}{variant}.safetensors")
                if found:
                    assert 0 <= found - width * size(module) < 2**20, (part, variant)


@pytest.mark.parametrize("name", ALL)
def test_every_attention_layer_is_hooked(name):
    bones = bones_of(name)
    for network in bones.model.networks:
        for key, processor in network.attn_processors.items():
            hooked = type(processor).__module__ == "animatic.backbones.attention_processors"
            assert hooked != (".fuser." in key or key.startswith("context_embedder.token_refiner.")), key
    kinds = [getattr(p, "kind", "") for p in bones.model.unet.attn_processors.values()]
    assert len(bones.model.hooks.text_layers) == sum(kind in TEXT_KINDS for kind in kinds) > 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("method", ENERGIES)
def test_layers_that_methods_name_exist_or_the_refusal_says_which(name, method):
    bones = bones_of(name)
    energy = energy_of(method_named(method).on(bones.model))
    request = AttentionMapRequest(torch.zeros(1, 1, dtype=torch.long), energy.layers)
    text_layers = bones.model.hooks.text_layers
    found = [layer for layer in text_layers if matches_any(layer, energy.layers)]
    if found:
        assert bones.model.hooks.requested_layers(request) == found
        # of LVD's six and of each glob none is missing on a UNet of Stable Diffusion's plan
        if name not in ("sd-x4", "sdxl-refiner"):
            assert all(any(matches_any(layer, (glob,)) for layer in text_layers) for glob in energy.layers)
        return
    with pytest.raises(AnimaticError, match="match no text attention layer"):
        bones.model.hooks.requested_layers(request)
    assert type(bones.model.unet).__name__ not in UNETS


@pytest.mark.parametrize("name", ALL)
def test_card(name):
    """Size, frames, rate, steps, guidance, negative prompt and type are those of the model's card."""
    preset, card = PRESETS[name], FACTS[name]["card"]
    geometry, defaults = preset.geometry, preset.defaults
    for key in ("width", "height", "frames", "fps"):
        if key in card:
            assert getattr(geometry, key) == card[key], key
    for key in ("steps", "guidance", "scheduler"):
        if key in card:
            assert getattr(defaults, key) == card[key], key
    assert preset.dtype == card["dtype"]
    if "negative" in card:
        assert defaults.negative == card["negative"]
    if name.startswith("wan"):
        assert defaults.negative == negatives.WAN


@pytest.mark.parametrize("name", ALL)
def test_latents_are_those_of_the_configurations(name):
    """What the networks and autoencoders themselves say: channels, pixels a cell, frames a latent frame, patches."""
    bones = bones_of(name)
    model, geometry = bones.model, PRESETS[name].geometry
    by_config = type(model).native_geometry(model.unet.config, model.vae.config)
    for key in ("channels", "vae_spatial_ratio", "vae_temporal_ratio", "patch"):
        assert getattr(geometry, key) == getattr(by_config, key), key
    assert geometry.latent(geometry.frames, geometry.height, geometry.width)[0] == by_config.channels


@pytest.mark.parametrize("name", [name for name in ALL if FACTS[name]["scheduler"]])
def test_scheduler_takes_the_published_configuration(name, monkeypatch):
    config = dict(FACTS[name]["scheduler"])
    kind = getattr(diffusers, config.pop("_class_name"))
    scheduler = kind.from_config(config)
    assert kind.__name__ == FACTS[name]["model_index"]["scheduler"][1]
    assert {key: scheduler.config[key] for key in config} == config
    bones = bones_of(name)
    monkeypatch.setattr(bones.model, "scheduler", scheduler)
    preset = PRESETS[name]
    schedule = bones.model.schedule(preset.defaults.steps, preset.defaults.scheduler)
    assert schedule.steps == preset.defaults.steps


def test_folders_without_a_card_are_recognised():
    """By the configuration alone, each is taken for itself, or for a model with the same one."""
    alike = {
        "sd14-gligen": "sd15",
        "sd21-gligen": "sd21",
        "sdxl-gligen": "sdxl",
        "wan2.1-i2v-14b-720p": "wan2.1-i2v-14b-480p",
    }
    for name, facts in FACTS.items():
        network = facts["configurations"].get("unet") or facts["configurations"]["transformer"]
        networks = 2 if facts["model_index"].get("transformer_2") else 1
        config = {**published()["configurations"][network], "_networks": networks}
        expected = "modelscope" if "scope" in name else alike.get(name, name)
        assert known_by_config(config)[0] == expected


@pytest.mark.parametrize("name", [name for name in ALL if stored_files(FACTS[name])])
@pytest.mark.parametrize("half", [False, True])
def test_what_is_fetched_is_what_is_needed(name, half):
    """One set of weights for each part, no other part, and of its size."""
    read = {"model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"}
    files = {**dict.fromkeys(read, 0), **stored_files(FACTS[name])}
    folders = (*NETWORK_FOLDERS, *SHARED)
    listed = [file for file in files if file == "model_index.json" or file.partition("/")[0] in folders]
    fetched = needed(listed, half=half)
    weights = [file for file in fetched if file.endswith((".safetensors", ".bin", ".ckpt"))]
    parts = [part for part in FACTS[name]["configurations"] if part != "download"]
    sets = {SHARD.sub("", file) for file in weights}
    assert sorted(file.partition("/")[0] for file in sets) == sorted(parts)
    assert read <= set(fetched)
    assert not [file for file in fetched if "safety_checker" in file or "feature_extractor" in file]
    download = published()["models"][name]["download"]
    assert sum(files[file] for file in fetched) == download["float16" if half else "float32"]
