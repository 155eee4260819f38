"""Build plans of graphs by TensorRT for RTX, which needs no GPU for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...errors import SalonError, complaint

Shape = tuple[int, ...]
Range = tuple[Shape, Shape, Shape]  # the smallest, the one that plans are tuned for, and the largest
PORTABLE: Final = "any"  # a plan for every GPU that this TensorRT-RTX runs on


class PlanError(SalonError):
    """A graph of which no plan can be built. The message has what TensorRT-RTX says."""


def version() -> str:
    """Return the version of TensorRT-RTX. Raise ImportError if it is not installed."""
    import tensorrt_rtx

    found: str = tensorrt_rtx.__version__
    return found


def capabilities() -> list[str]:
    """Return the compute capabilities that plans can be built for: "sm89", ..."""
    import tensorrt_rtx

    return sorted(
        (name.lower() for name in tensorrt_rtx.ComputeCapability.__members__ if name.startswith("SM")), key=len
    )


@dataclass(frozen=True, eq=False)
class Parsed:
    """A graph as TensorRT-RTX reads it.

    Attributes:
        builder: what can build a plan of it.
        network: its layers.
        kept: what these refer to, which ends after them.
    """

    builder: Any
    network: Any
    kept: tuple[Any, ...]


def parse(graph: Path) -> Parsed:
    """Read a graph.

    Args:
        graph: its file, with its weights beside it.

    Raises:
        PlanError: TensorRT-RTX cannot read it. The message has what it says.
        ImportError: TensorRT-RTX is not installed.
    """
    import tensorrt_rtx as rtx

    log = rtx.Logger(rtx.Logger.ERROR)
    builder = rtx.Builder(log)
    network = builder.create_network(0)
    parser = rtx.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        said = "; ".join(str(parser.get_error(place)) for place in range(parser.num_errors))
        raise PlanError(complaint(str(graph), said, "ops that TensorRT-RTX reads", "export the model again"))
    return Parsed(builder, network, (parser, log))


def build(graph: Path, shapes: Mapping[str, Range], capability: str = PORTABLE) -> Any:
    """Build a plan of a graph.

    Args:
        graph: its file, with its weights beside it.
        shapes: of every input, between which shapes it may be.
        capability: one of `capabilities`; "any": the plan is for all of them.

    Returns:
        The plan's bytes.

    Raises:
        PlanError: TensorRT-RTX cannot read the graph, or cannot build a plan of it.
        ImportError: TensorRT-RTX is not installed.
    """
    import tensorrt_rtx as rtx

    parsed = parse(graph)
    builder, network = parsed.builder, parsed.network
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for place in range(network.num_inputs):
        given = network.get_input(place)
        profile.set_shape(given.name, *shapes[given.name])
    config.add_optimization_profile(profile)
    if capability != PORTABLE:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(rtx.ComputeCapability, capability.upper()), 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise PlanError(
            complaint(str(graph), "no plan (its log says why)", "a plan", "try smaller shapes, or another GPU")
        )
    return plan


def want_capability(capability: str, known: Sequence[str]) -> None:
    """Raise PlanError for a GPU that plans cannot be built for."""
    if capability not in (PORTABLE, *known):
        allowed = ", ".join((PORTABLE, *known))
        raise PlanError(complaint("--gpu", repr(capability), allowed, "choose the compute capability of the GPU"))
