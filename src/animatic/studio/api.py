"""What can be asked of the studio: one function per endpoint, of plain JSON values, the page's and everybody's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import IO, Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, validate_call

from ..backbones import PRESETS
from ..binding import needs_windows, usual_method
from ..finishing.stage import NetworkStage, Shape
from ..finishing.stages import source_model_of, stages_of
from ..methods import GROUP, METHODS, method_named
from ..methods.settings import settings_of
from ..planning.chat import Paste
from ..planning.language_model import LanguageModelPlanner
from ..planning.lexicon import colours
from ..planning.planners import Planner, PlannerOptions, planner_named
from ..planning.suggestions import suggestions
from ..planning.template import load_template
from ..plugins import packages_of
from ..request import FinishingOptions, GenerationRequest, SamplingOptions, WindowOptions
from ..scene import story_json
from ..story_edit import Edit
from ..video import PALETTE, parse_size
from . import images
from .before_rendering import Count, EstimateEndpoints, File, Guidance, Name, Value
from .folders import Folders
from .gallery_endpoints import GalleryEndpoints
from .job_request import JobRequest
from .limits import check_amounts, story_within
from .log import DONE, Refused
from .marks import Marks
from .takes import seeds_from
from .variation import Variation
from .work import Studio
from .wrong_words import what_is_wrong

FINISHES = {
    "motion:4": "four times as many frames",
    "upscale:2": "twice the size",
    "motion:4,upscale:2": "more frames, then larger",
    "lanczos:2": "twice the size without a network",
}  # offered by the page; any other can be asked for

WORDS = 100  # of a story that one edit exchanges or weighs

Kind = Literal["video", "image", "story"]
Seconds = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Windows = Annotated[int, Field(ge=0, le=100)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Api(GalleryEndpoints, EstimateEndpoints):
    """The endpoints. Each raises `AnimaticError` with one line on bad input; `Refused` says which kind of no it is."""

    def __init__(self, studio: Studio, planners: Mapping[str, PlannerOptions] | None = None) -> None:
        """`planners` are language models by name and their options, beside "rules" and "paste"."""
        self.studio, self.limits = studio, studio.limits
        self.marks = Marks(studio.log.folder)
        self.folder_names = Folders(studio.log.folder)
        self.planners = {"rules": PlannerOptions(), **(planners or {})}

    def options(self) -> dict[str, Any]:
        """What there is to choose from: models, methods, planners, limits."""
        loaded = self.studio.models.load(self.studio.models.names[0])
        geometry = loaded.geometry
        models = {}
        for name in self.studio.models.names:
            models[name] = PRESETS[name].about if name in PRESETS else "a model folder"
        methods = {name: method.summary for name, method in METHODS.items()}
        methods |= {name: f"of the installed package {package}" for name, package in packages_of(GROUP).items()}
        size = {"width": geometry.width, "height": geometry.height, "frames": geometry.frames}
        return {
            "models": models,
            "methods": methods,
            "layouts": {name: asdict(method.layout) for name, method in METHODS.items()},
            "planners": [*self.planners, "paste"],
            "finishes": FINISHES,
            "words": loaded.words,
            "colours": colours(),
            **self.loras(),
            "size": {**size, "steps": loaded.defaults.steps},
            "usual": {name: self.studio.models.usual(name) for name in self.studio.models.names},
            "palette": PALETTE,
            "limits": asdict(self.limits),
        }

    def loras(self) -> dict[str, Any]:
        """What a visitor may request: {"loras": [{"name", "label", "scale", "network", "own"}]}."""
        return {"loras": [lora.to_dict() for lora in self.studio.loras.all()]}

    def keep_lora(self, file: IO[bytes], name: str) -> dict[str, Any]:
        """Take in a LoRA that fits one of the models, which came under a name; returns `loras`. No endpoint."""
        self.studio.loras.keep(file, name, self.studio.models.names, self.studio.models.outline)
        return self.loras()

    def delete_lora(self, name: Name) -> dict[str, Any]:
        """Remove a LoRA that the visitor has sent, for good; returns `loras`."""
        self.studio.loras.delete(name)
        return self.loras()

    def plan(
        self, prompt: str, planner: Name = "rules", kind: Kind = "video", seconds: Seconds = 2.0, reply: str = ""
    ) -> dict[str, Any]:
        """A prompt to {"story": ..., "warnings": [...], "accounts": [...]}: of planner rules, each word's role.

        `reply` is a language model's, for the paste planner.
        """
        check_amounts(self.limits.amount_of_letters("prompt", prompt))
        check_amounts([("reply has {} letters", len(reply), self.limits.reply)])
        asker: Planner
        if planner == "paste":
            asker = LanguageModelPlanner(
                Paste(lambda: reply, show=lambda _: None), load_template(kind), attempts=1, seconds=seconds
            )
        elif planner in self.planners:
            asker = planner_named(planner, replace(self.planners[planner], kind=kind, seconds=seconds))
        else:
            raise Refused(f"unknown planner {planner!r}; known here: {', '.join([*self.planners, 'paste'])}")
        made = asker.plan(prompt)
        accounts = [{"prompt": each.prompt, "words": each.to_list()} for each in made.accounts]
        return {
            "story": json.loads(story_json(made.story)), "warnings": list(made.warnings), "accounts": accounts,
        }  # fmt: skip

    def chat(self, prompt: str, kind: Kind = "video") -> dict[str, Any]:
        """The words to give to a language model whose reply is pasted into `plan`: {"text": ...}."""
        check_amounts(self.limits.amount_of_letters("prompt", prompt))
        messages = load_template(kind).messages(prompt, "json")
        return {"text": "\n\n".join(message["content"] for message in messages)}

    def check(self, scene: dict[str, Any]) -> dict[str, Any]:
        """A Scene or Story as it is understood: {"story": ...}."""
        return {"story": json.loads(story_json(story_within(scene, self.limits)))}

    def fields(self, model: Name = "", method: Name = "") -> list[dict[str, Any]]:
        """The settings of a method on a model: path, kind, default, most, choices, range, help.

        "" is the studio's first model, and the method that is usual for one clip of it.
        """
        loaded = self.studio.models.load(model)
        settings = settings_of(method_named(method or loaded.defaults.method), loaded)
        return [each.to_dict() for each in settings.values()]

    def suggest(self, phrases: list[str], model: Name = "") -> dict[str, list[str]]:
        """For each phrase that a model has not learned, words that it has; a model that shows anything has none."""
        check_amounts(
            [("{} phrases", len(phrases), self.limits.tracks), *self.limits.amount_of_letters("phrase", *phrases)]
        )
        found = suggestions(phrases, self.studio.models.load(model).words)
        return {phrase: list(words) for phrase, words in found.items()}

    def render(
        self,
        scene: dict[str, Any],
        model: Name = "",
        method: Name = "",
        seed: Seed = 0,
        steps: Count | None = None,
        frames: Count | None = None,
        size: Name = "",
        scheduler: Name = "",
        settings: dict[str, Value] | None = None,
        compare: list[Name] | None = None,
        attention: bool = False,
        guidance: Guidance | None = None,
        fps: Rate | None = None,
        negative: str | None = None,
        overlap: Fraction | None = None,
        transitions: Windows | Annotated[str, Field(max_length=400)] | None = None,
        longer_middle: Windows | None = None,
        loras: list[File] | None = None,
        then: File = "",
        image: str = "",
        takes: Count = 1,
        vary: dict[str, Any] | None = None,
        fast: bool = False,
    ) -> dict[str, Any]:
        """Queue a render of a Scene or Story; returns its status at once, with its "id".

        The frames are those of `animatic render` with the same options. `model` "" is the studio's first, `method` ""
        the model's usual one, and its like for what is made in windows: several scenes, which last their `seconds`, or
        a long one without `frames`. `size` is WIDTHxHEIGHT; `settings` by the paths of `fields`; `compare` are methods
        to compare with; `attention` asks for attention maps; `loras` are NAME[:SCALE[:NETWORK]] of those that `options`
        lists; `then` are finishing stages.
        `transitions` join the scenes: so many windows with a mix of both prompts, cut, or crossfade:FRAMES, one for
        each join or for all, such as "2,cut,crossfade:8". `image` is a PNG, JPEG or WebP in base64 that the video
        begins with, or the digest of one sent before. `takes` are made from as many seeds, `seed` and those after it;
        `vary`, {"name": SETTING, "values": [...]}, makes one with each value.
        `fast` reuses features between unguided steps: quicker, and not exact.
        """
        model = self.studio.models.named(model)
        sides = parse_size(size)
        others = tuple(compare or ())
        self.check_request(steps, frames, sides, others, takes)
        if negative is not None:
            check_amounts(self.limits.amount_of_letters("negative", negative))

        request = replace(
            GenerationRequest(story_within(scene, self.limits), model, self.studio.loras.requested(loras or ())),
            method=method,
            settings=settings or {},
            sampling=SamplingOptions(seed, steps, guidance, frames, fps, sides, scheduler, negative, fast=fast),
            windows=WindowOptions(None, overlap, transitions, longer_middle),
            finishing=self._finishing(then),
            image_digest=images.keep(self.studio.log.folder, image, self.limits.image_side) if image else "",
        )
        if not method:
            loaded = self.studio.models.load(model)
            request = replace(request, method=usual_method(loaded, needs_windows(request.story, loaded, frames)))
        variation = Variation.of(vary) if vary is not None else None
        wanted = JobRequest(request, others, attention, None, seeds_from(seed, takes), variation)
        self.check_takes(wanted)
        self.studio.check(wanted)
        return self._queued("render", wanted)

    def finish(self, id: Name, then: Name, version: Annotated[int, Field(ge=0)] = 0) -> dict[str, Any]:
        """Queue the finishing of a job's video: `then` as on the command line, such as "motion:4,upscale:2"."""
        record = self.studio.log.get(id)
        finishing = self._finishing(then)
        if record.state != DONE or version >= len(record.files):
            raise Refused(f"job {id} is {record.state} and has {len(record.files)} videos; want one that is done")
        video = self.studio.log.video(id, version)
        self.studio.check_stages(then, Shape.of(video), source_model_of(video))
        request = replace(video.request, finishing=finishing)
        return self._queued("finish", JobRequest(request, source=(id, version)))

    def edit(
        self,
        id: Name,
        swap: Annotated[dict[Name, Name], Field(max_length=WORDS)] | None = None,
        weight: Annotated[dict[Name, float], Field(max_length=WORDS)] | None = None,
        prompt: str = "",
        blend: bool = False,
        take: Annotated[int, Field(ge=0)] | None = None,
    ) -> dict[str, Any]:
        """Queue a job's story once more with other words: exchanged, of more or less weight, or a whole new prompt.

        Of a story the new prompt is that of its scenes with bars between them: A | B.
        `take`: with the seed, method and settings of that take of a render; without, with those of its request.
        """
        check_amounts(self.limits.amount_of_letters("prompt", prompt))
        edit = Edit(swap or {}, weight or {}, prompt, blend)
        before = JobRequest.of(self.studio.log.get(id).request) if take is None else self.like(id, take)
        edit.of_story(before.story)  # raises where a word is not there
        request = replace(before.generation, finishing=FinishingOptions()).edited(edit)
        return self._queued("edit", JobRequest(request))

    def _finishing(self, then: str) -> FinishingOptions:
        """Stages as they were typed, of models that the studio knows."""
        for name, stage in stages_of(then) if then else ():
            if isinstance(stage, NetworkStage) and stage.model:
                self.studio.models.check(stage.model, f"{name}: ")
        return FinishingOptions(then)

    def _queued(self, action: str, wanted: JobRequest) -> dict[str, Any]:
        return self.status(self.studio.submit(action, wanted.to_dict()).id)

    def status(self, id: Name) -> dict[str, Any]:
        """A job's state: waiting (place), running (done, count, rest in seconds), done (files), failed, cancelled."""
        return self.described(id)

    def cancel(self, id: Name) -> dict[str, Any]:
        """Stop a job; returns its status."""
        return self.with_links(self.studio.cancel(id))

    def queue(self) -> dict[str, Any]:
        """The job at hand and those that wait, in the order in which they are done: {"jobs": [status ...]}."""
        return {"jobs": [self.with_links(status) for status in self.studio.queue()]}

    def move(self, id: Name, place: Count) -> dict[str, Any]:
        """Put a job that waits at a place in the queue, 1 for the next; returns the queue."""
        self.studio.move(id, place)
        return self.queue()


def call(api: Api, name: str, words: Mapping[str, Any]) -> Any:
    """One endpoint by name. Raises `AnimaticError` where there is none, or the words are not those it takes."""
    if name not in ENDPOINTS:
        raise Refused(f"there is no endpoint {name[:40]!r}; known: {', '.join(ENDPOINTS)}", 404)
    # strict: "1" is no number, and true is no 1; pydantic takes them otherwise
    endpoint = validate_call(config=ConfigDict(strict=True))(getattr(api, name))
    try:
        return endpoint(**words)
    except ValidationError as error:
        raise Refused(f"{name}: {what_is_wrong(error, words)}") from None


ENDPOINTS = (
    "options", "plan", "chat", "check", "fields", "render", "finish", "edit", "status", "cancel", "gallery", "suggest",
    "more", "mark", "delete", "restore", "trash", "empty_trash", "estimate", "sizes", "queue", "move",
    "folders", "create_folder", "rename_folder", "delete_folder", "put_in_folder",
    "loras", "delete_lora",
)  # fmt: skip
