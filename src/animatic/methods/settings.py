"""A method's settings by name: every number and choice of its controls, read from the controls themselves.

A name is the control's class in lower case, a dot and the field: `energy.scale`; parts of a control follow with further
dots: `energy.terms.inside`, `composition.object_controls.energy.scale`. A second control of a class is `energy2`. Names
and defaults depend on the method and on the family of the model.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any, get_type_hints

from ..controls.boxdiff import BoxDiff
from ..controls.energy import LinearDecay, NoiseLevel
from ..controls.guidance import Guidance
from ..controls.guidance_rules import Extrapolated, Projected, ZeroStar
from ..controls.masks import AttentionMask, SamMask
from ..controls.sharing import ShareKV, sharing_layers
from ..controls.terms import BoxEnergy, Corners, CrossEntropy, Ratio, Sync
from ..core.backbone import Backbone
from ..core.control import Control
from ..core.setting_values import Value, allowed_values, choice_of, is_settable, kind_of, limit_of, read, shown
from ..errors import AnimaticError
from .method import ANY, Method

KINDS: tuple[Mapping[str, type], ...] = (
    {
        "box": BoxEnergy, "ratio": Ratio, "cross-entropy": CrossEntropy, "corners": Corners, "sync": Sync,
        "boxdiff": BoxDiff,
    },
    {"noise": NoiseLevel, "linear": LinearDecay},
    {"attention": AttentionMask, "sam": SamMask},
    {"extrapolated": Extrapolated, "zero-star": ZeroStar, "projected": Projected},
)  # fmt: skip
"""Parts of a control that can be exchanged for another kind: an energy's terms and step size, a composition's mask,
and how guidance combines predictions."""

GUIDANCE = ("guidance.scale", "waveguidance.scale")  # other names of `--guidance`


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
        return allowed_values(self.hint)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the default of a text as it would be typed, and `range` in words."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "hint"}
        default = shown(self.default) if self.kind == "text" else self.default
        return {**values, "default": default, "range": self.range}


def settings_of(method: Method, backbone: Backbone) -> dict[str, Setting]:
    """The settings of a method on a model by name, with their values there."""
    guidance = method.guidance_on(backbone)
    controls = filled(method.on(backbone), guidance, backbone)
    return {setting.path: setting for setting in _settings(controls)}


def checked_settings(method: Method, given: Mapping[str, Value], backbone: Backbone) -> dict[str, Value]:
    """Settings as `given` by name, values or texts, as the types of their fields.

    Raises `AnimaticError` where a name is unknown, or a value of another type or out of range.
    """
    guidance = method.guidance_on(backbone)
    controls = filled(method.on(backbone), guidance, backbone)
    values: dict[str, Value] = {}
    for path, value in _by_name(given).items():
        # read again for each value: another kind of a part has other settings
        known = {setting.path: setting for setting in _settings(controls)}
        if path not in known:
            raise AnimaticError(_unknown(path, known, method, backbone))
        setting = known[path]
        parsed = read(value, setting.hint, path, setting.default)
        values[path] = parsed
        controls = _changed(controls, path, parsed)
    return values


def tuned(method: Method, given: Mapping[str, Value], backbone: Backbone) -> Method:
    """The method with settings changed for the family of a model, as `given` by name; see `checked_settings`.

    The guidance scale among them becomes the method's own, so that objects that are generated on their own have it too.
    """
    # the scale belongs to the method, all other values to their control
    controls = method.on(backbone)
    guidance = method.guidance
    for path, value in checked_settings(method, given, backbone).items():
        if path not in GUIDANCE:
            controls = _changed(controls, path, value)
        elif isinstance(value, int | float):
            guidance = {ANY: float(value)}

    # for this family alone: another has other defaults
    key = backbone.family or backbone.architecture
    by_family = {**method.controls, key: tuple(controls)}
    return replace(method, controls=by_family, guidance=guidance)


def filled(controls: Sequence[Control], guidance: float, backbone: Backbone) -> list[Control]:
    """Controls with the settings that they take from their run, to be shown: guidance scale, layers that share."""
    return [_filled(control, guidance, backbone) for control in controls]


def _filled(control: Any, guidance: float, backbone: Backbone) -> Any:
    """`filled` for one control."""
    if isinstance(control, Guidance) and control.scale is None:
        return replace(control, scale=guidance)
    if isinstance(control, ShareKV) and control.layers is None:
        return replace(control, layers=sharing_layers(backbone))

    # controls of its own, such as those of the objects' run of a composition
    nested: dict[str, Any] = {}
    for each in _fields_of(control):
        value = getattr(control, each.name)
        if is_controls(value):
            nested[each.name] = tuple(filled(value, guidance, backbone))
    if not nested:
        return control
    return replace(control, **nested)


def _by_name(given: Mapping[str, Value]) -> dict[str, Value]:
    """Names in lower case; kinds before what belongs to them."""
    named: dict[str, Value] = {}
    # few dots first: another kind of a part decides which settings the part has
    for name in sorted(given, key=lambda name: name.count(".")):
        lower = name.lower()
        if lower in named:
            raise AnimaticError(f"setting {lower!r} is given twice; want one of them")
        named[lower] = given[name]
    return named


def _unknown(path: str, known: Mapping[str, Setting], method: Method, backbone: Backbone) -> str:
    """The message for an unknown setting, with similar ones and their values, or all where none is similar."""
    # the same field of another control, and names that are spelt alike
    _, _, tail = path.rpartition(".")
    near = [name for name in known if name.rpartition(".")[2] == tail]
    alike = difflib.get_close_matches(path, known, 5)
    near += [name for name in alike if name not in near]

    kind = "near" if near else "known"
    listed = ", ".join(f"{name}={shown(known[name].default)}" for name in near or known)
    return f"{method.name} on {backbone.name} has no setting {path[:80]!r}; {kind}: {listed}"


def _settings(controls: Sequence[Control]) -> Iterator[Setting]:
    """The settings of all controls."""
    for name, control in _named(controls):
        yield from _walk(control, name)


def _named(controls: Sequence[Control]) -> Iterator[tuple[str, Control]]:
    """Each control with the name of its class; a second one of a class is numbered."""
    seen: list[str] = []
    for control in controls:
        name = type(control).__name__.lower()
        seen.append(name)
        count = seen.count(name)
        yield name if count == 1 else f"{name}{count}", control


def _walk(owner: Any, prefix: str) -> Iterator[Setting]:
    """The settings of a control or of a part of one, its own parts included."""
    hints = _hints(type(owner)) if is_dataclass(owner) else {}
    for f in _fields_of(owner):
        value = getattr(owner, f.name)
        path = f"{prefix}.{f.name}"
        help = _help(type(owner), f.name)
        hint = hints[f.name]
        # a value; controls of its own; or a part, which may have other kinds
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


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    """The types of a class's fields; reading them is the most of the work, and they do not change."""
    return get_type_hints(cls, include_extras=True)


def _fields_of(owner: Any) -> list[Field[Any]]:
    """The fields of a control, or of a part of one, that may be settings; [] where it is no dataclass."""
    if not is_dataclass(owner):
        return []

    # what a run binds is not shown, or begins with an underscore
    return [f for f in fields(owner) if f.repr and not f.name.startswith("_")]


def is_controls(value: Any) -> bool:
    """Whether a field holds controls of its own."""
    return isinstance(value, tuple) and bool(value) and all(isinstance(each, Control) for each in value)


def _kinds_of(value: Any) -> Mapping[str, type]:
    """The kinds that a part of a control may be exchanged for, by name."""
    for kinds in KINDS:
        if type(value) in kinds.values():
            return kinds
    return {}


def _changed(controls: Sequence[Control], path: str, value: Value) -> list[Control]:
    """The controls with the setting at `path` set to `value`."""
    key, *parts = path.split(".")
    named = dict(_named(controls))
    named[key] = _with(named[key], parts, value)
    return list(named.values())


def _with(owner: Any, parts: Sequence[str], value: Any) -> Any:
    """A copy in which the field at the path `parts` is `value`."""
    # down the path: into controls, into a part, or to the field itself
    name, *more = parts
    old = getattr(owner, name)
    new = value
    if is_controls(old) and more:
        key, *rest = more
        named = dict(_named(old))
        named[key] = _with(named[key], rest, value)
        new = tuple(named.values())
    elif more:
        new = _with(old, more, value)
    elif kinds := _kinds_of(old):
        new = _other_kind(kinds[value], old)
    return replace(owner, **{name: new})


def _other_kind(kind: type, old: Any) -> Any:
    """A part of another kind with its own defaults; `legacy` stays as it is."""
    if kind is type(old):
        return old
    for each in (kind, type(old)):
        names = {f.name for f in fields(each)}
        if "legacy" not in names:
            return kind()
    return kind(legacy=old.legacy)


@cache
def _help(cls: type, name: str) -> str:
    """The clause of a docstring that begins with the field's name, else the first that has it, else the first."""
    # clauses end at semicolons, and at full stops before a capital or a name
    text = " ".join((cls.__doc__ or "").split())
    clauses = re.split(r"(?<=;)\s|(?<=\.)\s(?=[A-Z`])", text)
    begins = [clause for clause in clauses if re.match(rf"(With )?`{name}`", clause)]
    names = [clause for clause in clauses if f"`{name}`" in clause]
    best, *_ = [*begins, *names, clauses[0]]
    return best.rstrip(";").replace("`", "")
