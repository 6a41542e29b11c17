"""What video transformers read of the image that a clip begins with, and CLIP's encoder that some of them need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from ..errors import AnimaticError
from .folder import read_network, reading

# Pipelines of diffusers whose networks read an image besides the text.
IMAGE_PIPELINES = ("CogVideoXImageToVideoPipeline", "WanImageToVideoPipeline")

GREY = 127.5  # the middle of 0..255


@dataclass(frozen=True)
class ImageInput:
    """The image as inputs of the network; each is None where the model has no such input.

    `channels` `[1, channel, frame, height, width]` are concatenated to the latents. `states` `[1, token, width]` are
    those of the image encoder.
    """

    channels: Tensor | None = None
    states: Tensor | None = None


@dataclass(frozen=True)
class ImageEncoder:
    """CLIP's vision tower of Wan 2.1 and its preprocessing. It runs once a clip, wherever its weights are."""

    encoder: Any
    processor: Any

    @staticmethod
    def read(folder: Path) -> ImageEncoder:
        """The encoder in `image_encoder`, in float32 and in main memory, and the processor in `image_processor`."""
        encoder = read_network(transformers.CLIPVisionModel, folder / "image_encoder", torch.float32)
        processor_folder = folder / "image_processor"
        with reading(f"{processor_folder}: the image processor cannot be read"):
            processor = transformers.AutoImageProcessor.from_pretrained(processor_folder, local_files_only=True)
        return ImageEncoder(encoder.eval().requires_grad_(False), processor)

    def states(self, pixels: Tensor) -> Tensor:
        """States `[1, token, width]` of the last layer but one, of an image 0..255 `[height, width, 3]`."""
        prepared = self.processor(images=pixels.cpu().numpy(), return_tensors="pt")
        images = prepared.pixel_values.to(self.encoder.device, self.encoder.dtype)
        output = self.encoder(pixel_values=images, output_hidden_states=True)
        return output.hidden_states[-2]


def padded_clip(pixels: Tensor, frames: int) -> Tensor:
    """A clip `[1, frame, height, width, 3]` of an image 0..255 `[1, 1, height, width, 3]`, and then of grey.

    Grey is zero in -1..1, which autoencoders read.
    """
    _, _, height, width, _ = pixels.shape
    rest = torch.full((1, frames - 1, height, width, 3), GREY, device=pixels.device)
    return torch.cat([pixels.float(), rest], 1)


def first_frame_mask(latents: Tensor, channels: int) -> Tensor:
    """Which frames are given: 1 in the first latent frame, 0 after it, `[1, channel, frame, height, width]`.

    A latent frame has a channel for each frame that it holds.
    """
    mask = latents.new_zeros(1, channels, *latents.shape[2:])
    mask[:, :, 0] = 1
    return mask


def with_image_channels(name: str, x: Tensor, image: ImageInput | None) -> Tensor:
    """Latents `x` `[branch, channel, frame, height, width]`, with the channels of the image after their own.

    Raises `AnimaticError` where the model called `name` was given no image, or one for clips of another length.
    """
    if image is None or image.channels is None:
        raise AnimaticError(f"{name} animates an image, and has none; want image=FILE (--image FILE)")
    channels = image.channels
    if channels.shape[2:] != x.shape[2:]:
        size, wanted = list(x.shape[2:]), list(channels.shape[2:])
        raise AnimaticError(f"latents are {size}, and the image is for {wanted}; want the clip that it was read for")
    repeated = channels.to(x).expand(len(x), *channels.shape[1:])
    return torch.cat([x, repeated], 1)
