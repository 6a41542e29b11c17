"""An edit and its source, as keywords."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from animatic.core.backbone import Backbone
from animatic.generation import generate_versions
from animatic.rendering import request_of
from animatic.scene import Scene, Story
from animatic.story_edit import Edit
from animatic.video import Video


def edit_pair(
    source: Scene | Story, edit: Edit, model: Backbone, method: str = "none", seed: int = 0,
    video: Video | None = None, **options: Any,
) -> tuple[Video, Video]:  # fmt: skip
    """The video as it is and as edited, from the same noise; with `video` that is inverted."""
    story = (source,) if isinstance(source, Scene) else source
    request = request_of(story, model, method, seed, **options)
    if video is not None:
        request = replace(request, inverted=video.digest)
    before, after = generate_versions(request.edited(edit), model, video=video)
    return before, after
