"""The schedulers of diffusers that run here, found by name and made for a model.

Of those that do not run the reason is known, and the nearest that does.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import diffusers
import torch

from ..errors import AnimaticError, warn
from ..quiet import quiet
from .sat_scheduler import CogVideoXSATDPMScheduler

SHORT = {
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "pndm": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "flow": "FlowMatchEulerDiscreteScheduler",
    "sat-dpm++": "CogVideoXSATDPMScheduler",  # see `sat_scheduler`
}

# what runs, by the units of the sample: sqrt(alpha_bar) clean + sqrt(1 - alpha_bar) noise; clean + sigma noise;
# (1 - sigma) clean + sigma noise, which some of the first have too where prediction_type is "flow_prediction"
PRESERVING = frozenset(f"{name}Scheduler" for name in (
    "CogVideoXDDIM", "CogVideoXDPM", "CogVideoXSATDPM", "DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep",
    "DPMSolverMultistep", "DPMSolverSinglestep", "LCM", "PNDM", "SASolver", "TCD", "UniPCMultistep",
))  # fmt: skip
EXPLODING = frozenset(f"{name}Scheduler" for name in (
    "EulerAncestralDiscrete", "EulerDiscrete", "HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete", "LMSDiscrete",
))  # fmt: skip
FLOW = frozenset(f"{name}Scheduler" for name in (
    "FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "FlowMatchLCM", "LTXEulerAncestralRF",
))  # fmt: skip

# those that evaluate the network twice in each step but the last
TWICE = frozenset(f"{name}Scheduler" for name in (
    "FlowMatchHeunDiscrete", "HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete",
))  # fmt: skip

# what does not run, by the reason, with the nearest that does
REASONS: dict[str, dict[str, str]] = {
    "goes from videos to noise": {"DDIMInverse": "ddim", "DPMSolverMultistepInverse": "dpm++"},
    "draws one noise for the whole batch, so that a video would depend on what is made with it": {
        "CosineDPMSolverMultistep": "dpm++", "DPMSolverSDE": "EulerAncestralDiscreteScheduler",
    },
    "is for networks that are preconditioned as EDM's": {"EDMDPMSolverMultistep": "dpm++", "EDMEuler": "euler"},
    "has noise levels of its own in place of the model's": {
        "DDPMWuerstchen": "DDPMScheduler", "IPNDM": "dpm++", "KarrasVe": "euler",
        "ScoreSdeVe": "EulerAncestralDiscreteScheduler", "UnCLIP": "DDPMScheduler",
    },
    "is for networks that were distilled or trained for it": {
        "CMStochasticIterative": "LCMScheduler", "FlowMapEulerDiscrete": "ddim", "Helios": "unipc", "HeliosDMD": "ddim",
        "MiniMaxH3": "ddim", "Piflow": "ddim", "RFD4Proteina": "ddim", "SCM": "TCDScheduler",
    },
    "fills in a picture under a mask": {"RePaint": "DDPMScheduler"},
    "denoises discrete tokens, and latents are continuous": {
        "Amused": "ddim", "BlockRefinement": "ddim", "DiscreteDDIM": "ddim", "EntropyBound": "ddim",
        "VQDiffusion": "ddim",
    },
}  # fmt: skip
UNKNOWN = "is not one whose noise levels are known here"

SHIFTS = {"snr_shift_scale": 1.0, "rescale_betas_zero_snr": False}  # options that shift the noise table, when off


def is_flow(scheduler: Any) -> bool:
    """Whether it is of flow matching: samples are interpolated linearly between noise and clean."""
    if type(scheduler).__name__ in FLOW:
        return True
    return scheduler.config.get("prediction_type") == "flow_prediction"


def check_runs(name: str, flow: bool = False) -> None:
    """Raise where a scheduler class of diffusers does not run here, or would give wrong results.

    `flow`: whether the model is one of flow matching, on which other schedulers run.
    """
    runs = PRESERVING | EXPLODING | FLOW
    if name in runs:
        return

    # Known reasons first; of any other class the units are not known.
    reason, nearest = UNKNOWN, "ddim"
    for known, names in REASONS.items():
        for short, other in names.items():
            if name == f"{short}Scheduler":
                reason, nearest = known, other
    if flow:
        nearest = "flow"
    raise AnimaticError(f"{name} {reason}; want {nearest}")


def scheduler_named(name: str, like: Any) -> Any:
    """Another diffusers scheduler, with the noise table and the prediction type of `like`.

    `name` is one of SHORT or a class name of diffusers. Raises `AnimaticError` where there is no such scheduler, or it
    does not fit models of `like`.
    """
    # The class; diffusers does not have our own one.
    name_of_class = SHORT.get(name, name)
    cls: Any = getattr(diffusers, name_of_class, None)
    if name_of_class == CogVideoXSATDPMScheduler.__name__:
        cls = CogVideoXSATDPMScheduler
    if not isinstance(cls, type) or not cls.__name__.endswith("Scheduler"):
        raise AnimaticError(f"unknown scheduler {name!r}; known: {', '.join(SHORT)} and diffusers' class names")
    check_runs(cls.__name__, is_flow(like))

    # Its options, those of `like`; CogVideoX's own shift is not its default.
    takes = signature(cls).parameters
    config = {option: plain for option, plain in SHIFTS.items() if option in takes}
    config |= {option: value for option, value in like.config.items() if option != "algorithm_type"}
    if "skip_prk_steps" in takes:  # as Stable Diffusion's folders have it
        config.setdefault("skip_prk_steps", True)
    if is_flow(like):
        if cls.__name__ not in FLOW and "use_flow_sigmas" not in takes:
            reason = "does not support flow matching, which the model was trained with"
            raise AnimaticError(f"scheduler {name!r} {reason}; want flow")
        shift = config.get("flow_shift", config.get("shift", 1.0))
        config |= {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift, "shift": shift}
    elif cls.__name__ in FLOW:
        predicted = f"this model predicts {like.config.prediction_type}"
        raise AnimaticError(f"scheduler {name!r} is for models of flow matching, and {predicted}; want ddim or dpm++")
    else:
        # Schedulers without an option for a shift get the betas of the shifted table.
        shifts = [option for option, plain in SHIFTS.items() if config.get(option, plain) != plain]
        if any(option not in takes for option in shifts):
            level = like.alphas_cumprod
            clean = level.new_ones(1)
            before = torch.cat([clean, level[:-1]])
            betas = 1 - level / before
            config["trained_betas"] = betas.tolist()

            # diffusers ignores options that it listed as left at their defaults
            defaults = config.get("_use_default_values", [])
            config["_use_default_values"] = [option for option in defaults if option != "trained_betas"]

    try:
        with quiet():  # diffusers warns of options that the class does not have
            scheduler: Any = cls.from_config(config)
    except TypeError as error:  # its class requires an option that no scheduler of these models has
        raise AnimaticError(f"scheduler {name!r} is for other models ({error}); want {', '.join(SHORT)}") from None
    _keep_bounds(scheduler, like, name)
    return scheduler


def _keep_bounds(scheduler: Any, like: Any, name: str) -> None:
    """Make `scheduler` clip or threshold clean estimates where, and only where, `like` does.

    Some clip by default, which would damage latents. Solvers without `clip_sample` clip by a threshold that may not
    exceed its range. Raises where a solver can do neither; models that predict v or x0 run without clipping, with a
    warning.
    """
    # Whether the model's own scheduler bounds its estimates, and how.
    config = like.config
    takes = signature(type(scheduler)).parameters
    clips = bool(config.get("clip_sample", False))
    if type(like).__name__.startswith("CogVideoX"):  # these have the option and never clip
        clips = False
    needs = (clips and config.prediction_type == "epsilon") or config.get("thresholding", False)
    if "clip_sample" in takes:
        scheduler.register_to_config(clip_sample=clips)
    elif clips and "thresholding" in takes:
        most = config.get("clip_sample_range", 1.0)
        scheduler.register_to_config(thresholding=True, sample_max_value=most)
    elif needs and "thresholding" not in takes:
        bounds = "bounds clean estimates, as this model of pixels needs"
        raise AnimaticError(f"scheduler {name!r} is not one that {bounds}; want ddim, dpm++ or unipc")
    elif clips:
        warn(f"scheduler {name!r} does not clip clean estimates, which the model's own does")
