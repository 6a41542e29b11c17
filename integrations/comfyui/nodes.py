"""The nodes: a prompt is planned, its scene edited, and made masks, conditioning of a frame, boxes, or a video.

ComfyUI's node interface, https://docs.comfy.org/custom-nodes/backend/server_overview. Its types: IMAGE is float
`[frame, height, width, 3]` in 0..1, MASK float `[frame, height, width]`, CONDITIONING a list of [states, options].
ANIMATIC_SCENE is an `animatic.Scene`.
"""

from __future__ import annotations

import json
from typing import Any

import torch

import animatic
from animatic.methods import METHODS
from animatic.planning.planners import PlannerOptions
from animatic.scene import parse
from animatic.video import sketch

MOST_PIXELS = 16384  # ComfyUI's own limit of a side
CELL = 8  # pixels of a latent cell, in which GLIGEN's boxes are given
FRAMES = ("INT", {"default": 16, "min": 1, "max": 4096})
FRAME = ("INT", {"default": 0, "min": 0, "max": 4095, "tooltip": "Which frame of the scene, from 0."})
SEED = ("INT", {"default": 0, "min": 0, "max": 2**63 - 1})


def pixels(default: int) -> tuple[str, dict[str, int]]:
    """The input of a width or height."""
    return ("INT", {"default": default, "min": 16, "max": MOST_PIXELS, "step": 8})


class PlanScene:
    """Plans a prompt: words to boxes in time, offline by default."""

    CATEGORY = "animatic"
    FUNCTION = "plan"
    RETURN_TYPES = ("ANIMATIC_SCENE", "STRING")
    RETURN_NAMES = ("scene", "json")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        prompt = {"multiline": True, "default": "A bear walks from the left to the right"}
        return {
            "required": {
                "prompt": ("STRING", prompt),
                "planner": ("STRING", {"default": "rules"}),
                "seconds": ("FLOAT", {"default": 2.0, "min": 0.0, "max": 600.0, "step": 0.5}),
            }
        }

    def plan(self, prompt: str, planner: str, seconds: float) -> tuple[animatic.Scene, str]:
        scene = animatic.plan(prompt, planner, PlannerOptions(seconds=seconds))
        return scene, scene.to_json()


class EditScene:
    """A scene whose boxes are edited on the node; a planned scene replaces an empty one."""

    CATEGORY = "animatic"
    FUNCTION = "edit"
    RETURN_TYPES = ("ANIMATIC_SCENE", "STRING")
    RETURN_NAMES = ("scene", "json")
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"json": ("STRING", {"multiline": True, "default": ""})},
            "optional": {"scene": ("ANIMATIC_SCENE",)},
        }

    def edit(self, json: str, scene: animatic.Scene | None = None) -> dict[str, Any]:
        # What was edited on the node counts; it is empty until somebody edits.
        edited = scene_of_text(json) if json.strip() else scene
        if edited is None:
            raise animatic.AnimaticError("no scene; want one planned, or its JSON")
        text = edited.to_json()
        return {"ui": {"scene": [text]}, "result": (edited, text)}


class SceneMasks:
    """White inside the box of a track in each frame; track -1 is all tracks together."""

    CATEGORY = "animatic"
    FUNCTION = "masks"
    RETURN_TYPES = ("MASK",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        track = ("INT", {"default": -1, "min": -1, "max": 63})
        sizes = {"frames": FRAMES, "width": pixels(512), "height": pixels(512), "track": track}
        return {"required": {"scene": ("ANIMATIC_SCENE",), **sizes}}

    def masks(self, scene: animatic.Scene, frames: int, width: int, height: int, track: int) -> tuple[torch.Tensor]:
        if track >= len(scene.tracks):
            raise animatic.AnimaticError(f"track is {track}; the scene has {len(scene.tracks)}, from 0")
        masks = torch.from_numpy(scene.masks(frames, height, width))
        chosen = masks.any(0) if track < 0 else masks[track]
        return (chosen.float(),)


class SceneBoxes:
    """Phrases and boxes of each frame as JSON, as diffusers' GLIGEN pipelines take them."""

    CATEGORY = "animatic"
    FUNCTION = "boxes"
    RETURN_TYPES = ("STRING",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"scene": ("ANIMATIC_SCENE",), "frames": FRAMES}}

    def boxes(self, scene: animatic.Scene, frames: int) -> tuple[str]:
        rows = []
        for f in range(frames):
            present = boxes_at(scene, f, frames)
            rows.append({"gligen_phrases": [p for p, _ in present], "gligen_boxes": [box for _, box in present]})
        return (json.dumps(rows),)


class RegionalConditioning:
    """The prompt everywhere, and each object's words inside its box in one frame."""

    CATEGORY = "animatic/conditioning"
    FUNCTION = "condition"
    RETURN_TYPES = ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        strength = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 10.0, "step": 0.05})
        sizes = {"frame": FRAME, "frames": FRAMES, "width": pixels(512), "height": pixels(512), "strength": strength}
        return {"required": {"scene": ("ANIMATIC_SCENE",), "clip": ("CLIP",), **sizes}}

    def condition(
        self, scene: animatic.Scene, clip: Any, frame: int, frames: int, width: int, height: int, strength: float
    ) -> tuple[list[Any]]:
        check_frame(frame, frames)
        conditioning = encoded(clip, scene.prompt)
        masks = scene.masks(frames, height, width)[:, frame]
        for track, mask in zip(scene.tracks, masks, strict=True):
            if not mask.any():
                continue
            region = {"mask": torch.from_numpy(mask)[None].float(), "mask_strength": strength}
            for states, options in encoded(clip, track.prompt or track.phrase):
                conditioning.append([states, {**options, **region, "set_area_to_bounds": False}])
        return (conditioning,)


class GligenConditioning:
    """GLIGEN's boxes of one frame on the conditioning, as several GLIGENTextBoxApply would add them."""

    CATEGORY = "animatic/conditioning"
    FUNCTION = "condition"
    RETURN_TYPES = ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        sizes = {"frame": FRAME, "frames": FRAMES, "width": pixels(512), "height": pixels(512)}
        models = {"clip": ("CLIP",), "gligen_textbox_model": ("GLIGEN",)}
        return {"required": {"conditioning": ("CONDITIONING",), "scene": ("ANIMATIC_SCENE",), **models, **sizes}}

    def condition(
        self,
        conditioning: list[Any],
        scene: animatic.Scene,
        clip: Any,
        gligen_textbox_model: Any,
        frame: int,
        frames: int,
        width: int,
        height: int,
    ) -> tuple[list[Any]]:
        check_frame(frame, frames)
        placed = []
        for phrase, (x0, y0, x1, y1) in boxes_at(scene, frame, frames):
            _, pooled = clip.encode_from_tokens(clip.tokenize(phrase), return_pooled="unprojected")

            # ComfyUI's order, in latent cells: height, width, y, x; at least one cell.
            left, top = round(x0 * width / CELL), round(y0 * height / CELL)
            right, bottom = round(x1 * width / CELL), round(y1 * height / CELL)
            placed.append((pooled, max(1, bottom - top), max(1, right - left), top, left))

        out = []
        for states, options in conditioning:
            before = options["gligen"][2] if "gligen" in options else []
            out.append([states, {**options, "gligen": ("position", gligen_textbox_model, before + placed)}])
        return (out,)


class RenderScene:
    """Renders a scene by a model and a method of animatic, and gives its frames."""

    CATEGORY = "animatic"
    FUNCTION = "render"
    RETURN_TYPES = ("IMAGE", "FLOAT")
    RETURN_NAMES = ("frames", "fps")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        methods = ["", *METHODS]
        about = "A name of `animatic models`, a folder in diffusers layout, or a hub id."
        return {
            "required": {
                "scene": ("ANIMATIC_SCENE",),
                "model": ("STRING", {"default": "mini", "tooltip": about}),
                "method": (methods, {"tooltip": "Empty: what suits the scene."}),
                "steps": ("INT", {"default": 0, "min": 0, "max": 1000, "tooltip": "0: the model's own."}),
                "seed": SEED,
            }
        }

    def render(
        self, scene: animatic.Scene, model: str, method: str, steps: int, seed: int
    ) -> tuple[torch.Tensor, float]:
        options = {"steps": steps} if steps else {}
        video = animatic.render(scene, model, method, seed, **options)
        frames = torch.from_numpy(video.frames.copy()).float() / 255
        return frames, float(video.fps)


class PreviewScene:
    """The boxes of a scene, drawn on grey."""

    CATEGORY = "animatic"
    FUNCTION = "preview"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        sizes = {"frames": FRAMES, "width": pixels(512), "height": pixels(512)}
        return {"required": {"scene": ("ANIMATIC_SCENE",), **sizes}}

    def preview(self, scene: animatic.Scene, frames: int, width: int, height: int) -> tuple[torch.Tensor]:
        drawn = sketch(scene, frames, height, width)
        return (torch.from_numpy(drawn.frames.copy()).float() / 255,)


def scene_of_text(text: str) -> animatic.Scene:
    """The scene in a JSON text. Raises `AnimaticError` in one line."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise animatic.AnimaticError(f"the scene is no JSON ({error})") from None
    return parse(data)


def boxes_at(scene: animatic.Scene, frame: int, frames: int) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Phrase and box of each object that is there in frame `frame` of `frames`."""
    tracks = scene.at(frames).tracks
    placed = [(track.phrase, track.boxes[frame]) for track in tracks]
    return [(phrase, box) for phrase, box in placed if box is not None]


def check_frame(frame: int, frames: int) -> None:
    if not 0 <= frame < frames:
        raise animatic.AnimaticError(f"frame is {frame}; want 0 to {frames - 1}")


def encoded(clip: Any, text: str) -> list[Any]:
    """The text as CONDITIONING, as CLIPTextEncode makes it."""
    return [list(entry) for entry in clip.encode_from_tokens_scheduled(clip.tokenize(text))]


NODE_CLASS_MAPPINGS = {
    "AnimaticPlanScene": PlanScene,
    "AnimaticEditScene": EditScene,
    "AnimaticSceneMasks": SceneMasks,
    "AnimaticSceneBoxes": SceneBoxes,
    "AnimaticRegionalConditioning": RegionalConditioning,
    "AnimaticGligenConditioning": GligenConditioning,
    "AnimaticRenderScene": RenderScene,
    "AnimaticPreviewScene": PreviewScene,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "AnimaticPlanScene": "Plan scene",
    "AnimaticEditScene": "Edit scene",
    "AnimaticSceneMasks": "Scene to masks",
    "AnimaticSceneBoxes": "Scene to boxes",
    "AnimaticRegionalConditioning": "Scene to regional conditioning",
    "AnimaticGligenConditioning": "Scene to GLIGEN conditioning",
    "AnimaticRenderScene": "Render scene",
    "AnimaticPreviewScene": "Preview scene",
}
