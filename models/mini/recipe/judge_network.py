"""The judge's network.

Concepts are read from the deepest features of one tower; style, palette, background and finish from the statistics
(mean and deviation over the picture) of two others that see every pixel, for what tells two drawing sets apart is soft
shading and the ends of strokes. Those two, a shallow and a deep one, vote: alone they named .76 and .78 of the sets of
unseen real pictures, together .83.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = ("concept", "style", "palette", "background", "finish")


def block(a: int, b: int, stride: int, kernel: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(a, b, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two convolutions around which the input is added. Source: He et al., Deep residual learning (1512.03385)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            block(width, width, 1), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Tower(nn.Module):
    """Pictures -> class scores of every head but the concept's, from the statistics of all its levels."""

    def __init__(self, levels: list[nn.Module], sizes: list[int], width: int, classes: dict[str, int]) -> None:
        super().__init__()
        self.levels, self.drop = nn.ModuleList(levels), nn.Dropout(0.25)
        self.heads = nn.ModuleDict()
        for name in HEADS[1:]:
            self.heads[name] = nn.Sequential(
                nn.Linear(2 * sum(sizes), width), nn.ReLU(inplace=True), nn.Linear(width, classes[name])
            )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = []
        for level in self.levels:
            x = level(x)
            flat = x.float().flatten(2)
            mean = flat.mean(2)
            seen += [mean, ((flat * flat).mean(2) - mean * mean).clamp(min=0).add(1e-4).sqrt()]
        texture = torch.cat(seen, 1)
        return {name: self.heads[name](self.drop(texture)) for name in HEADS[1:]}


def shallow(w: int, classes: dict[str, int]) -> Tower:
    """Build a tower that sees edges and the ends of strokes."""
    levels = [
        block(3, w // 2, 1),
        block(w // 2, w, 2),
        nn.Sequential(block(w, 2 * w, 2), block(2 * w, 2 * w, 1)),
        block(2 * w, 3 * w, 2),
        block(3 * w, 3 * w, 1),
    ]
    return Tower(levels, [w // 2, w, 2 * w, 3 * w, 3 * w], 6 * w, classes)


def deep(w: int, classes: dict[str, int]) -> Tower:
    """Build a tower that sees how whole parts are drawn."""
    sizes = [w, 2 * w, 4 * w, 6 * w, 10 * w]
    levels: list[nn.Module] = [nn.Sequential(block(3, w, 1), block(w, w, 2))]
    for a, b in zip(sizes[:-1], sizes[1:], strict=True):
        levels.append(nn.Sequential(block(a, b, 1 if b == sizes[1] else 2), Residual(b), Residual(b)))
    return Tower(levels, sizes, 6 * w, classes)


class Judge(nn.Module):
    """Pictures [B, 3, H, W] in -1..1 -> class scores of every head.

    `width`: channels of the first halving of the tower of things and of the shallow one; `deep_width`: of the deep
    one, or 0 for none."""

    def __init__(self, width: int, deep_width: int, classes: dict[str, int]) -> None:
        super().__init__()
        w = width
        self.things = nn.Sequential(
            block(3, w, 2, 5),
            block(w, 2 * w, 2),
            block(2 * w, 3 * w, 2),
            block(3 * w, 3 * w, 1),
            block(3 * w, 6 * w, 2),
            block(6 * w, 6 * w, 1),
            block(6 * w, 10 * w, 2),
            block(10 * w, 10 * w, 1),
        )
        self.drop, self.concept = nn.Dropout(0.25), nn.Linear(10 * w * 5, classes["concept"])
        self.texture = nn.ModuleList([shallow(w, classes)])
        if deep_width:
            self.texture.append(deep(deep_width, classes))

    def forward(self, x: Tensor, near: Tensor | None = None) -> dict[str, Tensor]:
        """Judge pictures. `near`: what the texture towers look at, if not the same pictures.

        They vote: their log-probabilities' mean.
        """
        features = self.things(x).float()
        concept = torch.cat([F.adaptive_avg_pool2d(features, 2).flatten(1), features.amax((2, 3))], 1)
        votes = [tower(x if near is None else near) for tower in self.texture]
        out = {"concept": self.concept(self.drop(concept))}
        return out | {name: torch.stack([v[name].float().log_softmax(1) for v in votes]).mean(0) for name in HEADS[1:]}
