"""A generation request: all that decides a video. Every file that is written carries one whole.

The command line, the studio and the benchmarks each fill one, and `generation.generate` answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from .core.model_options import DEFAULT_MODEL
from .core.options import option
from .core.setting_values import Value
from .errors import AnimaticError
from .scene import Story, parse_story
from .story_edit import Edit

VERSION = 1  # of the JSON form
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample. None (or "") is the model's or the method's own value.

    Each field is an option of the command line, and a keyword of `animatic.render`. `frames` without `fps` fill the
    seconds of the scene; without both a clip is as long as the model's own. `size` is (width, height) in pixels, before
    small videos are enlarged in their files.
    """

    seed: Seed = option(0, "Seed of the noise, 0 if not given; -1 draws one and says which.")
    steps: Count | None = option(None, "Denoising steps; the model's default if not given.")
    guidance: float | None = option(None, "Scale of classifier-free guidance; 1 is off.")
    frames: Count | None = option(None, "Number of frames; 1 makes a picture.")
    fps: float | None = option(None, "Frames per second, the model's own if not given: DiTCtrl shows CogVideoX at 16.")
    size: tuple[int, int] | None = option(
        None, "Pixels; the model's own size if not given.", "WIDTHxHEIGHT", as_text=True
    )
    scheduler: str = option("", "ddim, dpm++, unipc, pndm, euler, or a diffusers class; the model's own if not given.")
    negative: str | None = option(
        None, "What not to show, instead of the model's own negative prompt; '' for none. A scene's own is kept."
    )
    dtype: str = option("", "Weights in float32, bfloat16 or float16; the model's own if not given.")
    quantize: str = option("", "Weights in int8 or fp8, computing as before; needs torchao.")
    offload: bool = option(False, "Weights wait in main memory and come to the GPU block by block.")
    save_memory: bool = option(False, "Guided passes compute twice rather than keep; video in tiles.")
    fast: bool = option(False, "Unguided steps reuse features of the network, and say which: quicker, not exact.")

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class WindowOptions:
    """How windows lie over a story that is longer than the model's clip; None is the method's own.

    `enabled`: whether there are windows; None decides by the story and the model. See `timeline.WindowLayout` for the
    others, and `transitions` for the text that joins scenes each in its own way.
    """

    enabled: bool | None = None
    overlap: float | None = option(
        None, "Of a story's windows, as part of one, such as 0.5 or 9/13; else the method's.", "PART", as_text=True
    )
    transitions: int | str | None = option(
        None,
        "From scene to scene, one for all or one for each: so many windows with a mix of both prompts, cut, or "
        "crossfade:FRAMES, such as 2,cut,crossfade:8; else the method's.",
        "LIST",
        as_text=True,
    )
    longer_middle: int | None = option(None, "Further windows of scenes between others (ditctrl:published).")

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class FinishingOptions:
    """The stages after the render, such as "motion:4,upscale:2" (see `animatic finish`), and what they are given.

    `prompt` "", `negative` None and `seed` None are those of the request.
    """

    stages: str = ""
    prompt: str = ""
    negative: str | None = None
    seed: Seed | None = None

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True)
class GenerationRequest:
    """All that decides a video but the versions of the libraries. In a file's request nothing is left open.

    Attributes:
        story: One scene or several in a row.
        model: A name, a folder or a hub id.
        loras: (file, scale, network) of each LoRA; see `backbones.lora.LoraRequest`.
        embeddings: (file, word) of each word added by textual inversion; word "" is the file's own.
        method: A name of `METHODS`; "": the model's usual one, for one clip or for windows (`binding.usual_method`).
        settings: The method's settings that are not its own, by name (see `methods.settings`).
        sampling: How to sample.
        windows: Windows over a story.
        finishing: Stages after the render.
        edits: Changes to the story, one after another; the video is that of the last.
        inverted: Digest of the video whose noise this was made from, "" where there is none. See `Video.digest`.
        noise: Digest of the first latents where these were given, "" where they are drawn from the seed.
        image: File of the image that the video begins with; "" where there is none, or it was given in memory.
        image_digest: Digest of that image, by which it is known again; "" where it is open.

    """

    story: Story
    model: str = DEFAULT_MODEL
    loras: tuple[tuple[str, float, str], ...] = ()
    embeddings: tuple[tuple[str, str], ...] = ()
    method: str = ""
    settings: Mapping[str, Value] = field(default_factory=dict)
    sampling: SamplingOptions = SamplingOptions()
    windows: WindowOptions = WindowOptions()
    finishing: FinishingOptions = FinishingOptions()
    edits: tuple[Edit, ...] = ()
    inverted: str = ""
    noise: str = ""
    image: str = ""
    image_digest: str = ""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    @property
    def prompt(self) -> str:
        """The prompts of its scenes, with bars between them."""
        return " | ".join(scene.prompt for scene in self.story)

    @property
    def edited_story(self) -> Story:
        """The story after its edits: what the video shows. Raises `AnimaticError` where an edit does not fit."""
        story = self.story
        for edit in self.edits:
            story = edit.of_story(story)
        return story

    def with_sampling(self, **changes: Any) -> GenerationRequest:
        """The same request with other sampling options."""
        return replace(self, sampling=replace(self.sampling, **changes))

    def finished_by(self, options: FinishingOptions) -> GenerationRequest:
        """The request of its video taken through further stages."""
        stages = ",".join(filter(None, [self.finishing.stages, options.stages]))
        return replace(self, finishing=replace(options, stages=stages))

    def edited(self, edit: Edit) -> GenerationRequest:
        """The same request with one more edit."""
        return replace(self, edits=(*self.edits, edit))

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `of_dict` reads it."""
        return {"version": VERSION, **TypeAdapter(GenerationRequest).dump_python(self, mode="json")}

    @staticmethod
    def of_dict(data: Any, source: str | Path = "request") -> GenerationRequest:
        """The request in decoded JSON.

        Raises `AnimaticError` naming `source` and the field where it is of a newer version, has unknown fields, or
        values out of range.
        """
        if not isinstance(data, Mapping):
            raise AnimaticError(f"{source}: its request is a JSON {type(data).__name__}; want an object")
        version = data.get("version", VERSION)
        if version != VERSION:
            raise AnimaticError(
                f"{source}: its request is of version {version!r}; this program reads version {VERSION}"
            )
        values = {name: value for name, value in _nested(data).items() if name != "version"}
        story = values.get("story")
        if isinstance(story, Mapping):  # a Scene or Story as its own file holds it
            values["story"] = parse_story(story, f"{source}: story")
        try:
            return TypeAdapter(GenerationRequest).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            reason = first["msg"].removeprefix("Value error, ")
            raise AnimaticError(f"{source}: its request cannot be read ({place}: {reason})") from None

    @staticmethod
    def of(info: Mapping[str, Any], source: str | Path) -> GenerationRequest:
        """The request in the metadata of a file. Raises `AnimaticError` naming `source` where there is none."""
        if "request" not in info:
            raise AnimaticError(f"{source}: carries no request; want a file that animatic wrote")
        return GenerationRequest.of_dict(info["request"], source)

    @staticmethod
    def before_requests(info: Mapping[str, Any], source: str | Path, frames: int) -> GenerationRequest:
        """What is known of a video of `frames` frames whose file was written when only a part was recorded."""
        if info.get("stages"):
            raise AnimaticError(
                f"{source}: was finished with other prompts or seeds than its request had; want the video before that"
            )
        if "scene" not in info and "story" not in info:
            raise AnimaticError(
                f"{source}: does not say what it was made from; say what it shows with --invert CAPTION"
            )
        windowed = "story" in info
        sampling = SamplingOptions(
            seed=info.get("seed", 0),
            steps=info.get("steps"),
            frames=None if windowed else frames,
            scheduler=info.get("scheduler", ""),
        )
        return GenerationRequest(
            parse_story(info["story" if windowed else "scene"], str(source)),
            str(info.get("model", "mini")).partition(" + ")[0],
            method=info.get("method", "none"),
            sampling=sampling,
            windows=WindowOptions(windowed),
        )


def _nested(data: Mapping[str, Any]) -> dict[str, Any]:
    """The present form of a request. Before version 1 was final its fields were not grouped."""
    is_grouped = bool(data.keys() & {"sampling", "windows", "finishing"})
    if is_grouped or not data.keys() & {"seed", "steps", "windowed", "stages"}:
        return dict(data)
    values = dict(data)
    sampling = {f.name: values.pop(f.name) for f in fields(SamplingOptions) if f.name in values}
    windows = {f.name: values.pop(f.name) for f in fields(WindowOptions) if f.name in values}
    windows["enabled"] = values.pop("windowed", False)
    finishing = {"stages": values.pop("stages", "")}
    return {**values, "sampling": sampling, "windows": windows, "finishing": finishing}
