"""What a method is: data. Its controls for each family of models, and where it is published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..core.backbone import Backbone
from ..core.control import Control
from ..errors import AnimaticError
from ..prompting.styles import PromptStyle, with_background
from ..timeline import BY_TIME, WindowLayout

ANY = ""  # the key of every family that has no key of its own
TRANSFORMER = "transformer"  # the key of every transformer (`Backbone.architecture`) whose family has none of its own
Controls = Mapping[str, tuple[Control, ...]]
"""Controls by family of models, the first outermost."""


@dataclass(frozen=True)
class Method:
    """A method by name: a list of controls for each family of models, and what is known of it.

    `controls`: by family (`Backbone.family`), the first outermost; the key `TRANSFORMER` is every other family of
    transformers, `ANY` every other family. `summary`: one line. `paper`: title, authors and year; `arxiv`: its number
    there; `repository`: the address of the authors' code; "" where there is none. `prompt_style`: how it words scenes.
    `guidance`: its own guidance scale by family; None, or no key, is the model's. `scheduler`: "" is the model's own.
    `layout`: the windows over a story. `reweights_as_published`: see `editing.edited`. `parts`: the names of the
    methods that a stack joins, see `methods.stacks`.

        calm = Method("calm", "The model alone, from mixed noise.", {ANY: (MixedNoise(), Guidance())})
    """

    name: str
    summary: str
    controls: Controls = field(repr=False)
    paper: str = ""
    arxiv: str = ""
    repository: str = ""
    prompt_style: PromptStyle = with_background
    guidance: Mapping[str, float | None] = field(default_factory=dict)
    scheduler: str = ""
    layout: WindowLayout = BY_TIME
    reweights_as_published: bool = False
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if ANY not in self.controls:
            families = ", ".join(self.controls) or "none"
            raise AnimaticError(f"method {self.name!r} has controls for {families}; want a key {ANY!r} for every other")

    def on(self, backbone: Backbone) -> list[Control]:
        """Its controls on a model."""
        return list(self.controls[self.key_of(backbone)])

    def key_of(self, backbone: Backbone) -> str:
        """The key of `controls` for a model: its family, or else its architecture, or else `ANY`."""
        for key in (backbone.family, backbone.architecture):
            if key and key in self.controls:
                return key
        return ANY

    @property
    def truncates_prompts(self) -> bool:
        """Whether prompts that are too long are cut, as the originals do, where this code encodes them in chunks."""
        return any(name.endswith(":published") for name in self.parts or (self.name,))

    def guidance_on(self, backbone: Backbone) -> float:
        """The guidance scale where none is given: the method's own on this model if it has one, or the model's."""
        # a family may say None: that the model's own suits it better than the method's
        of_others = self.guidance.get(ANY)
        own = self.guidance.get(backbone.family, of_others)
        if own is None:
            return backbone.defaults.guidance
        return own

    def layout_with(
        self, overlap: float | None = None, transitions: int | str | None = None, longer_middle: int | None = None
    ) -> WindowLayout:
        """Its windows over a story; arguments that are not None replace its own."""
        given = {"overlap": overlap, "transitions": transitions, "longer_middle": longer_middle}
        changed = {name: value for name, value in given.items() if value is not None}
        return replace(self.layout, **changed)

    def mapped(self, change: Callable[[Control], Control]) -> Method:
        """The method with each of its controls replaced by what `change` makes of it."""
        controls = {family: tuple(map(change, own)) for family, own in self.controls.items()}
        return replace(self, controls=controls)


MethodLike = str | Method | Sequence[Control]
"""A method: its name, the method itself, or a list of controls."""


def combined(*parts: Control | Mapping[str, Control]) -> Controls:
    """Controls by family of one control after the other; a mapping holds one for each family, `ANY` among them."""
    # a control alone is the same for every family
    mappings = [{ANY: part} if isinstance(part, Control) else part for part in parts]
    families = dict.fromkeys(family for mapping in mappings for family in mapping)
    controls = {}
    for family in families:
        # a part without controls of the family has those of any other
        controls[family] = tuple(mapping.get(family, mapping[ANY]) for mapping in mappings)
    return controls
