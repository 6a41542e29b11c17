"""A method's settings by name: every number and choice of its controls, read from the controls themselves.

A name is the control's class in lower case, a dot and the field: `energy.scale`; parts of a control follow with further
dots: `energy.terms.inside`, `composition.parts.energy.scale`. A second control of a class is `energy2`. Which names
there are, and what they are by default, hangs on the method and on the family of the model.
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
"""Parts of a control that can be exchanged for another kind: what an energy is made of, its shape, its masks."""

GUIDANCE = ("guidance.scale", "waveguidance.scale")  # other names of `--guidance`
_ONE = Scene("A bear")  # settings do not depend on what is shown, but some are only of scenes, or only of stories
_SEVERAL = Timeline((_ONE,), WindowPlan((Window(0, ((0, 1.0),)),), 1, 1, (0.0, 1.0)))


@dataclass(frozen=True)
class Setting:
    """A setting that can be changed: its name, what it is now, and what it may be.

    `kind` is switch, whole, number, choice or text; `most` is the upper limit of a number (the lower one is 0), None
    where there is none; `choices` are those of a choice. `help` is what the class says of it.
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
        """What it may be, in words."""
        return wanted(self.hint)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: the default of a text as it would be typed, and `range` in words."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "hint"}
        default = shown(self.default) if self.kind == "text" else self.default
        return {**told, "default": default, "range": self.range}


@dataclass(frozen=True)
class Tuned:
    """A method with settings changed.

    `values` are those that were given, by name and as the types of their fields; `guidance` is the guidance scale
    where that was among them.
    """

    recipe: Recipe
    values: Mapping[str, Value]
    guidance: float | None


def settings_of(recipe: Recipe, backbone: Backbone) -> dict[str, Setting]:
    """The settings of a method on a model by name, as they are there."""
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

    changed.__dict__.update(vars(recipe))  # how it words scenes, and whatever else it says of itself
    changed.__name__ = method
    rest = {path: value for path, value in values.items() if path not in GUIDANCE}
    return Tuned(changed, rest, None if scale is None else float(scale))  # type: ignore[arg-type]


def guidance_of(recipe: Recipe, backbone: Backbone) -> float:
    """The guidance scale where none is given: the method's on this model, if it has one of its own, or the model's."""
    own: Callable[[Backbone], float | None] | None = getattr(recipe, "guidance", None)
    return (own(backbone) if own else None) or backbone.defaults.guidance


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
        # known anew each time: another kind of a part has other settings
        known = {setting.path: setting for setting in _settings(examples)}
        if path not in known:
            raise AnimaticError(_unknown(path, known, method, backbone))
        setting = known[path]
        values[path] = read(value, setting.hint, path, setting.default)
        examples = [
            _changed(controls, path, values[path], method) if path.split(".")[0] in dict(_named(controls)) else controls
            for controls in examples
        ]
    return values


def _unknown(path: str, known: Mapping[str, Setting], method: str, backbone: Backbone) -> str:
    """One line that names what is like it, or all there is, as it is now."""
    tail = path.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == tail]
    near += [name for name in difflib.get_close_matches(path, known, 5) if name not in near]
    told = ", ".join(f"{name}={shown(known[name].default)}" for name in near or known)
    return f"{method} on {backbone.name} has no setting {path[:80]!r}; {'near' if near else 'known'}: {told}"


def _examples(recipe: Recipe, backbone: Backbone, guidance: float) -> list[list[Control]]:
    return [recipe([scene], backbone, guidance) for scene in (_ONE, _SEVERAL)]  # type: ignore[list-item]


def _settings(examples: Sequence[Sequence[Control]]) -> Iterator[Setting]:
    seen: set[str] = set()
    for controls in examples:
        for name, control in _named(controls):
            for setting in _walk(control, name):
                if setting.path not in seen:
                    seen.add(setting.path)
                    yield setting


def _named(controls: Sequence[Control]) -> Iterator[tuple[str, Control]]:
    """Each with the name of its class; a second one of a class is numbered."""
    seen: list[str] = []
    for control in controls:
        name = type(control).__name__.lower()
        seen.append(name)
        yield name if seen.count(name) == 1 else f"{name}{seen.count(name)}", control


def _walk(owner: Any, prefix: str) -> Iterator[Setting]:
    if not is_dataclass(owner):
        return
    hints = get_type_hints(type(owner), include_extras=True)
    for f in fields(owner):
        if f.name.startswith("_") or not f.repr:
            continue
        value, path, help = getattr(owner, f.name), f"{prefix}.{f.name}", _help(type(owner), f.name)
        if is_settable(hints[f.name]):
            hint = hints[f.name]
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
    """Controls in which what `path` leads to is `value`."""
    key, *parts = path.split(".")
    named = dict(_named(controls))
    if key not in named:
        raise AnimaticError(f"{path} is set, but {method} has no {key} for this scene")
    named[key] = _with(named[key], parts, value)
    return list(named.values())


def _with(owner: Any, parts: Sequence[str], value: Any) -> Any:
    """A copy in which the field that `parts` lead to is another."""
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
    """A part of another kind with its own defaults; whose arithmetic it follows stays."""
    if kind is type(old):
        return old
    both = all("legacy" in {f.name for f in fields(each)} for each in (kind, type(old)))
    return kind(legacy=old.legacy) if both else kind()


def _help(cls: type, name: str) -> str:
    """The clause of a docstring that begins with the field's name, else the first that has it, else the first."""
    words = " ".join((cls.__doc__ or "").split())
    clauses = re.split(r"(?<=;)\s|(?<=\.)\s(?=[A-Z`])", words)
    begins = [clause for clause in clauses if re.match(rf"(With )?`{name}`", clause)]
    names = [clause for clause in clauses if f"`{name}`" in clause]
    return [*begins, *names, clauses[0]][0].rstrip(";").replace("`", "")
