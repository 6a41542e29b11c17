"""The texts that a sample is conditioned on, as they were encoded, and where the tokens of a phrase are in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..scene import Scene, Story
from .text import ClipText

if TYPE_CHECKING:
    from ..timeline import Timeline


@dataclass(frozen=True)
class EncodedPrompt:
    """The prompt of one sample: one text for a scene, one for each scene of a story, its segments.

    `texts`: the very texts that were encoded, one a segment. `size`: tokens of each segment in the conditioning, where
    the segments of a story form one sequence `[segment * size]`. `encoder`: the text encoder.
    """

    texts: tuple[str, ...]
    size: int
    encoder: ClipText = field(repr=False)

    @classmethod
    def of(cls, scene: Scene | Timeline, encoder: ClipText, size: int = 0) -> EncodedPrompt:
        """The prompt of a scene or story in the wording of its method; `size` 0 is the text encoder's limit."""
        texts = tuple(segment.prompt for segment in segments(scene))
        return cls(texts, size or encoder.limit, encoder)

    def positions(self, phrase: str, segment: int = 0) -> tuple[int, ...]:
        """Positions of the tokens of `phrase` in the sequence of all segments; () where the segment does not have it.

        The phrase is found by whole words, by its plural or by its last word, see `core.text.find`.
        """
        first = segment * self.size
        within = self.positions_within(phrase, segment)
        return tuple(first + position for position in within)

    def positions_within(self, phrase: str, segment: int = 0) -> tuple[int, ...]:
        """The same, counted from the first token of the segment: positions in a window that has one prompt."""
        return self.encoder.positions(self.texts[segment], phrase)

    def token_ids(self, segment: int = 0) -> list[int]:
        """The token ids of a segment's text, without padding."""
        return self.encoder.token_ids(self.texts[segment])


def segments(scene: Scene | Timeline) -> Story:
    """The scenes of a story, or the one scene: each has a prompt of its own."""
    return (scene,) if isinstance(scene, Scene) else scene.scenes
