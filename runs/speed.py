"""What a guided step costs, compared with the originals' scheme written anew: CPU time, operators, syncs, stored bytes.

    .venv/bin/python runs/speed.py [--parts image,video,energy,bytes,off] [--repeat 3]

CPU time of one thread, the two alternating in one process, the least of `repeat`. Weights are random; networks are
of the originals' shape, narrowed where time is measured, at true size (fake tensors) where bytes are counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
import typer
from diffusers import DDIMScheduler, UNet2DConditionModel, UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from animatic.backbones.components import Components
from animatic.backbones.unet2d import UNet2D
from animatic.backbones.unet3d import UNet3D
from animatic.controls.energy import Energy, Targets
from animatic.controls.guidance import Guidance
from animatic.controls.layout_attention import LayoutAttention
from animatic.controls.terms import BoxEnergy
from animatic.core.attention import fused_attention
from animatic.core.backbone import Geometry, ModelDefaults
from animatic.core.control import Run
from animatic.core.encoded_prompt import EncodedPrompt
from animatic.core.types import AttentionMapRequest, Branch, Conditioning, Step
from animatic.methods.lmd import LAYERS as LMD_LAYERS
from animatic.methods.lvd import LAYERS as LVD_LAYERS
from animatic.scene import Scene, Track

WORDS = 77
SCENE = Scene(
    "one two three",
    (
        Track("one", ((0.1, 0.1, 0.4, 0.5), (0.4, 0.1, 0.7, 0.5))),
        Track("two", ((0.6, 0.5, 0.95, 0.9), (0.3, 0.5, 0.65, 0.9))),
        Track("three", ((0.0, 0.6, 0.3, 1.0), (0.0, 0.6, 0.3, 1.0))),
    ),
)
POSITIONS = {"one": (2, 3), "two": (5, 6), "three": (8, 9)}


class Words(torch.nn.Module):
    """In place of a text encoder: every object has two tokens."""

    limit = WORDS

    def positions(self, prompt: str, phrase: str) -> tuple[int, ...]:
        return POSITIONS[phrase]


def backbone(cls: type[Components], unet: Any) -> Components:
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    words: Any = Words()
    vae: Any = torch.nn.Module()
    return cls("bench", unet, vae, words, scheduler, Geometry(1, 512, 512), ModelDefaults()).freeze()


# ---- the originals' scheme, in our words ----


class Listening:
    """An attention processor that writes out softmax and keeps the whole map, as LMD and LVD do."""

    def __init__(self, store: dict[str, Tensor], name: str) -> None:
        self.store, self.name = store, name

    def __call__(self, attn: Any, x: Tensor, encoder_hidden_states: Tensor, **_: Any) -> Tensor:
        q, k, v = (
            attn.head_to_batch_dim(p)
            for p in (attn.to_q(x), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        )
        p = attn.get_attention_scores(q, k)
        self.store[self.name] = p.unflatten(0, (len(x), attn.heads))
        return attn.to_out[0](attn.batch_to_head_dim(torch.bmm(p, v)))


@dataclass
class Original:
    """Guided passes as published: the whole forward, weights that want gradients, loops over layers, objects, words."""

    unet: Any
    sites: Sequence[str]
    tracks: int
    fused: bool  # LVD lets unlistened layers fuse; LMD does not while guiding
    centre: float = 0.0

    def update(self, x: Tensor, t: int, text: Tensor, noise: float) -> Tensor:
        store: dict[str, Tensor] = {}
        own = self.unet.attn_processors
        self.unet.set_attn_processor(
            {n: Listening(store, n) if n.removesuffix(".processor") in self.sites else AttnProcessor2_0() for n in own}
        )
        x = x.detach().requires_grad_()
        fused = nullcontext() if self.fused else sdpa_kernel(SDPBackend.MATH)
        with torch.enable_grad(), fused:
            self.unet(x, t, text)
            loss = 5 * self.energy(store, x)
            (gradient,) = torch.autograd.grad(loss, x)
        self.unet.set_attn_processor(own)
        while loss.item() < 0:  # the test of the loop, a sync
            break
        return x.detach() - noise * gradient

    def energy(self, store: dict[str, Tensor], x: Tensor) -> Tensor:
        loss, height, width = 0.0, x.shape[-2], x.shape[-1]
        for p in store.values():  # [frame, head, cell, word]
            stride = int((height * width / p.shape[2]) ** 0.5)
            h, w = height // stride, width // stride
            for track in SCENE.at(len(p)).tracks[: self.tracks]:
                for f, box in enumerate(track.boxes):
                    assert box is not None
                    for token in POSITIONS[track.phrase]:
                        loss = loss + self.one(p, f, token, box, track.boxes, h, w) / len(POSITIONS[track.phrase])
        return loss / self.tracks / len(store)  # type: ignore[return-value]

    def one(self, p: Tensor, f: int, token: int, box: Any, boxes: Any, h: int, w: int) -> Tensor:
        a, mask = p[f, :, :, token].float(), rectangle(box, h, w, p.device)
        flat = mask.flatten()[None]
        inner, outer = (flat.sum() * 0.75).long().clamp(min=1), ((1 - flat).sum() * 0.75).long().clamp(min=1)
        fg = (a * flat).topk(k=int(inner.item())).values.mean(1)
        bg = (a * (1 - flat)).topk(k=int(outer.item())).values.mean(1)
        loss = (1 - fg).sum() + 4 * bg.sum()
        if self.centre:
            grid_y, grid_x = torch.arange(h, device=p.device)[:, None], torch.arange(w, device=p.device)[None]
            nxt = min(f + 1, len(boxes) - 1)
            for grid in (grid_y, grid_x):
                here, there = (self.mean(p[i, :, :, token].float().unflatten(1, (h, w)), grid) for i in (f, nxt))
                want, later = (self.mean(rectangle(boxes[i], h, w, p.device)[None], grid) for i in (f, nxt))
                loss = loss + self.centre * ((here - want) ** 2).mean()
                loss = loss + self.centre * (((there - here) - (later - want)) ** 2).mean()
        return loss

    @staticmethod
    def mean(a: Tensor, grid: Tensor) -> Tensor:
        return (a * grid).sum((1, 2)) / a.sum((1, 2))


def rectangle(box: Any, h: int, w: int, device: torch.device) -> Tensor:
    mask = torch.zeros(h, w, device=device)
    mask[round(box[1] * h) : round(box[3] * h), round(box[0] * w) : round(box[2] * w)] = 1
    return mask


# ---- measuring ----


class Count(TorchDispatchMode):
    """Dispatched operators, and waits for a value."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.syncs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators += 1
        self.syncs += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@contextmanager
def stored():
    """Bytes that autograd keeps for backward; a storage kept twice counts once."""
    seen: dict[int, Any] = {}

    def pack(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield seen


def least(repeat: int, **runs: Callable[[], Any]) -> dict[str, float]:
    """Least CPU seconds of each, taken in turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeat + 1):  # the first warms up
        for name, run in runs.items():
            began = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - began)
    return best


def energy_of(scene: Scene, sites: tuple[str, ...], model: Components, x: Tensor, centre: float) -> Energy:
    terms = BoxEnergy(centre=centre)
    control = Energy(terms, sites, 40.0, 1.0, 1)
    return control.begin(Run(model, model.schedule(50), x, scenes=[scene]))


def steps(model: Components, x: Tensor, sites: tuple[str, ...], tracks: int, centre: float, fused: bool, repeat: int):
    """Seconds of a CFG step, and of a guided pass in our way and in the originals'."""
    scene = replace(SCENE, tracks=SCENE.tracks[:tracks])
    cond = Conditioning(torch.randn(2, WORDS, model.unet.config.cross_attention_dim), (Branch(True), Branch(False)))
    step = next(iter(model.schedule(50)))
    energy = energy_of(scene, sites, model, x, centre)
    flat = x[:, :, 0] if x.shape[2] == 1 else x
    names = model.hooks.requested_layers(AttentionMapRequest(torch.zeros(1, 1), sites))
    original = Original(model.unet, names, tracks, fused, 0.03 if centre else 0.0)

    def inner(x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        return model(x, step, cond, fused_attention)

    def old() -> None:
        model.unet.requires_grad_(True)
        original.update(flat, int(step.t), cond.text[1:], step.noise)
        model.unet.requires_grad_(False)

    with torch.no_grad():
        best = least(
            repeat,
            cfg=lambda: Guidance(7.5).denoise(inner, x, step, cond),
            ours=lambda: energy.steer(inner, x, step, cond),
            original=old,
        )
    ratio = {f"{name} guided step / CFG step": 1 + best[name] / best["cfg"] for name in ("ours", "original")}
    return {**{f"{k} s": v for k, v in best.items()}, **ratio}


def image(repeat: int) -> dict[str, Any]:
    """LMD: three objects of two words, 32 x 32 latents, the layers of 8 x 8 and 16 x 16 (here 4 and 8)."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(96, 192, 384, 384), cross_attention_dim=768, attention_head_dim=8, sample_size=32
    )
    return steps(backbone(UNet2D, unet), torch.randn(1, 4, 1, 32, 32), LMD_LAYERS, 3, 0.0, False, repeat)


def video(repeat: int) -> dict[str, Any]:
    """LVD with centres of mass: two objects of two words, 24 frames of 20 x 36 latents, its six layers."""
    torch.manual_seed(0)
    unet = UNet3DConditionModel(block_out_channels=(64, 128, 256, 256), cross_attention_dim=1024, attention_head_dim=64)
    return steps(backbone(UNet3D, unet), torch.randn(1, 4, 24, 20, 36), LVD_LAYERS, 2, 0.23, True, repeat)


def energy(repeat: int) -> dict[str, Any]:
    """Operators and syncs of LVD's energy, forward and backward, on maps that are there, of its six layers."""
    out: dict[str, Any] = {}
    text: Any = Words()
    sizes = [(5, 20, 36), (10, 10, 18), (10, 10, 18), (10, 10, 18), (10, 10, 18), (5, 20, 36)]
    for frames, tracks, centre in ((24, 2, 0.0), (24, 2, 0.23), (48, 3, 0.23)):
        scene = replace(SCENE, tracks=SCENE.tracks[:tracks])
        targets = Targets.of([scene], [EncodedPrompt.of(scene, text)], frames, torch.device("cpu"))
        shape = targets.tokens.shape[1]
        found = {
            str(i): torch.rand(1, frames, heads, h, w, shape).requires_grad_() for i, (heads, h, w) in enumerate(sizes)
        }
        BoxEnergy(centre=centre)(found, targets)  # masks are built once a run
        with Count() as count:
            total = BoxEnergy(centre=centre)(found, targets).sum()
            torch.autograd.grad(total, list(found.values()))
        out[f"{frames} frames, {tracks} objects, centre {centre}"] = [count.operators, count.syncs]
    full = {n: torch.rand(24, h, a * b, WORDS).requires_grad_() for n, (h, a, b) in enumerate(sizes)}
    for centre in (0.0, 0.03):
        original = Original(None, (), 2, True, centre)
        with Count() as count:
            maps: Any = full
            torch.autograd.grad(original.energy(maps, torch.zeros(1, 4, 24, 40, 72)), list(full.values()))
        out[f"original scheme, 24 frames, 2 objects, centre {centre}"] = [count.operators, count.syncs]
    return out


def bytes_(repeat: int) -> dict[str, Any]:
    """GiB kept for backward by one guided pass at true size; nothing is computed."""
    out = {}
    cases: list[tuple[str, Any, dict[str, Any], tuple[int, ...], tuple[str, ...], torch.dtype]] = [
        ("Zeroscope 576x320x24, fp16", UNet3DConditionModel, {"cross_attention_dim": 1024, "attention_head_dim": 64},
         (1, 4, 24, 40, 72), LVD_LAYERS, torch.float16),
        ("Stable Diffusion 1.5 512x512, fp32", UNet2DConditionModel,
         {"cross_attention_dim": 768, "attention_head_dim": 8}, (1, 4, 1, 64, 64), LMD_LAYERS, torch.float32),
    ]  # fmt: skip
    for name, cls, config, shape, sites, dtype in cases:
        for checkpointing in (False, True):
            with FakeTensorMode(allow_non_fake_inputs=True):
                torch.set_default_dtype(dtype)
                model = backbone(UNet3D if cls is UNet3DConditionModel else UNet2D, cls(**config))
                torch.set_default_dtype(torch.float32)
                if checkpointing:
                    model.save_memory()
                x = torch.randn(shape, dtype=dtype).requires_grad_()
                cond = Conditioning(torch.randn(1, WORDS, config["cross_attention_dim"], dtype=dtype), (Branch(),))
                tokens = torch.tensor([[2, 3, 5, 6, 8, 9]])
                weights = {p.untyped_storage()._cdata for p in model.unet.parameters()}
                with torch.enable_grad(), stored() as seen:
                    model(
                        x,
                        Step(0, 50, 981.0),
                        replace(cond, map_request=AttentionMapRequest(tokens, sites, maps_only=True)),
                        fused_attention,
                    )
                size = sum(t.untyped_storage().nbytes() for key, t in seen.items() if key not in weights)
            out[name + (", checkpointing" if checkpointing else "")] = round(size / 2**30, 3)
    return out


def off(repeat: int) -> dict[str, Any]:
    """Nobody listening: the stock network's very numbers, and its time; and what layout attention adds."""
    torch.manual_seed(0)
    unet, stock, twin = (
        UNet2DConditionModel(block_out_channels=(96, 192, 384, 384), cross_attention_dim=768, sample_size=32)
        for _ in range(3)
    )
    for network in (stock, twin):
        network.load_state_dict(unet.state_dict())
        network.set_attn_processor(AttnProcessor2_0())
    model, x = backbone(UNet2D, unet), torch.randn(2, 4, 1, 32, 32)
    cond = Conditioning(torch.randn(2, WORDS, 768), (Branch(True), Branch(False)))
    step = next(iter(model.schedule(50)))
    layout = LayoutAttention().begin(Run(model, model.schedule(50), x[:1], scenes=[SCENE]))

    def attend(site: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return layout.attend(fused_attention, site, q, k, v, mask)

    with torch.no_grad():
        same = torch.equal(model(x, step, cond, fused_attention)[:, :, 0], stock(x[:, :, 0], step.t, cond.text).sample)
        best = least(
            repeat,
            stock=lambda: stock(x[:, :, 0], step.t, cond.text),
            twin=lambda: twin(x[:, :, 0], step.t, cond.text),
            ours=lambda: model(x, step, cond, fused_attention),
            layout=lambda: model(x, step, cond, attend),
        )
    return {
        "bit-identical": same,
        "ours / stock": best["ours"] / best["stock"],
        "another stock / stock": best["twin"] / best["stock"],  # what chance does
        "layout attention / unguided": best["layout"] / best["ours"],
    }


PARTS = {"image": image, "video": video, "energy": energy, "bytes": bytes_, "off": off}


def main(
    parts: Annotated[str, typer.Option(help="Which, of image,video,energy,bytes,off.")] = ",".join(PARTS),
    repeat: Annotated[int, typer.Option(help="Times each is run, after one to warm up.")] = 3,
) -> None:
    torch.set_num_threads(1)
    for name in parts.split(","):
        result = PARTS[name](repeat)
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}
        print(json.dumps({"part": name, "what": (PARTS[name].__doc__ or "").strip(), "repeat": repeat, **rounded}))


if __name__ == "__main__":
    typer.run(main)
