"""The memory that is free for this process: of the machine, or of the container that it runs in."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")  # of a container, whose limit the machine's own numbers do not show


def free_memory() -> int:
    """Bytes that can be taken without swapping, within a container's limit where there is one."""
    free = psutil.virtual_memory().available
    try:
        most = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return free  # no container, or one without a limit ("max")
    return min(free, max(0, most - used))
