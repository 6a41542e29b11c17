"""BERT as the text of small models: pooled as video-diffusion-pytorch does, converted, trained on, read again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_fit import SMALL
from test_small import normal, recorded
from transformers import BertConfig, BertModel, BertTokenizerFast

from animatic.backbones import load
from animatic.backbones.bert import read_bert
from animatic.backbones.convert import convert_vdp, from_vdp
from animatic.errors import AnimaticError
from animatic.rendering import render
from animatic.scene import Scene
from animatic.training.fit import DiffusionTrainer, fit
from animatic.video import Video

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "whale", "jumps", "high"]


@pytest.fixture
def bert(tmp_path):
    """A tiny BERT, as the hub's: with the pooling layer that nobody here needs."""
    folder, vocabulary = tmp_path / "bert", tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS))
    BertTokenizerFast(str(vocabulary)).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=12, initializer_range=0.5,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def test_states_are_pooled_as_the_original_does(bert):
    """The mean over the last states without the first token's, the end token's included; or the first's (`cls`)."""
    prompts = ["a whale", "a whale jumps high"]
    network = BertModel.from_pretrained(bert).eval()
    with torch.no_grad():
        states = [network(torch.tensor([ids])).last_hidden_state[0] for ids in ([2, 5, 6, 3], [2, 5, 6, 7, 8, 3])]
        mean, first = read_bert(str(bert))(prompts), read_bert(str(bert), "cls")(prompts)
    assert mean.shape == first.shape == (2, 1, 16)
    for i, state in enumerate(states):  # padding changes the sums' order, so not to the bit
        assert torch.allclose(mean[i, 0], state[1:].mean(0), atol=1e-5)
        assert torch.allclose(first[i, 0], state[0], atol=1e-5)


def test_a_checkpoint_is_converted_with_its_bert(bert, tmp_path):
    torch.save(original(16), tmp_path / "model-1.pt")
    network = from_vdp(original(16))
    model = load(str(convert_vdp(tmp_path / "model-1.pt", tmp_path / "m", 8, 2, bert=str(bert), pool="cls")))
    assert model.text.encoder.config.pooling == "cls"
    cond = model.encode(["a whale"], [""])
    with torch.no_grad():
        told = read_bert(str(bert), "cls")(["a whale"])[:, 0]
        x, t = normal(1, 2, 3, 2, 8, 8), torch.tensor([700, 700])
        wanted = torch.cat([network(x[:1], t[:1], told, null=torch.tensor([True])), network(x[1:], t[1:], told)])
        assert torch.allclose(model.predict(x, t, cond), wanted, atol=1e-5)
    scenes = [Scene(prompt, (), seconds=0.25) for prompt in ("a whale", "a whale jumps")]
    one, other = (render(scene, model, "none", steps=2).frames for scene in scenes)
    assert (one != other).any()
    with pytest.raises(AnimaticError, match=r"has 14 tokens; .* reads at most 12"):
        model.encode(["a whale " * 6], [""])


def test_a_network_is_trained_on_its_vectors(bert, tmp_path):
    """BERT itself does not learn, and goes into the model's folder."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for name, prompt in (("a", "a whale"), ("b", "a whale jumps high")):
        Video(np.full((2, 8, 8, 3), 90, np.uint8), 8.0).save(clips / f"{name}.gif", scale=1)
        (clips / f"{name}.txt").write_text(prompt)
    settings = replace(
        SMALL, data=str(clips), text=f"bert:{bert}", size="8", frames=2, model="small-original", target="eps",
        threshold=0.9, out=str(tmp_path / "run"), steps=2,
    )  # fmt: skip
    model = load(str(fit(settings)))
    assert model.unet.config["cond_dim"] == 16 and model.scheduler.config.dynamic_thresholding_ratio == 0.9
    told = read_bert(str(bert))(["a whale"])
    assert torch.allclose(model.text(["a whale"]), told, atol=1e-6)
    with pytest.raises(AnimaticError, match="reads with what it has; want own or auto"):
        DiffusionTrainer(replace(settings, model=str(tmp_path / "run" / "model"), out=str(tmp_path / "on")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bert": "nowhere/at-all"}, "BERT 'nowhere/at-all' cannot be read .*; want a folder or a hub id"),
        ({"pool": "max"}, "pool is 'max'; want mean or cls"),
        ({"threshold": 0.0}, "threshold is 0; want 1 to clip"),
        ({"width": 6}, "vectors of 16 numbers; this network takes 6"),
        ({"width": 0}, "vectors of 16 numbers; this network takes no condition"),
    ],
)
def test_what_does_not_fit_is_named(bert, tmp_path, options, words):
    options = {"bert": str(bert), **options}
    torch.save(original(options.pop("width", 16)), tmp_path / "x.pt")
    with pytest.raises(AnimaticError, match=words):
        convert_vdp(tmp_path / "x.pt", tmp_path / "out", 8, 2, **options)
    assert not (tmp_path / "out").exists()


def original(width: int) -> dict[str, torch.Tensor]:
    """A checkpoint of the original's with conditions of `width` numbers."""
    shapes = json.loads((Path(__file__).parent / "published" / "vdp_p_sample.json").read_text())["weights"]
    told = {name: [64 + width if size == 70 else size for size in shape] for name, shape in shapes.items()}
    told["null_cond_emb"] = [1, width]
    return {n: torch.ones(s) if "freqs" in n else recorded(n, tuple(s)) for n, s in told.items() if 0 not in s}
