"""Which tokens belong to which boxes: the positions of each object's phrase in the prompt, and the cells it covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..core.control import Run
from ..core.encoded_prompt import EncodedPrompt
from ..errors import AnimaticError
from ..scene import Scene
from ..timeline import Timeline


@dataclass(frozen=True)
class Group:
    """The objects that share a target: the positions of their `tokens`, and their `tracks`."""

    tokens: tuple[int, ...]
    tracks: tuple[int, ...]


@dataclass
class Targets:
    """Pairs of one token and one object (or several of the same words), over all samples of a batch.

    `tokens` `[sample, token]`: the map request. `samples`, `columns` `[pair]`: where in the requested maps a pair's
    attention is. `weights` `[pair]`: they sum to 1 for each sample. `objects`: each pair's sample and tracks.
    `prompts`: of each sample. `frames`: latent frames. `legacy`: boxes are rounded to cells as in LMD and LVD.
    `tokens_per_prompt`: where every word is requested, `tokens` holds this many for each prompt that names an object,
    one prompt after the other. Masks are built once per layer size.
    """

    tokens: Tensor
    samples: Tensor
    columns: Tensor
    weights: Tensor
    scenes: Sequence[Scene | Timeline]
    prompts: Sequence[EncodedPrompt]
    objects: list[tuple[int, tuple[int, ...]]]
    frames: int
    legacy: bool
    tokens_per_prompt: int = 0
    _masks: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def in_run(
        cls,
        run: Run,
        legacy: bool = False,
        every_word: bool = False,
        separate_objects: bool = False,
        added: bool = False,
    ) -> Targets:
        """Targets of a run's scenes, or stories, in the prompts that were encoded, with `added` of those too.

        See `of`.
        """
        frames, device = run.x.shape[2], run.x.device
        scenes = run.evaluated if added else run.scenes
        prompts = run.evaluated_prompts if added else run.prompts
        return cls.of(scenes, prompts, frames, device, legacy, every_word, separate_objects)

    @classmethod
    def of(
        cls,
        scenes: Sequence[Scene | Timeline],
        prompts: Sequence[EncodedPrompt],
        frames: int,
        device: torch.device,
        legacy: bool = False,
        every_word: bool = False,
        separate_objects: bool = False,
    ) -> Targets:
        """Targets of one scene or story a sample and its prompt, for latents of `frames` frames.

        Objects of the same words have the same tokens and are one target, with `separate_objects` one each (LVD).
        `every_word`: request all tokens of the prompts that name objects. Raises `AnimaticError` where a phrase is not
        in its prompt.
        """
        requests: list[list[int]] = []
        samples: list[int] = []
        columns: list[int] = []
        weights: list[float] = []
        objects: list[tuple[int, tuple[int, ...]]] = []
        for sample, (scene, prompt) in enumerate(zip(scenes, prompts, strict=True)):
            # objects of the same words, and the tokens whose maps they need
            groups = _groups(scene, prompt, separate_objects)
            request = _request(groups, prompt.size if every_word else 0)
            requests.append(request)

            # one pair for each token of a group; groups weigh the same, and so do the tokens of a group
            for group in groups:
                weight = 1 / (len(group.tokens) * len(groups))
                for token in group.tokens:
                    samples.append(sample)
                    columns.append(request.index(token))
                    weights.append(weight)
                    objects.append((sample, group.tracks))

        # requests are padded to one length with token 0, whose maps no pair reads
        longest = max(1, *map(len, requests))
        padded = []
        for request in requests:
            missing = longest - len(request)
            padded.append(request + [0] * missing)
        return cls(
            tokens=torch.tensor(padded, device=device),
            samples=torch.tensor(samples, dtype=torch.long, device=device),
            columns=torch.tensor(columns, dtype=torch.long, device=device),
            weights=torch.tensor(weights, device=device),
            scenes=scenes,
            prompts=prompts,
            objects=objects,
            frames=frames,
            legacy=legacy,
            tokens_per_prompt=prompts[0].size if prompts else 0,
        )

    def masks(self, height: int, width: int) -> Tensor:
        """Cells inside a pair's boxes: float `[pair, frame, height, width]`, 0 or 1."""
        size = (height, width)
        if size not in self._masks:
            by_track = []
            for scene in self.scenes:
                boxes = scene.masks(self.frames, height, width, self.legacy)
                by_track.append(torch.from_numpy(boxes))

            # one mask for each pair: where any of its objects is
            masks = torch.zeros(0, self.frames, height, width)
            pairs = []
            for sample, tracks in self.objects:
                of_pair = by_track[sample][list(tracks)]
                pairs.append(of_pair.any(0))
            if pairs:
                masks = torch.stack(pairs)
            self._masks[size] = masks.float().to(self.tokens.device)
        return self._masks[size]

    def per_sample(self, values: Tensor) -> Tensor:
        """The weighted sum of `values` `[pair]` over the pairs of each sample: `[sample]`."""
        weighted = values * self.weights
        by_sample = values.new_zeros(len(self.tokens))
        return by_sample.index_add(0, self.samples, weighted)


def _groups(scene: Scene | Timeline, prompt: EncodedPrompt, separate_objects: bool) -> list[Group]:
    """The objects of a scene or story that share a target, in the order of their first track."""
    # objects of the same tokens join the group that the first of them began
    groups: list[Group] = []
    by_tokens: dict[tuple[int, ...], int] = {}  # the place of a group in the list
    for i, track in enumerate(scene.tracks):
        segment, _ = scene.part(i)
        tokens = prompt.positions(track.phrase, segment)
        if not tokens:
            text = prompt.texts[segment]
            raise AnimaticError(f"phrase {track.phrase!r} is not in the prompt {text!r}; name it there")

        place = by_tokens.setdefault(tokens, len(groups))
        if place == len(groups) or separate_objects:
            groups.append(Group(tokens, (i,)))
        else:
            group = groups[place]
            groups[place] = replace(group, tracks=(*group.tracks, i))
    return groups


def _request(groups: Sequence[Group], tokens_per_prompt: int) -> list[int]:
    """The tokens to request for these groups; with `tokens_per_prompt` all of each prompt that names one."""
    # each token once, in the order in which objects name them
    named: dict[int, None] = {}
    for group in groups:
        named.update(dict.fromkeys(group.tokens))
    if not tokens_per_prompt:
        return list(named)

    # whole prompts: BoxDiff's softmax is over all words of a prompt
    prompts = {token // tokens_per_prompt for token in named}
    tokens = []
    for prompt in sorted(prompts):
        first = prompt * tokens_per_prompt
        tokens += range(first, first + tokens_per_prompt)
    return tokens
