"""Small files that unpack to gigabytes: refused in one line, with the memory of a frame or two taken."""

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from animatic.errors import AnimaticError
from animatic.media import frame_buffer
from animatic.video import Video

GIGABYTES = 3000 * 1080 * 1920 * 3 / 2**30  # of the bomb's frames: 17.4
MOST = 1.5  # GiB that a command may take: torch's libraries take most of it


@pytest.fixture(scope="module")
def bomb(tmp_path_factory) -> Path:
    """3000 grey frames of 1920x1080: one picture, whose packet is there 3000 times."""
    file = tmp_path_factory.mktemp("bomb") / "bomb.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "51"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        grey = av.VideoFrame.from_ndarray(np.full((1080, 1920, 3), 128, np.uint8)).reformat(format="yuv420p")
        (packet,) = [*stream.encode(grey), *stream.encode(None)]
        picture = bytes(packet)
        for number in range(3000):
            copy = av.Packet(picture)
            copy.stream, copy.time_base = stream, packet.time_base
            copy.pts = copy.dts = number
            copy.is_keyframe = True
            container.mux(copy)
    return file


# A process begins with the largest size of the one that it was forked from: a small one stands between.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def ended(*command: str, **environment: str) -> tuple[int, str, float]:
    """Exit code, what was said as an error, and GiB that the command took at most."""
    process = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, "-m", "animatic", *command],
        capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    return process.returncode, process.stderr, int(process.stdout) / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units")
@pytest.mark.parametrize(
    "command",
    [
        ("finish", "--then", "lanczos:2"),
        ("edit", "--invert", "a grey wall", "--prompt", "a red wall"),
        ("edit", "--prompt", "a red wall"),
        ("info",),
    ],
    ids=" ".join,
)
def test_a_small_file_of_gigabytes_takes_no_memory(bomb: Path, tmp_path: Path, command):
    assert bomb.stat().st_size < 30_000_000 and GIGABYTES > 17
    name, *options = command
    out = ["-o", str(tmp_path / "out")] if name != "info" else []
    code, error, taken = ended(name, str(bomb), *options, *out)
    print(f"{' '.join(command)}: {bomb.stat().st_size / 1e3:.0f} kB, {taken:.2f} GiB taken, {error.strip()[:200]}")
    assert taken < MOST
    assert code == 2 and error.startswith("error: ") and error.count("\n") == 1, error


def test_a_limit_that_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = Video(np.zeros((8, 32, 48, 3), np.uint8)).save(tmp_path / "clip.mkv", scale=1)
    needed = 8 * 32 * 48 * 3
    monkeypatch.setenv(frame_buffer.VARIABLE, str(needed))
    assert len(Video.load(file)) == 8
    monkeypatch.setenv(frame_buffer.VARIABLE, str(needed - 1))
    with pytest.raises(AnimaticError, match=r"8 frames of 48 x 32 need 0\.0 MB, and a video may take .* ANIMATIC_MOST"):
        Video.load(file)
    assert len(Video.load(file, most=needed)) == 8, "a limit that is given for a file stands before it"
    for wrong in ("lots", "0", "-1", "nan"):
        monkeypatch.setenv(frame_buffer.VARIABLE, wrong)
        with pytest.raises(AnimaticError, match=f"ANIMATIC_MOST_VIDEO is '{wrong}'; want a number of bytes"):
            Video.load(file)
