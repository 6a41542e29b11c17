"""The geometry of a model's videos: frames and pixels, and the latents that stand for them."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import AnimaticError
from .arithmetic import ceil_div


@dataclass(frozen=True)
class Geometry:
    """Native size of a model's videos in pixels and frames, and the size of their latents."""

    frames: int
    height: int
    width: int
    channels: int = 4
    vae_spatial_ratio: int = 8  # pixels per latent cell
    fps: float = 8.0
    max_frames: int = 1024
    vae_temporal_ratio: int = 1  # frames per latent frame; the first latent frame holds one frame
    patch: tuple[int, int, int] = (1, 1, 1)  # latent frames, rows and columns of cells per token

    def latent(self, frames: int, height: int, width: int, windowed: bool = False) -> tuple[int, int, int, int]:
        """(channel, frame, height, width) of the latents of a video of this size in frames and pixels.

        `windowed`: the model evaluates it in windows, so that it may be longer than `max_frames`. Raises
        `AnimaticError` where the model does not take this size.
        """
        if self.max_frames == 1 and frames != 1 and not windowed:
            raise AnimaticError(f"frames is {frames}; this model makes pictures, of 1 frame")
        if frames < 1 or (frames > self.max_frames and not windowed):
            raise AnimaticError(f"frames is {frames}; this model takes 1 to {self.max_frames}")

        ratio = self.vae_spatial_ratio
        frames_per_token, rows, columns = self.patch
        for name, value, cells in (("height", height, rows), ("width", width, columns)):
            # whole tokens, of whole cells
            multiple = ratio * cells
            if value < multiple or value % multiple:
                below = value // multiple * multiple
                nearest = f"{below} or {below + multiple}" if below > 0 else f"{multiple}"
                takes = f"this model takes multiples of {multiple} pixels, such as {nearest}"
                raise AnimaticError(f"{name} is {value}; {takes}")

        # the first latent frame holds one frame; where tokens hold two latent frames there is a spare one before it
        after_first = ceil_div(frames - 1, self.vae_temporal_ratio)
        tokens = ceil_div(after_first + frames_per_token, frames_per_token)
        latent_frames = tokens * frames_per_token
        return self.channels, latent_frames, height // ratio, width // ratio

    def pixel_frames(self, latent_frames: int) -> int:
        """Frames of a video with so many latent frames: the first is one frame, one is spare where tokens hold two."""
        after_first = latent_frames - self.patch[0]
        return after_first * self.vae_temporal_ratio + 1

    def middle_frames(self, latent_frames: int) -> list[int]:
        """Of each latent frame of a video, the frame in the middle of those that it holds."""
        spare = self.patch[0] - 1
        ratio = self.vae_temporal_ratio
        return [max(0, (i - spare) * ratio - ratio // 2) for i in range(latent_frames)]
