"""BERT as the text encoder of a `SpaceTimeUNet`: one vector a prompt, as video-diffusion-pytorch 0.7 has it.

https://github.com/lucidrains/video-diffusion-pytorch (`text.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import transformers
from torch import Tensor

from ..core.text import ClipText
from ..errors import AnimaticError
from .folder import reading

POOLS = ("mean", "cls")


class BertSentence(ClipText):
    """One vector a prompt `[prompt, 1, channel]`: the mean of all last states but the first, or the first.

    The encoder's config says which (`pooling`: "mean" or "cls"), so that a saved folder keeps it. The
    original trains with either (`text_use_bert_cls`), but samples with the mean whatever it was trained with.
    """

    chunked = False

    @property
    def width(self) -> int:
        return self.encoder.config.hidden_size

    def forward(self, prompts: Sequence[str]) -> Tensor:
        # Columns that are padding in every prompt are cut off.
        ids = self.tokens(prompts).to(self._device)
        padding: Any = self.tokenizer.pad_token_id
        mask = ids.ne(padding)
        longest = int(mask.sum(1).max())
        ids = ids[:, :longest]
        mask = mask[:, :longest]

        # `pooling` "cls" is the state of the first token, [CLS].
        output = self.encoder(input_ids=ids, attention_mask=mask)
        states = output.last_hidden_state
        if self.encoder.config.pooling == "cls":
            return states[:, :1]

        # The mean over the tokens, without the class token and padding.
        weight = mask[:, 1:, None]
        total = (states[:, 1:] * weight).sum(1, keepdim=True)
        return total / weight.sum(1, keepdim=True)


def read_bert(source: str, pool: str = "mean") -> BertSentence:
    """The BERT in a folder or on the hub (the original's: bert-base-cased), frozen, without its own pooling layer.

    Raises `AnimaticError` where `pool` is unknown, or where there is no BERT.
    """
    if pool not in POOLS:
        raise AnimaticError(f"pool is {pool!r}; want {' or '.join(POOLS)}")
    want = "; want a folder or a hub id, such as bert-base-cased"
    with reading(f"BERT {source!r} cannot be read", want):
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        encoder = transformers.BertModel.from_pretrained(source, add_pooling_layer=False)

    # The pooling is stored in the encoder's config, where a saved model keeps it.
    encoder.config.update({"pooling": pool})
    return BertSentence(source, tokenizer, encoder.requires_grad_(False).eval())
