"""How commands that render are told how: the options they share, and the model that these ask for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ..core.options import option
from ..core.seeds import check_seed
from ..core.setting_values import Value, given_settings
from ..files import fresh_path
from ..video import parse_size
from .console import line

RENDER = ".0-render.mkv"  # what is written before finishing stages, beside what they keep: NAME.1-STAGE.mkv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..core.backbone import Backbone
    from ..core.control import Control
    from ..generation import How
    from ..request import GenerationRequest


@dataclass(frozen=True)
class Sampling:
    """Each field an option. What is not given is the edited video's own, or else the model's default."""

    model: str | None = option(None, "A name of `animatic models`, a diffusers folder, or a hub id; else mini.")
    lora: list[str] | None = option(  # noqa: RUF009 - a field
        None, "A LoRA to add to the model's weights; may be repeated.", "FILE[:SCALE[:NETWORK]]"
    )
    method: str | None = option(None, "A name of `animatic methods`.")
    set: list[str] | None = option(  # noqa: RUF009 - a field
        None, "A setting of the method (`animatic methods NAME` lists them); may be repeated.", "NAME=VALUE"
    )
    seed: int | None = option(None, "Seed of the noise, 0 if not given; -1 draws one and says which.")
    steps: int | None = option(None, "Denoising steps; the model's default if not given.")
    guidance: float | None = option(None, "Scale of classifier-free guidance; 1 is off.")
    negative: str | None = option(None, "What not to show, instead of the model's own words for it; '' for none.")
    frames: int | None = option(None, "Number of frames; 1 makes a picture.")
    size: str = option("", "Pixels; the model's own size if not given.", "WIDTHxHEIGHT")
    scheduler: str | None = option(
        None, "ddim, dpm++, unipc, pndm, euler, or a diffusers class; the model's own if not given."
    )
    dtype: str | None = option(None, "Weights in float32, bfloat16 or float16; the model's own if not given.")
    quantize: str | None = option(None, "Weights in int8 or fp8, computing as before; needs torchao.")
    offload: bool | None = option(None, "Weights wait in main memory and come to the GPU block by block.")
    save_memory: bool | None = option(None, "Guided passes compute twice rather than keep; video in tiles.")

    def over(self, request: GenerationRequest, silent: bool = False) -> GenerationRequest:
        """`request` with all that was given. Raises where it cannot be; a seed that is drawn is said."""
        from ..backbones.lora import LoraRequest

        given: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(Sampling)}
        given["settings"] = self._settings(request)
        if self.lora is not None:
            given["loras"] = tuple((str(w.file), w.scale, w.network) for w in map(LoraRequest.of, self.lora))
        if self.seed == -1:
            given["seed"] = secrets.randbelow(2**32)
            line(f"seed   {given['seed']}", silent)
        elif self.seed is not None:
            check_seed(self.seed)
        given |= {"size": parse_size(self.size), "lora": None, "set": None}
        return replace(request, **{name: value for name, value in given.items() if value is not None})

    def _settings(self, request: GenerationRequest) -> dict[str, Value]:
        """The request's settings and those that are given; those of another method are let go."""
        given = given_settings(self.set or ())
        if self.method in (None, request.method):
            return {**request.settings, **given}
        return given


def loaded(request: GenerationRequest) -> Backbone:
    """The model of a request, its LoRAs added, saving memory as asked."""
    from ..backbones import load
    from ..backbones.lora import with_loras
    from ..core.backbone import MemoryOptions

    economy = MemoryOptions(request.dtype, request.quantize, request.offload, request.save_memory)
    files = [f"{file}:{scale!r}:{network}".rstrip(":") for file, scale, network in request.loras]
    chosen = with_loras(request.model, files, economy)
    return load(chosen) if isinstance(chosen, str) else chosen


def how_of(request: GenerationRequest, watch: Sequence[Control]) -> How:
    """A request's keywords for `render` and its kin."""
    return {
        "steps": request.steps, "guidance": request.guidance, "frames": request.frames, "fps": request.fps,
        "size": request.size, "scheduler": request.scheduler, "negative": request.negative,
        "settings": request.settings, "watch": watch,
    }  # fmt: skip


def free_name(target: Path, request: GenerationRequest, suffixes: Sequence[str], silent: bool = False) -> Path:
    """`target`, or a numbered one, which is said, where files of that name hold what another request made."""
    from ..errors import AnimaticError
    from ..request import GenerationRequest
    from ..scene import load_story
    from ..video import read_info

    def same(file: Path) -> bool:
        try:
            if file.suffix == ".json":
                return load_story(file) == request.story
            # a render that is kept for its stages has not been through them yet
            wanted = replace(request, stages="") if file.name.endswith(RENDER) else request
            return GenerationRequest.of(read_info(file), file) == wanted
        except AnimaticError:
            return False  # not ours, or damaged: left as it is

    free = fresh_path(target, same, suffixes)
    if free != target:
        line(f"{target}.* holds another result, which is kept; this one is {free.name}", silent)
    return free
