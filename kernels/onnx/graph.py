"""Build an ONNX graph node by node: names, constants that are there once, weights that are written by themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import onnx
from onnx import AttributeProto, TensorProto, helper

DOMAIN: Final = "salon"  # of ops that are functions of the model
OPSET: Final = 20  # the first that has Gelu
IR_VERSION: Final = 9  # of that opset
FLOAT, BFLOAT16, INT64, BOOL = TensorProto.FLOAT, TensorProto.BFLOAT16, TensorProto.INT64, TensorProto.BOOL
_OF_NUMPY: Final = {"float32": FLOAT, "int64": INT64}
_KEPT_INSIDE: Final = 1024  # bytes; larger constants lie in the file of weights

Numbers = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph: its name and its element type."""

    name: str
    type: int


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant that is read when the graph is written.

    Attributes:
        name: its name in the graph.
        shape: its shape.
        type: FLOAT or BFLOAT16.
        read: returns it, float32; or uint16, the bits of bfloat16.
        key: equal for weights of several graphs that are the same.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    read: Callable[[], Numbers]
    key: object

    @property
    def num_bytes(self) -> int:
        """Bytes in the file."""
        return int(np.prod(self.shape, dtype=np.int64)) * (2 if self.type == BFLOAT16 else 4)


class Graph:
    """A graph that grows. Equal nodes on equal inputs are one.

    Args:
        named: whether what has an op of `DOMAIN` becomes a node of that op; else it becomes what that stands for.

    Attributes:
        nodes: the nodes, in an order in which they can be computed.
        inputs: name -> (element type, shape of numbers and names).
        weights: the constants that lie beside the graph, by name.
        functions: what nodes of `DOMAIN` stand for, by their ops.
    """

    def __init__(self, *, named: bool = False) -> None:
        self._named = named
        self.nodes: list[Any] = []
        self.inputs: dict[str, tuple[int, tuple[int | str, ...]]] = {}
        self.weights: dict[str, Weight] = {}
        self.functions: dict[str, Any] = {}
        self._constants: dict[str, Any] = {}
        self._made: dict[Any, tuple[Value, ...]] = {}
        self._next = 0

    def input(self, name: str, kind: int, shape: tuple[int | str, ...]) -> Value:
        """Add an input. Names in a shape are sizes that may differ from run to run."""
        assert name not in self.inputs, f"input {name!r} twice"
        self.inputs[name] = kind, shape
        return Value(name, kind)

    def constant(self, numbers: Numbers | np.floating[Any] | float | Sequence[int]) -> Value:
        """Return a constant: whole numbers become int64, fractions float32."""
        plain = np.asarray(numbers)
        plain = plain.astype(
            np.float32 if plain.dtype.kind == "f" else plain.dtype if plain.dtype == bool else np.int64
        )
        plain = np.ascontiguousarray(plain).reshape(plain.shape)
        digest = hashlib.sha256(f"{plain.dtype}{plain.shape}".encode() + plain.tobytes()).hexdigest()[:16]
        name = f"constant_{digest}"
        kind = _OF_NUMPY[plain.dtype.name]
        if kind == FLOAT and plain.nbytes > _KEPT_INSIDE:
            return self.weight(Weight(name, plain.shape, kind, lambda: plain, name))
        if name not in self._constants:
            self._constants[name] = onnx.numpy_helper.from_array(plain, name)
        return Value(name, kind)

    def weight(self, weight: Weight) -> Value:
        """Return a constant that lies beside the graph."""
        self.weights.setdefault(weight.name, weight)
        return Value(weight.name, weight.type)

    def node(self, op: str, inputs: Sequence[Value | None], kind: int | None = None, **attributes: Any) -> Value:
        """Add a node with one result, of the first input's element type unless `kind` says another."""
        return self.nodes_of(op, inputs, 1, kind, **attributes)[0]

    def nodes_of(
        self, op: str, inputs: Sequence[Value | None], count: int, kind: int | None = None, **attributes: Any
    ) -> tuple[Value, ...]:
        """Add a node with several results."""
        names = tuple("" if value is None else value.name for value in inputs)
        key = op, names, count, kind, tuple(sorted((k, repr(v)) for k, v in attributes.items()))
        found = self._made.get(key)
        if found is None:
            first = inputs[0]
            assert kind is not None or first is not None, f"{op} without a type"
            result = kind if kind is not None else first.type if first is not None else FLOAT
            found = tuple(
                Value(f"{op}_{self._next}_{i}" if count > 1 else f"{op}_{self._next}", result) for i in range(count)
            )
            self._next += 1
            outputs = [value.name for value in found]
            self.nodes.append(helper.make_node(op, list(names), outputs, name=outputs[0], **attributes))
            self._made[key] = found
        return found

    def function(
        self,
        op: str,
        inputs: Sequence[Value],
        attributes: Mapping[str, int | float],
        kind: int,
        body: Callable[[Graph, Sequence[Value], Mapping[str, Value]], Value],
    ) -> Value:
        """Add a node of `DOMAIN`, and to the model a function that it stands for, for runtimes that do not know the op.

        Where such nodes are not named, what it stands for is added.

        Args:
            attributes: of the node, whole numbers and fractions.
            kind: element type of its result.
            body: writes the function to a graph of its own, of the inputs and of the attributes as values []. It is the
                same for every node of this op.
        """
        if not self._named:
            return body(self, inputs, {name: self.constant(number) for name, number in attributes.items()})
        if op not in self.functions:
            inner = Graph()
            given = [Value(f"given_{place}", value.type) for place, value in enumerate(inputs)]
            read = {name: inner._attribute(name, number) for name, number in attributes.items()}
            made = body(inner, given, read)
            assert not inner.weights, f"{op}: a constant too large for a function"
            constants = [
                helper.make_node("Constant", [], [name], value=each) for name, each in inner._constants.items()
            ]
            self.functions[op] = helper.make_function(
                DOMAIN, op, [value.name for value in given], [made.name], [*constants, *inner.nodes],
                [helper.make_opsetid("", OPSET)], list(attributes),
            )  # fmt: skip
        return self.node(op, inputs, kind, domain=DOMAIN, **attributes)

    def _attribute(self, name: str, number: int | float) -> Value:
        """Return an attribute of the function that this graph is, as a value []."""
        whole = isinstance(number, int)
        made = helper.make_node("Constant", [], [f"attribute_{name}"])
        told = made.attribute.add()
        told.name, told.ref_attr_name = "value_int" if whole else "value_float", name
        told.type = AttributeProto.INT if whole else AttributeProto.FLOAT
        self.nodes.append(made)
        return Value(f"attribute_{name}", INT64 if whole else FLOAT)

    def cast(self, value: Value, kind: int) -> Value:
        """Return a value as another element type."""
        return value if value.type == kind else self.node("Cast", [value], kind, to=kind)

    def size(self, value: Value, axis: int = 0) -> Value:
        """Return the size of an axis, int64 [1]."""
        return self.node("Shape", [value], INT64, start=axis, end=axis + 1)

    def unsqueeze(self, value: Value, *axes: int) -> Value:
        """Return a value with axes of size 1 at these places."""
        return self.node("Unsqueeze", [value, self.constant(axes)])

    def range(self, stop: Value) -> Value:
        """Return 0, 1, 2, ... below a number []."""
        return self.node("Range", [self.constant(0), stop, self.constant(1)])

    def scalar(self, value: Value) -> Value:
        """Return the number of a value [1] as a value []."""
        return self.node("Squeeze", [value, self.constant([0])])

    def model(self, outputs: Sequence[tuple[Value, str, tuple[int | str, ...]]], notes: dict[str, str]) -> Any:
        """Return the model: what leads to the outputs, each (value, its name, its shape), and inputs that are read.

        Constants that lie beside it are named, and have neither a place nor numbers yet.
        """
        ends = [helper.make_node("Identity", [value.name], [name], name=f"output_{name}") for value, name, _ in outputs]
        wanted, nodes = {name for end in ends for name in end.input}, []
        for node in reversed(self.nodes):
            if any(name in wanted for name in node.output):
                nodes.append(node)
                wanted.update(node.input)
        given = [
            helper.make_tensor_value_info(name, kind, list(shape))
            for name, (kind, shape) in self.inputs.items() if name in wanted
        ]  # fmt: skip
        made = [helper.make_tensor_value_info(name, value.type, list(shape)) for value, name, shape in outputs]
        graph = helper.make_graph([*reversed(nodes), *ends], "salon", given, made)
        graph.initializer.extend(tensor for name, tensor in self._constants.items() if name in wanted)
        for name, weight in self.weights.items():
            if name in wanted:
                tensor = graph.initializer.add()
                tensor.name, tensor.data_type = name, weight.type
                tensor.dims.extend(weight.shape)
        functions = [self.functions[op] for op in {node.op_type: None for node in nodes if node.domain == DOMAIN}]
        sets = [helper.make_opsetid("", OPSET), *([helper.make_opsetid(DOMAIN, 1)] if functions else [])]
        model = helper.make_model(
            graph, opset_imports=sets, functions=functions, ir_version=IR_VERSION, producer_name="salon"
        )
        helper.set_model_props(model, notes)
        return model
