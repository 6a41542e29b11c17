"""The first latents of a run where these are given, or drawn by somebody's own generator, in place of a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from .core.seeds import MOST_SEED
from .errors import AnimaticError

FirstLatents = Tensor | torch.Generator


def seed_of(draw: torch.Generator) -> int:
    """The seed whose noise a generator draws next; 0 where it drew before, or is not the CPU's."""
    return draw.initial_seed() if _is_fresh(draw) else 0


def first_latents(given: FirstLatents, shape: Sequence[int], like: Tensor) -> tuple[Tensor, str]:
    """(first latents `[1, channel, frame, height, width]`, their digest), on the device and of the dtype of `like`.

    Args:
        given: Unit noise of this shape, of a single frame also `[1, channel, height, width]`; or a generator, which
            draws it on its own device, in float32, and goes on.
        shape: (channel, frame, height, width) of the run.
        like: A tensor on the device of the run.

    The digest is "" where the noise is that of a seed: of a generator that drew nothing before. Raises `AnimaticError`
    where the latents have another shape, or numbers that are not finite.
    """
    if isinstance(given, torch.Generator):
        is_of_seed = _is_fresh(given)
        drawn = torch.randn(tuple(shape), generator=given, device=given.device)[None]
        return drawn.to(like), "" if is_of_seed else _digest(drawn)
    if not isinstance(given, Tensor):
        raise AnimaticError(f"latents are {type(given).__name__}; want a tensor or a torch.Generator")

    # As pipelines of images have them, without an axis of frames.
    latents = given.unsqueeze(2) if given.dim() == 4 and shape[1] == 1 else given
    wanted = [1, *shape]
    if list(latents.shape) != wanted:
        raise AnimaticError(f"latents are {list(given.shape)}; want {wanted}: [1, channel, frame, height, width]")
    if not bool(latents.isfinite().all()):
        raise AnimaticError("latents hold numbers that are not finite; want unit noise")
    return latents.to(like), _digest(latents)


def _is_fresh(draw: torch.Generator) -> bool:
    """Whether a generator draws what its seed alone decides: nothing was drawn before."""
    seed = draw.initial_seed()
    if draw.device.type != "cpu" or not 0 <= seed <= MOST_SEED:
        return False
    again = torch.Generator().manual_seed(seed)
    return torch.equal(draw.get_state(), again.get_state())


def _digest(latents: Tensor) -> str:
    values = latents.detach().float().cpu().contiguous().numpy()
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]
