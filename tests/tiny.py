"""The real classes at tiny size: model folders in the real format, random weights."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel, UNet3DConditionModel
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

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
