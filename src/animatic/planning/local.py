"""A language model in this process: transformers runs it, llguidance constrains it to the JSON schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import AnimaticError
from .language_model import Message, ModelReply

MAX_CHARACTERS = 300  # characters of a text


@dataclass
class LocalModel:
    """A causal language model: a hub id, a folder (safetensors) or a `.gguf` file. Temperature 0 takes the likeliest.

    Raises `AnimaticError` where it cannot be loaded.
    """

    name: str
    temperature: float = 0.25
    max_tokens: int = 2048
    seed: int = 0
    planner: str = "local"

    @property
    def settings(self) -> str:
        return f"temperature={self.temperature} max_tokens={self.max_tokens} seed={self.seed}"

    def __call__(self, chat: Sequence[Message], schema: dict[str, Any] | None) -> ModelReply:
        """One reply; with a schema it is JSON of that schema, unless `max_tokens` ends it before."""
        import torch

        tokenizer, model, vocabulary = self._parts
        try:
            text = tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, tokenize=False)
        except ValueError:
            raise AnimaticError(f"{self.name}: has no chat template; want an instruction-tuned model") from None

        # a network reads on beyond its positions, and writes nonsense: it is refused here
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).to(model.device)
        length = ids["input_ids"].shape[1]
        limit = getattr(model.config, "max_position_embeddings", length + self.max_tokens)
        if length + 1 > limit:
            raise AnimaticError(f"{self.name}: reads {limit} tokens; the chat has {length}")

        # greedy at temperature 0, which transformers would not take as a temperature
        sampling: dict[str, Any] = {"do_sample": self.temperature > 0}
        if self.temperature > 0:
            sampling["temperature"] = self.temperature
        if schema is not None:
            sampling["logits_processor"] = [_Constraint(vocabulary, schema, length)]
        torch.manual_seed(self.seed)
        with torch.no_grad():
            out = model.generate(**ids, max_new_tokens=min(self.max_tokens, limit - length), **sampling)
        text = tokenizer.decode(out[0, length:], skip_special_tokens=True)
        return ModelReply(text, {"asked": length, "answered": int(out.shape[1] - length)})

    @cached_property
    def _parts(self) -> tuple[Any, Any, Any]:
        """The tokenizer, the network, and the vocabulary as llguidance knows it; loaded at the first request."""
        try:
            import llguidance.hf
        except ImportError:
            raise AnimaticError("a local planner needs llguidance and gguf; pip install 'animatic[llm]'") from None
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from ..quiet import quiet

        path = Path(self.name)
        where = self.name
        how: dict[str, Any] = {}
        if path.suffix == ".gguf":
            # transformers takes the folder, and the file's name in it
            where = str(path.parent)
            how = {"gguf_file": path.name}
            if not path.is_file():
                raise AnimaticError(f"{self.name}: no such file")
        try:
            with quiet():
                tokenizer = AutoTokenizer.from_pretrained(where, **how)
                model = AutoModelForCausalLM.from_pretrained(where, **how).eval()
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise AnimaticError(f"local model {self.name!r} cannot be loaded ({reason})") from None
        return tokenizer, model, llguidance.hf.from_tokenizer(tokenizer, n_vocab=model.config.vocab_size)


def _bounded(schema: Any) -> Any:
    """The schema with an end to every string: a small model may not find one."""
    if isinstance(schema, list):
        return [_bounded(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    end = {"maxLength": MAX_CHARACTERS} if schema.get("type") == "string" else {}
    return {key: _bounded(value) for key, value in schema.items()} | end


class _Constraint:
    """A logits processor that masks every token the schema does not allow next."""

    def __init__(self, vocabulary: Any, schema: dict[str, Any], start: int) -> None:
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(json.dumps(_bounded(schema)))
        self.matcher = LLMatcher(vocabulary, grammar)
        self.consumed = start  # tokens that the matcher has seen: the chat is not part of the answer
        self.size = vocabulary.vocab_size

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import numpy as np
        import torch
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        for token in input_ids[0, self.consumed :].tolist():
            self.matcher.consume_token(token)
        self.consumed = input_ids.shape[1]

        # which tokens may come next, as a bit for each
        mask = allocate_token_bitmask(1, self.size)
        fill_next_token_bitmask(self.matcher, mask)

        # llguidance's own step for torch compiles itself, which takes a C++ compiler and half a minute
        allowed = np.unpackbits(mask.view(np.uint8), bitorder="little")[: scores.shape[1]].astype(bool)
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)
