"""Runs by diffusers' own pipelines and by ours, beside each other: seconds a step and memory, unguided and under LVD.

Both denoise from the same embeddings of text with the same scheduler to latents, with classifier-free guidance. LVD
guides a quarter of the steps, as always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import typer
from bench import Meter, Size, Tiny, plain_processors, ratio, table_of_models, unless_full, with_weights
from diffusers import CogVideoXDDIMScheduler, DDIMScheduler, UniPCMultistepScheduler
from torch import Tensor

from animatic.backbones.components import Components
from animatic.controls.guidance import Guidance
from animatic.core.control import Control
from animatic.core.feature_reuse import FeatureCache
from animatic.core.loop import sample
from animatic.core.types import Branch, Conditioning
from animatic.methods import method_named
from animatic.quiet import quiet
from animatic.scene import Scene, Track

STEPS = 8
SCALE = 7.5
SCENE = Scene("a cat", (Track("cat", ((0.1, 0.2, 0.5, 0.8), (0.5, 0.2, 0.9, 0.8))),))

PIPELINES = {  # class of the network -> of diffusers' pipeline, with what else its constructor wants
    "UNet3DConditionModel": ("TextToVideoSDPipeline", {}),
    "UNet2DConditionModel": (
        "StableDiffusionPipeline",
        {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False},
    ),
    "CogVideoXTransformer3DModel": ("CogVideoXPipeline", {}),
    "WanTransformer3DModel": ("WanPipeline", {}),
}


def scheduler_for(network: Any) -> Any:
    """A scheduler of the kind that the network's predictions are for."""
    match type(network).__name__:
        case "WanTransformer3DModel":
            return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
        case "CogVideoXTransformer3DModel":
            return CogVideoXDDIMScheduler(
                prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
            )
        case _:
            return DDIMScheduler(
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
            )


class Words(torch.nn.Module):
    """In place of a text encoder: the object's word is the third token."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.expand = str

    def positions(self, prompt: str, phrase: str) -> tuple[int, ...]:
        return (2,)

    def token_ids(self, prompt: str) -> list[int]:
        return [0] * 4


@dataclass
class Bench:
    """A model with random weights, the embeddings of its text, and how it is run."""

    model: Components
    size: Size
    text: Tensor

    @classmethod
    def of(cls, name: str, device: torch.device, dtype: torch.dtype) -> Bench:
        model, size = with_weights(name, device, dtype)
        words: Any = model.text
        text = torch.randn(2, words.length, words.width, device=device, dtype=dtype)
        model.text = Words(words.length)  # type: ignore[assignment]
        model.scheduler = scheduler_for(model.unet)
        return cls(model, size, text)

    def theirs(self, **options: Any) -> Any:
        """A run of diffusers' pipeline around the same network, to latents; `options` are of its call."""
        network: Any = self.model.unet
        class_name, rest = PIPELINES[type(network).__name__]
        part = {self.model.network_folder: network}
        make: Any = getattr(diffusers, class_name)
        with quiet():
            pipe = make(
                vae=self.model.vae, text_encoder=None, tokenizer=None, scheduler=scheduler_for(network), **part, **rest
            )
        pipe.set_progress_bar_config(disable=True)
        frames, height, width = self.size
        shape = {"height": height, "width": width}
        if class_name != "StableDiffusionPipeline":
            shape["num_frames"] = frames
        negative, positive = self.text.split(1)
        return lambda: pipe(
            prompt_embeds=positive, negative_prompt_embeds=negative, num_inference_steps=STEPS, guidance_scale=SCALE,
            output_type="latent", **shape, **options,
        )  # fmt: skip

    def ours(self, controls: list[Control] | None = None, reuse: FeatureCache | None = None) -> Tensor:
        """A run of ours, to latents `[1, channel, frame, height, width]`."""
        model = self.model
        noise = model.noise([0], *self.size)
        cond = Conditioning(self.text, (Branch(True), Branch(False)))
        chain = controls or [Guidance(SCALE)]
        return sample(
            model, model.schedule(STEPS), noise, cond, chain, [0], scenes=[SCENE], guidance=SCALE, reuse=reuse
        )

    def lvd(self) -> Tensor:
        """A run of ours under LVD."""
        return self.ours(list(method_named("lvd").on(self.model)))


def figures(name: str, dtype: torch.dtype, device: torch.device, meter: Meter) -> list[float | str]:
    """Of a model in one type: see the head of the table."""
    bench = Bench.of(name, device, dtype)
    with plain_processors(bench.model.unet):
        theirs = bench.theirs()
        by_diffusers = meter.least(1, theirs) / STEPS
        memory_of_diffusers = meter.gib(theirs)
    by_us = meter.least(1, bench.ours) / STEPS
    memory_of_ours = meter.gib(bench.ours)
    # gradients take many times the memory
    guided = unless_full(lambda: meter.least(1, bench.lvd) / STEPS)
    memory = memory_of_diffusers, memory_of_ours, unless_full(lambda: meter.gib(bench.lvd))
    return [by_diffusers, by_us, by_us / by_diffusers, guided, ratio(guided, by_diffusers), *memory]


def main(tiny: Tiny = False) -> None:
    """Print a table of Markdown."""
    head = ("pipeline s/step", "ours s/step", "ours / pipeline", "lvd s/step", "lvd / pipeline",
            "GiB, pipeline", "GiB, ours", "GiB, lvd")  # fmt: skip
    table_of_models(head, figures, tiny)


if __name__ == "__main__":
    typer.run(main)
