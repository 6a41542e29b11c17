"""Tiny networks whose weights anyone can rebuild: NumPy's frozen generator, seeded with each parameter's name."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

WIDTH = 16
NEGATIVE = "dull, gray"

# what the tiny networks of all recordings have in common with the real ones: four levels, two layers each
UNET = {
    "sample_size": 16, "block_out_channels": (32, 32, 64, 64), "layers_per_block": 2, "norm_num_groups": 32,
    "cross_attention_dim": WIDTH,
}  # fmt: skip
SOLVER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
COG_SOLVER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "set_alpha_to_one": True,
    "snr_shift_scale": 3.0, "timestep_spacing": "trailing",
}  # fmt: skip
TEXT = {
    "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 77,
}  # fmt: skip


def weight(name: str, shape: tuple[int, ...], loud: float = 4) -> Tensor:
    """Normal numbers by the parameter's name: gains about 1, biases 0.1, the rest over the root of what they sum.

    Text is listened to: queries and keys of its attention are `loud` times that.
    """
    n = np.random.RandomState(zlib.crc32(name.encode()) % 2**32).standard_normal(shape)
    if len(shape) > 1:
        text = ("attn2.to_q" in name or "attn2.to_k" in name) and "temp" not in name and "transformer_in" not in name
        n = (loud if text else 1) * n / np.sqrt(np.prod(shape[1:]))
    elif name.endswith("weight"):
        n = 1 + 0.1 * n
    else:
        n = 0.1 * n
    return torch.from_numpy(np.asarray(n, np.float32))


def seeded(module: nn.Module, loud: float = 4) -> nn.Module:
    """`module` with the weights of all recordings; a text encoder's names count without their `text_model.`."""
    state = {
        name: weight(name.removeprefix("text_model."), tuple(p.shape), loud)
        for name, p in module.state_dict().items()
        if p.is_floating_point()
    }
    module.load_state_dict(state, strict=False)
    return module.eval()


def recorded(name: str) -> dict:
    """Numbers that the originals gave, from the file `name` beside this one."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


def vocabulary() -> dict[str, int]:
    """CLIP's byte-level vocabulary without merges, as in `tiny.tokenizer`: every letter is a token."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [256 + i for i in range(256 - len(printable))]
    letters = sorted(map(chr, [*printable, *others]))
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {word: i for i, word in enumerate(words)}
