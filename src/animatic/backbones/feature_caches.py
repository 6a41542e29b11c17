"""Feature caches of networks: the inner levels of a U-Net, and the later blocks of a transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from diffusers.hooks import FirstBlockCacheConfig
from diffusers.models.cache_utils import CacheMixin
from torch import nn

from ..core.feature_reuse import CallKey, FeatureCache
from ..core.types import Step
from ..errors import AnimaticError

INTERVAL = 3  # noise levels from one whole pass to the next; DeepCache's N
THRESHOLD = 0.1  # least relative change of the first block's residual at which the others are computed
LEADER_HOOK = "fbc_leader_block_hook"  # diffusers' name of the hook that decides


class DeepFeatures(FeatureCache):
    """Of a U-Net: of every INTERVAL noise levels one is computed whole, the others at the outermost level alone.

    DeepCache, Ma et al. 2023, arXiv 2312.00858, https://github.com/horseee/DeepCache, with its uniform interval and the
    outermost skip branch: the inner levels' outputs stand for those of the levels that follow. Whether a pass is whole
    follows from its noise level, so that a sample does not depend on the batch that it is in.
    """

    technique = f"inner levels of the U-Net reused {INTERVAL - 1} times (DeepCache)"

    def __init__(self, network: Any) -> None:
        super().__init__()
        middle = [] if network.mid_block is None else [network.mid_block]
        self._inner: list[nn.Module] = [*network.down_blocks[1:], *middle, *network.up_blocks[:-1]]
        self._kept: dict[CallKey, list[Any]] = {}  # the output of each module
        self._whole = 0  # index of the noise level at which they were kept

    @contextmanager
    def serving(self, step: Step, key: CallKey) -> Iterator[None]:
        # a new interval begins: calls of the same level, such as those of windows, are whole together
        if not self._kept or step.index >= self._whole + INTERVAL:
            self._kept = {}
            self._whole = step.index

        outputs = self._kept.get(key)
        if outputs is not None and step.index > self._whole:
            self.reused += 1
            with replaying(self._inner, outputs):
                yield
            return

        kept: list[Any] = []
        with recording(self._inner, kept.append):
            yield
        self._kept[key] = kept

    def forget(self) -> None:
        self._kept = {}


@contextmanager
def recording(modules: Sequence[nn.Module], keep: Callable[[Any], None]) -> Iterator[None]:
    """Call `keep(output)` for each of `modules`, which run in this order."""
    handles = [module.register_forward_hook(lambda _module, _inputs, output: keep(output)) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaying(modules: Sequence[nn.Module], outputs: Sequence[Any]) -> Iterator[None]:
    """Each of `modules` returns its output of `outputs`, and computes nothing."""
    forwards = [module.forward for module in modules]
    try:
        for module, output in zip(modules, outputs, strict=True):
            module.forward = lambda *_, _output=output, **__: _output
        yield
    finally:
        for module, forward in zip(modules, forwards, strict=True):
            module.forward = forward


class FirstBlock(FeatureCache):
    """Of a transformer: where the first block's residual has hardly changed, that of all others is reused.

    First-block cache of diffusers, after TeaCache (Liu et al. 2024, arXiv 2411.19108) and ParaAttention
    (https://github.com/chengzeyi/ParaAttention). It decides for a whole batch: a sample depends on the batch that it is
    in, within the threshold. Each set of branches has features of its own, and so has each network.
    """

    technique = f"blocks after the first reused where that one changes by less than {THRESHOLD:g} (first-block cache)"

    def __init__(self, network_at: Callable[[Step], Any], networks: Sequence[Any]) -> None:
        """`network_at` is the network of a noise level. Raises `AnimaticError` where one has a cache already."""
        super().__init__()
        for network in networks:
            if network.is_cache_enabled:
                raise AnimaticError("fast is on, and the network has a cache of diffusers already; want one of both")
        self._network_at = network_at
        self._names: dict[CallKey, str] = {}
        self._enabled: list[Any] = []

    @contextmanager
    def serving(self, step: Step, key: CallKey) -> Iterator[None]:
        network = self._network_at(step)
        if network not in self._enabled:
            network.enable_cache(FirstBlockCacheConfig(threshold=THRESHOLD))
            self._enabled.append(network)

        name = self._names.setdefault(key, f"call {len(self._names)}")
        with network.cache_context(name):
            yield
            self.reused += not _leader_state(network).should_compute

    def forget(self) -> None:
        for network in self._enabled:
            network.disable_cache()
        self._enabled = []
        self._names = {}


def _leader_state(network: Any) -> Any:
    """What the hook of the first block decided in the present call."""
    for module in network.modules():
        registry = vars(module).get("_diffusers_hook")
        hook = registry.get_hook(LEADER_HOOK) if registry is not None else None
        if hook is not None:
            return hook.state_manager.get_state()
    raise AnimaticError(f"{type(network).__name__} has no blocks that diffusers can cache; want it without fast")


def is_nested(network: Any) -> bool:
    """Whether a network is a U-Net of diffusers' form, of two levels or more."""
    levels = [getattr(network, name, ()) for name in ("down_blocks", "up_blocks")]
    return all(len(blocks) > 1 for blocks in levels) and hasattr(network, "mid_block")


def is_cacheable(network: Any) -> bool:
    """Whether diffusers' first-block cache serves a transformer: Stable Diffusion 3 has no part in it."""
    chains = [getattr(network, name, ()) for name in ("transformer_blocks", "blocks")]
    return isinstance(network, CacheMixin) and any(len(blocks) > 1 for blocks in chains)


def describe_hunyuan_blocks() -> None:
    """Register the places of the outputs of HunyuanVideo 1.5's blocks with diffusers, which knows those of 1.0."""
    # here: these modules import much that no other model needs
    from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
    from diffusers.models.transformers.transformer_hunyuan_video15 import HunyuanVideo15TransformerBlock

    try:
        TransformerBlockRegistry.get(HunyuanVideo15TransformerBlock)
    except ValueError:
        metadata = TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=1)
        TransformerBlockRegistry.register(HunyuanVideo15TransformerBlock, metadata)
