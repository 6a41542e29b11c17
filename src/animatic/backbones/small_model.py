"""`SpaceTimeUNet` as a backbone, conditioned on one vector a prompt: of a text, of a class name, or none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.text import ClipText
from ..core.types import Conditioning
from ..errors import AnimaticError, listed, warn
from ..files import write_atomically
from ..quiet import quiet
from ..scene import Scene
from .codec import PatchCodec
from .components import Components
from .concat_conditioning import NOISE_INPUT_SCALE, LearnedConditioning, with_concatenated
from .folder import read_json, write_cards
from .grounding import has_grounding
from .small import SpaceTimeUNet

NULL = "null"  # in Conditioning.extra: bool `[branch]`, true where the prompt is empty


class ClipSentence(ClipText):
    """CLIP's last state at the end token: one vector a prompt, `[prompt, 1, channel]`."""

    chunked = False

    @property
    def width(self) -> int:
        return self.encoder.config.hidden_size

    def forward(self, prompts: Sequence[str]) -> Tensor:
        device = next(self.encoder.parameters()).device
        ids = self.tokens(prompts).to(device)
        states = self.encoder(input_ids=ids).last_hidden_state

        # The state at the first end token, which has read the whole prompt.
        closing: Any = self.tokenizer.eos_token_id
        end = ids.eq(closing).int().argmax(1)
        prompt = torch.arange(len(ids))
        return states[prompt, end][:, None]


class Labels(nn.Module):
    """Class names in the place of a text encoder, one learnt vector each; "" is no class.

    Without names it ignores prompts: for unconditional models.
    """

    limit = 1  # tokens a prompt

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.width = width
        rows = max(1, len(self.names))
        self.table = nn.Embedding(rows, max(1, width))

    @staticmethod
    def read(card: dict[str, Any]) -> Any:
        """From `animatic.json`. (Not typed as a `ClipText`, which `Components` declares.)"""
        vectors = torch.tensor(card["class_vectors"])
        labels = Labels(card["classes"], vectors.shape[1])
        if len(vectors) != max(1, len(labels.names)):
            raise AnimaticError(f"{len(vectors)} class_vectors for {len(labels.names)} classes")
        labels.table.weight.data.copy_(vectors)
        return labels

    @staticmethod
    def of_file(file: Path) -> Labels:
        """From JSON: name -> list of numbers, as many for each. Raises `AnimaticError` where it is not that."""
        # torch.tensor refuses rows of different lengths.
        vectors = read_json(file)
        try:
            rows = [list(map(float, vector)) for vector in vectors.values()]
            table = torch.tensor(rows)
            labels = Labels(list(vectors), table.shape[1])
            if not bool(table.isfinite().all()):
                raise ValueError("a number is not finite")
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise AnimaticError(f"{file}: {error}; want names with equally many numbers each") from None
        labels.table.weight.data = table
        return labels

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """`[prompt, 1, width]`; zeros for "", which the network replaces by its null condition."""
        for prompt in prompts:
            if self.names and prompt and prompt not in self.names:
                raise AnimaticError(f"unknown class {prompt[:60]!r}; this model knows {listed(self.names)}")

        # -1 is no class; the table's first vector is then multiplied by 0.
        numbers = []
        for prompt in prompts:
            numbers.append(self.names.index(prompt) if prompt in self.names else -1)
        index = torch.tensor(numbers, device=self.table.weight.device)
        is_class = index >= 0
        vectors = self.table(index.clamp(min=0)) * is_class[:, None]
        return vectors[:, None]

    def in_chunks(self, prompts: Sequence[str]) -> Tensor:
        """The same: a class has one name."""
        return self(prompts)


class SpaceTimeBackbone(Components):
    """A `SpaceTimeUNet` with its codec; its attention layers call the hook that they are given."""

    provides = frozenset({"video"})
    network = SpaceTimeUNet

    @property
    def size_multiple(self) -> int:
        return self.geometry.vae_spatial_ratio * self.unet.size_multiple

    @property
    def attention_layers(self) -> tuple[str, ...]:
        # they call the hook that they are given, by the name of their place in the network
        return tuple(module.path for module in self.unet.modules() if hasattr(module, "path"))

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], negatives: Sequence[str]) -> Conditioning:
        cond = super().encode(prompts, negatives)

        # The network replaces the condition of these branches by its learnt null.
        is_empty = [not prompt for prompt in (*negatives, *prompts)]
        null = torch.tensor(is_empty, device=cond.text.device)
        return replace(cond, extra={NULL: null})

    def check_scene(self, scene: Scene) -> None:
        """Warns where a scene has a prompt, and the model was trained without text."""
        super().check_scene(scene)
        text: Any = self.text
        if isinstance(text, Labels) and not text.names and scene.prompt:
            warn(f"{self.name} was trained without text: prompts change nothing")

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        if self.concat_conditioning:
            x = with_concatenated(NOISE_INPUT_SCALE * x, cond)

        # The one state of a prompt, [branch, channel].
        text = cond.text[:, 0] if self.unet.config["cond_dim"] else None
        return self.unet(x, t, text, null=cond.extra.get(NULL), attention=self.hooks.attention)


def pixels(channels: int = 3) -> PatchCodec:
    """The identity codec: latents are pixels in -1..1; of 1 channel, grey: the mean of red, green, blue."""
    codec = PatchCodec(patch=1, channels=channels)
    if channels == 1:
        codec.basis.data.fill_(3**-0.5)  # decoding is the transpose, so that each colour is the grey value
        codec.deviation.data.fill_(3**0.5)
    return codec


@quiet()
def save_model(folder: Path, model: Components) -> None:
    """Write a model folder that `load` reads: diffusers' layout, and `animatic.json` for what that cannot express."""
    card: dict[str, Any] = {
        "family": model.family,
        "geometry": asdict(model.geometry),
        "defaults": asdict(model.defaults),
        "coordinates": model.coordinates,
        "words": model.words,
    }
    if model.backgrounds:
        card["backgrounds"] = model.backgrounds
    conditioning = model.concat_conditioning
    if isinstance(conditioning, LearnedConditioning):
        card["concat_conditioning"] = {"kind": conditioning.kind, **conditioning.fields()}
    if has_grounding(model.unet):
        model.unet.register_to_config(use_gated_attention=True)  # its weights are then in the network's own file

    # Each part in a folder of its own, and its class for `model_index.json`.
    parts: dict[str, tuple[str, str]] = {}
    saved = {model.network_folder: model.unet, "vae": model.vae, "scheduler": model.scheduler}
    for name, part in saved.items():
        part.save_pretrained(folder / name)
        _forget_origin(folder / name)
        library = "diffusers" if type(part).__module__.startswith("diffusers") else "animatic"
        parts[name] = (library, type(part).__name__)

    # Text encoder and tokenizer; classes are part of the card.
    text: Any = model.text
    if isinstance(text, Labels):
        vectors = text.table.weight.detach().cpu()
        card |= {"classes": text.names, "class_vectors": vectors.tolist()}
    else:
        for name, part in (("text_encoder", text.encoder), ("tokenizer", text.tokenizer)):
            part.save_pretrained(folder / name)
            parts[name] = ("transformers", type(part).__name__)
    write_cards(folder, parts, card)


def _forget_origin(folder: Path) -> None:
    """Take out of a part's configuration where it was loaded from, a path of this machine."""
    for file in folder.glob("*config.json"):
        config = read_json(file)
        if config.pop("_name_or_path", None) is not None:
            text = json.dumps(config, indent=2) + "\n"
            write_atomically(file, text.encode())
