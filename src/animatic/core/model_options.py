"""Options of a model: how it samples where the user sets nothing, and how it saves memory."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, TypeAlias

from ..errors import AnimaticError

DTYPES = ("float32", "bfloat16", "float16")
QUANTIZED = ("int8", "fp8")
DEFAULT_MODEL = "mini-2"  # where none is named
MODEL_OF_WORDS = "mini"  # where none is named, and there are no boxes
UsualMethod: TypeAlias = Literal[
    "none", "lvd", "lvd-gligen", "layout-attention"
]  # those that exist for one clip and for windows


@dataclass(frozen=True)
class ModelDefaults:
    """Sampling options of a model where the user sets none."""

    steps: int = 25
    guidance: float = 7.5
    negative: str = ""
    scheduler: str = ""  # "": the one that the model comes with
    prompt_suffix: str = ""  # appended to every prompt of a finisher
    low_noise_guidance: float | None = None  # of a second network for low noise; None: the same
    guidance_interval: tuple[float, float] = (0.0, 1.0)  # part of the run that is guided, see `Guidance`
    method: UsualMethod = "lvd"  # where none is requested; for windows over time see `binding.IN_WINDOWS`

    def __post_init__(self) -> None:
        first, end = self.guidance_interval
        if first >= end:
            raise AnimaticError(f"guidance_interval is {first:g},{end:g}; want a smaller fraction first, as in 0,0.5")

    def negative_text(self, scene: str, run: str = "") -> str:
        """The negative prompt: the scene's, the model's own, and `run`, that of a kind of run, joined by commas.

        `run` belongs to the model's own: where the model has none, or it was set to "", `run` is left out too.
        """
        parts = [scene, self.negative]

        # a user who wants no negative prompt gets none at all
        if self.negative:
            parts.append(run)
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class MemoryOptions:
    """How to save memory; the default saves none.

    `dtype`: of the weights, one of DTYPES; "" is float32 on a CPU and the model's own on a GPU. `quantize`: one of
    QUANTIZED, the weights of the linear layers of networks and text encoder; activations keep `dtype` (torchao).
    `offload`: weights are kept in main memory and moved to the device block by block. `save_memory`: passes with
    gradients recompute activations (gradient checkpointing), and video autoencoders decode tile by tile, which changes
    pixels slightly at the seams. Raises `AnimaticError` where an option is unknown or excludes another.
    """

    dtype: str = ""
    quantize: str = ""
    offload: bool = False
    save_memory: bool = False

    def __post_init__(self) -> None:
        for name, known in (("dtype", DTYPES), ("quantize", QUANTIZED)):
            value = getattr(self, name)
            if value and value not in known:
                raise AnimaticError(f"{name} is {value!r}; want one of {', '.join(known)}")
        if self.quantize and self.offload:
            raise AnimaticError("quantize and offload are both set; quantised weights cannot be moved: want one")
        if self.quantize and not find_spec("torchao"):
            raise AnimaticError(f"quantize is {self.quantize!r}, which needs torchao; pip install 'animatic[quantize]'")
