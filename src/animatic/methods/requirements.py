"""Whether a model can do what a method needs, found out before any work, in the words of the method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..controls.composition import Composition
from ..core.backbone import Backbone
from ..core.control import Control
from ..errors import AnimaticError

GROUNDING, TEXT_MAPS = "grounding", "text maps"
GROUNDED_VIDEO = "mini-2, modelscope-gligen or zeroscope-gligen"
GROUNDED_IMAGES = "sd14-gligen or sd21-gligen"


def check_method(name: str, controls: Sequence[Control], backbone: Backbone) -> None:
    """Raise `AnimaticError` where the model cannot do what a control of the method called `name` needs.

    The line names the method, and the models or the method that would do. Found are capabilities, attention layers by
    name, and the files of further models.
    """
    for control in controls:
        # sorted: sets of strings have another order in every process
        missing = sorted(control.needs - backbone.provides)
        if missing:
            raise AnimaticError(f"method {name!r} {_lacking(missing[0], backbone)}")
    for owner in _parts(controls):
        _check_layers(name, owner, backbone)
    for control in controls:
        if isinstance(control, Composition):
            control.mask.check()


def _lacking(need: str, backbone: Backbone) -> str:
    """What is missing, and what would do."""
    other = "--method none, which any model can do"
    if need == GROUNDING:
        if TEXT_MAPS in backbone.provides:
            other = "--method lvd, which needs no such model"
        models = GROUNDED_VIDEO if "video" in backbone.provides else GROUNDED_IMAGES
        reason = f"needs a model that is conditioned on boxes (GLIGEN), and {backbone.name} is not"
        return f"{reason}; want --model {models}, or {other}"
    if need == TEXT_MAPS:
        reason = f"reads attention to the words of the prompt, which {backbone.name} does not have"
        return f"{reason}; want {other}, or --model mini-2"
    provided = ", ".join(sorted(backbone.provides))
    return f"needs {need}, and {backbone.name} provides {provided}; want --method none, which any model can do"


def _parts(controls: Sequence[Control]) -> Iterator[Control]:
    """Controls, and those that are settings of others: the energy and the objects' controls of a composition."""
    for control in controls:
        yield control
        if isinstance(control, Composition):
            yield from (control.energy, *control.object_controls)


def _check_layers(name: str, control: Any, backbone: Backbone) -> None:
    """Raise where a control reads text attention by names of layers that the network does not have."""
    layers: tuple[str, ...] = getattr(control, "layers", None) or ()
    if not layers or TEXT_MAPS not in control.needs:
        return

    # a model of one's own may not list its layers: the run says what is wrong
    if not backbone.text_layer_heads(("*",)) or backbone.text_layer_heads(layers):
        return
    names = layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} more"
    reason = f"method {name!r} reads attention layers that {backbone.name} does not have ({names})"
    path = type(control).__name__.lower()
    hint = f"such as --set {path}.layers=*" if path == "energy" else "such as *"
    raise AnimaticError(f"{reason}; want others, {hint}, or a method that reads all layers, such as lvd")
