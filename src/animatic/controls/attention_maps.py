"""Maps of the text attention of each object: of cells to its words, or of its words to cells, over the frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.attention import matches_any, predict_with_maps, resized
from ..core.control import Control, Run, bound
from ..core.encoded_prompt import segments
from ..core.types import Attend, AttentionCall, Conditioning, Denoise, Step
from ..errors import AnimaticError
from ..scene import Scene, Track
from ..timeline import Timeline
from .targets import Targets

ShowLayer = Callable[[int, str, str, int, Tensor], None]
"""(sample, phrase, layer, step, map `[frame, height, width]` in probabilities, on the grid of the layer)."""


@dataclass
class AttentionMaps(Control):
    """Calls `show(sample, phrase, map)` at the end for each object: its mean attention `[frame, height, width]`.

    The mean is over tokens, heads, layers that match `layers` (globs) and noise levels, those numbered in `steps` or
    all, on the grid of the latents, in 0..1 of its own maximum. Objects of the same words share a map. `each` is called
    for every layer and noise level. With `from_text` it is the attention of words to cells, in layers where text and
    video are one sequence, not that of cells to words; memory is then layers x cells x words. `words`: which words of a
    prompt have maps where a sample has no tracks at all; none if not given. Predictions do not change.
    """

    show: Callable[[int, str, Tensor], None]
    layers: tuple[str, ...] = ("*",)
    steps: tuple[int, ...] = ()
    from_text: bool = False
    each: ShowLayer | None = None
    words: Callable[[str], Sequence[str]] | None = None
    needs = frozenset({"text maps"})
    reads_attention = True
    _targets: Targets = bound()
    _sum: Tensor = bound()
    _word_maps: dict[str, Tensor] = bound()  # by layer, of one evaluation of the network

    def begin(self, run: Run) -> AttentionMaps:
        count = len(run.schedule)
        if late := [step for step in self.steps if step >= count]:
            raise AnimaticError(f"attention of step {late[0]} is requested; this run has steps 0 to {count - 1}")

        scenes = [self._with_words(scene) for scene in run.scenes_for(self)]
        own = copy(self)
        own._targets = Targets.in_run(replace(run, scenes=scenes))

        # float32: half precision would lose small values in a sum over layers and levels
        pairs = len(own._targets.samples)
        own._sum = run.x.new_zeros(pairs, *run.x.shape[2:], dtype=torch.float32)
        own._word_maps = {}
        return own

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        # words as queries: only layers with text and video in one sequence have them
        wanted = self.from_text and call.kind == "joint"
        if wanted and matches_any(call.layer, self.layers):
            heads, _, channels = q.shape[1:]
            tokens = self._targets.tokens[call.cond.samples]
            index = tokens[:, None, :, None].expand(-1, heads, -1, channels)
            words = q.gather(2, index)

            # over all keys, the text's too, as the layer itself attends
            logits = words @ k.transpose(-1, -2) * channels**-0.5
            probabilities = logits.softmax(-1)
            by_word = probabilities.mean(1)
            to_cells = by_word[..., call.text_keys.stop :]  # [branch, word, cell]

            # as requested maps are: [branch, frame, head, height, width, word]
            on_grid = to_cells.unflatten(2, call.grid).movedim(1, -1)
            self._word_maps[call.layer] = on_grid[:, :, None]
        return inner(call, q, k, v, mask)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        targets = self._targets
        left_out = self.steps and step.index not in self.steps
        if left_out or not len(targets.samples):
            return inner(x, step, cond)

        if self.from_text:
            self._word_maps.clear()
            prediction = inner(x, step, cond)
            found = self._word_maps
        else:
            prediction, found = predict_with_maps(inner, x, step, cond, targets.tokens, self.layers, mean=True)
        if not found:
            raise AnimaticError(self._nothing_found())

        # add up the layers, of conditional branches alone
        frames = self._sum.shape[1]
        size = self._sum.shape[-2:]
        for layer, maps in found.items():
            # conditional branches come last
            conditional = maps[-len(targets.tokens) :].float()
            by_word = conditional.mean(2).movedim(-1, 1)  # [sample, word, frame, height, width]
            attention = by_word[targets.samples, targets.columns]  # [pair, frame, height, width]
            if self.each:
                for (sample, phrase), pairs in self._pairs().items():
                    mean = attention[pairs].mean(0)
                    self.each(sample, phrase, layer, step.index, mean)

            # a token of the model may span several latent frames
            frames_per_token = frames // attention.shape[1]
            by_frame = attention.repeat_interleave(frames_per_token, 1)
            self._sum += resized(by_frame, size)
        return prediction

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if not step.clean:
            return x

        for (sample, phrase), pairs in self._pairs().items():
            attention = self._sum[pairs].mean(0)
            highest = attention.amax().clamp(min=1e-12)
            self.show(sample, phrase, attention / highest)
        return x

    def _nothing_found(self) -> str:
        """Why no layer has a map."""
        layers = ", ".join(self.layers)
        if self.from_text:
            return f"words attend to no cells in {layers}; want layers with text and video in one sequence"
        return f"no attention maps in {layers}: another control replaces their text"

    def _with_words(self, sample: Scene | Timeline) -> Scene | Timeline:
        """The scene, or story, with the words to map as its tracks where it has no tracks."""
        if sample.tracks or self.words is None:
            return sample

        # a word is placed nowhere: its box is the whole frame
        whole_frame = ((0.0, 0.0, 1.0, 1.0),)
        scenes = []
        for scene in segments(sample):
            words = self.words(scene.prompt)
            tracks = tuple(Track(word, whole_frame) for word in words)
            scenes.append(replace(scene, tracks=tracks))
        if isinstance(sample, Scene):
            return scenes[0]
        return replace(sample, scenes=tuple(scenes))

    def _pairs(self) -> dict[tuple[int, str], list[int]]:
        """The pairs of each sample and phrase."""
        pairs: dict[tuple[int, str], list[int]] = {}
        for pair, (sample, tracks) in enumerate(self._targets.objects):
            # tracks of one pair have the same words
            scene = self._targets.scenes[sample]
            track = scene.tracks[tracks[0]]
            of_phrase = pairs.setdefault((sample, track.phrase), [])
            of_phrase.append(pair)
        return pairs
