"""What is fetched of a model on the hub: one set of weights of each part, from a real server on loopback."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import tiny
import torch

import animatic
from animatic.backbones.fetching import needed
from animatic.errors import AnimaticWarning

UNET = "unet/diffusion_pytorch_model"
CONFIGS = ["model_index.json", "unet/config.json"]


@pytest.mark.parametrize(
    ("stored", "half", "chosen"),
    [  # Stable Diffusion 1.5's listing
        ([".bin", ".fp16.bin", ".fp16.safetensors", ".non_ema.bin", ".non_ema.safetensors", ".safetensors"],
         False, [".safetensors"]),
        ([".bin", ".fp16.bin", ".fp16.safetensors", ".non_ema.bin", ".non_ema.safetensors", ".safetensors"],
         True, [".fp16.safetensors"]),
        ([".bin"], True, [".bin"]),  # Zeroscope's
        ([".bin", ".fp16.bin"], True, [".fp16.bin"]),
        ([".msgpack", ".bin", ".onnx"], False, [".bin"]),
        (["-00001-of-00002.safetensors", "-00002-of-00002.safetensors", ".safetensors.index.json", ".bin"],
         False, ["-00001-of-00002.safetensors", "-00002-of-00002.safetensors", ".safetensors.index.json"]),
        (["-00001-of-00001.safetensors", ".fp16-00001-of-00001.safetensors", ".safetensors.index.json",
          ".safetensors.index.fp16.json"],
         True, [".fp16-00001-of-00001.safetensors", ".safetensors.index.fp16.json"]),
    ],
)  # fmt: skip
def test_one_set_of_weights_is_needed(stored, half, chosen):
    files = [*CONFIGS, *(UNET + ending for ending in stored)]
    assert needed(files, half=half) == sorted([*CONFIGS, *(UNET + ending for ending in chosen)])


def test_parts_are_chosen_one_by_one():
    """A text encoder without half-precision weights, a VAE that may compute in full, weights that are here already."""
    files = ["text_encoder/model.safetensors", "text_encoder/pytorch_model.fp16.bin", "tokenizer/spiece.model"]
    vae = ["vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors"]
    unet = [f"{UNET}.safetensors", f"{UNET}.fp16.safetensors"]
    assert needed([*files, *vae, *unet], half=True) == sorted([files[0], files[2], vae[0], unet[1]])
    assert needed(unet, here=unet[:1], half=True) == unet[:1]
    assert needed(unet, here=unet[1:], half=False) == unet[:1]


class Hub(ThreadingHTTPServer):
    """A hub of one model: the folder `root`. `served` are the files whose content was asked for."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.root, self.served, self.commit = root, set(), "a" * 40
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Pages(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer(False)

    def do_GET(self):
        self._answer(True)

    def _answer(self, whole):
        path, root = urlsplit(self.path).path, self.server.root
        if "/resolve/" in path:
            name = path.partition("/resolve/")[2].partition("/")[2]
            data = (root / name).read_bytes()
            if whole:
                self.server.served.add(name)
            return self._send(data, whole, "application/octet-stream")
        files = [file for file in sorted(root.rglob("*")) if file.is_file()]
        if "/tree/" in path:
            rows = [
                {"type": "file", "path": str(file.relative_to(root)), "size": file.stat().st_size, "oid": _etag(file)}
                for file in files
            ]
            return self._send(json.dumps(rows).encode(), whole)
        siblings = [{"rfilename": str(file.relative_to(root))} for file in files]
        self._send(json.dumps({"id": "x", "sha": self.server.commit, "siblings": siblings}).encode(), whole)

    def _send(self, data, whole, kind="application/json"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.server.commit)
        self.end_headers()
        if whole:
            self.wfile.write(data)


def _etag(file):
    return hashlib.sha1(file.read_bytes()).hexdigest()


SCRIPT = """
import sys
import animatic
from animatic.core.backbone import MemoryOptions
import animatic.backbones
for dtype in sys.argv[1:]:
    model = animatic.backbones.load("sd15", "cpu", MemoryOptions(dtype))
    print(next(model.networks[0].parameters()).dtype)
"""


@pytest.mark.slow("three processes of their own that import torch: the hub's address is read once")
def test_a_hub_is_asked_for_what_is_needed(tmp_path):
    root = tiny.folder(tmp_path / "model", tiny.unet2d())
    unet = root / "unet"
    network = tiny.unet2d().half()
    network.save_pretrained(unet, variant="fp16")
    shutil.copy(unet / "diffusion_pytorch_model.safetensors", unet / "diffusion_pytorch_model.non_ema.safetensors")
    network.save_pretrained(unet, safe_serialization=False)
    hub = Hub(root)

    def loads(*dtypes: str, offline: str = "0") -> tuple[str, str]:
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": offline, "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        run = subprocess.run([sys.executable, "-c", SCRIPT, *dtypes], capture_output=True, text=True, env=environment)
        return run.stdout.strip(), run.stderr

    dtype, told = loads("float16")
    fetched = {name for name in hub.served if name.startswith("unet/")}
    assert dtype == "torch.float16" and fetched == {"unet/config.json", f"{UNET}.fp16.safetensors"}, told
    assert "vae/diffusion_pytorch_model.safetensors" in hub.served
    size = sum((root / name).stat().st_size for name in hub.served)
    assert f"sd15: fetching {len(hub.served)} files of" in told and f"{size / 2**20:.1f} MB" in told

    # without the hub: what is here is read, and said where it is less than what was asked for
    hub.served.clear()
    assert "computed in float32, but the weights are in float16 alone" in loads("float32", offline="1")[1]

    # what is missing is fetched once, and nothing where all is here
    found, told = loads("float32", "float16")
    assert found.split() == ["torch.float32", "torch.float16"]
    assert hub.served == {f"{UNET}.safetensors"} and told.count("fetching") == 1
    hub.shutdown()


def test_a_folder_of_half_precision_weights_alone(tmp_path):
    root = tiny.folder(tmp_path / "model", tiny.unet2d())
    for part in ("unet", "vae"):
        file = root / part / "diffusion_pytorch_model.safetensors"
        file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    with pytest.warns(AnimaticWarning, match="in float16 alone"):
        model = animatic.load(str(root))
    assert next(model.networks[0].parameters()).dtype == torch.float32
