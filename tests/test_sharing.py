"""Sharing and edits on bare tensors: the original's arithmetic, and equality of the cheap with the plain form."""

import pytest
import torch
from conftest import close, golden
from diffusers.models.embeddings import apply_rotary_emb, get_3d_rotary_pos_embed

from animatic.controls.edits import aligned
from animatic.controls.reweight import Reweight
from animatic.controls.shared_attention import SharedAttention
from animatic.controls.sharing import ShareKV
from animatic.core.attention import fused_attention
from animatic.core.control import Run
from animatic.core.types import AttentionCall, Branch, Conditioning, Step

GRID = (2, 2, 3)
STEP = Step(2, 50, 0.0)


def qkv():
    g = torch.Generator().manual_seed(1234)
    q, k = (torch.randn(4, 2, 17, 4, generator=g) * 2 for _ in range(2))
    return q, k, torch.randn(4, 2, 17, 4, generator=g)


def rows(reading=True):
    """[u_source, u_target, c_source, c_target]"""
    out = []
    for negative in (True, False):
        source = Branch(negative)
        out += [source, Branch(negative, 1, kv_source=source if reading else None)]
    return tuple(out)


def site(told, grid=GRID, kind="joint", words=5, step=STEP, name="transformer_blocks.1.attn1"):
    return AttentionCall(name, kind, 1, slice(0, words), grid, step, Conditioning(torch.zeros(len(told), 1, 1), told))


def sharing(**told):
    words = told.pop("words", {})
    run = Run(None, None, None)  # sharing in given layers asks neither a model nor a schedule
    control = ShareKV(**{"layers": ("*",), **told}).begin(run)
    control._words.update(words)
    return control


def matches(got, want):
    assert float(got.sum()) == pytest.approx(want["sum"], abs=2e-4)
    assert float(got.abs().sum()) == pytest.approx(want["abs_sum"], abs=2e-3)
    assert got.flatten()[:4].tolist() == pytest.approx(want["first4"], abs=2e-5)
    assert got.flatten()[-4:].tolist() == pytest.approx(want["last4"], abs=2e-5)


def test_sharing_is_the_originals():
    want = golden("ditctrl/g04_attention.json")["kv_sharing"]
    q, k, v = qkv()
    base = fused_attention(site(rows()), q, k, v, None)
    matches(base, want["plain"])
    shared = sharing().attend(fused_attention, site(rows()), q, k, v, None)
    matches(shared, want["active"])
    assert close(shared[::2], base[::2], 8), "a source is not changed"
    for off, told in ((sharing(), rows(False)), (sharing(layers=("*.2.*",)), rows())):
        assert torch.equal(off.attend(fused_attention, site(told), q, k, v, None), base), "off, it hands everything on"


def test_masks_are_the_originals():
    want = golden("ditctrl/g04_attention.json")
    q, k, v = qkv()
    control = sharing(words={(0, 0): (1, 2), (1, 0): (1, 3)})
    got = control.attend(fused_attention, site(rows()), q, k, v, None)
    soft = control._mask(site(rows()), rows()[2])
    assert soft is not None and torch.allclose(soft, torch.tensor(want["mask"]["soft_src_layer1"]), atol=2e-6)
    theirs = control._mask(site(rows()), rows()[3])
    assert theirs is not None and (theirs.flatten() >= 0.3).float().tolist() == want["mask_guided"]["tgt_mask"]
    matches(got, want["mask_guided"]["active"])
    shared = sharing().attend(fused_attention, site(rows()), q, k, v, None)
    assert close(got[:, :, :5], shared[:, :, :5], 16), "text rows are those of unmasked sharing"


def explicit(q, k, v, mine, theirs, words=0):
    """Mask-guided attention with its tokens x tokens masks, as published."""
    n = q.shape[2]
    inside = torch.cat([torch.ones(words, dtype=torch.bool), theirs])
    outside = torch.cat([torch.ones(words, dtype=torch.bool), ~theirs])
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    looks = []
    for seen in (inside, outside):
        blocked = ~seen.expand(n, n).clone()
        blocked[:words] = False
        looks.append(logits.masked_fill(blocked, torch.finfo(q.dtype).min).softmax(-1) @ v)
    pick = torch.cat([torch.ones(words, dtype=torch.bool), mine])[:, None]
    out = torch.where(pick, looks[0], looks[1])
    out[:, :, :words] = logits[:, :, :words].softmax(-1) @ v
    return out


@pytest.mark.parametrize("words", [0, 5])
def test_gathered_keys_are_masked_attention(words):
    """g12: no mask is built, and the answer is the same; soft masks of 0 and 1 are hard ones."""
    q, k, v = (t[:1, :, 5 - words :] for t in qkv())
    mine, theirs = torch.rand(2, 12, generator=torch.manual_seed(0)) > 0.5
    shared = SharedAttention(fused_attention, site(rows()[:1], words=words), q, k, v, None)
    for threshold in (0.3, None):
        got = shared.masked(mine.float().view(GRID), theirs.float().view(GRID), threshold)
        assert close(got, explicit(q, k, v, mine, theirs, words))
    nothing = torch.zeros(GRID)
    assert shared.masked(nothing + 1, nothing, 0.3).isfinite().all(), "no keys: no NaN"
    if not words:
        assert torch.allclose(shared.masked(nothing + 1, nothing, 0.3), shared.unmasked(), atol=1e-6)


def test_own_text_stays():
    q, k, v = qkv()
    got = sharing(own_text=True).attend(fused_attention, site(rows()), q, k, v, None)
    k2 = torch.cat([k[1:2, :, :5], k[:1, :, 5:]], 2)
    v2 = torch.cat([v[1:2, :, :5], v[:1, :, 5:]], 2)
    assert close(got[1:2], fused_attention(site(rows()), q[1:2], k2, v2, None), 16)


def test_requests_stay_ones_own():
    """Columns that ride along on v answer for the row that asked, whoever's keys are read."""
    q, k, v = qkv()
    column = torch.zeros(4, 2, 17, 1)
    column[:, :, 3] = 1
    for words in ({}, {(0, 0): (1,), (1, 0): (1,)}):
        control = sharing(words=words)
        got = control.attend(fused_attention, site(rows()), q, k, torch.cat([v, column], -1), None)
        assert close(got[..., :4], sharing(words=words).attend(fused_attention, site(rows()), q, k, v, None), 16)
        assert got[..., 4].min() > 0


def test_folded_rows_share_frame_by_frame():
    """A UNet's frames are batch entries: two rows of two frames."""
    q, k, v = qkv()
    told = (Branch(), Branch(sample=1, kv_source=Branch()))
    at = AttentionCall("a.attn1", "self", 2, slice(0, 0), (2, 1, 17), STEP, Conditioning(torch.zeros(2, 1, 1), told))
    got = sharing().attend(fused_attention, at, q, k, v, None)
    assert close(got[:2], fused_attention(at, q, k, v, None)[:2], 8)
    assert close(got[2:], fused_attention(at, q[2:], k[:2], v[:2], None), 16)


REWEIGHTED = ((2,), 0.5, "step2_no_share"), ((1, 2), 0.0, "list_tokens_scale0")


@pytest.mark.parametrize(("tokens", "factor", "name"), REWEIGHTED)
def test_reweighting_is_the_originals(tokens, factor, name):
    want = golden("ditctrl/g04_attention.json")["reweight"][name]
    control = Reweight({1: dict.fromkeys(tokens, factor)}, negative=True)
    q, k, v = qkv()
    matches(control.attend(fused_attention, site(rows(False)), q, k, v, None), want)


def test_reweighting_what_is_shared():
    want = golden("ditctrl/g04_attention.json")["reweight"]["step1_shares_kv"]
    q, k, v = qkv()
    share, control = sharing(), Reweight({1: {2: 0.5}}, negative=True)

    def told(site, q, k, v, mask):
        return control.attend(fused_attention, site, q, k, v, mask)

    matches(share.attend(told, site(rows()), q, k, v, None), want)


def test_a_factor_of_one_changes_nothing_and_two_words_may_differ():
    q, k, v = qkv()
    base = fused_attention(site(rows(False)), q, k, v, None)
    one = Reweight({1: {2: 1.0}}).attend(fused_attention, site(rows(False)), q, k, v, None)
    assert close(one, base, 16)
    at = site(rows(False), kind="cross", words=17)
    got = Reweight({1: {2: 4.0, 3: -1.0}}).attend(fused_attention, at, q, k, v, None)
    p = (q @ k.transpose(-1, -2) / 2).softmax(-1)
    p[3, :, :, 2] *= 4
    p[3, :, :, 3] *= -1
    assert close(got, p @ v, 16), "negative rows, and the source, are left alone"


def test_words_are_aligned():
    matrix, own = aligned("a cat runs".split(), "a red dog runs".split(), 6)
    assert matrix[0, 0] == 1 and matrix[2, 3] == 1 and matrix[1, 1:3].tolist() == [0.5, 0.5]
    assert matrix[3, 4] == 1 and matrix[4, 5] == 1 and own.tolist() == [0] * 6
    matrix, own = aligned("a cat runs".split(), "a cat runs fast".split(), 6)
    assert own.tolist() == [0, 0, 0, 1, 0, 0] and matrix[3, 4] == 1 and matrix.sum(0)[3] == 0


def test_what_is_shared_was_turned():
    """g13: keys are shared after the rotary positions; the original, on CogVideoX-5B, does not turn the queries."""
    want = golden("ditctrl/g13_rope_sharing.json")["max_abs_diff_original_vs_hypothesis"]
    torch.manual_seed(7)
    q, k, v = (torch.randn(4, 2, 23, 16) for _ in range(3))
    positions = get_3d_rotary_pos_embed(16, crops_coords=((0, 0), (2, 3)), grid_size=(2, 3), temporal_size=3)

    def turned(x):
        return torch.cat([x[:, :, :5], apply_rotary_emb(x[:, :, 5:], positions)], 2)

    at = site(rows(), grid=(3, 2, 3))
    right = sharing().attend(fused_attention, at, turned(q), turned(k), v, None)
    theirs = fused_attention(at, q[1::2], turned(k)[::2], v[::2], None)
    off = want["target_Q_rotated_K_rotated"]
    assert float((right[1::2] - theirs).abs().max()) == pytest.approx(off["target_rows"], abs=1e-5)
    assert close(right[::2], fused_attention(at, turned(q), turned(k), v, None)[::2], 8) and off["source_rows"] == 0
