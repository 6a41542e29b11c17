"""A method's settings by name: every number and choice of its controls, read from the controls themselves.

A name is the control's class in lower case, a dot and the field: `energy.scale`; parts of a control follow with further
dots: `energy.terms.inside`, `composition.object_controls.energy.scale`. A second control of a class is `energy2`. Names
and defaults depend on the method and on the family of the model.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, get_type_hints

from ..controls.boxdiff import BoxDiff
from ..controls.energy import LinearDecay, NoiseLevel
from ..controls.masks import AttentionMask, SamMask
from ..controls.terms import BoxEnergy, Corners, CrossEntropy, Ratio, Sync
from ..core.backbone import Backbone
from ..core.control import Control
from ..core.setting_values import Value, choice_of, is_settable, kind_of, limit_of, read, shown, wanted
from ..errors import AnimaticError
from ..scene import Scene
from ..timeline import Timeline, Window, WindowPlan
from . import Recipe

KINDS: tuple[Mapping[str, type], ...] = (
    {
        "box": BoxEnergy, "ratio": Ratio, "cross-entropy": CrossEntropy, "corners": Corners, "sync": Sync,
        "boxdiff": BoxDiff,
    },
    {"noise": NoiseLevel, "linear": LinearDecay},
    {"attention": AttentionMask, "sam": SamMask},
)  # fmt: skip
"""Parts of a control that can be exchanged for another kind: an energy's terms and step size, a composition's mask."""

GUIDANCE = ("guidance.scale", "waveguidance.scale")  # other names of `--guidance`
_ONE = Scene("A bear")  # settings do not depend on the scene, but some exist only for scenes, or only for stories
_SEVERAL = Timeline((_ONE,), WindowPlan((Window(0, ((0, 1.0),)),), 1, 1, (0.0, 1.0)))


@dataclass(frozen=True)
class Setting:
    """A setting that can be changed: its name, its value and its allowed values.

    `kind` is switch, whole, number, choice or text; `most` is the upper limit of a number (the lower one is 0), None
    where there is none; `choices` are those of a choice. `help` is its clause of the class's docstring.
    """

    path: str
    kind: str
    default: Value
    most: float | None
    choices: tuple[str, ...]
    help: str
    hint: Any = field(repr=False, compare=False)  # the type of the field, or of a kind

    @property
    def range(self) -> str:
        """The allowed values, in words."""
        return wanted(self.hint)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the default of a text as it would be typed, and `range` in words."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "hint"}
        default = shown(self.default) if self.kind == "text" else self.default
        return {**values, "default": default, "range": self.range}


@dataclass(frozen=True)
class Tuned:
    """A method with settings changed.

    `values` are the changed ones by name, as the types of their fields; `guidance` is the guidance scale where that was
    among them.
    """

    recipe: Recipe
    values: Mapping[str, Value]
    guidance: float | None


def settings_of(recipe: Recipe, backbone: Backbone) -> dict[str, Setting]:
    """The settings of a method on a model by name, with their values there."""
    return {setting.path: setting for setting in _settings(_examples(recipe, backbone, guidance_of(recipe, backbone)))}


def tuned(recipe: Recipe, given: Mapping[str, Value], backbone: Backbone, method: str) -> Tuned:
    """The method with settings changed, as `given` by name: values, or texts that are read as the field's type.

    Raises `AnimaticError` where a name is unknown, or a value of another type or out of range.
    """
    if not given:
        return Tuned(recipe, {}, None)
    values = _checked(_by_name(given), recipe, backbone, method)
    scale = next((values[path] for path in GUIDANCE if path in values), None)

    def changed(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
        controls = recipe(scenes, backbone, guidance)
        for path, value in values.items():
            if path not in GUIDANCE:
                controls = _changed(controls, path, value, method)
        return controls

    changed.__dict__.update(vars(recipe))  # the wording of prompts, and other attributes of the recipe
    changed.__name__ = method
    rest = {path: value for path, value in values.items() if path not in GUIDANCE}
    return Tuned(changed, rest, None if scale is None else float(scale))  # type: ignore[arg-type]


def guidance_of(recipe: Recipe, backbone: Backbone) -> float:
    """The guidance scale where none is given: the method's on this model, if it has one of its own, or the model's."""
    own: Callable[[Backbone], float | None] | None = getattr(recipe, "guidance", None)
    if own is not None:
        return own(backbone) or backbone.defaults.guidance
    return backbone.defaults.guidance


def _by_name(given: Mapping[str, Value]) -> dict[str, Value]:
    """Names in lower case; kinds before what belongs to them."""
    named: dict[str, Value] = {}
    for name in sorted(given, key=lambda name: name.count(".")):
        if name.lower() in named:
            raise AnimaticError(f"setting {name.lower()!r} is given twice; want one of them")
        named[name.lower()] = given[name]
    return named


def _checked(given: Mapping[str, Value], recipe: Recipe, backbone: Backbone, method: str) -> dict[str, Value]:
    examples = _examples(recipe, backbone, guidance_of(recipe, backbone))
    values: dict[str, Value] = {}
    for path, value in given.items():
        # read again for each value: another kind of a part has other settings
        known = {setting.path: setting for setting in _settings(examples)}
        if path not in known:
            raise AnimaticError(_unknown(path, known, method, backbone))
        setting = known[path]
        values[path] = read(value, setting.hint, path, setting.default)

        control = path.split(".")[0]
        for i, controls in enumerate(examples):
            if control in dict(_named(controls)):
                examples[i] = _changed(controls, path, values[path], method)
    return values


def _unknown(path: str, known: Mapping[str, Setting], method: str, backbone: Backbone) -> str:
    """The message for an unknown setting, with similar ones and their values, or all where none is similar."""
    tail = path.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == tail]
    near += [name for name in difflib.get_close_matches(path, known, 5) if name not in near]
    listed = ", ".join(f"{name}={shown(known[name].default)}" for name in near or known)
    return f"{method} on {backbone.name} has no setting {path[:80]!r}; {'near' if near else 'known'}: {listed}"


def _examples(recipe: Recipe, backbone: Backbone, guidance: float) -> list[list[Control]]:
    return [recipe([scene], backbone, guidance) for scene in (_ONE, _SEVERAL)]  # type: ignore[list-item]


def _settings(examples: Sequence[Sequence[Control]]) -> Iterator[Setting]:
    """The settings of all controls, each name once."""
    seen: set[str] = set()
    for controls in examples:
        for name, control in _named(controls):
            for setting in _walk(control, name):
                if setting.path not in seen:
                    seen.add(setting.path)
                    yield setting


def _named(controls: Sequence[Control]) -> Iterator[tuple[str, Control]]:
    """Each control with the name of its class; a second one of a class is numbered."""
    seen: list[str] = []
    for control in controls:
        name = type(control).__name__.lower()
        seen.append(name)
        yield name if seen.count(name) == 1 else f"{name}{seen.count(name)}", control


def _walk(owner: Any, prefix: str) -> Iterator[Setting]:
    """The settings of a control or of a part of one, its own parts included."""
    if not is_dataclass(owner):
        return
    hints = get_type_hints(type(owner), include_extras=True)
    for f in fields(owner):
        if f.name.startswith("_") or not f.repr:
            continue
        value = getattr(owner, f.name)
        path = f"{prefix}.{f.name}"
        help = _help(type(owner), f.name)
        hint = hints[f.name]
        if is_settable(hint):
            yield Setting(path, kind_of(hint), value, limit_of(hint), choice_of(hint), help, hint)
        elif is_controls(value):
            for name, control in _named(value):
                yield from _walk(control, f"{path}.{name}")
        elif is_dataclass(value):
            kinds = _kinds_of(value)
            if kinds:
                now = next(name for name, kind in kinds.items() if kind is type(value))
                yield Setting(path, "choice", now, None, tuple(kinds), help, kinds)
            yield from _walk(value, path)


def is_controls(value: Any) -> bool:
    """Whether a field holds controls of its own."""
    return isinstance(value, tuple) and bool(value) and all(isinstance(each, Control) for each in value)


def _kinds_of(value: Any) -> Mapping[str, type]:
    """The kinds that a part of a control may be exchanged for, by name."""
    return next((kinds for kinds in KINDS if type(value) in kinds.values()), {})


def _changed(controls: Sequence[Control], path: str, value: Value, method: str) -> list[Control]:
    """The controls with the setting at `path` set to `value`."""
    key, *parts = path.split(".")
    named = dict(_named(controls))
    if key not in named:
        raise AnimaticError(f"{path} is set, but {method} has no {key} for this scene")
    named[key] = _with(named[key], parts, value)
    return list(named.values())


def _with(owner: Any, parts: Sequence[str], value: Any) -> Any:
    """A copy in which the field at the path `parts` is `value`."""
    name, *more = parts
    old = getattr(owner, name)
    if is_controls(old) and more:
        named = dict(_named(old))
        named[more[0]] = _with(named[more[0]], more[1:], value)
        return replace(owner, **{name: tuple(named.values())})
    if more:
        return replace(owner, **{name: _with(old, more, value)})
    if kinds := _kinds_of(old):
        return replace(owner, **{name: _other_kind(kinds[value], old)})
    return replace(owner, **{name: value})


def _other_kind(kind: type, old: Any) -> Any:
    """A part of another kind with its own defaults; `legacy` stays as it is."""
    if kind is type(old):
        return old
    both = all("legacy" in {f.name for f in fields(each)} for each in (kind, type(old)))
    return kind(legacy=old.legacy) if both else kind()


def _help(cls: type, name: str) -> str:
    """The clause of a docstring that begins with the field's name, else the first that has it, else the first."""
    text = " ".join((cls.__doc__ or "").split())
    clauses = re.split(r"(?<=;)\s|(?<=\.)\s(?=[A-Z`])", text)
    begins = [clause for clause in clauses if re.match(rf"(With )?`{name}`", clause)]
    names = [clause for clause in clauses if f"`{name}`" in clause]
    return [*begins, *names, clauses[0]][0].rstrip(";").replace("`", "")
