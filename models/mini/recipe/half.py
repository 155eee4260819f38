"""Matrix products in half precision for training, on CPUs with AVX512-FP16, through MKL (the package `mkl`, optional).

Such a CPU multiplies float16 at twice the rate of float32, but torch's own float16 products compute in float32. MKL's
`hgemm` is native: 700 GFLOP/s on two cores against 300 in float32 (9,600 x 384 x 1,536), at a relative error of .002,
a quarter of bfloat16's. Weights, sums and everything between the products stay float32, and the loss is scaled
(`LossScale`), since gradients would fall below float16's smallest numbers.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return,no-untyped-call"
# (torch is untyped to the checker: its classes and decorators are Any)

import ctypes
import math
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

GNU_THREADING = 3  # MKL_THREADING_GNU: torch's own threads, so that two pools do not wait in each other's way
ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112
ONE, ZERO = 0x3C00, 0  # as bits of a float16
LEAST = 2**21  # multiplications below which a conversion costs more than it saves


@cache
def library() -> ctypes.CDLL | None:
    """Load MKL, if it is installed and this CPU computes in float16; else return None."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split("processor", 2)[1]
        name = sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))[-1]
        if "avx512_fp16" not in flags:
            return None
        mkl = ctypes.CDLL(str(name))
    except (OSError, IndexError):
        return None
    mkl.MKL_Set_Threading_Layer(GNU_THREADING)
    half, place, size = ctypes.c_ushort, ctypes.c_void_p, ctypes.c_int
    mkl.cblas_hgemm.argtypes = [size] * 6 + [half, place, size, place, size, half, place, size]
    mkl.cblas_hgemm.restype = None
    return mkl


def _order(x: Tensor) -> tuple[int, int]:
    """Return (MKL's transposition flag, leading dimension) of a matrix whose rows or columns are contiguous."""
    if x.stride(1) == 1 or x.shape[1] == 1:
        return PLAIN, max(x.stride(0), x.shape[1])
    if x.stride(0) == 1 or x.shape[0] == 1:
        return TRANSPOSED, max(x.stride(1), x.shape[0])
    raise ValueError(f"strides {x.stride()} of a {tuple(x.shape)} matrix: rows or columns must be contiguous")


@torch.library.custom_op("salon_recipe::product", mutates_args=())
def product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply a [M, K] @ b [K, N] of float16 matrices, each with contiguous rows or columns -> float16 [M, N].

    Without MKL or AVX512-FP16, and for other dtypes, it is torch's own product. Raises ValueError for other strides.
    """
    mkl = library()
    if mkl is None or a.dtype != torch.float16 or 0 in (*a.shape, *b.shape):
        return torch.mm(a, b)
    out = torch.empty(a.shape[0], b.shape[1], dtype=torch.float16)
    (turn_a, lead_a), (turn_b, lead_b) = _order(a), _order(b)
    mkl.cblas_hgemm(
        ROW_MAJOR, turn_a, turn_b, a.shape[0], b.shape[1], a.shape[1], ONE, a.data_ptr(), lead_a, b.data_ptr(), lead_b,
        ZERO, out.data_ptr(), b.shape[1],
    )  # fmt: skip
    return out


@product.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[1])


def gains(a: Tensor, b: Tensor) -> bool:
    """Return whether a @ b is faster in half precision here."""
    return a.device.type == "cpu" and library() is not None and a.shape[0] * a.shape[1] * b.shape[1] >= LEAST


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Multiply a @ b of float32 matrices, in half precision where that is faster; float32 [M, N]."""
    return product(a.half(), b.half()).float() if gains(a, b) else a @ b


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        rows, w = x.reshape(-1, x.shape[-1]).half(), weight.half()
        ctx.save_for_backward(rows, w)
        return product(rows, w.t()).float().view(*x.shape[:-1], w.shape[0]) + bias

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, w = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        half = flat.half()
        dx = product(half, w).float().view(*grad.shape[:-1], w.shape[1])
        return dx, product(half.t(), rows).float(), flat.sum(0)


class HalfLinear(nn.Linear):
    """A linear layer whose three products are computed in half precision; weights and gradients are float32."""

    def forward(self, x: Tensor) -> Tensor:
        return _Linear.apply(x, self.weight, self.bias)


def halve(model: nn.Module, device: torch.device) -> bool:
    """Compute the blocks' linear layers (not the modulations) in half precision, if this machine gains by it.

    Says whether it did: then gradients want a `LossScale`.
    """
    if device.type != "cpu" or library() is None:
        return False
    for name, module in model.named_modules():
        if type(module) is nn.Linear and "blocks." in name and "norm" not in name and module.bias is not None:
            module.__class__ = HalfLinear
    return True


class LossScale:
    """The factor on a loss that keeps its gradients within float16; halved after an overflow, whose step is left out.

    Source: Micikevicius et al., Mixed Precision Training (1710.03740), section 3.2.
    """

    def __init__(self, on: bool, start: float = 4096.0, patience: int = 500) -> None:
        self.on, self.factor, self.patience, self.calm = on, (start if on else 1.0), patience, 0

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self.factor, "calm": self.calm}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a kept factor, if this machine scales at all."""
        if self.on:
            self.factor, self.calm = max(1.0, state["factor"]), state["calm"]

    def apply(self, weights: list[nn.Parameter], limit: float) -> bool:
        """Undo the scale and clip the gradients to norm `limit`; False when they overflowed: leave this step out.

        Raises FloatingPointError when they are not finite without any scale: the training has diverged. (On a GPU,
        which needs no scale, asking would cost a wait at every step: there `Losses` raises it.)
        """
        if not self.on and weights[0].device.type == "cuda":
            torch.nn.utils.clip_grad_norm_(weights, limit)
            return True
        grads = [p.grad for p in weights if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(grads)) / self.factor
        if not math.isfinite(norm):
            if self.factor <= 1.0:
                raise FloatingPointError(f"gradients of norm {norm}: the training has diverged, lower the rate")
            self.factor, self.calm = self.factor / 2, 0
            return False
        torch._foreach_mul_(grads, min(1.0, limit / (norm + 1e-6)) / self.factor)
        self.calm += 1
        if self.on and self.calm >= self.patience:
            self.factor, self.calm = min(self.factor * 2, 2.0**20), 0
        return True
