"""The transformer as it is trained: diffusers' modules, called so that they compile well.

The attention is written as matrix products: at 64 to 256 tokens the CPU's fused attention has a backward pass that
costs a third of the whole step. The adapter branch follows diffusers' FluxIPAdapterAttnProcessor: its query is the
normed one before rotary embedding, and its output joins the image rows behind `to_out` and the gate.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import math
from typing import Any

import torch
import torch._inductor.config
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from diffusers.models.activations import GELU
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn

from .captions import ROWS
from .config import TransformerConfig
from .text import WIDTH


def build(config: TransformerConfig, latent_channels: int) -> FluxTransformer2DModel:
    """Build an untrained transformer; adaLN close to zero and the last projection zero, or it does not start to
    learn."""
    head = config.head_width
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * latent_channels,
        num_layers=config.double,
        num_single_layers=config.single,
        attention_head_dim=head,
        num_attention_heads=config.heads,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(head - 2 * (head * 3 // 16) * 2, head * 3 // 16 * 2, head * 3 // 16 * 2),
    )
    for name, p in model.named_parameters():
        if p.ndim == 2:
            if "norm" in name and name.endswith("linear.weight"):
                nn.init.normal_(p, std=0.002)
            elif name == "proj_out.weight":
                nn.init.zeros_(p)
            else:
                nn.init.xavier_uniform_(p)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
    for part in (model.time_text_embed.timestep_embedder.linear_1, model.time_text_embed.timestep_embedder.linear_2):
        nn.init.normal_(part.weight, std=0.02)
    return model


def pack(z: Tensor) -> Tensor:
    """Turn latents [B, C, h, w] into Flux's token rows [B, h/2 * w/2, 4C]."""
    b, c, h, w = z.shape
    return z.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h // 2 * (w // 2), 4 * c)


def unpack(x: Tensor, h: int, w: int) -> Tensor:
    """Turn token rows back into latents [B, C, h, w]."""
    b, _, d = x.shape
    c = d // 4
    return x.reshape(b, h // 2, w // 2, c, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


def position_ids(h: int, w: int, rows: int = ROWS) -> tuple[Tensor, Tensor]:
    """Return (image ids [h/2 * w/2, 3], text ids [rows, 3]) of a latent of h x w."""
    ids = torch.zeros(h // 2, w // 2, 3)
    ids[..., 1] += torch.arange(h // 2)[:, None]
    ids[..., 2] += torch.arange(w // 2)[None]
    return ids.reshape(-1, 3), torch.zeros(rows, 3)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute softmax attention over [B, L, H, d] as matrix products, softmax in float32; return [B, L, H * d].

    `bias` [B, L] is added to every query's score of a key."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    scores = (torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5).float()
    if bias is not None:
        scores = scores + bias[:, None, None]
    return torch.matmul(scores.softmax(-1).to(v.dtype), v).transpose(1, 2).flatten(2)


def fold_empty(tokens: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """Fold the empty (all-zero) text rows of [B, R, E] into one: ([B, room, E], attention bias [B, room]).

    Empty rows of a sample are alike in everything (text rows have no positions), so one of them, whose score as a key
    is raised by the logarithm of their number, stands for all: the image rows come out the same, and a quarter of a
    step's text work is saved. Every sample must have fewer than `room` filled rows.
    """
    filled = tokens.abs().amax(-1) > 0
    count = filled.sum(1, keepdim=True)
    order = (~filled).to(torch.uint8).argsort(dim=1, stable=True)[:, :room]
    at = torch.arange(room, device=tokens.device)[None]
    many = (tokens.shape[1] - count).clamp(min=1).float().log()
    bias = torch.where(at < count, torch.zeros_like(many), torch.where(at == count, many, torch.full_like(many, -1e4)))
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2])), bias


def normed(norm: Any, x: Tensor) -> Tensor:
    """Apply RMS norm over the last axis in float32 with `norm`'s weight, back in x's dtype (autocast has no such
    kernel)."""
    y = x.float()
    return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + norm.eps) * norm.weight).to(x.dtype)


def logistic_gelu(x: Tensor) -> Tensor:
    """Compute GELU's tanh form by the logistic function that it equals: x * sigmoid(2 u) = x * (1 + tanh u) / 2.

    Compiled for a CPU, tanh takes three times as long; uncompiled, every operation is a pass over memory, and torch's
    own GELU is one. Source: Hendrycks and Gimpel (1606.08415)."""
    if not torch.compiler.is_compiling():
        return F.gelu(x, approximate="tanh")
    return x * torch.sigmoid(2 * (2 / math.pi) ** 0.5 * (x + 0.044715 * x * x * x))


class SigmoidGELU(nn.GELU):
    """`nn.GELU(approximate="tanh")`, computed so."""

    def forward(self, x: Tensor) -> Tensor:
        return logistic_gelu(x)


class SigmoidGELUProjection(GELU):
    """The projection of diffusers with GELU behind it, likewise."""

    def gelu(self, gate: Tensor) -> Tensor:
        return logistic_gelu(gate)


def quicken(model: nn.Module) -> None:
    """Have every GELU of the tanh form computed by the faster of its two formulas."""
    for module in model.modules():
        if getattr(module, "approximate", "") == "tanh":
            for plain, quick in ((nn.GELU, SigmoidGELU), (GELU, SigmoidGELUProjection)):
                if type(module) is plain:
                    module.__class__ = quick


class DoubleAttention:
    """Processor of a double block; with an adapter, `ip_tokens` [B, K, D] and `ip_weight` [B] are read."""

    def __init__(self, adapter: "AdapterBlock | None" = None) -> None:
        self.adapter = adapter

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        ip_tokens: Tensor | None = None,
        ip_weight: Tensor | None = None,
        key_bias: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (attn.heads, -1))

        n = encoder_hidden_states.shape[1]
        q = normed(attn.norm_q, split(attn.to_q(hidden_states)))
        k = normed(attn.norm_k, split(attn.to_k(hidden_states)))
        v = split(attn.to_v(hidden_states))
        plain_query = q
        q = torch.cat([normed(attn.norm_added_q, split(attn.add_q_proj(encoder_hidden_states))), q], 1)
        k = torch.cat([normed(attn.norm_added_k, split(attn.add_k_proj(encoder_hidden_states))), k], 1)
        v = torch.cat([split(attn.add_v_proj(encoder_hidden_states)), v], 1)
        q = apply_rotary_emb(q, image_rotary_emb, sequence_dim=1).to(v.dtype)
        k = apply_rotary_emb(k, image_rotary_emb, sequence_dim=1).to(v.dtype)
        out = attend(q, k, v, key_bias)
        image, text = attn.to_out[0](out[:, n:]), attn.to_add_out(out[:, :n])
        if self.adapter is None or ip_tokens is None or ip_weight is None:
            return image, text
        ik, iv = split(self.adapter.to_k_ip(ip_tokens)), split(self.adapter.to_v_ip(ip_tokens))
        extra = attend(plain_query.to(ik.dtype), ik, iv)
        return image, text, extra * ip_weight[:, None, None].to(extra.dtype)


class SingleAttention:
    """Processor of a single block."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        key_bias: Tensor | None = None,
    ) -> Tensor:
        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (attn.heads, -1))

        q, k = (
            normed(attn.norm_q, split(attn.to_q(hidden_states))),
            normed(attn.norm_k, split(attn.to_k(hidden_states))),
        )
        v = split(attn.to_v(hidden_states))
        q = apply_rotary_emb(q, image_rotary_emb, sequence_dim=1).to(v.dtype)
        k = apply_rotary_emb(k, image_rotary_emb, sequence_dim=1).to(v.dtype)
        return attend(q, k, v, key_bias)


class AdapterBlock(nn.Module):
    """Keys and values of one double block's adapter branch."""

    def __init__(self, tokens_width: int, hidden: int) -> None:
        super().__init__()
        self.to_k_ip, self.to_v_ip = nn.Linear(tokens_width, hidden), nn.Linear(tokens_width, hidden)
        nn.init.normal_(self.to_v_ip.weight, std=0.01)  # close to no effect at the start
        nn.init.zeros_(self.to_v_ip.bias)


class Velocity(nn.Module):
    """The forward pass of FluxTransformer2DModel over its own modules, with fixed rotary tables for each size."""

    def __init__(self, model: FluxTransformer2DModel, adapters: list[AdapterBlock] | None = None) -> None:
        super().__init__()
        self.model = model
        quicken(model)
        for i, block in enumerate(model.transformer_blocks):
            block.attn.processor = DoubleAttention(adapters[i] if adapters else None)
        for block in model.single_transformer_blocks:
            block.attn.processor = SingleAttention()
        self.tables: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.by_block = False

    def compile_blocks(self) -> None:
        """Compile each kind of block once for each picture size: a whole step takes a GPU minutes."""
        torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)
        if hasattr(torch._inductor.config.triton, "mix_order_reduction"):  # wrong gradients: see `checked.py`
            torch._inductor.config.triton.mix_order_reduction = False
        for block in (*self.model.transformer_blocks, *self.model.single_transformer_blocks):
            block.compile(dynamic=False)
        self.by_block = True

    def _alike(self, x: Tensor) -> Tensor:
        """Return rows with the strides that every compiled block expects."""
        return x.contiguous() if self.by_block else x

    def rotary(self, h: int, w: int) -> tuple[Tensor, Tensor]:
        """Return the rotary tables of a latent of h x w."""
        if (h, w) not in self.tables:
            image, text = position_ids(h, w)
            device = next(self.model.parameters()).device
            cos, sin = self.model.pos_embed(torch.cat([text, image]).to(device))
            self.tables[h, w] = (cos.float(), sin.float())
        return self.tables[h, w]

    def forward(
        self,
        x: Tensor,
        tokens: Tensor,
        pooled: Tensor,
        t: Tensor,
        rotary: tuple[Tensor, Tensor],
        ip_tokens: Tensor | None = None,
        ip_weight: Tensor | None = None,
        text_bias: Tensor | None = None,
    ) -> Tensor:
        """Map x [B, L, 4C], tokens [B, R, 384], pooled [B, 384], t [B] in 0..1 -> velocity [B, L, 4C].

        `text_bias` [B, R] comes with folded text rows (see `fold_empty`)."""
        m = self.model
        length = x.shape[1] + tokens.shape[1]
        rotary = (rotary[0][-length:], rotary[1][-length:])  # the text rows, which come first, are all alike
        image, text = m.x_embedder(x), m.context_embedder(tokens)
        cond = m.time_text_embed(t * 1000, pooled)
        every = {} if text_bias is None else {"key_bias": F.pad(text_bias, (0, x.shape[1]))}
        kwargs = every if ip_tokens is None else {**every, "ip_tokens": ip_tokens, "ip_weight": ip_weight}
        for block in m.transformer_blocks:
            text, image = self._alike(text), self._alike(image)
            text, image = block(
                hidden_states=image, encoder_hidden_states=text, temb=cond, image_rotary_emb=rotary,
                joint_attention_kwargs=kwargs,
            )  # fmt: skip
        for block in m.single_transformer_blocks:
            text, image = self._alike(text), self._alike(image)
            text, image = block(
                hidden_states=image, encoder_hidden_states=text, temb=cond, image_rotary_emb=rotary,
                joint_attention_kwargs=every,
            )  # fmt: skip
        return m.proj_out(m.norm_out(image, cond))
