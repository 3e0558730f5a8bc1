"""Write an ONNX graph operator by operator."""

import numpy as np
from onnx import defs, helper

_KINDS = {"f": np.float32, "i": np.int64}  # of Python's numbers


class Writer:
    """Nodes and constants that are added one after the other.

    ``writer.Add(a, b)`` adds a node and returns the name of the sum; a number, a list or an
    array in the place of a name becomes a constant. What has been computed from the same
    inputs before is not computed again.

    Parameters
    ----------
    outer : Writer, optional
        Of the graph that this one is part of, as a branch.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
    constants : dict of str to ndarray
        Those of all branches.
    """

    def __init__(self, outer=None):
        self.nodes = []
        self.constants = {} if outer is None else outer.constants
        self._counts = {} if outer is None else outer._counts
        self._known = {} if outer is None else dict(outer._known)

    def __getattr__(self, kind):
        if not defs.has(kind):
            message = f"expected the name of an operator of ONNX, got {kind!r}."
            raise AttributeError(message)

        def add(*inputs, name=None, outputs=1, **attributes):
            named = [i if isinstance(i, str) else self.constant(i) for i in inputs]
            key = (kind, *named, outputs, repr(sorted(attributes.items())))
            if key not in self._known or name is not None:
                names = [name or self.fresh(kind) for _ in range(outputs)]
                self.nodes.append(helper.make_node(kind, named, names, name=names[0], **attributes))
                self._known[key] = names[0] if outputs == 1 else names
            return self._known[key]

        return add

    def constant(self, value):
        """Return the name of a constant: floats are float32, whole numbers int64 unless they are arrays."""
        if not isinstance(value, np.ndarray):
            value = np.asarray(value)
            value = value.astype(_KINDS[value.dtype.kind])
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._known:
            self._known[key] = self.fresh("constant")
            self.constants[self._known[key]] = value
        return self._known[key]

    def fresh(self, hint):
        """Return a name that nothing has yet."""
        self._counts[hint] = self._counts.get(hint, 0) + 1
        return f"{hint}_{self._counts[hint]}"
