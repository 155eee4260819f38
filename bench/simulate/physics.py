"""What work truly takes in the simulation. The scheduler under test never sees this, only measured times.

`H200` has the shape of Qwen-Image (20B parameters, 60 blocks of width 3072) on one H200:

- anchors (SGLang #22183): it saturates at 3-4 thousand image rows in flight; 512x512 gains 3.1x at batch 8, 1024x1024
  1.02x at batch 2. A floor below which a step does not fall, joined to a linear cost by a soft maximum of order 7,
  reproduces all three: floor = 3.1 x 1024 rows (`tests/bench/test_simulate.py` checks it). Fixed + linear cannot.
- a row is 2 x 20e9 operations; at two thirds of the dense bf16 peak (989 TFLOP/s) that is 0.0606 ms.
- attention is 4 x 3072 x 60 operations a squared row, an adapter token as much for each row it meets: at half the peak.
- encode (a 7B text encoder) and decode (0.055 ms a 1,000 pixels) are assumed, not measured.

`CPU` is the embedded model on the two cores that `bench/results/batch.json` and `grid.json` were measured on: eight
generations of 1,198 rows take 34.98 ms together and 49.72 ms apart, so a step costs 2.1 ms + 0.0274 ms a row; sixteen
adapter tokens each add 1.26 ms; a 128x128 picture decodes in 7.75 ms. Encode is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...scheduler.tickets import Stage, StageWork, StepShape, Ticket
from ..facts import shipped


@dataclass(frozen=True)
class Physics:
    """True milliseconds.

    Attributes:
        name: of the device and model.
        floor_ms: what a step costs at least.
        row_ms, square_ms, adapter_ms: for each unit of `StepShape`.
        order: of the soft maximum of floor and linear part; 0: they add up.
        encode, decode, upscale: (fixed ms, ms a unit); the unit is a text row, or 1,000 pixels.
        patch: pixels of an image row's edge.
        text_rows: of one sample.
        adapter_tokens: rows of one adapter.
        sizes: name -> (width, height).
    """

    name: str
    floor_ms: float
    row_ms: float
    square_ms: float
    adapter_ms: float
    order: float
    encode: tuple[float, float]
    decode: tuple[float, float]
    upscale: tuple[float, float]
    patch: int
    text_rows: int
    adapter_tokens: int
    sizes: dict[str, tuple[int, int]]

    def saturated_ms(self, shape: StepShape) -> float:
        """Return its share of a step in a batch without end: no sharing makes it cheaper."""
        return self.row_ms * shape.rows + self.square_ms * shape.squares + self.adapter_ms * shape.adapter_rows

    def step_ms(self, shape: StepShape) -> float:
        linear = self.saturated_ms(shape)
        if not self.order:
            return self.floor_ms + linear
        high, low = (linear, self.floor_ms) if linear > self.floor_ms else (self.floor_ms, linear)
        return float(high * (1.0 + (low / high) ** self.order) ** (1.0 / self.order))

    def unit_ms(self, work: StageWork) -> float:
        """Return the ms of one piece of a stage of one job, alone."""
        if work.shape is not None:
            return self.step_ms(work.shape)
        lines = {Stage.ENCODE: self.encode, Stage.DECODE: self.decode, Stage.UPSCALE: self.upscale}
        fixed, unit = lines[Stage(work.kind)]
        return fixed + unit * work.units

    def stage_ms(self, kind: str, ticket: Ticket) -> float:
        """Return the ms of one piece of a kind of stage of one job, alone; 0 if it has none."""
        work = ticket.stage(kind)
        return 0.0 if work is None else self.unit_ms(work)

    def solo_ms(self, ticket: Ticket) -> float:
        """Return the ms of the whole job, alone on an idle worker."""
        return sum(work.count * self.unit_ms(work) for work in ticket.stages)

    def pays(self, batch: StepShape, other: StepShape, share: float = 0.05) -> bool:
        """Return whether joining saves at least `share` of two separate steps, which is the batch cap of every
        baseline."""
        apart = self.step_ms(batch) + self.step_ms(other)
        return self.step_ms(batch + other) <= (1 - share) * apart


_ROW = 2 * 20e9 / (989e12 * 2 / 3) * 1e3
_PAIR = 4 * 3072 * 60 / (989e12 / 2) * 1e3
_LARGE = {"1:1": (1024, 1024), "16:9": (1344, 768), "2:3": (832, 1248)}

H200 = Physics(
    name="H200, 20B model",
    floor_ms=3.1 * 1024 * _ROW, row_ms=_ROW, square_ms=_PAIR, adapter_ms=_PAIR, order=7.0,
    encode=(15.0, 0.05), decode=(5.0, 0.055), upscale=(20.0, 0.2), patch=16, text_rows=64, adapter_tokens=16,
    sizes={**_LARGE, "small 1:1": (512, 512), "small 16:9": (672, 384), "small 2:3": (416, 624), "draft": (256, 256)},
)  # fmt: skip

CPU = Physics(
    name="2 CPU cores, embedded model",
    floor_ms=2.1, row_ms=0.0274, square_ms=0.0, adapter_ms=6.6e-5, order=0.0,
    encode=(2.0, 0.1), decode=(0.2, 0.46), upscale=(0.5, 1.5), patch=shipped().granularity,
    text_rows=shipped().text_rows, adapter_tokens=4,
    sizes={
        "1:1": (192, 192), "16:9": (256, 144), "2:3": (160, 240),
        "small 1:1": (128, 128), "small 16:9": (176, 96), "small 2:3": (112, 160), "draft": (64, 64),
    },
)  # fmt: skip
