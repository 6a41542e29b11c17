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
from .scene import Scene, Story, Track, load_scene, load_story
from .video import Video

if TYPE_CHECKING:
    from .backbones import load
    from .callbacks import Callback as Callback
    from .core.control import Control as Control
    from .generation import generate, generate_batch
    from .methods import METHODS as METHODS
    from .methods import Method as Method
    from .planning.planners import plan
    from .rendering import edit, render, render_batch
    from .request import GenerationRequest, SamplingOptions
    from .request_files import read_request

    __version__: str

__all__ = [
    "AnimaticError", "Callback", "Control", "GenerationRequest", "SamplingOptions", "Scene", "Story", "Track", "Video",
    "edit", "generate", "generate_batch", "load", "load_scene", "load_story", "plan", "read_request", "render",
    "render_batch",
]  # fmt: skip

_LATE = {
    "METHODS": ".methods", "Callback": ".callbacks", "Control": ".core.control", "GenerationRequest": ".request",
    "Method": ".methods",
    "SamplingOptions": ".request", "edit": ".rendering", "generate": ".generation", "generate_batch": ".generation",
    "load": ".backbones", "plan": ".planning.planners", "read_request": ".request_files", "render": ".rendering",
    "render_batch": ".rendering",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is used: planning and editing stay quick."""
    if name == "__version__":
        return import_module("importlib.metadata").version("animatic")
    if name in _LATE:
        return getattr(import_module(_LATE[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LATE, "__version__"})
