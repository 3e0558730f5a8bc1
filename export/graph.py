"""An ONNX graph that is easy to edit: nodes in order, constants as arrays."""

import onnx
from onnx import helper, numpy_helper

_LARGE = 1000  # numbers: such a constant is a weight, not a size that shapes depend on


class Graph:
    """The main graph of a model, taken apart.

    Parameters
    ----------
    model : onnx.ModelProto

    Attributes
    ----------
    nodes : list of onnx.NodeProto
        Sorted: every node follows those whose outputs it takes.
    constants : dict of str to ndarray
        Initializers, those of ``Constant`` nodes included.
    factors : dict of str to ndarray
        By name of a weight, what its output channels were multiplied by since training.
    inputs, outputs : list of onnx.ValueInfoProto
    """

    def __init__(self, model):
        self.opset = [o for o in model.opset_import if o.domain == ""]  # tf2onnx lists others, unused
        self.ir_version = model.ir_version
        self.constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self.factors = {}
        self.nodes = []
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                self.nodes.append(node)
        self.inputs = [i for i in model.graph.input if i.name not in self.constants]
        self.outputs = list(model.graph.output)

    def constant(self, name):
        """Return the array of a constant, or None if `name` is computed or absent."""
        return self.constants.get(name)

    def producer(self, name):
        """Return the node that computes `name`, or None if it is an input or a constant."""
        return next((node for node in self.nodes if name in node.output), None)

    def consumers(self, name):
        """Return the nodes that take `name`."""
        return [node for node in self.nodes if name in node.input]

    def is_output(self, name):
        """Say whether `name` is an output of the graph."""
        return any(output.name == name for output in self.outputs)

    def add_constant(self, array, hint="constant"):
        """Add an array and return its name."""
        name = self.fresh(hint)
        self.constants[name] = array
        return name

    def fresh(self, hint):
        """Return a name that nothing has yet."""
        taken = {*self.constants, *(o for node in self.nodes for o in node.output)}
        taken.update(value.name for value in (*self.inputs, *self.outputs))
        name, number = hint, 1
        while name in taken:
            number += 1
            name = f"{hint}_{number}"
        return name

    def insert(self, before, kind, inputs, hint, **attributes):
        """Add a node before another one and return the name of its output."""
        output = self.fresh(hint)
        place = next(i for i, node in enumerate(self.nodes) if node is before)
        self.nodes.insert(place, helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def redirect(self, old, new):
        """Let everything that takes `old`, the graph's outputs included, take `new`."""
        for node in self.nodes:
            for i, name in enumerate(node.input):
                if name == old:
                    node.input[i] = new
        if not self.is_output(old):
            return
        if self.producer(new) is None or self.is_output(new):
            self.nodes.append(helper.make_node("Identity", [new], [old], name=old))
        else:  # An output keeps its name: the node that computes `new` takes it over.
            self.rename(new, old)

    def rename(self, old, new):
        """Give a tensor another name, wherever it stands."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new
        for value in (*self.inputs, *self.outputs):
            if value.name == old:
                value.name = new
        if old in self.constants:
            self.constants[new] = self.constants.pop(old)

    def remove(self, node):
        """Take a node out; its outputs must not be needed any more."""
        self.nodes = [other for other in self.nodes if other is not node]

    def bypass(self, node):
        """Take a node out and hand its first input on in place of its output."""
        self.remove(node)
        self.redirect(node.output[0], node.input[0])

    def prune(self):
        """Drop nodes and constants that no output depends on."""
        needed = {output.name for output in self.outputs}
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(_taken(node))
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}

    def shapes(self):
        """Return the shape of every tensor whose rank is known, with None for unknown sides."""
        large = {name for name, array in self.constants.items() if array.size > _LARGE}
        shapes = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in self.constants.items()
            if name in large
        ]
        inferred = onnx.shape_inference.infer_shapes(self._assemble(shapes, without=large)).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        kinds = {value.name: value.type.tensor_type for value in values}
        return {
            name: tuple(d.dim_value or None for d in kind.shape.dim)
            for name, kind in kinds.items()
            if kind.HasField("shape")
        }

    def model(self):
        """Put the model together again."""
        return self._assemble()

    def _assemble(self, more_inputs=(), without=()):
        constants = [
            numpy_helper.from_array(array, name)
            for name, array in self.constants.items()
            if name not in without
        ]
        graph = helper.make_graph(self.nodes, "calzoo", [*self.inputs, *more_inputs], self.outputs, constants)
        model = helper.make_model(graph, opset_imports=self.opset, ir_version=self.ir_version)
        model.producer_name = "calzoo"
        return model


def _taken(node):
    """Return the names that a node takes, those that its branches take included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _taken(inner)
    return names


def attributes(node):
    """Return the attributes of a node as plain values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
