"""Takes of one request: the same scene from several seeds, and with several values of one setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.setting_values import Value
from ..errors import AnimaticError
from ..request import GenerationRequest

SAMPLED = (
    "steps",
    "guidance",
    "scheduler",
    "negative",
)  # sampling options that can be varied beside a method's settings


@dataclass(frozen=True)
class Variation:
    """One setting and the values that it takes, in the order of the row.

    `name` is one of `SAMPLED`, or the path of a setting of the method (see the endpoint `fields`).
    """

    name: str
    values: tuple[Value, ...]

    def label(self, value: Value) -> str:
        """What a take of the row is called."""
        return f"{self.name} {value}"

    def applied(self, request: GenerationRequest, value: Value) -> GenerationRequest:
        """The request with this value. Raises `AnimaticError` where a sampling option cannot have it."""
        if self.name not in SAMPLED:
            return replace(request, settings={**request.settings, self.name: value})
        data = request.to_dict()
        data["sampling"] = {**data["sampling"], self.name: value}
        return GenerationRequest.of_dict(data, "vary")

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "values": list(self.values)}

    @staticmethod
    def of(data: Mapping[str, Any]) -> Variation:
        """A variation from outside. Raises `AnimaticError` where it is no name with a list of different values."""
        name = data.get("name")
        values = data.get("values")
        if data.keys() != {"name", "values"} or not isinstance(name, str) or not name:
            raise AnimaticError('vary is not as it should be; want {"name": SETTING, "values": [VALUE, ...]}')
        plain = isinstance(values, list | tuple) and all(isinstance(v, bool | int | float | str) for v in values)
        if not plain or not values or len(set(map(repr, values))) < len(values):
            raise AnimaticError(
                f"vary: {name[:60]} has no list of different values; want numbers, words, true or false"
            )
        return Variation(name, tuple(values))
