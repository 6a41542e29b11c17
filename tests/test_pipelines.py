"""Loaded pipelines of diffusers: their own modules make the same latents, and work afterwards as before."""

from typing import Any

import pytest
import tiny
import torch
from conftest import RUN, close
from diffusers import (
    CogVideoXPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionGLIGENPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    WanPipeline,
)  # fmt: skip
from diffusers.models.attention import GatedSelfAttentionDense
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from peft import LoraConfig
from safetensors.torch import save_file

import animatic
from animatic.backbones import load
from animatic.backbones.components import Components
from animatic.controls.grounding import Gligen
from animatic.controls.guidance import Guidance
from animatic.core.backbone import MemoryOptions
from animatic.core.loop import sample
from animatic.core.types import Step
from animatic.errors import AnimaticError, AnimaticWarning
from animatic.scene import Scene, Track

SCENE = Scene("the cat and a dog", (Track("cat", ((0, 0, 1 / 2, 0.5),) * 3),), negative="red")


def stable_diffusion(path, cls: Any = StableDiffusionPipeline, **config: Any) -> Any:
    network = tiny.unet2d()
    if config:
        torch.manual_seed(0)
        own = {name: value for name, value in network.config.items() if not name.startswith("_")}
        network = UNet2DConditionModel.from_config({**own, **config}).eval()
    return cls.from_pretrained(tiny.folder(path, network))


def video_unet(path) -> Any:
    read = StableDiffusionPipeline.from_pretrained(tiny.folder(path, tiny.unet2d()))
    parts = {name: read.components[name] for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    return TextToVideoSDPipeline(unet=tiny.unet3d(), **parts)


MAKERS = {
    "sd": stable_diffusion,
    "gligen": lambda path: stable_diffusion(path, StableDiffusionGLIGENPipeline, attention_type="gated"),
    "sdxl": lambda path: StableDiffusionXLPipeline.from_pretrained(tiny.sdxl(path)),
    "sd3.5": lambda path: StableDiffusion3Pipeline.from_pretrained(tiny.sd3(path)),
    "video-unet": video_unet,
    "cogvideox-2b": lambda path: CogVideoXPipeline.from_pretrained(tiny.cogvideox(path)),
    "cogvideox1.5": lambda path: CogVideoXPipeline.from_pretrained(tiny.cogvideox(path, pairs=True)),
    "wan2.1": lambda path: WanPipeline.from_pretrained(tiny.wan(path)),
    "wan2.2-a14b": lambda path: WanPipeline.from_pretrained(tiny.wan(path, second=True)),
    "wan2.2-5b": lambda path: WanPipeline.from_pretrained(tiny.wan(path, each_token=True)),
}


@pytest.fixture(params=MAKERS)
def pipe(request, tmp_path):
    made = MAKERS[request.param](tmp_path / request.param)
    made.set_progress_bar_config(disable=True)
    return made


def size_of(pipe: Any) -> dict[str, int]:
    if isinstance(pipe, CogVideoXPipeline | WanPipeline):
        return {"num_frames": 9, "height": 32, "width": 48}
    frames = {"num_frames": 3} if isinstance(pipe, TextToVideoSDPipeline) else {}
    return {**frames, "height": 64, "width": 64}


def is_of_pictures(pipe: Any) -> bool:
    return type(pipe).__name__.startswith("StableDiffusion")


def theirs(pipe: Any, noise: torch.Tensor, **more: Any) -> torch.Tensor:
    """What the pipeline itself makes of `noise`, as `[1, channel, frame, height, width]`."""
    is_cogvideox = isinstance(pipe, CogVideoXPipeline)
    latents = noise.movedim(2, 1) if is_cogvideox else noise
    if is_of_pictures(pipe):
        latents = noise[:, :, 0]
    if isinstance(pipe, CogVideoXPipeline | WanPipeline | StableDiffusion3Pipeline):
        more = {**more, "max_sequence_length": 16}
    if isinstance(pipe, StableDiffusionGLIGENPipeline):  # without grounding, as "none"
        more = {**more, "gligen_phrases": ["cat"], "gligen_boxes": [[0, 0, 0.5, 0.5]]}
        more.setdefault("gligen_scheduled_sampling_beta", 0.0)
    made = pipe(
        prompt=SCENE.prompt, negative_prompt=SCENE.negative, latents=latents.clone(), num_inference_steps=4,
        guidance_scale=6.0, output_type="latent", **size_of(pipe), **more,
    )[0]  # fmt: skip
    if is_cogvideox:
        return made.movedim(1, 2)
    return made if made.dim() == 5 else made[:, :, None]


def ours(pipe: Any, noise: torch.Tensor | None = None, method: str = "none", **more: Any) -> Any:
    size = size_of(pipe)
    frames = {"frames": size["num_frames"]} if "num_frames" in size else {}
    more = {"steps": 4, "guidance": 6.0, "size": (size["width"], size["height"]), "output_type": "latent", **more}
    return animatic.render(SCENE, pipe, method, latents=noise, **frames, **more)


def noise_for(pipe: Any) -> torch.Tensor:
    model = pipe if isinstance(pipe, Components) else load(pipe)
    size = size_of(pipe)
    return model.noise([3], size.get("num_frames", 1), size["height"], size["width"])


def processors(pipe: Any) -> dict[str, Any]:
    networks = [pipe.components[name] for name in ("unet", "transformer", "transformer_2") if pipe.components.get(name)]
    return {f"{i}.{name}": p for i, network in enumerate(networks) for name, p in network.attn_processors.items()}


def test_the_pipeline_and_the_backbone_make_the_same_latents(pipe):
    """Before, between and after our runs, of a method that takes gradients too, the pipeline is what it was."""
    noise = noise_for(pipe)
    before, own = theirs(pipe, noise), processors(pipe)
    made = ours(pipe, noise)
    made = made[:, :, made.shape[2] - before.shape[2] :]  # without the frame that fills CogVideoX 1.5's first token
    assert close(made, before, RUN) and (made - before).abs().max() <= 1e-5 * max(1, before.abs().max())

    network = pipe.components.get("unet") or pipe.components["transformer"]
    trained = [p.requires_grad for p in network.parameters()]
    guided = ours(pipe, noise, "lvd", settings={"energy.until": 1.0})
    assert not close(guided[:, :, -made.shape[2] :], made, RUN), "attention is read and steered"
    assert processors(pipe) == own, "the same objects"
    assert trained == [p.requires_grad for p in network.parameters()] and any(trained)
    assert torch.equal(theirs(pipe, noise), before)


def test_nothing_is_copied(pipe):
    model = load(pipe)
    network = pipe.components.get("unet") or pipe.components["transformer"]
    assert model.unet is network and model.vae is pipe.vae
    encoders = [pipe.components.get(f"text_encoder{number}") for number in ("", "_2", "_3")]
    assert all(own is theirs for own, theirs in zip(model.text.encoders, filter(None, encoders), strict=True))
    assert model.scheduler is pipe.scheduler and model.text.tokenizer is pipe.tokenizer
    assert any(p.requires_grad for p in network.parameters()), "as the pipeline had them"


def test_the_hooks_leave_when_a_run_fails(tmp_path):
    pipe = MAKERS["wan2.1"](tmp_path)
    own, noise = processors(pipe), noise_for(pipe)

    def fail(step: int, total: int, latents: torch.Tensor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ours(pipe, noise, "lvd", callbacks=fail)
    assert processors(pipe) == own and all(p.requires_grad for p in pipe.transformer.parameters())
    model = load(pipe)
    x, cond = model.noise([0, 1], 9, 32, 48), model.encode(["the cat"], [""])
    with torch.no_grad():
        assert model(x, Step(0, 4, 900.0), cond, torch_attention).isfinite().all()  # a call of its own
    assert processors(pipe) == own
    with pytest.raises(AnimaticError, match=r"outside of a run; want `with model.running\(\):`"):
        model(x, Step(0, 4, 900.0), cond, torch_attention)


def torch_attention(layer, q, k, v, mask):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def test_its_scheduler_is_used(tmp_path):
    from diffusers import EulerDiscreteScheduler

    pipe = stable_diffusion(tmp_path)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    noise = noise_for(pipe)
    assert close(ours(pipe, noise), theirs(pipe, noise), RUN)
    assert "EulerDiscreteScheduler" in animatic.render(SCENE, pipe, "none", steps=1, size=(64, 64)).info["scheduler"]


def test_a_lora_file_of_the_pipeline_and_its_scale(tmp_path):
    """Network and text encoder by `load_lora_weights`, then `set_adapters`: as the pipeline itself, at every scale."""
    pipe = stable_diffusion(tmp_path / "sd")
    pipe.set_progress_bar_config(disable=True)
    noise = noise_for(pipe)
    state = {}
    torch.manual_seed(1)
    for part, network in (("unet", pipe.unet), ("text_encoder", pipe.text_encoder)):
        for name, module in network.named_modules():
            if name.endswith(("to_q", "to_v", "q_proj")):
                inner = f"text_model.{name}" if part == "text_encoder" else name
                state[f"{part}.{inner}.lora_A.weight"] = torch.randn(2, module.in_features)
                state[f"{part}.{inner}.lora_B.weight"] = torch.randn(module.out_features, 2)
    save_file(state, tmp_path / "pytorch_lora_weights.safetensors")
    model, plain = load(pipe), ours(pipe, noise)
    size = {"steps": 4, "guidance": 6.0, "size": (64, 64), "output_type": "latent"}
    pipe.load_lora_weights(str(tmp_path), adapter_name="dreams")  # after `load`
    results = []
    for scale in (1.0, 0.5):
        pipe.set_adapters("dreams", scale)
        made = animatic.render(SCENE, model, "none", latents=noise, **size)
        assert close(made, theirs(pipe, noise), RUN) and not close(made, plain, RUN)
        results.append(made)
    assert not close(*results, RUN)
    pipe.unload_lora_weights()
    assert close(animatic.render(SCENE, model, "none", latents=noise, **size), plain, RUN)


def test_grounding_takes_part_after_the_pipeline_switched_it_off(tmp_path):
    """GLIGEN's pipeline leaves its fusers off after the first part of a run."""
    pipe = MAKERS["gligen"](tmp_path)
    pipe.set_progress_bar_config(disable=True)
    noise = noise_for(pipe)
    with torch.no_grad():
        for name, parameter in pipe.unet.named_parameters():
            if "alpha_" in name:
                parameter.fill_(1.0)  # zero until trained
    controls = [Gligen(until=1.0), Guidance(6.0)]
    before, plain = ours(pipe, noise, controls), theirs(pipe, noise)
    fusers = [module for module in pipe.unet.modules() if isinstance(module, GatedSelfAttentionDense)]
    assert fusers and not any(fuser.enabled for fuser in fusers)
    after = ours(pipe, noise, controls)
    assert close(before, after, RUN) and not close(after, plain, RUN)
    assert not any(fuser.enabled for fuser in fusers)


@pytest.mark.parametrize("kind", ["sd", "wan2.1", "cogvideox-2b"])
def test_its_loras_stay_in_place(tmp_path, kind):
    """Adapters of peft in the layers, with their scales, as `load_lora_weights` puts them there."""
    pipe = MAKERS[kind](tmp_path)
    pipe.set_progress_bar_config(disable=True)
    noise = noise_for(pipe)
    plain = ours(pipe, noise)
    network = pipe.components.get("unet") or pipe.components["transformer"]
    torch.manual_seed(1)
    network.add_adapter(LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    adapted = ours(pipe, noise)
    assert not close(adapted, plain, RUN) and close(adapted, theirs(pipe, noise), RUN)
    network.disable_adapters()  # after `load`, too: the layers are the pipeline's
    assert close(ours(pipe, noise), plain, RUN)


def test_words_of_textual_inversion(tmp_path):
    """A word of one vector, and one of three, which diffusers writes as three words."""
    pipe = stable_diffusion(tmp_path / "sd")
    pipe.set_progress_bar_config(disable=True)
    noise = noise_for(pipe)
    torch.manual_seed(2)
    pipe.load_textual_inversion({"<toy>": torch.randn(tiny.WIDTH)}, token="<toy>")
    pipe.load_textual_inversion({"<style>": torch.randn(3, tiny.WIDTH)}, token="<style>")
    scene = Scene("a <toy> as <style>", (Track("<style>", ((0, 0, 0.5, 0.5),)),))
    made = animatic.render(
        scene, pipe, "none", latents=noise, steps=2, guidance=6.0, size=(64, 64), output_type="latent"
    )
    wanted = pipe(scene.prompt, latents=noise[:, :, 0], num_inference_steps=2, guidance_scale=6.0, output_type="latent")
    assert close(made[:, :, 0], wanted[0], RUN)
    text = load(pipe).text
    first = text.positions(scene.prompt, "<style>")[0]
    assert text.positions(scene.prompt, "<style>") == (first, first + 1, first + 2)
    own = [pipe.tokenizer.convert_tokens_to_ids(word) for word in ("<style>", "<style>_1", "<style>_2")]
    assert text.token_ids(scene.prompt)[first : first + 3] == own


def test_words_of_textual_inversion_in_two_encoders(tmp_path):
    """SDXL's: each encoder has vectors of its own, two of them for one word."""
    pipe = MAKERS["sdxl"](tmp_path)
    pipe.set_progress_bar_config(disable=True)
    noise = noise_for(pipe)
    plain = ours(pipe, noise)
    torch.manual_seed(2)
    for width, encoder, tokenizer in (
        (tiny.WIDTH, pipe.text_encoder, pipe.tokenizer),
        (8, pipe.text_encoder_2, pipe.tokenizer_2),
    ):
        vectors = {"cat": torch.randn(2, width)}
        pipe.load_textual_inversion(vectors, token="<cat>", text_encoder=encoder, tokenizer=tokenizer)
    scene = Scene("the <cat> and a dog", negative="red")
    size = {"steps": 4, "guidance": 6.0, "size": (64, 64), "output_type": "latent"}
    made = animatic.render(scene, pipe, "none", latents=noise, **size)
    wanted = pipe(
        prompt=scene.prompt, negative_prompt="red", latents=noise[:, :, 0], num_inference_steps=4, guidance_scale=6.0,
        output_type="latent", height=64, width=64,
    )[0]  # fmt: skip
    assert close(made[:, :, 0], wanted, RUN) and not close(made, plain, RUN)


def test_a_batch_of_two_without_a_negative_prompt(tmp_path):
    for kind in ("sdxl", "sd3.5"):
        pipe = MAKERS[kind](tmp_path / kind)
        pipe.set_progress_bar_config(disable=True)
        model = load(pipe)
        noise, prompts = model.noise([0, 1], 1, 64, 64), ["the cat", "a dog"]
        with model.running():
            cond = model.encode(prompts, ["", ""])
            made = sample(model, model.schedule(4), noise, cond, [Guidance(6.0)])
        more = {"max_sequence_length": 16} if kind == "sd3.5" else {}
        wanted = pipe(
            prompt=prompts, latents=noise[:, :, 0].clone(), num_inference_steps=4, guidance_scale=6.0,
            output_type="latent", height=64, width=64, **more,
        )[0]  # fmt: skip
        assert (made[:, :, 0] - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))


def test_a_pipeline_that_lacks_an_encoder_is_refused(tmp_path):
    """Stable Diffusion 3 is often loaded without T5, which is the larger part of it."""
    pipe = MAKERS["sd3.5"](tmp_path)
    pipe.text_encoder_3 = None
    with pytest.raises(AnimaticError, match="it has no text_encoder_3; want it loaded"):
        load(pipe)


def test_what_cannot_be_used_is_refused(tmp_path):
    pipe = stable_diffusion(tmp_path / "sd")
    parts = pipe.components
    with pytest.raises(AnimaticError, match="StableDiffusionImg2ImgPipeline is not one that can be used here; want S"):
        load(StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False))
    with pytest.raises(AnimaticError, match="it has no text_encoder; want it loaded"):
        load(StableDiffusionPipeline(**{**parts, "text_encoder": None}, requires_safety_checker=False))
    with pytest.raises(AnimaticError, match="model is 5; want a name, a folder"):
        load(5)  # pyright: ignore
    with pytest.raises(AnimaticError, match=r"stays as and where it is; want pipe.to\(...\)"):
        load(pipe, memory=MemoryOptions("float16"))
    with pytest.raises(AnimaticError, match="loras is given, and a model that is loaded already"):
        animatic.render(SCENE, pipe, loras=["a.safetensors"])
    pipe.text_encoder.train()
    with pytest.raises(AnimaticError, match="its text_encoder is in training mode"):
        load(pipe)


def test_processors_that_compute_something_else_are_refused(tmp_path):
    pipe = stable_diffusion(tmp_path)
    model = load(pipe)

    own = dict(pipe.unet.attn_processors)
    adapters = {
        name: IPAdapterAttnProcessor2_0(16, tiny.WIDTH) if "attn2" in name else AttnProcessor2_0() for name in own
    }
    pipe.unet.set_attn_processor(adapters)
    for again in (lambda: load(pipe), lambda: animatic.render(SCENE, model, "none", steps=1, size=(64, 64))):
        with pytest.raises(AnimaticError, match=r"reads the picture of an IP-Adapter.* pipe.unload_ip_adapter\(\)"):
            again()
    pipe.unet.set_attn_processor(own)
    ours(pipe, noise_for(pipe))
    pipe.fuse_qkv_projections(vae=False)
    with pytest.raises(AnimaticError, match=r"fused projections; want it taken out: pipe.unfuse_qkv_projections\(\)"):
        load(pipe)
    pipe.unfuse_qkv_projections(vae=False)
    load(pipe)
    pipe.enable_attention_slicing()  # plain attention, in slices
    noise = noise_for(pipe)
    assert close(ours(pipe, noise), theirs(pipe, noise), RUN)


def test_a_pipeline_of_a_known_model_is_known(tmp_path):
    pipe = stable_diffusion(tmp_path)
    with pytest.warns(AnimaticWarning, match=f"^StableDiffusionPipeline {tmp_path.name}: .* 1 frame of 64x64 .*, 25 "):
        load(pipe)
    pipe.register_to_config(_name_or_path="stable-diffusion-v1-5/stable-diffusion-v1-5")
    model = load(pipe)
    assert model.family == "sd15" and model.geometry.height == 512 and model.defaults.guidance == 7.5
    assert model.name == "StableDiffusionPipeline stable-diffusion-v1-5" and not model.defaults.scheduler
