"""The real classes at tiny size: model folders in the real format, random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo15,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    ClassifierFreeGuidance,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MotionAdapter,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)  # fmt: skip
from tokenizers import pre_tokenizers
from transformers import (
    ByT5Tokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)  # fmt: skip

from animatic.backbones.small_model import save_model
from animatic.training.conditioning import RunText
from animatic.training.initial_model import new_train_module
from animatic.training.settings import TrainingSettings

WIDTH = 16


def tokenizer() -> CLIPTokenizer:
    """CLIP's byte-level tokenizer without merges: every letter is a token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(a + "</w>" for a in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[], model_max_length=77)


def text_encoder(vocabulary: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=vocabulary.bos_token_id,
            eos_token_id=vocabulary.eos_token_id,
            pad_token_id=vocabulary.pad_token_id,
        )
    )


def unet3d() -> UNet3DConditionModel:
    torch.manual_seed(0)
    network = UNet3DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
    )
    with torch.no_grad():  # time convolutions begin at zero, which would hide mistakes
        for p in network.parameters():
            if not p.any():
                p.normal_(std=0.05)
    return network.eval()


def unet2d() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
    ).eval()


def motion_adapter(path: Path) -> Path:
    """AnimateDiff's attention over time for `unet2d`; its last layers begin at zero, which would hide mistakes."""
    torch.manual_seed(0)
    adapter = MotionAdapter(
        block_out_channels=(16, 32),
        motion_layers_per_block=1,
        motion_mid_block_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=8,
    )
    with torch.no_grad():
        for p in adapter.parameters():
            if not p.any():
                p.normal_(std=0.05)
    adapter.save_pretrained(path)
    return path


def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def folder(path: Path, network: UNet2DConditionModel | UNet3DConditionModel) -> Path:
    """A whole model folder as diffusers itself would write it."""
    words = tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=text_encoder(words),
        tokenizer=words,
        unet=network,
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(path)
    return path


def vision() -> dict[str, int]:
    """A vision tower of 64 x 64 pixels in 16 patches."""
    return {
        "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 64, "patch_size": 16,
    }  # fmt: skip


def clip(path: Path) -> Path:
    """A CLIP with its processor."""
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    words = tokenizer()
    text = text_encoder(words).config.to_dict()
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision(), projection_dim=16)).save_pretrained(path)
    size = {"height": 64, "width": 64}
    CLIPProcessor(CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=size), words).save_pretrained(path)
    return path


def videomae(path: Path) -> Path:
    """A VideoMAE with its processor."""
    from transformers import VideoMAEConfig, VideoMAEImageProcessorPil, VideoMAEModel

    torch.manual_seed(0)
    size = vision()
    VideoMAEModel(VideoMAEConfig(**size, num_frames=8)).save_pretrained(path)
    VideoMAEImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}).save_pretrained(path)
    return path


def owl(path: Path, kind: str) -> Path:
    """OWL-ViT or OWLv2 as transformers itself would write it, random and tiny."""
    import transformers as t
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
    from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

    config, model, processor, images = {
        "owlvit": (t.OwlViTConfig, t.OwlViTForObjectDetection, t.OwlViTProcessor, OwlViTImageProcessorPil),
        "owlv2": (t.Owlv2Config, t.Owlv2ForObjectDetection, t.Owlv2Processor, Owlv2ImageProcessorPil),
    }[kind]
    torch.manual_seed(0)
    words, size = tokenizer(), {"height": 64, "width": 64}
    text = text_encoder(words).config.to_dict()
    model(config(text_config=text, vision_config=vision(), projection_dim=16)).save_pretrained(path)
    processor(image_processor=images(size=size, crop_size=size), tokenizer=words).save_pretrained(path)
    return path


def sam(path: Path) -> Path:
    """A Segment Anything of the real classes, in the real format."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    torch.manual_seed(0)
    layers = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 16}
    sizes = {"image_size": 64, "patch_size": 16}
    seeing = {
        **layers, **sizes, "output_channels": 16, "num_pos_feats": 8, "window_size": 2, "global_attn_indexes": [0],
    }  # fmt: skip
    prompt = {**sizes, "hidden_size": 16, "image_embedding_size": 4, "mask_input_channels": 4}
    decoder = {**layers, "iou_head_hidden_dim": 16, "attention_downsample_rate": 1}
    config = SamConfig(vision_config=seeing, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    SamModel(config).save_pretrained(path)
    small = {"size": {"longest_edge": 64}, "mask_size": {"longest_edge": 16}}
    pad = {"pad_size": {"height": 64, "width": 64}, "mask_pad_size": {"height": 16, "width": 16}}
    SamProcessor(SamImageProcessor(**small, **pad)).save_pretrained(path)
    return path


def grounding_dino(path: Path) -> Path:
    """A GroundingDINO with a Swin of two stages and letters for words."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoProcessor,
        SwinConfig,
    )  # fmt: skip
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "."]
    vocabulary = {w: i for i, w in enumerate([*special, *letters, *(f"##{c}" for c in letters)])}
    words = BertTokenizer(vocab=vocabulary)
    swin = SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=text, num_queries=12, encoder_layers=1, decoder_layers=2, d_model=32,
        encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
        num_feature_levels=3,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(path)
    images = GroundingDinoImageProcessorPil(size={"height": 64, "width": 96})
    GroundingDinoProcessor(images, words).save_pretrained(path)
    return path


def t5_tokenizer(length: int = 16) -> T5Tokenizer:
    """T5's unigram tokenizer: a few words, letters for the rest, and no piece for the article, as in the real one."""
    words = ["cat", "dog", "bear", "and", "the", "two", "red", "cats", "runs", "on", "grass", "pink"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [("▁" + word, -1 - 0.01 * i) for i, word in enumerate(words)]
    pieces += [(letter, -6.0) for letter in "abcdefghijklmnopqrstuvwxyz.,"]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=length)


def t5_config(vocabulary: T5Tokenizer) -> dict[str, Any]:
    return {
        "vocab_size": len(vocabulary), "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4,
        "relative_attention_num_buckets": 8, "feed_forward_proj": "gated-gelu", "pad_token_id": 0, "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }  # fmt: skip


def louder(network: Any) -> Any:
    """Random transformers hardly listen to text: make them."""
    reading_text = ("text_proj.weight", "text_embedder.linear_1.weight", "caption_projection.linear_1.weight")
    with torch.no_grad():
        for name, p in network.named_parameters():
            if any(part in name for part in reading_text):
                p *= 4
            elif "norm_q.weight" in name or "norm_k.weight" in name:
                p *= 2
    return network.eval()


def cogvideox_network(rotary: bool = False, pairs: bool = False, layers: int = 2) -> CogVideoXTransformer3DModel:
    """9 frames of 32 x 48 pixels: 3 latent frames of 4 x 6 cells, 2 x 3 tokens each."""
    torch.manual_seed(0)
    return louder(
        CogVideoXTransformer3DModel(
            num_attention_heads=4, attention_head_dim=16 if rotary else 8, in_channels=4, out_channels=4,
            time_embed_dim=16, text_embed_dim=32, num_layers=layers, sample_height=4, sample_width=6, sample_frames=9,
            max_text_seq_length=16, use_rotary_positional_embeddings=rotary, patch_size_t=2 if pairs else None,
            patch_bias=not pairs,
        )
    )  # fmt: skip


def cogvideox(path: Path, rotary: bool = False, pairs: bool = False, layers: int = 2, dpm: bool = False) -> Path:
    """A CogVideoX folder as diffusers' own pipeline writes it: 2B; `rotary` as 5B; with `pairs` as 1.5.

    Tiles of its autoencoder are 48 x 40 pixels.
    """
    torch.manual_seed(0)
    words = t5_tokenizer()
    scheduler = CogVideoXDPMScheduler if dpm else CogVideoXDDIMScheduler
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2, sample_height=96,
        sample_width=80, temporal_compression_ratio=4, down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
    )  # fmt: skip
    CogVideoXPipeline(
        tokenizer=words,
        text_encoder=T5EncoderModel(T5Config(**t5_config(words))),
        vae=vae,
        transformer=cogvideox_network(rotary or pairs, pairs, layers),
        scheduler=scheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
            prediction_type="v_prediction", rescale_betas_zero_snr=True, set_alpha_to_one=True, snr_shift_scale=3.0,
            timestep_spacing="trailing",
        ),
    ).save_pretrained(path)  # fmt: skip
    return path


def without_variance(vae: Any) -> None:
    """An encoder whose posterior is its mean: diffusers' pipeline of CogVideoX draws a sample of it."""
    with torch.no_grad():
        _, deviations = vae.encoder.conv_out.conv.weight.chunk(2)
        deviations.zero_()
        _, deviations = vae.encoder.conv_out.conv.bias.chunk(2)
        deviations.fill_(-30.0)


def cogvideox_i2v(path: Path, pairs: bool = False) -> Path:
    """CogVideoX 5B I2V with its learned table of positions; with `pairs` 1.5 5B I2V."""
    cogvideox(path, rotary=True, pairs=pairs)
    text = CogVideoXPipeline.from_pretrained(path)
    torch.manual_seed(0)
    config = {key: value for key, value in text.transformer.config.items() if not key.startswith("_")}
    further = {"ofs_embed_dim": 16} if pairs else {"use_learned_positional_embeddings": True}
    network = louder(CogVideoXTransformer3DModel(**{**config, "in_channels": 8, **further}))
    if not pairs:
        network.patch_embed.pos_embedding.normal_(std=0.1)
    without_variance(text.vae)
    text.vae.register_to_config(invert_scale_latents=pairs)
    parts = {**text.components, "transformer": network}
    CogVideoXImageToVideoPipeline(**parts).save_pretrained(path)
    return path


def ltx(path: Path, dynamic: bool = True, timestep: bool = False) -> Path:
    """An LTX-Video folder as diffusers' own pipeline writes it; `timestep` as 0.9.1 and later decode."""
    torch.manual_seed(0)
    words = t5_tokenizer()
    levels = (True, True, False, False)
    vae = AutoencoderKLLTXVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 5, spatio_temporal_scaling=levels,
        decoder_spatio_temporal_scaling=levels, patch_size=2, timestep_conditioning=timestep,
    )  # fmt: skip
    vae.latents_mean.normal_()
    vae.latents_std.uniform_(0.5, 2.0)
    network = LTXVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=16, cross_attention_dim=32,
        num_layers=2, caption_channels=32,
    )  # fmt: skip
    shift = {"base_shift": 0.95, "max_shift": 2.05, "base_image_seq_len": 1024, "max_image_seq_len": 4096}
    LTXPipeline(
        tokenizer=words,
        text_encoder=T5EncoderModel(T5Config(**t5_config(words))),
        vae=vae,
        transformer=louder(network),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=dynamic, shift_terminal=0.1, **shift),
    ).save_pretrained(path)
    return path


def wan_i2v(path: Path, second: bool = False) -> Path:
    """Wan 2.1 I2V, which reads CLIP's states of the image; with `second` 2.2 I2V A14B, which does not."""
    wan(path, second=second)
    text = WanPipeline.from_pretrained(path)
    networks = []
    for i in range(2):
        torch.manual_seed(i)
        config = {key: value for key, value in text.transformer.config.items() if not key.startswith("_")}
        clip = {} if second else {"image_dim": WIDTH, "added_kv_proj_dim": 24}
        networks.append(louder(WanTransformer3DModel(**{**config, "in_channels": 12, **clip})))
    encoder = None if second else CLIPVisionModel(CLIPVisionConfig(**{**vision(), "num_hidden_layers": 2}))
    processor = None
    if not second:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        size = {"height": 64, "width": 64}
        processor = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=size)
    parts = {**text.components, "transformer": networks[0], "transformer_2": networks[1] if second else None}
    parts["tokenizer"] = t5_tokenizer(16 if second else 512)  # of 2.1 diffusers' attention counts 512
    WanImageToVideoPipeline(
        **parts, image_encoder=encoder, image_processor=processor, boundary_ratio=0.9 if second else None
    ).save_pretrained(path)  # fmt: skip
    return path


def wan_network(channels: int = 4) -> WanTransformer3DModel:
    torch.manual_seed(0)
    return louder(
        WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, in_channels=channels, out_channels=channels, text_dim=32,
            freq_dim=16, ffn_dim=32, num_layers=2,
        )
    )  # fmt: skip


def wan(path: Path, second: bool = False, each_token: bool = False) -> Path:
    """A Wan folder as diffusers' own pipeline writes it: 2.1; `second` as 2.2 A14B; `each_token` as 2.2 TI2V."""
    torch.manual_seed(0)
    words = t5_tokenizer()
    encoder = UMT5EncoderModel(UMT5Config(**t5_config(words)))
    vae = AutoencoderKLWan(
        base_dim=3, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 2.0, 0.7, 1.0],
    )  # fmt: skip
    network, low = wan_network(), wan_network()
    with torch.no_grad():
        low.proj_out.weight *= -1
    WanPipeline(
        tokenizer=words,
        text_encoder=encoder,
        vae=vae,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, num_train_timesteps=1000
        ),
        transformer=network,
        transformer_2=low if second else None,
        boundary_ratio=0.875 if second else None,
        expand_timesteps=each_token,
    ).save_pretrained(path)
    return path


def x4_folder(path: Path) -> Path:
    """Stable Diffusion's x4 upscaler at tiny size."""
    torch.manual_seed(0)
    network = UNet2DConditionModel(
        sample_size=8, in_channels=7, out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8, cross_attention_dim=WIDTH, attention_head_dim=2, num_class_embeds=1000,
    )  # fmt: skip
    made = folder(path, network)
    vae4(made / "vae")
    card = {
        "concat_conditioning": {"kind": "noised", "level": 20},
        "geometry": {"frames": 8, "height": 64, "width": 64, "stride": 4},
    }
    (made / "animatic.json").write_text(json.dumps({**card, "defaults": {"steps": 2, "guidance": 2.0}}))
    return made


def interpolation(path: Path, residual: float = 1.0) -> Path:
    """A folder as `animatic train --learn interpolate:4` writes it: 9 frames of 64 x 64 pixels.

    A new network's residual is zero, and its result the prior; here its last layer has weights of deviation `residual`.
    """
    how = {"target": "x0", "schedule": "zero-snr", "min_snr": 0, "dim": 8, "multiples": "1,1", "blocks": "1,1"}
    settings = TrainingSettings("toy:64:4", learn="interpolate:4", text="none", frames=9, size="64", **how)
    module, _ = new_train_module(settings, "none", [], RunText(path), lambda line: None)
    with torch.no_grad():
        for parameter in module.model.unet.conv_out.parameters():
            parameter.normal_(std=residual)
    save_model(path, module.model)
    return path


def vae4(path: Path) -> None:
    """A codec of 4 x 4 pixels, the upscaler's."""
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8, 8), norm_num_groups=4, down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    ).save_pretrained(path)  # fmt: skip


def second_tokenizer() -> CLIPTokenizer:
    """That of OpenCLIP bigG as SDXL's folder has it: padded with "!", which is thereby a token of its own."""
    words = tokenizer()
    words.pad_token = "!"
    return words


def clip_encoder(vocabulary: CLIPTokenizer, width: int, projects: bool = True) -> Any:
    """A CLIP of three layers, whose last state but one is not its input; with a projection of the same width."""
    config = text_encoder(tokenizer()).config.to_dict()
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 3, "projection_dim": width}
    cls = CLIPTextModelWithProjection if projects else CLIPTextModel
    return cls(CLIPTextConfig(**{**config, **sizes, "pad_token_id": vocabulary.pad_token_id}))


def unet_xl(gated: bool = False) -> UNet2DConditionModel:
    """SDXL's layout: no attention at the highest level, more transformer blocks at lower ones, sizes as conditions."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), block_out_channels=(16, 32, 32),
        layers_per_block=2, norm_num_groups=8, cross_attention_dim=WIDTH + 8, attention_head_dim=(2, 4, 4),
        transformer_layers_per_block=[1, 1, 2], use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=8 + 6 * 8,
        attention_type="gated" if gated else "default",
    ).eval()  # fmt: skip


def sdxl(path: Path, zeros: bool = True, gated: bool = False) -> Path:
    """An SDXL folder as diffusers' own pipeline writes it; `gated` as IGLIGEN-XL's, whose gates are open here."""
    torch.manual_seed(0)
    words, second, network = tokenizer(), second_tokenizer(), unet_xl(gated)
    with torch.no_grad():
        for name, p in network.named_parameters():
            if "fuser.alpha" in name:  # zero, until it is trained
                p += 0.5
    StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip_encoder(words, WIDTH, projects=False),
        text_encoder_2=clip_encoder(second, 8),
        tokenizer=words,
        tokenizer_2=second,
        unet=network,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
            timestep_spacing="leading",
        ),
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    ).save_pretrained(path)  # fmt: skip
    return path


def sd3_network(dual: bool = True) -> SD3Transformer2DModel:
    torch.manual_seed(0)
    network = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=24, out_channels=4,
        pos_embed_max_size=16, dual_attention_layers=(0, 1) if dual else (), qk_norm="rms_norm" if dual else None,
    )  # fmt: skip
    with torch.no_grad():  # of a random network the text would hardly matter
        network.context_embedder.weight *= 4
    return network.eval()


def sd3(path: Path, dual: bool = True) -> Path:
    """A Stable Diffusion 3.5 Medium folder as diffusers' own pipeline writes it; without `dual` as 3."""
    torch.manual_seed(0)
    words, second, third = tokenizer(), second_tokenizer(), t5_tokenizer()
    codec = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4, sample_size=64, scaling_factor=1.5,
        shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    StableDiffusion3Pipeline(
        transformer=sd3_network(dual),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=codec,
        text_encoder=clip_encoder(words, WIDTH),
        tokenizer=words,
        text_encoder_2=clip_encoder(second, 8),
        tokenizer_2=second,
        text_encoder_3=T5EncoderModel(T5Config(**t5_config(third))),
        tokenizer_3=third,
    ).save_pretrained(path)
    return path


QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Qwen2's byte-level tokenizer without merges, with the chat's own tokens and template."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Qwen2Tokenizer(
        vocab={letter: i for i, letter in enumerate(letters)}, merges=[], unk_token=None, pad_token="<|endoftext|>",
        eos_token="<|im_end|>", additional_special_tokens=["<|im_start|>"], model_max_length=64,
    )  # fmt: skip
    words.chat_template = QWEN_CHAT
    return words


def hunyuan_network(layers: int = 2) -> HunyuanVideo15Transformer3DModel:
    torch.manual_seed(0)
    network = HunyuanVideo15Transformer3DModel(
        in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=16, num_layers=layers,
        num_refiner_layers=1, text_embed_dim=32, text_embed_2_dim=16, image_embed_dim=8, rope_axes_dim=(4, 6, 6),
        target_size=64, task_type="t2v",
    )  # fmt: skip
    with torch.no_grad():  # of a random network the text would hardly matter
        for name, p in network.named_parameters():
            if "proj_in.weight" in name or "context_embedder_2" in name:
                p *= 4
            elif "norm_q.weight" in name or "norm_k.weight" in name or "norm_added" in name:
                p *= 2
    return network.eval()


def hunyuan(path: Path, layers: int = 2) -> Path:
    """A HunyuanVideo 1.5 folder as diffusers' own pipeline writes it: 64 tokens of words, 32 of glyphs."""
    torch.manual_seed(0)
    words = qwen_tokenizer()
    chat = Qwen2_5_VLTextConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2]},
        pad_token_id=words.pad_token_id,
    )  # fmt: skip
    glyphs = T5Config(
        vocab_size=384, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu"
    )
    HunyuanVideo15Pipeline(
        transformer=hunyuan_network(layers),
        vae=AutoencoderKLHunyuanVideo15(
            latent_channels=4, block_out_channels=(4, 8, 8, 8, 8), layers_per_block=1, scaling_factor=1.03682
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        text_encoder=Qwen2_5_VLTextModel(chat),
        tokenizer=words,
        text_encoder_2=T5EncoderModel(glyphs),
        tokenizer_2=ByT5Tokenizer(extra_ids=0, model_max_length=32),
        guider=ClassifierFreeGuidance(guidance_scale=6.0),
    ).save_pretrained(path)
    return path
