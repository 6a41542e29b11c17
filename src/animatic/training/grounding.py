"""Trains the grounding of `mini`: GLIGEN's layers alone, everything else frozen. Resumes from its last checkpoint.

python -m animatic.training.grounding --out runs/out/grounding
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from diffusers.models.attention import GatedSelfAttentionDense
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..backbones import load
from ..backbones.base import Components
from ..backbones.grounding import add_grounding, is_grounding
from ..controls.grounding import MOST, named_boxes
from ..sampling import Cond, Row, Step, plain
from ..scene import Scene
from . import mini, toyworld
from .captions import invent
from .loss import noised, out_of_place, timesteps, weighted_mse


@dataclass(frozen=True)
class Plan:
    """Single frames mostly: the layers work frame by frame, as the published video adapters were trained."""

    steps: int = 4500
    stills: int = 48  # single frames a batch
    clips: int = 6  # clips a batch
    clips_share: float = 0.2  # of the batches
    rate: float = 2e-3
    warmup: int = 50
    unconditional: float = 0.1  # share of captions left out
    boxless: float = 0.1  # share of scenes whose boxes are not told
    placing: float = 0.1  # weight of the attention loss
    lean: float = 0.35  # towards noisy levels, where boxes decide (see `loss.timesteps`)
    average: float = 0.995
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then linearly down to 0."""
        return self.rate * min(1.0, (step + 1) / self.warmup, (self.steps - step) / self.steps * 1.25)


class Parts(nn.Module):
    """The trained parameters, as a module of their own: for the optimiser, the average and the checkpoint."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        named = {name: part for name, part in unet.named_parameters() if is_grounding(name)}
        self.names, self.parts = list(named), nn.ParameterList(named.values())


def build() -> tuple[Components, Parts]:
    """`mini` with untrained grounding whose last layers are zero: no effect at first, gradients from the first step."""
    model = load("mini")
    if "grounding" not in model.provides:
        add_grounding(model.unet)
    parts = Parts(model.unet)
    for name, part in zip(parts.names, parts.parts, strict=True):
        part.requires_grad_(True)
        if "alpha" in name:
            nn.init.ones_(part)
        elif any(last in name for last in ("attn.to_out.0.", "ff.net.2.")):
            nn.init.zeros_(part)
    return model, parts


@contextmanager
def listening(unet: nn.Module, frames: int) -> Iterator[dict[str, Tensor]]:
    """Attention of pixels to boxes in every fuser, `[row, frame, head, height, width, object]` by its name.

    Left to itself the network takes very long to find out that pixels inside a box should look at it.
    """
    found: dict[str, Tensor] = {}

    def hear(name: str, attn: Any, hidden: Tensor) -> None:
        pixels = hidden.shape[1] - MOST
        q, k = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden[:, :pixels]), attn.to_k(hidden))
        )
        p = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)[..., pixels:]
        side = round(pixels**0.5)
        found[name] = p.unflatten(2, (side, side)).unflatten(0, (-1, frames))

    fusers = [(name, m) for name, m in unet.named_modules() if isinstance(m, GatedSelfAttentionDense)]
    hooks = [m.attn.register_forward_pre_hook(lambda a, args, n=n: hear(str(n), a, *args)) for n, m in fusers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def losses(
    model: Components, scenes: list[Scene], frames: int, plan: Plan, rng: random.Random
) -> tuple[Tensor, Tensor]:
    """`(velocity error, attention out of place)` of one batch."""
    device, alphas = model.device, model.scheduler.alphas_cumprod
    drawn = [toyworld.draw(scene, frames) for scene in scenes]
    films = torch.from_numpy(np.stack([video for video, _ in drawn])).movedim(-1, 2) / 127.5 - 1
    covers = torch.zeros(len(scenes), MOST, frames, toyworld.SIZE, toyworld.SIZE)
    for row, (_, cover) in zip(covers, drawn, strict=True):
        row[: len(cover)] = torch.from_numpy(cover)
    covers = covers[:, : max(len(scene.tracks) for scene in scenes)].to(device)
    t = timesteps(len(scenes), len(alphas), plan.lean)
    with torch.no_grad():
        latents = model.vae.encode(films.to(device).flatten(0, 1)).latents
        noisy, velocity = noised(latents.unflatten(0, (len(scenes), -1)).movedim(1, 2), t.to(device), alphas.to(device))
        captions = ["" if rng.random() < plan.unconditional else scene.prompt for scene in scenes]
        told = {name: value.to(device) for name, value in named_boxes(scenes, model.text, frames).items()}
        silent = torch.tensor([rng.random() < plan.boxless for _ in scenes], device=device)
        told["present"] = told["present"] * ~silent[:, None, None]
        cond = Cond(model.text(captions), tuple(Row(stream=i) for i in range(len(scenes))), told)
    with listening(model.unet, frames) as found:
        prediction = model(noisy, Step(0, 1, t.to(device)), cond, plain)
    seen = {name: p[..., : covers.shape[1]] for name, p in found.items()}
    told_of = told["present"].amax(1)[:, : covers.shape[1]]
    return weighted_mse(prediction, velocity, covers.amax(1), alphas[t].to(device)), out_of_place(seen, covers, told_of)


def train(plan: Plan, out: Path, save_every: int = 100) -> Path:
    """Train to the end of `plan`; returns the file of the averaged weights."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    model, parts = build()
    average = AveragedModel(parts, multi_avg_fn=get_ema_multi_avg_fn(plan.average))
    optimiser = torch.optim.AdamW(parts.parameters(), plan.rate, betas=(0.9, 0.98), weight_decay=1e-3, foreach=True)
    kept: dict[str, Any] = {"parts": parts, "average": average, "optimiser": optimiser}
    state, start, weights = out / "state.pt", 0, out / "diffusion_pytorch_model.safetensors"
    if state.exists():
        saved = torch.load(state, weights_only=True)
        for name, part in kept.items():
            part.load_state_dict(saved[name])
        start = saved["step"]

    def checkpoint(step: int) -> None:
        torch.save({"step": step, **{k: v.state_dict() for k, v in kept.items()}}, state.with_suffix(".part"))
        state.with_suffix(".part").replace(state)
        named = zip(parts.names, average.module.parameters(), strict=True)
        save_file({name: value.detach().half().contiguous() for name, value in named}, weights)

    (out / "plan.json").write_text(json.dumps(asdict(plan), indent=1))
    began, recent = time.monotonic(), {}
    with (out / "log.jsonl").open("a") as log:
        for step in range(start, plan.steps):
            rng = random.Random(f"{plan.seed}/{step}")
            torch.manual_seed(rng.getrandbits(63))
            clip = rng.random() < plan.clips_share
            count, frames = (plan.clips, mini.GEOMETRY.frames) if clip else (plan.stills, 1)
            for group in optimiser.param_groups:
                group["lr"] = plan.rate_at(step)
            error, place = losses(model, [invent(rng, frames) for _ in range(count)], frames, plan, rng)
            (error + plan.placing * place).backward()
            nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            average.update_parameters(parts)
            recent.setdefault("clip" if clip else "still", []).append((error.item(), place.item()))
            if (step + 1) % 50 == 0:
                means = {
                    k: [round(float(np.mean(v)), 4) for v in zip(*rows, strict=True)] for k, rows in recent.items()
                }
                line = {"step": step + 1, "seconds": round(time.monotonic() - began), **means}
                print(json.dumps(line), file=log, flush=True)
                recent = {}
            if (step + 1) % save_every == 0:
                checkpoint(step + 1)
    checkpoint(plan.steps)
    return weights


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, log and weights; resumed if it has a checkpoint.")],
    steps: int = Plan.steps,
    rate: float = Plan.rate,
    seed: int = Plan.seed,
) -> None:
    print(train(Plan(steps=steps, rate=rate, seed=seed), out))


if __name__ == "__main__":
    typer.run(main)
