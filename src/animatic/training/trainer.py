"""Trains `mini`: single frames first, with the time layers left out, then clips. Resumes from its last checkpoint.

    python -m animatic.training.trainer --out runs/out/mini

Data, noise and timesteps of a step depend on the seed and the step number alone, so a run that was cut off and
resumed takes the same path as one that was not.
"""

from __future__ import annotations

import json
import random
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..backbones.unet3d import UNet3D
from ..sampling import Cond, Maps, Row, Step, plain
from . import mini, toyworld
from .captions import invent
from .loss import noised, out_of_place, timesteps, wanted, weighted_mse
from .pictures import without_time


@dataclass(frozen=True)
class Plan:
    """How `mini` is trained. Steps count optimiser steps; `clip_steps` come after `still_steps`."""

    still_steps: int = 3500
    clip_steps: int = 6000
    stills: int = 48  # single frames a batch
    clips: int = 8  # clips a batch
    stills_among_clips: float = 0.25  # share of still batches in the second part
    rate: float = 1.5e-3
    warmup: int = 200
    decay: int = 2000  # last steps, in which the rate falls linearly to 0
    unconditional: float = 0.1  # share of captions left out, for classifier-free guidance
    placing: float = 0.1  # weight of the attention loss
    average: float = 0.999  # of the weights that are shipped
    seed: int = 0

    @property
    def steps(self) -> int:
        return self.still_steps + self.clip_steps

    def rate_at(self, step: int) -> float:
        return self.rate * min(1.0, (step + 1) / self.warmup, max(0.0, (self.steps - step) / self.decay))


@dataclass(frozen=True)
class Batch:
    """Films `[row, 3, frame, height, width]` in -1..1 with their captions, covers and named tokens (see `loss`)."""

    films: Tensor
    captions: list[str]
    cover: Tensor
    tokens: Tensor
    named: Tensor
    valid: Tensor


def film(model: UNet3D, rng: random.Random, count: int, frames: int, unconditional: float) -> Batch:
    scenes = [invent(rng, frames) for _ in range(count)]
    drawn = [toyworld.draw(scene, frames) for scene in scenes]
    films = torch.from_numpy(np.stack([video for video, _ in drawn])).movedim(-1, 1) / 127.5 - 1
    covers = [torch.from_numpy(cover) for _, cover in drawn]
    tokens, tracks = wanted(model.text, scenes)
    named, valid = torch.zeros(*tokens.shape, *covers[0].shape[1:]), torch.zeros(tokens.shape)
    captions = [scene.prompt for scene in scenes]
    for i, positions in enumerate(tracks):
        if rng.random() < unconditional:
            captions[i] = ""
            continue
        for j, some in enumerate(positions):
            named[i, j], valid[i, j] = covers[i][list(some)].amax(0), 1.0
    return Batch(films, captions, torch.stack([c.amax(0) for c in covers]), tokens, named, valid)


def losses(model: UNet3D, batch: Batch, t: Tensor, alphas: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """`(weighted velocity error, attention out of place)` of one batch at timesteps `t`."""
    rows, _, frames = batch.films.shape[:3]
    with torch.no_grad():
        pixels = batch.films.to(device).movedim(2, 1).flatten(0, 1)
        x = model.vae.encode(pixels).latents.unflatten(0, (rows, frames)).movedim(1, 2)
    noisy, velocity = noised(x, t.to(device), alphas.to(device))
    maps = Maps(batch.tokens.to(device))
    cond = Cond(model.text(batch.captions), tuple(Row(stream=i) for i in range(rows)), maps=maps)
    prediction = model(noisy, Step(0, 1, t.to(device)), cond, plain)
    error = weighted_mse(prediction, velocity, batch.cover.to(device), alphas[t].to(device))
    return error, out_of_place(maps.found, batch.named.to(device), batch.valid.to(device))


def train(plan: Plan, out: Path, save_every: int = 250, stop_at: int | None = None) -> Path:
    """Train to the end of `plan`, or to step `stop_at`; returns the folder of the averaged weights."""
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = mini.build(plan.seed)
    networks = nn.ModuleDict({"unet": model.unet, "text": model.text.encoder}).to(device)
    model.vae.to(device)
    average = AveragedModel(networks, multi_avg_fn=get_ema_multi_avg_fn(plan.average))
    optimiser = torch.optim.AdamW(networks.parameters(), plan.rate, betas=(0.9, 0.98), weight_decay=1e-3, foreach=True)
    parts: dict[str, Any] = {"networks": networks, "average": average, "optimiser": optimiser}
    state, start = out / "state.pt", 0
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        start = saved["step"]

    def checkpoint(step: int) -> None:
        torch.save({"step": step, **{k: v.state_dict() for k, v in parts.items()}}, state.with_suffix(".part"))
        state.with_suffix(".part").replace(state)
        unet, encoder = average.module.children()
        mini.save(model, unet, encoder, out / "mini")

    alphas = model.scheduler.alphas_cumprod
    (out / "plan.json").write_text(json.dumps(asdict(plan), indent=1))
    began, recent = time.monotonic(), {}
    end = plan.steps if stop_at is None else min(stop_at, plan.steps)
    with (out / "log.jsonl").open("a") as log:
        for step in range(start, end):
            rng = random.Random(f"{plan.seed}/{step}")
            torch.manual_seed(rng.getrandbits(63))
            first = step < plan.still_steps
            still = first or rng.random() < plan.stills_among_clips
            count, frames = (plan.stills, 1) if still else (plan.clips, mini.GEOMETRY.frames)
            batch = film(model, rng, count, frames, plan.unconditional)
            t = timesteps(count, len(alphas))
            for group in optimiser.param_groups:
                group["lr"] = plan.rate_at(step)
            with without_time(model.unet) if first else nullcontext():
                error, place = losses(model, batch, t, alphas, device)
                (error + plan.placing * place).backward()
            nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            average.update_parameters(networks)
            recent.setdefault("still" if still else "clip", []).append((error.item(), place.item()))
            if (step + 1) % 50 == 0:
                means = {
                    k: [round(float(np.mean(v)), 4) for v in zip(*rows, strict=True)] for k, rows in recent.items()
                }
                line = {"step": step + 1, "seconds": round(time.monotonic() - began), **means}
                print(json.dumps(line), file=log, flush=True)
                recent = {}
            if (step + 1) % save_every == 0:
                checkpoint(step + 1)
    checkpoint(max(start, end))
    return out / "mini"


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, log and weights; resumed if it has a checkpoint.")],
    still_steps: int = Plan.still_steps,
    clip_steps: int = Plan.clip_steps,
    stills: int = Plan.stills,
    clips: int = Plan.clips,
    rate: float = Plan.rate,
    decay: int = Plan.decay,
    seed: int = Plan.seed,
    stop_at: Annotated[int | None, typer.Option(help="Stop after this step, to be resumed.")] = None,
) -> None:
    plan = Plan(
        still_steps=still_steps, clip_steps=clip_steps, stills=stills, clips=clips, rate=rate, decay=decay, seed=seed
    )
    print(train(plan, out, stop_at=stop_at))


if __name__ == "__main__":
    typer.run(main)
