"""The widget of a scene, for Jupyter, Colab and whatever else shows anywidgets, and a player of videos.

https://anywidget.dev. The page holds the scene as JSON; text from it is checked as a scene of a file is.
"""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

from ..errors import AnimaticError
from ..scene import Scene, parse
from ..video import Video

try:
    import anywidget
    import traitlets
except ModuleNotFoundError:
    raise AnimaticError("the widget needs anywidget; want pip install 'animatic[notebook]'") from None


class SceneWidget(anywidget.AnyWidget):
    """Shows the boxes of `scene` at one key frame, to be dragged and resized.

    `scene` is the scene as it is now, and may be set. Setting what is no scene raises `AnimaticError`.
    """

    _esm = Path(__file__).with_name("widget.js")
    _css = Path(__file__).with_name("widget.css")

    text: Any = traitlets.Unicode().tag(sync=True)

    def __init__(self, scene: Scene, **options: Any) -> None:
        super().__init__(text=_json_of(scene), **options)

    @traitlets.validate("text")
    def _checked(self, proposal: Any) -> str:
        """The text that the page or Python proposes, once it is known to be a scene."""
        try:
            parse(json.loads(proposal["value"]))
        except (ValueError, RecursionError) as error:
            raise traitlets.TraitError(f"no scene ({error})") from None
        return proposal["value"]

    @property
    def scene(self) -> Scene:
        return parse(json.loads(self.text))

    @scene.setter
    def scene(self, scene: Scene) -> None:
        self.text = _json_of(scene)


def player(video: Video, scale: int | None = None) -> Any:
    """A video as HTML that holds an mp4 of its frames and plays in the notebook. `scale` is that of `Video.save`."""
    from IPython.display import HTML  # part of every notebook, not of animatic

    encoded = base64.b64encode(video.encoded(".mp4", scale)).decode()
    label = html.escape(str(video.info.get("prompt", "video")), quote=True)
    source = f"data:video/mp4;base64,{encoded}"
    return HTML(f'<video controls loop autoplay muted playsinline aria-label="{label}" src="{source}"></video>')


def _json_of(scene: Scene) -> str:
    if not isinstance(scene, Scene):
        raise AnimaticError(f"scene is {type(scene).__name__}; want a Scene, such as animatic.plan(prompt) gives")
    return scene.to_json()
