"""A prompt becomes a scene of moving boxes, and a video that obeys it.

```python
import animatic

scene = animatic.plan("A bear walks from the left to the right")
animatic.render(scene, seed=1).save("bear.mp4")
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import AnimaticError
from .importing import collector_paused

if TYPE_CHECKING:
    from .backbones import load
    from .callbacks import Callback as Callback
    from .core.control import Control as Control
    from .generation import generate, generate_batch
    from .methods import METHODS as METHODS
    from .methods import Method as Method
    from .planning.planners import plan
    from .rehearsal import Rehearsal, rehearse
    from .rendering import edit, render, render_batch
    from .request import GenerationRequest, SamplingOptions
    from .request_files import read_request
    from .scene import Scene, Story, Track, load_scene, load_story
    from .video import Video

    __version__: str

__all__ = [
    "AnimaticError", "Callback", "Control", "GenerationRequest", "Rehearsal", "SamplingOptions", "Scene", "Story",
    "Track", "Video", "edit", "generate", "generate_batch", "load", "load_scene", "load_story", "plan", "read_request",
    "rehearse", "render", "render_batch",
]  # fmt: skip

_LATE = {
    "METHODS": ".methods", "Callback": ".callbacks", "Control": ".core.control", "GenerationRequest": ".request",
    "Method": ".methods", "Rehearsal": ".rehearsal", "SamplingOptions": ".request", "Scene": ".scene",
    "Story": ".scene", "Track": ".scene", "Video": ".video", "edit": ".rendering", "generate": ".generation",
    "generate_batch": ".generation", "load": ".backbones", "load_scene": ".scene", "load_story": ".scene",
    "plan": ".planning.planners", "read_request": ".request_files", "rehearse": ".rehearsal",
    "render": ".rendering", "render_batch": ".rendering",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import each name only when it is used: planning needs no torch, and `--help` nothing."""
    if name == "__version__":
        return import_module("importlib.metadata").version("animatic")
    if name in _LATE:
        with collector_paused():
            return getattr(import_module(_LATE[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LATE, "__version__"})
