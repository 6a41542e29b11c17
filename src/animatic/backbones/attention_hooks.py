"""Attention hooks: every attention layer of a diffusers network calls one function between its projections.

That function is `attend(layer, q, k, v, mask)`, after the projections to queries, keys and values and before the output
projection. Where no control overrides it, a network computes exactly what diffusers' stock processors compute.

Attention maps are requested by `Conditioning.map_request`: the probabilities of the requested tokens are read from
fused attention as further one-hot columns of V, exactly and differentiably. A request for maps alone ends the forward
pass after the last of its layers: its hook raises `AllMapsFound`, which `serving` catches. The graph that autograd
recorded until then is complete.

Gradient checkpointing calls layers a second time during backward. So with gradients enabled the call stays known until
the next one begins, and maps that were found already are not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.arithmetic import ceil_div
from ..core.attention import TEXT_KINDS, attention_with_columns, matches_any, one_hot
from ..core.types import Attend, AttentionCall, AttentionMapRequest, Conditioning, Step
from ..errors import AnimaticError
from .gradients import incompatible_with_gradients
from .replaceable import check_replaceable


@dataclass(frozen=True)
class NetworkCall:
    """One evaluation of the network, as its layers need to know it.

    `grid` is the latents' (frames, height, width), `patch` the size of a transformer's token in latent cells.
    """

    step: Step
    cond: Conditioning
    attend: Attend
    grid: tuple[int, int, int]
    patch: tuple[int, int, int] = (1, 1, 1)


class AllMapsFound(Exception):
    """All requested maps have been found; nothing after them is needed."""


class AttentionHooks:
    """The attention hooks of one network, and the call that they serve at the moment.

    `layers` are the names of all hooked layers, `text_layers` of those that attend to text; maps can be requested of
    these.
    """

    def __init__(
        self, network: nn.Module, kind: Callable[[str], str], processor: Callable[[AttentionHooks, str, str], Any]
    ) -> None:
        """Replace the attention processors of `network`.

        `kind` returns the kind of a layer by its name, "" for one that keeps its own processor; `processor` makes the
        processor of (hooks, name, kind).
        """
        self.network: Any = network
        self.requested_count = 0
        self.call: NetworkCall | None = None
        self.layers: list[str] = []
        self.text_layers: list[str] = []
        self.borrowed = False
        self._make = processor
        self._kind = kind
        self._is_installed = True

        own = self.network.attn_processors
        for key in own:
            if self._keeps_own(key):
                continue
            name = key.removesuffix(".processor")
            self.layers.append(name)
            if kind(key) in TEXT_KINDS:
                self.text_layers.append(name)
        self.network.set_attn_processor(self._replacing(own))
        self._own = own

    def _replacing(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """The hooks in place of a network's processors."""
        processors: dict[str, Any] = {}
        for key, stock in own.items():
            name = key.removesuffix(".processor")
            processors[key] = stock if self._keeps_own(key) else self._make(self, name, self._kind(key))
        return processors

    def _keeps_own(self, key: str) -> bool:
        """Whether a layer keeps its own processor: GLIGEN's grounding layers, and those of kind ""."""
        return ".fuser." in key or not self._kind(key)

    def give_back(self) -> None:
        """Return the network's own processors to a network that somebody else uses, too: see `installed`."""
        self.borrowed = True
        self._is_installed = False
        self.network.set_attn_processor(dict(self._own))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have the hooks in the layers meanwhile; a borrowed network has its own processors before and after.

        Raises `AnimaticError` where these compute what the hooks would not.
        """
        if self._is_installed:
            yield
            return

        # Its owner may have set others since the last run.
        own = self.network.attn_processors
        check_replaceable(own)
        self.network.set_attn_processor(self._replacing(own))
        self._is_installed = True
        try:
            yield
        finally:
            self.call = None
            self._is_installed = False
            self.network.set_attn_processor(dict(own))

    @contextmanager
    def serving(self, call: NetworkCall) -> Iterator[None]:
        """Serve one call of the network; ends it early where only maps are requested and all are found.

        Raises `AnimaticError` where a requested layer was not called, or where an acceleration in use would give wrong
        gradients (see `gradients`).
        """
        # Backward may call layers again, which must find the hooks: they stay for the whole run.
        if torch.is_grad_enabled() and not self._is_installed:
            raise AnimaticError("gradients of a borrowed network outside of a run; want `with model.running():`")
        with self.installed():
            yield from self._serving(call)

    def _serving(self, call: NetworkCall) -> Iterator[None]:
        # Refused before anything is computed: such gradients would be wrong without an error.
        request = call.cond.map_request
        requested = self.requested_layers(request)
        reason = incompatible_with_gradients(self.network) if requested and torch.is_grad_enabled() else ""
        if reason:
            raise AnimaticError(f"guided passes cannot run with {reason}; guide without it, or switch it on afterwards")

        # The call stays known with gradients: checkpointed layers are called again during backward.
        self.call = call
        self.requested_count = len(requested)
        try:
            yield
        except AllMapsFound:
            pass
        finally:
            if not torch.is_grad_enabled():
                self.call = None

        # A layer whose processor was replaced after loading never answers.
        missing = [name for name in requested if request and name not in request.found]
        if missing:
            count = f"{len(missing)} of {len(requested)} attention layers did not answer ({missing[0]})"
            raise AnimaticError(f"{count}; are projections fused, or other processors set?")

    def requested_layers(self, request: AttentionMapRequest | None) -> list[str]:
        """The layers that a request is for. Raises `AnimaticError` where its patterns match none."""
        if request is None:
            return []
        names = [name for name in self.text_layers if matches_any(name, request.layers)]
        if not names:
            patterns = ", ".join(request.layers)
            hint = "want others, such as --set energy.layers=*, or a method that reads all, such as lvd"
            raise AnimaticError(f"layers {patterns} match no text attention layer of this model; {hint}")
        return names

    def attention(
        self, name: str, kind: str, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, text_tokens: int = 0
    ) -> Tensor:
        """Attention of the layer `name` over q, k, v `[batch, head, token, width]`, hooked where a call is served.

        The first `text_tokens` keys are text, in joint layers the first queries, too.
        """
        call = self.call
        if call is None:  # the network was called by other code than `Components`
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

        # Height and width at this layer follow from the number of its video tokens.
        sizes = zip(call.grid, call.patch, strict=True)
        frames, height, width = (size // token for size, token in sizes)
        entries_per_branch = len(q) // len(call.cond.branches)
        queries = q.shape[2]
        video_tokens = queries - text_tokens if kind == "joint" else queries
        cells = entries_per_branch * video_tokens // frames
        grid = (frames, *grid_of(height, width, cells, name))

        # What hooks read of the layer.
        text_keys = slice(0, text_tokens)
        layer = AttentionCall(name, kind, entries_per_branch, text_keys, grid, call.step, call.cond, v.shape[-1])
        return self.attend(layer, call, q, k, v, mask)

    def text_tokens(self, otherwise: int) -> int:
        """Tokens of the text in the call that is served; `otherwise` where none is."""
        return otherwise if self.call is None else self.call.cond.text.shape[1]

    def attend(
        self, layer: AttentionCall, call: NetworkCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """`call.attend`, and the maps that the call requests of this layer."""
        request = call.cond.map_request
        is_requested = request is not None and matches_any(layer.layer, request.layers)
        if request is None or not is_requested or layer.kind not in TEXT_KINDS:
            return call.attend(layer, q, k, v, mask)

        # Probabilities of the requested tokens, computed with the output in one call.
        columns = one_hot(request.tokens, k.shape[2])
        out, probabilities = attention_with_columns(call.attend, layer, q, k, v, mask, columns)
        if layer.layer not in request.found:
            request.found[layer.layer] = self._maps(layer, call, request, probabilities)
            if request.maps_only and len(request.found) == self.requested_count:
                raise AllMapsFound
        return out

    def _maps(
        self, layer: AttentionCall, call: NetworkCall, request: AttentionMapRequest, probabilities: Tensor
    ) -> Tensor:
        """`[branch, frame, head, height, width, requested token]` of `[batch, head, query, requested token]`."""
        if layer.kind == "joint":
            probabilities = probabilities[:, :, layer.text_keys.stop :]  # of video queries

        # [batch, head, query, token] to [branch, entry, head, height, width, token], entries being frames or clips.
        by_branch = probabilities.unflatten(0, (-1, layer.entries_per_branch))
        _, height, width = layer.grid
        by_cell = by_branch.unflatten(3, (-1, height, width))
        maps = by_cell.movedim(3, 2).flatten(1, 2)
        if request.mean_over_heads:
            maps = maps.mean(2, keepdim=True)

        # A token of several latent frames has one map for all of them.
        frames_per_token = call.grid[0] // layer.grid[0]
        return maps if frames_per_token == 1 else maps.repeat_interleave(frames_per_token, 1)


def grid_of(height: int, width: int, cells: int, name: str) -> tuple[int, int]:
    """The (height, width) of the layer called `name`, which has `cells` positions, in a network over height x width.

    Each level of a UNet halves both sides and rounds up (a convolution of stride 2, padded by 1): 75 x 50 becomes
    38 x 25, 19 x 13, 10 x 7. No two levels have equally many cells. Raises `AnimaticError` where no level has `cells`.
    """
    level_height, level_width = height, width
    while level_height * level_width > max(cells, 1):
        level_height = ceil_div(level_height, 2)
        level_width = ceil_div(level_width, 2)

    if level_height * level_width != cells:
        raise AnimaticError(f"layer {name} has {cells} positions; no level of {height} x {width} cells has as many")
    return level_height, level_width


def unet_kind(name: str) -> str:
    """ "time", "cross" or "self". Beware: in UNet3D's temporal transformers `attn2` is self-attention over time."""
    if "temp_attentions." in name or ".attn_temp" in name or name.startswith("transformer_in."):
        return "time"
    return "cross" if ".attn2." in name else "self"


def joint_kind(name: str) -> str:
    """Of CogVideoX: text and video are one sequence in all layers."""
    return "joint"


def stream_kind(name: str) -> str:
    """Of Stable Diffusion 3: one sequence of text and picture, and in 3.5 Medium further layers of the picture."""
    return "self" if ".attn2" in name else "joint"


def refined_kind(name: str) -> str:
    """Of HunyuanVideo 1.5: one sequence of text and video; before the blocks the text is refined by itself."""
    return "" if name.startswith("context_embedder.") else "joint"


def separate_kind(name: str) -> str:
    """Of Wan: self-attention of the video, cross-attention to the text."""
    return "cross" if ".attn2" in name else "self"
