"""Counts that decide how fast a run is and that no machine changes: operators, waits, passes, look-ups, encodings."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from animatic.backbones import load
from animatic.core.attention import fused_attention
from animatic.core.types import AttentionMapRequest, Step
from animatic.generation import generate
from animatic.methods import method_named
from animatic.methods.lvd import LAYERS as LVD_LAYERS
from animatic.rehearsal_costs import passes_of
from animatic.request import GenerationRequest, SamplingOptions
from animatic.scene import Scene, Track
from animatic.seed_series import generate_seeds
from animatic.toy.curriculum import CurriculumConfig
from animatic.toy.train_mini import MiniTrainer
from animatic.training.loss import attention_loss

STEPS = 8
FRAMES = 2  # no count depends on it
STEP = Step(0, STEPS, 900.0, noise=1.0)
SCENE = Scene("a bear walks to the right", (Track("a bear", ((0.1, 0.4, 0.4, 0.8), (0.6, 0.4, 0.9, 0.8))),))
WAIT = torch.ops.aten._local_scalar_dense.default  # Python waits for a value of the device


class Operators(TorchDispatchMode):
    """Counts operators by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[Any] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found[func] += 1
        return func(*args, **(kwargs or {}))


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operator makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@pytest.fixture(scope="module")
def model():
    return load("mini")


def request_of(method: str, steps: int = STEPS) -> GenerationRequest:
    sampling = SamplingOptions(steps=steps, frames=FRAMES, seed=1)
    return GenerationRequest((SCENE,), "mini", method=method, sampling=sampling)


def operators_of(model: Any, method: str, steps: int) -> Counter[Any]:
    with Operators() as operators:
        generate(request_of(method, steps), model)
    return operators.found


def a_step(model: Any, method: str) -> Counter[Any]:
    """Operators of one unguided step: what a run of two steps more has more, by two."""
    # LVD guides a quarter of the steps, rounded: 2 of 8 as of 9
    fewer, more = operators_of(model, method, 8), operators_of(model, method, 9)
    more.subtract(fewer)
    return more


@pytest.fixture
def passes(model):
    """Of each forward pass of the network: rows of its batch, and whether for gradients."""
    found: list[tuple[int, bool]] = []
    hook = model.unet.register_forward_pre_hook(
        lambda _, inputs: found.append((len(inputs[0]), torch.is_grad_enabled()))
    )
    yield found
    hook.remove()


@pytest.mark.parametrize("method", ["none", "lvd", "layout-attention"])
def test_an_unguided_step_is_the_network_and_little_more(model, method):
    """Guidance, scheduler and check of the latents: 76 operators beside the network's 1711, of `none`.

    They ask for 16 values: 15 of the scheduler's tables, which are in main memory, and whether the latents are finite.
    """
    x, cond = model.noise([0, 1], FRAMES, 64, 64), model.encode([SCENE.prompt], [""])
    with Operators() as bare, torch.no_grad(), model.running():
        model(x, STEP, cond, fused_attention)
    step = a_step(model, method)
    assert bare.found[WAIT] == 0
    assert step[WAIT] <= 16
    if method != "layout-attention":  # which has operators of its own in every layer
        assert step.total() - bare.found.total() <= 80


@pytest.mark.parametrize("method", ["none", "layout-attention", "lvd", "lvd:weak"])
def test_passes_are_those_that_rehearse_counts(model, passes, method):
    """One pass a step of both branches, and at most as many guided ones of one branch as were foretold."""
    generate(request_of(method), model)
    foretold = passes_of(method_named(method).on(model), STEPS, len(SCENE.tracks))
    guided = [rows for rows, has_gradients in passes if has_gradients]
    plain = [rows for rows, has_gradients in passes if not has_gradients]
    assert plain == [2] * foretold.predictions
    assert len(guided) <= foretold.guided
    assert set(guided) <= {1}
    assert bool(guided) == bool(foretold.guided)


def test_type_of_weights_is_looked_up_once_a_run(model, monkeypatch):
    from diffusers.models import modeling_utils

    found: list[int] = []
    original = modeling_utils.get_parameter_dtype
    monkeypatch.setattr(modeling_utils, "get_parameter_dtype", lambda part: found.append(1) or original(part))
    counts = []
    for steps in (4, 8):
        found.clear()
        generate(request_of("lvd", steps), model)
        counts.append(len(found))
    assert counts[0] == counts[1] <= 4


def test_class_of_the_network_as_before(model):
    own = type(model.unet)
    with model.running():
        assert isinstance(model.unet, own)
        assert type(model.unet).__name__ == own.__name__
        with model.running():
            assert model.unet.dtype == torch.float32
        assert type(model.unet) is not own
    assert type(model.unet) is own


def test_seeds_encode_their_text_once(model, monkeypatch):
    found: list[int] = []
    hook = model.text.register_forward_pre_hook(lambda _, inputs: found.append(1))
    try:
        single = len([*generate_seeds(request_of("none", 1), [1], model)]) and len(found)
        found.clear()
        assert len([*generate_seeds(request_of("none", 1), range(4), model)]) == 4
        assert len(found) == single
    finally:
        hook.remove()


def test_a_guided_pass_stores_what_its_maps_need(model):
    """Bytes that autograd keeps for backward: a pass for maps alone ends at the last layer that has one."""
    x, cond = model.noise([0], 8, 64, 64), model.encode([SCENE.prompt], [""]).positive
    with model.running():
        whole, _ = stored_by(lambda latents: model(latents, STEP, cond, fused_attention), x)
        request = AttentionMapRequest(torch.tensor([[2]]), LVD_LAYERS, maps_only=True)
        asking = replace(cond, map_request=request)
        guided, _ = stored_by(lambda latents: model(latents, STEP, asking, fused_attention), x)
    assert request.found
    assert 0 < guided < 0.95 * whole
    assert guided < 67e6  # 63.8 MB, in float32


def stored_by(call: Callable[[Tensor], Any], x: Tensor) -> tuple[int, Any]:
    """Bytes of different storages kept by a call of a leaf, without the leaf, and what the call returns."""
    leaf = x.clone().requires_grad_()
    kept: dict[int, Tensor] = {}  # held, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call(leaf)
    kept.pop(leaf.untyped_storage()._cdata, None)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()), result


@pytest.mark.usefixtures("quick_start")
def test_an_optimiser_step_of_the_toy_trainer(tmp_path, monkeypatch):
    """AdamW is one kernel, and the device of the network, which diffusers walks its modules for, hardly asked for."""
    from diffusers.models import modeling_utils

    curriculum = CurriculumConfig(still_steps=2, clip_steps=0, stills=2, decay=1, export_every=0)
    trainer = MiniTrainer(curriculum, tmp_path)
    walks: list[int] = []
    original = modeling_utils.get_parameter_device
    monkeypatch.setattr(modeling_utils, "get_parameter_device", lambda part: walks.append(1) or original(part))
    steps: list[Counter[Any]] = []
    optimiser_step = trainer._optimiser_step

    def counted(*arguments: Any) -> Tensor:
        walks.clear()
        with Operators() as operators:
            loss = optimiser_step(*arguments)
        steps.append(operators.found)
        return loss

    monkeypatch.setattr(trainer, "_optimiser_step", counted)
    monkeypatch.setattr(trainer, "finish", lambda: tmp_path)
    trainer.train()
    step = steps[-1]
    assert step[torch.ops.aten._fused_adamw_.default] == 1
    assert step[WAIT] <= 2  # the two losses, for the log
    assert len(walks) <= 1
    # 11,535, of them 2,300 in the layers that read boxes, 5,500 of Muon, some 30 for each matrix
    assert step.total() <= 11800


def test_the_attention_loss_makes_nothing_larger_than_the_cover_of_the_tracks():
    covers = torch.rand(4, 3, 2, 64, 64)
    names_track = torch.rand(4, 6, 3) > 0.5
    maps = {"a": torch.rand(4, 2, 1, 8, 8, 6)}
    with Largest() as largest:
        attention_loss(maps, covers, names_track)
    assert largest.elements <= covers.numel()
