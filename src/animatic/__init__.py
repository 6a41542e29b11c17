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
    from .generation import render, render_batch
    from .planning.planners import plan

    __version__: str

__all__ = [
    "AnimaticError", "Scene", "Story", "Track", "Video",
    "load", "load_scene", "load_story", "plan", "render", "render_batch",
]  # fmt: skip

_LATE = {"load": ".backbones", "plan": ".planning.planners", "render": ".generation", "render_batch": ".generation"}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is used: planning and editing stay quick."""
    if name == "__version__":
        return import_module("importlib.metadata").version("animatic")
    if name in _LATE:
        return getattr(import_module(_LATE[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
