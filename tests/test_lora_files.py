"""LoRA files as others write them are added as diffusers adds them (`load_lora_weights`, then `fuse_lora`).

`faults/lora` holds files that were once read wrongly; its NOTES.txt tells the right result of each.
"""

import json
from pathlib import Path

import ldm_layout
import pytest
import tiny
import torch
from conftest import close
from diffusers import CogVideoXPipeline, DiffusionPipeline, StableDiffusionPipeline, WanPipeline
from safetensors.torch import load_file, save_file
from torch import nn

from animatic.backbones import load
from animatic.backbones.lora import LoraRequest, apply_lora
from animatic.errors import AnimaticError

peft = pytest.importorskip("peft", reason="the extra `train` is not installed")
FAULTS = Path(__file__).parent / "faults" / "lora"
LOUD = 0.3  # spread of random adapters: far above rounding


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny model folders by kind, with the pipeline of diffusers that reads them."""
    home = tmp_path_factory.mktemp("models")
    return {
        "sd": (tiny.folder(home / "sd", tiny.unet2d()), StableDiffusionPipeline),
        "film": (tiny.folder(home / "film", tiny.unet3d()), None),
        "cog": (tiny.cogvideox(home / "cog"), CogVideoXPipeline),
        "wan": (tiny.wan(home / "wan"), WanPipeline),
        "wan2": (tiny.wan(home / "wan2", second=True), WanPipeline),
    }


def parts_of(model):
    """State dicts by part: what a LoRA may change."""
    found = {model.network_folder: model.unet.state_dict(), "text_encoder": model.text.encoder.state_dict()}
    return found | ({"transformer_2": model.networks[1].state_dict()} if model.networks[1:] else {})


def by_diffusers(folder, cls, file, scale=1.0, **how):
    """The same after diffusers has added the file."""
    pipe = cls.from_pretrained(folder)
    pipe.load_lora_weights(str(file.parent), weight_name=file.name, **how)
    held = [name for name in ("unet", "transformer", "transformer_2", "text_encoder") if hasattr(pipe, name)]
    changed = [name for name in held if getattr(getattr(pipe, name), "peft_config", None)]
    pipe.fuse_lora(components=changed, lora_scale=scale)
    for name in changed:
        part = getattr(pipe, name)
        if name == "text_encoder":
            for path, module in list(part.named_modules()):
                if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer):
                    parent, _, last = path.rpartition(".")
                    setattr(part.get_submodule(parent), last, module.get_base_layer())
        else:
            part.unload_lora()
    return {name: getattr(pipe, name).state_dict() for name in held if getattr(pipe, name) is not None}


def check(folders, kind, file, scale=1.0, changed=None, **how):
    """Our weights are diffusers' to a few eps of the largest: products of matrices are summed in other orders."""
    folder, cls = folders[kind]
    model = load(str(folder), "cpu")
    before = {part: {k: v.clone() for k, v in state.items()} for part, state in parts_of(model).items()}
    apply_lora(model, file, scale)
    after, wanted = parts_of(model), by_diffusers(folder, cls, file, scale, **how)
    moved = {}
    for part, state in after.items():
        for name, value in state.items():
            right = wanted[part][name]
            eps = torch.finfo(torch.float32).eps * 8 * max(1.0, float(right.abs().max()))
            assert (value - right).abs().max() <= eps, f"{part}.{name}"
        moved[part] = sum(bool((v - before[part][k]).abs().max() > 1e-3) for k, v in state.items())
    for part, count in (changed or {}).items():
        assert moved[part] == count, part
    return moved


def attention(network):
    return [n for n, m in network.named_modules() if isinstance(m, nn.Linear) and ("to_" in n) and ".attn" in n]


def random_pairs(network, layers, rank=4, seed=0):
    """{layer: (A, B)}, of convolutions as kohya's LoCon and peft have them."""
    torch.manual_seed(seed)
    pairs = {}
    for name in layers:
        weight = network.get_submodule(name).weight
        down = torch.randn(rank, *weight.shape[1:]) * LOUD
        pairs[name] = (down, torch.randn(weight.shape[0], rank, *[1] * (weight.dim() - 2)) * LOUD)
    return pairs


def peft_state(pairs, prefix):
    halves = (("lora_A", 0), ("lora_B", 1))
    return {f"{prefix}{n}.{half}.weight": p[i].contiguous() for n, p in pairs.items() for half, i in halves}


def kohya_state(pairs, head, alpha, step=1):
    """kohya's names and its alpha tensors: `alpha`, and `alpha + step` in every second layer."""
    state = {}
    for i, (name, (down, up)) in enumerate(pairs.items()):
        flat = head + name.replace(".", "_")
        state |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
        state[f"{flat}.alpha"] = torch.tensor(alpha + step * (i % 2))
    return {name: value.contiguous() for name, value in state.items()}


def saved(path, state, header=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, {"format": "pt", **(header or {})})
    return path


# what was once read wrongly


def test_alpha_in_the_header(folders):
    """5.85 is what NOTES.txt has of diffusers; alpha 16 of rank 4 left out made it a quarter."""
    file = FAULTS / "pytorch_lora_weights.safetensors"
    check(folders, "sd", file)
    model = load(str(folders["sd"][0]), "cpu")
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    apply_lora(model, file)
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    assert (model.unet.get_submodule(name).weight - before[f"{name}.weight"]).norm() == pytest.approx(5.85, abs=0.005)


def test_kohya_names(folders):
    moved = check(folders, "sd", FAULTS / "kohya.safetensors")
    assert moved["unet"] == len(load_file(FAULTS / "kohya.safetensors")) / 3 and not moved["text_encoder"]


def test_network_and_text_encoder_in_one_file(folders, tmp_path):
    """The text part of the file of old is zeros; that of a second file is not."""
    assert check(folders, "sd", FAULTS / "with_te.safetensors")["unet"]
    state = load_file(FAULTS / "with_te.safetensors")
    torch.manual_seed(0)
    loud = {name: torch.randn_like(value) * LOUD if "text_encoder" in name else value for name, value in state.items()}
    assert check(folders, "sd", saved(tmp_path / "te.safetensors", loud), 0.5)["text_encoder"] == 1


def test_a_dora_that_does_not_fit_is_refused(folders):
    """Its magnitude vectors have the length of the rank, not of the layer."""
    model = load(str(folders["sd"][0]), "cpu")
    with pytest.raises(AnimaticError, match="does not fit sd; want a LoRA of this network"):
        apply_lora(model, FAULTS / "dora.safetensors")


# further files of each kind


@pytest.mark.parametrize("how", ["patterns", "rslora", "dora", "bias"])
def test_files_of_diffusers_and_peft(folders, tmp_path, how):
    """Written by diffusers itself, with the config of peft in the header."""
    torch.manual_seed(3)
    pipe = StableDiffusionPipeline.from_pretrained(folders["sd"][0])
    more = {
        "patterns": {"rank_pattern": {"attn2.to_k": 2}, "alpha_pattern": {"attn2.to_k": 5, "attn1.to_q": 7}},
        "rslora": {"use_rslora": True},
        "dora": {"use_dora": True},
        "bias": {"lora_bias": True},
    }[how]
    targets = ["to_q", "to_k", "to_v", "to_out.0", "conv1"] if how != "bias" else ["to_out.0"]
    pipe.unet.add_adapter(peft.LoraConfig(r=4, lora_alpha=16, target_modules=targets, **more))
    for name, p in pipe.unet.named_parameters():
        if "lora_" in name:
            p.data += torch.randn_like(p) * LOUD
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=peft.utils.get_peft_model_state_dict(pipe.unet),
        unet_lora_adapter_metadata=pipe.unet.peft_config["default"].to_dict(),
    )
    for scale in (1.0, 0.5):
        assert check(folders, "sd", tmp_path / "pytorch_lora_weights.safetensors", scale)["unet"]


def test_kohya_with_text_encoder_and_convolutions(folders, tmp_path):
    """One alpha in each part: where they differ diffusers 0.42 takes the most frequent for all."""
    model = load(str(folders["sd"][0]), "cpu")
    unet, text = model.unet, model.text.encoder
    convolutions = ["down_blocks.0.resnets.0.conv1", "mid_block.resnets.1.conv2", "up_blocks.1.resnets.0.conv_shortcut"]
    linear = [*attention(unet), "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"]
    state = kohya_state(random_pairs(unet, linear + convolutions), "lora_unet_", 2.0, step=0)
    layers = [n for n, m in text.named_modules() if isinstance(m, nn.Linear)]
    state |= kohya_state(random_pairs(text, layers), "lora_te_text_model_", 3.0, step=0)
    count = {"unet": len(linear + convolutions), "text_encoder": len(layers)}
    check(folders, "sd", saved(tmp_path / "k.safetensors", state), 0.7, changed=count)


@pytest.mark.parametrize("style", ["comfy", "kohya"])
def test_names_of_the_first_code(folders, tmp_path, style):
    """ComfyUI's generic names, and kohya's of the same layers, alpha in tensors: as diffusers adds kohya's file."""
    whole = StableDiffusionPipeline.from_pretrained(folders["sd"][0])
    unet, text = whole.unet, whole.text_encoder
    convolutions = ["conv_in", "conv_out", "time_embedding.linear_2", "mid_block.resnets.1.conv2"]
    convolutions += ["down_blocks.0.downsamplers.0.conv", "up_blocks.0.upsamplers.0.conv"]
    convolutions += [
        n for n, m in unet.named_modules() if n.rpartition(".")[2] in ("conv1", "time_emb_proj", "proj_in")
    ]
    convolutions.append("up_blocks.1.resnets.0.conv_shortcut")
    layers = list(dict.fromkeys([*attention(unet), *convolutions]))
    pairs = random_pairs(unet, layers)
    words = [n for n, m in text.named_modules() if isinstance(m, nn.Linear)]
    state = kohya_state(random_pairs(text, words), "lora_te_text_model_", 3.0, step=0)
    plain = saved(tmp_path / "plain.safetensors", {**state, **kohya_state(pairs, "lora_unet_", 2.0, step=0)})

    # What the first code calls each layer: that of the one whose weight has its place there.
    first = {}
    for name in layers:
        marked = {
            key: torch.full_like(value, float(key == f"{name}.weight")) for key, value in unet.state_dict().items()
        }
        unet_of_marks = tiny.unet2d()
        unet_of_marks.load_state_dict(marked)
        (first[name],) = [key for key, value in ldm_layout.unet(unet_of_marks).items() if value.all()]
        first[name] = first[name].removesuffix(".weight")
    renamed = {}
    for name, (down, up) in pairs.items():
        flat = first[name].replace(".", "_")
        stem = f"diffusion_model.{first[name]}" if style == "comfy" else f"lora_unet_{flat}"
        renamed |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(2.0)}
    for name, value in state.items():
        if style == "comfy":
            flat, _, role = name.partition(".")
            path = next(word for word in words if flat.endswith("model_" + word.replace(".", "_")))
            name = f"text_encoders.clip_l.transformer.text_model.{path}.{role}"
        renamed[name] = value
    model = load(str(folders["sd"][0]), "cpu")
    apply_lora(model, saved(tmp_path / "comfy.safetensors", renamed), 0.5)
    wanted = by_diffusers(*folders["sd"], plain, 0.5)
    for part, own in parts_of(model).items():
        for name, value in own.items():
            assert close(value, wanted[part][name]), f"{part}.{name}"


@pytest.mark.parametrize("kind", ["cog", "wan"])
def test_names_of_videox_fun(folders, tmp_path, kind):
    """Two underscores, alpha tensors; Wan's layers by their own names. The text encoder is T5."""
    model = load(str(folders[kind][0]), "cpu")
    if kind == "wan":
        state, count = wan_state(model, "musubi")
        state = {name.replace("lora_unet_", "lora_unet__", 1): value for name, value in state.items()}
        other = load(str(folders[kind][0]), "cpu")
        apply_lora(other, saved(tmp_path / "m.safetensors", wan_state(model, "musubi")[0]), 0.8)
        wanted = other.unet.state_dict()
    else:
        pairs = random_pairs(model.unet, attention(model.unet))
        state, count = kohya_state(pairs, "lora_unet__", 2.0, step=0), len(pairs)
        wanted = {name: value.clone() for name, value in model.unet.state_dict().items()}
        for name, (down, up) in pairs.items():
            wanted[f"{name}.weight"] += 0.8 * 2 / 4 * up @ down
    text = model.text.encoder
    words = [n for n, m in text.named_modules() if isinstance(m, nn.Linear)][:3]
    state |= kohya_state(random_pairs(text, words), "lora_te_", 4.0, step=0)
    before = {name: value.clone() for name, value in text.state_dict().items()}
    apply_lora(model, saved(tmp_path / "v.safetensors", state), 0.8)
    for name, value in model.unet.state_dict().items():
        assert close(value, wanted[name]), name
    assert count and sum(not torch.equal(v, before[k]) for k, v in text.state_dict().items()) == 3


def test_names_of_the_training_scripts(folders, tmp_path):
    """As `train_text_to_image_lora.py` wrote before peft: `attn1.processor.to_q_lora.down`."""
    unet = load(str(folders["sd"][0]), "cpu").unet
    state = {}
    for name, (down, up) in random_pairs(unet, attention(unet)).items():
        layer, _, last = name.replace("to_out.0", "to_out").rpartition(".")
        state[f"unet.{layer}.processor.{last}_lora.down.weight"] = down
        state[f"unet.{layer}.processor.{last}_lora.up.weight"] = up
    check(folders, "sd", saved(tmp_path / "p.safetensors", state), changed={"unet": len(attention(unet))})


def test_a_folder_of_peft(folders, tmp_path):
    """`adapter_model.safetensors` has its alpha in the file beside it: 4 times the pairs alone."""
    model = load(str(folders["sd"][0]), "cpu")
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    pairs = random_pairs(model.unet, attention(model.unet)[:3])
    saved(tmp_path / "adapter_model.safetensors", peft_state(pairs, "base_model.model."))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 16, "peft_type": "LORA"}))
    apply_lora(model, tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.warns(UserWarning, match=r"no adapter_config\.json in its folder; its alpha is taken to be its rank"):
        apply_lora(load(str(folders["sd"][0]), "cpu"), tmp_path)
    for name, (down, up) in pairs.items():
        got = model.unet.get_submodule(name).weight - before[f"{name}.weight"]
        assert torch.allclose(got, 4 * up @ down, atol=1e-5)


def header_of(part, **config):
    """What diffusers writes into the header."""
    full = peft.LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"], **config).to_dict()
    told = {f"{part}.{name}": list(v) if isinstance(v, set) else v for name, v in full.items()}
    return {"lora_adapter_metadata": json.dumps(told, default=str)}


@pytest.mark.parametrize("kind", ["cog", "wan"])
def test_video_transformers(folders, tmp_path, kind):
    """diffusers' names, alpha in the header."""
    network = load(str(folders[kind][0]), "cpu").unet
    state = peft_state(random_pairs(network, attention(network)), "transformer.")
    file = saved(tmp_path / "v.safetensors", state, header_of("transformer", lora_alpha=10))
    check(folders, kind, file, 0.5, changed={"transformer": len(attention(network))})


@pytest.mark.parametrize("style", ["diffusers", "kohya"])
def test_video_unets(folders, tmp_path, style):
    """diffusers 0.42 adds no LoRA to a UNet of video (it has no `load_lora_adapter`), so this is by the formula.

    Of kohya's files every second layer has another alpha, and layers of time are named too.
    """
    model = load(str(folders["film"][0]), "cpu")
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    pairs = random_pairs(model.unet, attention(model.unet))
    assert any("temp_attentions" in name for name in pairs)
    if style == "kohya":
        state, header, step = kohya_state(pairs, "lora_unet_", 2.0), {}, 1
    else:
        state, header, step = peft_state(pairs, "unet."), header_of("unet", lora_alpha=2), 0
    apply_lora(model, saved(tmp_path / "k.safetensors", state, header))
    for i, (name, (down, up)) in enumerate(pairs.items()):
        got = model.unet.get_submodule(name).weight - before[f"{name}.weight"]
        assert torch.allclose(got, (2.0 + step * (i % 2)) / 4 * up @ down, atol=1e-5)


def wan_state(model, style):
    """Wan's own names, of diffusers-pipe ("wan") and of musubi-tuner ("musubi")."""
    own = {"attn1": "self_attn", "attn2": "cross_attn", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}
    own |= {"net.0.proj": "0", "net.2": "2"}
    layers = [n for n, m in model.unet.named_modules() if isinstance(m, nn.Linear) and n.startswith("blocks.")]
    state = {}
    for name, (down, up) in random_pairs(model.unet, layers).items():
        for theirs, new in own.items():
            name = name.replace(theirs, new)
        if style == "wan":
            stem, halves = f"diffusion_model.{name}", ("lora_A", "lora_B")
        else:
            stem, halves = "lora_unet_" + name.replace(".", "_"), ("lora_down", "lora_up")
            state[f"{stem}.alpha"] = torch.tensor(2.0)
        state |= {f"{stem}.{halves[0]}.weight": down, f"{stem}.{halves[1]}.weight": up}
    return state, len(layers)


@pytest.mark.parametrize("style", ["wan", "musubi"])
def test_names_of_wan(folders, tmp_path, style):
    model = load(str(folders["wan"][0]), "cpu")
    state, count = wan_state(model, style)
    check(folders, "wan", saved(tmp_path / "w.safetensors", state), 0.8, changed={"transformer": count})


def test_part_of_musubis_layers(folders, tmp_path):
    """Attention alone, on which diffusers' converter stops: the same change as under Wan's names."""
    model = load(str(folders["wan"][0]), "cpu")
    state, _ = wan_state(model, "musubi")
    part = {name: value for name, value in state.items() if "self_attn" in name}
    dotted = {
        name.replace("lora_unet_blocks_", "diffusion_model.blocks.").replace("_self_attn_", ".self_attn."): value
        for name, value in part.items()
    }
    apply_lora(model, saved(tmp_path / "m.safetensors", part))
    check(folders, "wan", saved(tmp_path / "d.safetensors", dotted), changed={"transformer": 8})
    other = load(str(folders["wan"][0]), "cpu")
    apply_lora(other, tmp_path / "d.safetensors")
    assert all(torch.equal(v, model.unet.state_dict()[k]) for k, v in other.unet.state_dict().items())


def test_norms_of_wan_are_left_out_with_a_warning(folders, tmp_path):
    model = load(str(folders["wan"][0]), "cpu")
    state, count = wan_state(model, "wan")
    state["diffusion_model.blocks.0.norm3.diff"] = torch.ones(24)
    state["diffusion_model.blocks.0.self_attn.q.diff_b"] = torch.ones(24)  # a bias, which is read
    file = saved(tmp_path / "w.safetensors", state)
    with pytest.warns(
        UserWarning, match=r"1 tensors that change norms .* the first is diffusion_model\.blocks\.0\.norm3"
    ):
        apply_lora(model, file)
    with pytest.warns(UserWarning, match="1 tensors that change norms"):
        check(folders, "wan", file, changed={"transformer": count + 1})


def test_two_networks(folders, tmp_path):
    """Wan 2.2 A14B: a file goes into both, with a warning, or into the one that is said."""
    folder, cls = folders["wan2"]
    state, count = wan_state(load(str(folder), "cpu"), "wan")
    file = saved(tmp_path / "w.safetensors", state)

    def moved(network):
        model = load(str(folder), "cpu")
        before = {p: {k: v.clone() for k, v in s.items()} for p, s in parts_of(model).items()}
        apply_lora(model, file, 1.0, network)
        after = parts_of(model)
        counts = {p: sum(not torch.equal(v, before[p][k]) for k, v in s.items()) for p, s in after.items()}
        return counts["transformer"], counts["transformer_2"], after, model.name

    with pytest.warns(UserWarning, match=r"added to both networks of wan2; say .*:1:transformer for one"):
        assert moved("")[:2] == (count, count)
    assert moved("transformer")[:2] == (count, 0)
    high, low, after, name = moved("transformer_2")
    assert (high, low) == (0, count) and name == "wan2 + w:1:transformer_2"
    wanted = by_diffusers(folder, cls, file, load_into_transformer_2=True)
    for key, value in after["transformer_2"].items():
        assert torch.allclose(value, wanted["transformer_2"][key], atol=1e-6)
    with pytest.raises(AnimaticError, match="wan has no transformer_2; its networks are transformer"):
        apply_lora(load(str(folders["wan"][0]), "cpu"), file, 1.0, "transformer_2")


def test_how_a_lora_is_asked_for(tmp_path):
    odd = tmp_path / "a:0.5"
    odd.write_bytes(b"")
    for told, wanted in {
        "a.safetensors": LoraRequest(Path("a.safetensors")),
        "a.safetensors:0.5": LoraRequest(Path("a.safetensors"), 0.5),
        "a.safetensors:-1:transformer_2": LoraRequest(Path("a.safetensors"), -1.0, "transformer_2"),
        "a.safetensors:transformer": LoraRequest(Path("a.safetensors"), 1.0, "transformer"),
        "C:/a.safetensors": LoraRequest(Path("C:/a.safetensors")),
        str(odd): LoraRequest(odd),
    }.items():
        assert LoraRequest.of(told) == wanted
    with pytest.raises(AnimaticError, match="scale is nan; want a number"):
        LoraRequest.of("a.safetensors:nan")


# what cannot be added is refused by name, and nothing is changed


def test_what_is_no_lora_of_the_network_is_named_and_counted(folders, tmp_path):
    model = load(str(folders["sd"][0]), "cpu")
    before = {part: {k: v.clone() for k, v in state.items()} for part, state in parts_of(model).items()}
    names = attention(model.unet)
    good = peft_state(random_pairs(model.unet, names[:2]), "unet.")
    down, up = good[f"unet.{names[0]}.lora_A.weight"], good[f"unet.{names[0]}.lora_B.weight"]
    flat = "lora_unet_" + names[0].replace(".", "_")
    kohya = kohya_state(random_pairs(model.unet, names[:1]), "lora_unet_", 2.0)
    strangers = {f"unet.other.{i}.{half}.weight": v for i in range(2) for half, v in (("lora_A", down), ("lora_B", up))}
    for state, words in (
        ({**good, **strangers}, r"its layer other\.0 \(and 1 others of 4\) does not fit sd"),
        ({**good, "unet.norm.w_norm": down}, "1 of 5 tensors are no plain LoRA .* the first is unet.norm.w_norm"),
        ({f"{flat}.hada_w1_a": down, f"{flat}.alpha": torch.tensor(1.0)}, "1 of 2 tensors are no plain LoRA"),
        ({**kohya, f"{flat}.dora_scale": torch.ones(1, 16)}, r"1 of 4 tensors .*attn1\.to_.*\.dora_scale"),
        ({**kohya, f"{flat}.lora_mid.weight": torch.ones(4, 4, 3, 3)}, "lora_mid"),
        ({**good, f"unet.{names[0]}.lora_A.weight": down * torch.nan}, "1 tensors hold numbers that are not finite"),
        ({**good, f"unet.{names[0]}.lora_A.weight": torch.zeros(4)}, "want two matrices"),
        ({**good, f"unet.{names[0]}.lora_B.weight": torch.zeros(16, 3)}, "does not fit"),
        ({f"text_encoder_2.{k[5:]}": v for k, v in good.items()}, r"text_encoder_2\.down_blocks.* does not fit"),
        ({k: v for k, v in good.items() if "lora_A" in k}, "has no partner"),
        ({"unet.conv_in.weight": down}, "no LoRA in it"),
    ):
        with pytest.raises(AnimaticError, match=words):
            apply_lora(model, saved(tmp_path / "x.safetensors", {k: v.clone() for k, v in state.items()}))
    dora = {"lora_adapter_metadata": json.dumps({"unet.use_dora": True, "unet.lora_alpha": 4})}
    for header, words in (
        (dora, "a DoRA, but .* has no lora_magnitude_vector"),
        ({"lora_adapter_metadata": "[]"}, "its header holds a list"),
        ({"lora_adapter_metadata": "{"}, "its header is damaged"),
    ):
        with pytest.raises(AnimaticError, match=words):
            apply_lora(model, saved(tmp_path / "x.safetensors", good, header))
    for part, state in parts_of(model).items():
        assert all(torch.equal(value, before[part][name]) for name, value in state.items())


def test_diffusers_reads_what_we_write(folders, tmp_path):
    from animatic.backbones.lora import add_adapters, save_lora

    network = tiny.unet2d()
    add_adapters(network, 4)
    for name, p in network.named_parameters():
        if "lora_B" in name:
            p.data.normal_(std=LOUD)
    assert check(folders, "sd", save_lora(network, tmp_path / "own.safetensors"))["unet"]
    assert isinstance(DiffusionPipeline.from_pretrained(folders["sd"][0]), StableDiffusionPipeline)
