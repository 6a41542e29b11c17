"""Checkpoints in the layouts of their first authors: found by their files' names, with what makes a folder of them."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import AnimaticError
from .presets import CONVERT_COMMAND, PRESETS

SCRIPTS = "scripts/ of diffusers' repository"

# (names of files, whose they are, what converts them, what is in diffusers layout already)
ORIGINALS = (
    (
        ("text2video_pytorch_model.pth", "VQGAN_autoencoder.pth"),
        "ModelScope's own layout",
        "convert_ms_text_to_video_to_diffusers.py",
        "--model modelscope or zeroscope",
    ),
    (
        ("mp_rank_00_model_states.pt", "3d-vae.pt"),
        "the layout of CogVideoX for SAT, as DiTCtrl uses it",
        "convert_cogvideox_to_diffusers.py",
        "--model cogvideox-2b",
    ),
    (
        ("Wan2.1_VAE.pth", "Wan2.2_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth"),
        "Wan's own layout",
        "convert_wan_to_diffusers.py",
        "the hub id that ends in -Diffusers",
    ),
)
# hub ids (lower case) of checkpoints in these layouts, and the known model that has the same weights
ORIGINAL_IDS = {
    "damo-vilab/modelscope-damo-text-to-video-synthesis": "modelscope",
    "ali-vilab/modelscope-damo-text-to-video-synthesis": "modelscope",
    "wan-ai/wan2.1-t2v-1.3b": "wan2.1-1.3b",
    "wan-ai/wan2.1-t2v-14b": "wan2.1-14b",
    "wan-ai/wan2.2-ti2v-5b": "wan2.2-5b",
    "wan-ai/wan2.2-t2v-a14b": "wan2.2-a14b",
    "tencent/hunyuanvideo-1.5": "hunyuanvideo1.5-480p",
}
LAVIE = ("lavie_base.pt", "lavie_interpolation.pt", "lavie_vsr.pt")


def check_original_id(hub_id: str) -> None:
    """Raise `AnimaticError` for a hub id under which a known model lies in the layout of its first authors."""
    name = ORIGINAL_IDS.get(hub_id.lower(), "")
    if name:
        raise AnimaticError(f"{hub_id} is in its authors' layout; want {name}, the same as {PRESETS[name].source}")


def check_original(place: str | os.PathLike[str]) -> None:
    """Raise `AnimaticError` for a file, or a folder without an index, in a layout that has to be converted first."""
    path = Path(place)
    if path.name in LAVIE:
        raise AnimaticError(f"{path}: is LaVie's own; want {CONVERT_COMMAND}{path}, then --model {path.stem}")
    if (path / "model_index.json").exists():
        return

    # Their folders nest up to two deep: transformer/1000/mp_rank_00_model_states.pt.
    for names, whose, script, ready in ORIGINALS:
        for name in names:
            is_here = path.name == name or any(next(path.glob(f"{deep}{name}"), None) for deep in ("", "*/", "*/*/"))
            if is_here:
                how = f"{script} in {SCRIPTS}"
                raise AnimaticError(f"{path}: {name} is in {whose}; want it converted ({how}), or {ready}")
