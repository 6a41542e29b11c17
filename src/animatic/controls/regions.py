"""MultiDiffusion over regions: every box has a prompt of its own, and predictions are combined by the boxes.

Bar-Tal et al. 2023, arXiv 2302.08113, https://github.com/omerbt/MultiDiffusion; as a baseline in LMD's repository,
https://github.com/TonyLianLong/LLM-groundedDiffusion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from ..core.control import Control, Run, bound
from ..core.encoded_prompt import segments
from ..core.types import Conditioning, Denoise, Fraction, Step
from ..prompting.english import bare
from ..prompting.styles import object_name, stands
from ..scene import Scene, Story
from ..timeline import Timeline

Region = tuple[list[str], str, Tensor]  # prompts, one for each scene of a story; further negative prompt; mask


@dataclass
class Regions(Control):
    """Predictions for the background and for each object, with prompts of their own, combined by the boxes per frame.

    Put it before `Guidance`, and before the windows of a story. Controls inside it, such as layout attention, are given
    the box of each region under the region's own prompt. Attention maps are those of the scene under its whole prompt,
    evaluated besides, so that an energy may stand around it. Later tracks are in front. `bootstrap`: the first fraction
    of the noise levels, at which an object is denoised in front of a plain colour, at the level's noise, so that it
    fills the box (the paper's bootstrapping). `negative` is appended to the model's own negative prompt for objects.
    `around`: the same for the background. `seed`: of the plain colours; where `legacy` that of the run.

    `legacy`: as in LMD's MultiDiffusion, boxes are cut out of pixels; the background is denoised from the sample as it
    is, an object in front of one of as many colours as there are such levels, another at each level, under the run's
    first noise.
    """

    bootstrap: Fraction = 0.4  # 20 of 50 steps
    negative: str = ""
    around: str = ""
    seed: int = 0
    legacy: bool = False
    stands_around = frozenset({"Guidance", "Windows", "ShareKV"})
    only_one = True
    _run: Run = bound()
    _cond: Conditioning = bound()
    _masks: Tensor = bound()
    _colours: Tensor = bound()
    _samples: list[int] = bound()  # of each region
    _picks: Tensor = bound()  # the colour of each region at each level, where `legacy`

    def begin(self, run: Run) -> Regions:
        prompts: list[list[str]] = []
        negatives: list[list[str]] = []
        masks: list[Tensor] = []
        samples: list[int] = []
        defaults = run.backbone.defaults
        for sample, scene in enumerate(run.scenes_for(self)):
            boxes = self._boxes(scene, run)

            # the background is what no box covers; a cell of several boxes belongs to the last track
            in_front = boxes.flip(0).cumsum(0).flip(0) - boxes.int()
            visible = boxes & (in_front == 0)

            # every region is a sample of its own to the network
            story = segments(scene)
            for texts, negative, mask in self._regions(story, visible, ~boxes.any(0)):
                prompts.append(texts)
                negatives.append([defaults.negative_text(part.negative, negative) for part in story])
                masks.append(mask)
                samples.append(sample)

        own = copy(self)
        own._run = run
        own._samples = samples
        encoded = _shown_by(run.backbone.encode_stories(prompts, negatives), samples)
        own._cond = replace(encoded, first_scene=len(run.scenes))
        own._masks = torch.stack(masks)[:, None].to(run.x)
        if self.bootstrap and self.legacy:
            own._colours, own._picks = own._paint_published(run)
        elif self.bootstrap:
            own._colours = own._paint(run)
        return own

    def added_scenes(self, run: Run) -> list[Scene | Timeline]:
        """What each region shows: the background without tracks, then each object alone under its own name."""
        added: list[Scene | Timeline] = []
        for scene in run.scenes_for(self):
            story = segments(scene)
            most = max(len(part.tracks) for part in story)
            for track in (None, *range(most)):
                parts = tuple(_alone(part, track) for part in story)
                added.append(parts[0] if isinstance(scene, Scene) else replace(scene, scenes=parts))
        return added

    def _regions(self, story: Story, visible: Tensor, around: Tensor) -> Iterator[Region]:
        """The background, and one region for each object of a scene; in a story the k-th objects of all its scenes.

        So a story costs no more than its scene with the most objects. In windows between two scenes the words of their
        k-th objects are mixed, as the scenes' own are.

        `visible` `[track, frame, height, width]` is where each object is in front, `around` where none is. A scene that
        has fewer objects than another shows its background there, which no frame of it has a mask for.
        """
        backgrounds = [self._background(scene) for scene in story]
        yield backgrounds, self.around, around

        firsts = [0, *accumulate(len(scene.tracks) for scene in story)]
        for k in range(max(len(scene.tracks) for scene in story)):
            texts = list(backgrounds)
            mask = torch.zeros_like(around)
            for i, scene in enumerate(story):
                if k < len(scene.tracks):
                    texts[i] = object_name(scene.tracks[k])
                    mask |= visible[firsts[i] + k]
            yield texts, self.negative, mask

    def _boxes(self, scene: Scene | Timeline, run: Run) -> Tensor:
        """Cells inside each track's box: bool `[track, frame, height, width]`.

        As published boxes are of pixels, and the first pixel of each cell decides.
        """
        frames, height, width = run.x.shape[2:]
        ratio = run.backbone.geometry.vae_spatial_ratio if self.legacy else 1
        masks = scene.masks(frames, height * ratio, width * ratio, self.legacy)
        pixels = torch.from_numpy(masks)
        return pixels[..., ::ratio, ::ratio]

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        # maps are of the whole scene, in an evaluation of its own: an energy needs no more
        if cond.map_request is not None:
            only_maps = replace(cond.map_request, maps_only=True)
            asking = replace(cond, map_request=only_maps)
            of_scene = inner(x, step, asking.positive)
            if cond.map_request.maps_only:
                return of_scene

        # one entry a region: its sample, in front of a plain colour while bootstrapping
        masks = self._masks
        regions = x[self._samples]
        if step.fraction < self.bootstrap:
            colours = self._plain_published(regions, step) if self.legacy else self._plain(regions, step)
            in_box = masks * regions
            regions = in_box + (1 - masks) * colours

        # the regions' prompts take the place of the scene's; the masks of a sample sum to 1 everywhere
        guided = any(branch.negative for branch in cond.branches)
        own_cond = self._cond if guided else self._cond.positive
        predictions = inner(regions, step, own_cond) * masks
        samples = torch.tensor(self._samples, device=x.device)
        return torch.zeros_like(x).index_add(0, samples, predictions)

    def _background(self, scene: Scene) -> str:
        """The prompt around the boxes: the scene's background, or where it has none, its prompt."""
        # LMD encodes an empty prompt where a layout has no background
        if scene.background or (self.legacy and scene.tracks):
            return scene.background
        return scene.prompt

    def _by_sample(self, draw: Callable[[int, torch.Generator], Tensor], seed: int) -> Tensor:
        """Draws for each sample's regions, from one seed for every sample, so that none depends on the batch."""
        draws = []
        for sample in range(len(self._run.scenes)):
            count = self._samples.count(sample)
            generator = torch.Generator().manual_seed(seed)
            draws.append(draw(count, generator))
        return torch.cat(draws)

    def _paint(self, run: Run) -> Tensor:
        """Latents of plain colours, one a region."""

        def colours_of(count: int, generator: torch.Generator) -> Tensor:
            return torch.rand(count, 1, 1, 1, 3, generator=generator)

        # as 8-bit pixels
        colours = self._by_sample(colours_of, self.seed) * 255
        return self._encoded(colours.round(), run)

    def _paint_published(self, run: Run) -> tuple[Tensor, Tensor]:
        """(latents of all colours, sample by sample; index `[level, region]` of each region's colour, -1: none)."""
        # as many colours as there are levels with bootstrapping
        steps = len(run.schedule)
        count = max(1, sum(i / steps < self.bootstrap for i in range(steps)))
        latents: list[Tensor] = []
        picks: list[Tensor] = []
        for sample in range(len(self._run.scenes)):
            # colours first, then one after the other the samples that the VAE's posterior gives of them
            seed = run.seed(sample)
            draw = torch.Generator().manual_seed(seed)
            colours = torch.rand(count, 1, 1, 1, 1, 3, generator=draw) * 255
            latents += [self._encoded(colour, run, draw) for colour in colours]

            # the picks continue the random numbers of the first noise, which is drawn and left
            draw = torch.Generator().manual_seed(seed)
            torch.randn(run.x.shape[1:], generator=draw)
            objects = self._samples.count(sample) - 1
            first = sample * count
            of_objects = []
            for _ in range(count):
                pick = torch.randint(0, count, (objects,), generator=draw)
                of_objects.append(pick + first)

            # [level, region], the background first
            background = torch.full((count, 1), -1)
            by_level = torch.stack(of_objects)
            picks.append(torch.cat([background, by_level], 1))
        return torch.cat(latents), torch.cat(picks, 1)

    def _encoded(self, colours: Tensor, run: Run, draw: torch.Generator | None = None) -> Tensor:
        """Latents of frames in one colour each, `colours` `[n, 1, 1, 1, 3]` in 0..255."""
        frames, *cells = run.x.shape[2:]
        ratio = run.backbone.geometry.vae_spatial_ratio
        height, width = (n * ratio for n in cells)

        # one frame is encoded and repeated; of some models it makes a spare latent frame, which comes first
        pixels = colours.expand(-1, 1, height, width, 3)
        latents = run.backbone.to_latents(pixels, draw)
        return latents[:, :, -1:].expand(-1, -1, frames, -1, -1)

    def _plain(self, x: Tensor, step: Step) -> Tensor:
        """The plain colours at the noise level of `step`."""
        shape = x.shape[1:]

        def noise_of(count: int, generator: torch.Generator) -> Tensor:
            return torch.randn(count, *shape, generator=generator)

        # another noise at every level; the colours themselves have `seed`
        seed = self.seed + step.index + 1
        noise = self._by_sample(noise_of, seed).to(x)
        return self._run.schedule.noised(self._colours, noise, step)

    def _plain_published(self, x: Tensor, step: Step) -> Tensor:
        """The colours of `step` under the run's first noise; the background's region is `x` itself."""
        run = self._run
        picks = self._picks[step.index].to(x.device)
        first = run.schedule.unit(run.x)
        noise = first[self._samples]
        shown = run.schedule.noised(self._colours[picks], noise, step)
        background = (picks < 0).view(-1, 1, 1, 1, 1)
        return torch.where(background, x, shown)


def _alone(scene: Scene, i: int | None) -> Scene:
    """The scene of track `i` alone, whose prompt is its name; without tracks where there is no such track."""
    if i is None or i >= len(scene.tracks):
        return replace(scene, tracks=())
    track = scene.tracks[i]
    name = object_name(track)
    phrase = next((words for words in (track.phrase, bare(name)) if stands(name, words)), name)
    return replace(scene, prompt=name, tracks=(replace(track, phrase=phrase),))


def _shown_by(cond: Conditioning, samples: Sequence[int]) -> Conditioning:
    """The conditioning of regions, whose branches say of which sample they are."""
    branches = tuple(replace(branch, story=samples[branch.sample]) for branch in cond.branches)
    return replace(cond, branches=branches)
