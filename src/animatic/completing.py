"""Clips of which some frames are known: predict what follows, fill what is missing, extend (Ho et al. 2022, 3.1).

Two ways, both controls: `Known` puts the known frames back at every noise level (imputation), `Reconstruction` pulls
the estimate of the others by the gradient of how well the known ones are explained. They go together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .controls.finite import Finite
from .controls.guidance import Guidance
from .core.backbone import Backbone, Geometry
from .core.control import Control, Run
from .core.loop import sample
from .core.types import Conditioning, Denoise, Step
from .errors import AnimaticError
from .scene import Scene
from .video import Video


def answer_for(run: Run, x: Tensor, answer: Tensor, step: Step, clean: Tensor) -> Tensor:
    """The prediction whose clean estimate is `clean`, whatever the model predicts: estimates are linear in it."""
    schedule = run.schedule
    zero = torch.zeros_like(x)
    slope = schedule.estimate(zero, torch.ones_like(x), step)
    error = clean - schedule.estimate(x, answer, step)
    return answer + error / slope


@dataclass(frozen=True)
class Bound(Control):
    """A control that asks its run for noise levels."""

    run: Run | None = field(default=None, repr=False, kw_only=True)

    def begin(self, run: Run) -> Control:
        return replace(self, run=run)

    @property
    def bound(self) -> Run:
        assert self.run is not None
        return self.run


@dataclass(frozen=True)
class Threshold(Bound):
    """Clean estimates kept in -1..1, for models of pixels: clipped, or scaled down where many are outside.

    `percentile` 1 clips; below it is dynamic thresholding (Saharia et al. 2022, 2.3; video-diffusion-pytorch's default
    is 0.9). Models whose scheduler does so itself (`clip_sample`, `thresholding`: all that are trained here on pixels,
    or converted) need none; `render(..., scheduler=...)` keeps that.
    """

    percentile: float = 0.995

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        answer = inner(x, step, cond)
        clean = self.bound.schedule.estimate(x, answer, step)

        # how far each sample reaches: never below 1, so that none is scaled up
        most = torch.ones(len(x), device=x.device)
        if self.percentile < 1:
            values = clean.flatten(1).abs()
            most = values.quantile(self.percentile, 1).clamp(min=1)

        # one number a sample: [row, 1, 1, 1, 1]
        shape = [1] * (x.dim() - 1)
        most = most.view(-1, *shape).to(x.dtype)
        clipped = clean.clamp(-most, most)
        return answer_for(self.bound, x, answer, step, clipped / most)


@dataclass(frozen=True)
class Known(Bound):
    """Frames `where` (bool `[frame]`) stay what `latents` `[row, channel, frame, h, w]` say, noised to each level."""

    latents: Tensor
    where: Tensor

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        run = self.bound
        here = self.latents.to(run.x)
        if not step.clean:
            # the run's own noise, the same at every level
            noise = run.schedule.unit(run.x)
            here = run.schedule.noised(here, noise, step)
        where = self.where[:, None, None].to(x.device)  # [frame, 1, 1]
        return torch.where(where, here.to(x.dtype), x)


@dataclass(frozen=True)
class Reconstruction(Bound):
    """x0 of the unknown frames, moved by -weight * signal / 2 * d |known - x0 of the known|^2 / dx (eq. 7).

    Put it outside `Guidance`. The paper's weights are 1 to 2 and more where steps are few; 0 is off.
    """

    latents: Tensor
    where: Tensor
    weight: float = 2.0

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if not self.weight:
            return inner(x, step, cond)

        # gradient of the squared error in the known frames, through the network
        run = self.bound
        where = self.where.to(x.device)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            answer = inner(x, step, cond)
            clean = run.schedule.estimate(x, answer, step)
            error = self.latents.to(run.x) - clean
            known_error = error[:, :, where]
            apart = known_error.square().sum()
            (slope,) = torch.autograd.grad(apart, x)

        # known frames are put back by `Known`: only the others move
        signal = run.schedule.signal(step)
        move = self.weight * signal / 2 * slope
        moved = clean - torch.where(where[:, None, None], 0, move)
        return answer_for(run, x, answer, step, moved).detach()


def complete(
    scene: Scene,
    backbone: Backbone,
    known: Video,
    where: list[bool],
    controls: tuple[Control, ...] = (),
    seed: int = 0,
    steps: int | None = None,
    weight: float = 2.0,
) -> Video:
    """A clip of `len(where)` frames of which the true ones are, in order, the frames of `known`.

    First-frame prediction is `[True, False, ...]`; extending a clip is its last frames followed by False. `controls`
    stand innermost (`Guidance`). Raises where the numbers of frames or the sizes disagree, or the known frames of a
    model whose latent frames hold several are not whole latent frames at the beginning.
    """
    geometry = backbone.geometry
    defaults = backbone.defaults
    asked = sum(where)
    if asked != len(known) or all(where):
        frames = len(where)
        count = f"{asked} of {frames} frames are to be known"
        raise AnimaticError(f"{count}, but {len(known)} are given; want as many, and one unknown at least")
    own_height = geometry.height
    own_width = geometry.width
    height, width = known.frames.shape[1:3]
    if (height, width) != (own_height, own_width):
        raise AnimaticError(f"known frames measure {width}x{height}; want {own_width}x{own_height}")

    # latents of the known frames in their places, zeros elsewhere
    noise = backbone.noise([seed], len(where), own_height, own_width)
    mask = known_latents(where, geometry, noise.shape[2])
    full = torch.zeros_like(noise)
    frames_known = known.frames.copy()  # frames may be read-only, which torch warns of
    pixels = torch.from_numpy(frames_known)[None]
    latents_known = backbone.to_latents(pixels)
    full[:, :, mask] = latents_known.to(noise)

    # the conditioning must say what the guidance among the controls will do
    negative = defaults.negative_text(scene.negative)
    cond = backbone.encode([scene.prompt], [negative])
    scales = [control.scale for control in controls if isinstance(control, Guidance)]
    scale = scales[0] if scales else 1.0

    # the clean estimates of the whole chain are pulled towards the known frames
    reconstruction = Reconstruction(full, mask, weight)
    chain = [Finite(), Known(full, mask), reconstruction, *controls]
    count = defaults.steps if steps is None else steps
    schedule = backbone.schedule(count, defaults.scheduler)
    latents = sample(backbone, schedule, noise, cond, chain, [seed], scenes=[scene], guidance=scale)
    decoded = backbone.decode(latents).cpu().numpy()
    shown = repr(chain[2:])  # `Finite` and `Known` have no settings
    info = {"prompt": scene.prompt, "seed": seed, "controls": shown}
    clip = decoded[0, : len(where)]  # latent frames may hold more
    return Video(clip, geometry.fps, info)


def known_latents(where: list[bool], geometry: Geometry, latent_frames: int) -> Tensor:
    """Which latent frames hold the known frames alone: bool `[latent frame]`.

    Raises `AnimaticError` where latent frames hold several frames, and the known ones are not the first of the clip, or
    end within a latent frame.
    """
    ratio = geometry.vae_temporal_ratio
    if ratio == 1:
        return torch.tensor(where)

    # the first latent frame holds one frame, after spare ones
    known = sum(where)
    if not all(where[:known]) or (known - 1) % ratio:
        places = [i for i, is_known in enumerate(where) if is_known]
        want = f"want the first 1, {1 + ratio}, {1 + 2 * ratio} ... frames"
        raise AnimaticError(f"known frames are {places}, and a latent frame holds {ratio}; {want}")
    count = geometry.patch[0] + (known - 1) // ratio
    return torch.arange(latent_frames) < count
