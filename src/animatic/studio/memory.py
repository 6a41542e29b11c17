"""The memory of a job: refused where it cannot suffice, and an error of the job's own where it does not.

Without a limit the system ends the whole process that takes more than there is, and the queue with it. On Linux a job
on the CPU therefore has a limit of its own (RLIMIT_DATA): what it requests beyond that is refused to it alone. A GPU's
memory is limited in this way by torch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..backbones.components import Components
from ..backbones.skeleton import skeleton
from ..binding import BoundRequest
from ..errors import AnimaticError
from ..free_memory import free_memory as free_memory_of_machine
from ..rehearsal_costs import cast, decoding_cost, guided_cost, passes_of, prediction_cost
from .log import Refused

OBVIOUS = 20  # times the weights: a clip of the model's own size takes four to six times them (`animatic rehearse`)
KEPT_FREE = 200 * 2**20  # bytes for the server itself while a job is at work
WORDS = ("can't allocate memory", "not enough memory", "out of memory", "could not allocate", "bad_alloc")


def free_memory() -> int:
    """Bytes that a job may take: of the GPU where there is one, else of this machine or container."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    return free_memory_of_machine()


def check_memory(bound: BoundRequest, model: Components, name: str, free: int) -> None:
    """Raise `Refused` where a render would take more than `free` bytes beside the weights, before any work.

    `name` is the model as it was requested. Of a model that `animatic.rehearse` does not count nothing is known.
    """
    (shown,) = bound.shown([bound.request.story])
    geometry = model.geometry
    width, height = bound.size
    frames = bound.frame_count([shown])
    if bound.windowed:
        frames = min(frames, geometry.frames)

    # most requests are of the model's own size, on a machine that is large for it
    weights = sum(tensor.nbytes for network in model.networks for tensor in network.parameters())
    is_own_size = frames * width * height <= geometry.frames * geometry.width * geometry.height
    if is_own_size and OBVIOUS * weights <= free:
        return
    objects = max(1, *(len(scene.tracks) for scene in bound.request.story), 1)
    needed = _activations(bound, model, name, frames, objects)
    if needed > free:
        clip = f"{frames} frames of {width}x{height} by {bound.method.name}"
        raise Refused(
            f"{clip} would take {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free; "
            "want fewer frames, a smaller size, or a method without guidance"
        )


def _activations(bound: BoundRequest, model: Components, name: str, frames: int, objects: int) -> int:
    """The most bytes of tensors at once beside the weights; 0 where they cannot be counted."""
    try:
        bones = skeleton(name)
    except AnimaticError:
        return 0
    cast(bones, model.unet.dtype)
    controls = bound.method.on(bones.model)
    passes = passes_of(controls, bound.schedule.steps, objects)
    width, height = bound.size
    shape = bones.model.geometry.latent(frames, height, width)
    cpu = not torch.cuda.is_available()
    costs = (
        prediction_cost(bones, shape, passes.branches, controls, cpu),
        guided_cost(bones, shape, passes.samples, controls, cpu),
        decoding_cost(bones, shape, cpu),
    )
    return max(cost.memory for cost in costs)


@contextmanager
def contained(most: int) -> Iterator[None]:
    """Within this context the process may take `most` bytes more; what goes beyond is an error where it is requested.

    No effect with a GPU, and where the system has no such limit (Windows, macOS).
    """
    if sys.platform != "linux" or torch.cuda.is_available():
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _taken() + most
    others = [value for value in (soft, hard) if value != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([limit, *others]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _taken() -> int:
    """Bytes of private memory that this process has, as RLIMIT_DATA counts them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise AnimaticError("/proc/self/status has no VmData; want Linux 2.6 or newer")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice: Python's, torch's, or a library's of either."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in WORDS)


def gibibytes(number: float) -> int:
    """Bytes; 0 for no limit of one's own."""
    return math.floor(number * 2**30)
