"""`calzoo.networks.registration` written by hand for processors.

It computes what the Keras network computes, from the same weights, with operators and shapes that ONNX
Runtime's processor kernels are fast at:

* A warp is four GatherElements and a bilinear interpolation: GridSample takes 3 to 5 times as long.
* Interpolation between grids is a product with a sparse matrix: Resize takes 5 times as long.
* Pictures are planes of their own (one channel, channels first): splitting and joining costs copies.
* Convolutions have 16 channels, which kernels compute at once, and stay in ONNX Runtime's own layout.
* Numbers that stay in the cache are worked on 4 times as fast: the last warp goes stripe by stripe.

The features of a template can be kept: output ``template_features`` of one run is the optional
input ``known_template`` of the next ones, which then do not look at ``template``.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from calzoo.export.graph import Graph
from calzoo.export.tracing import IR_VERSION, OPSET
from calzoo.export.writing import Writer
from calzoo.networks.registration import DIVISOR, REACHES, STEPS
from calzoo.networks.smoothing import FLAT

BUILDER = "calzoo.networks.registration:registration"
KNOWN, FEATURES = "known_template", "template_features"
_BLOCK = 16  # channels that a kernel computes at once
_STRIPES = 4
_END = np.iinfo(np.int64).max  # of a slice: everything that is left


def registration_planes(model, *, steps=STEPS, **config):
    """Write the network for processors.

    Parameters
    ----------
    model : keras.Model
        From `calzoo.networks.registration.registration`.
    steps : tuple of tuple of int, optional
        Those that it was built with.
    **config
        Other arguments of the builder: what they decide, the model shows.

    Returns
    -------
    calzoo.export.graph.Graph
        With the inputs and outputs of the network, channels first, and `KNOWN` and `FEATURES`.
    """
    return _Planes(model, tuple(map(tuple, steps))).graph()


class _Planes(Writer):
    """The graph that is being written."""

    def __init__(self, model, steps):
        super().__init__()
        self.steps = steps
        self.weights = {layer.name: [np.array(w) for w in layer.get_weights()] for layer in model.layers}
        self.fine = self.weights["features2"][0].shape[-1] if "features2" in self.weights else 0
        self.coarse = self.weights["features8"][0].shape[-1]

    def graph(self):
        """Return the whole graph."""
        still = self._template()
        standard = self.Mul(self.Sub("frame", self._mean("frame")), still["contrast"])
        moving = self._encoded(self, standard)
        smooth, lines, state, cell = self._motion(moving, still)
        expected = self.Softplus(self.conv(state, "expected"))
        smooth = self._smoothed(smooth, state, expected, cell)
        coarse = self._inverse(smooth, cell)
        self._moved(self._outward(coarse, lines, cell), cell)
        places = self._places(cell, [self.Mul(part, [[[[1 / cell]]]]) for part in coarse])
        self.Identity(self.warp(expected, places, 1, cell), name="uncertainty")
        return self._graph()

    # Sizes

    def side(self, axis, scale=1):
        """Return a side of the frame in pixels of a scale, int64, (1,)."""
        return self.Div(self.Slice(self.Shape("frame"), [axis], [axis + 1]), [scale])

    def number(self, side, less=0.0, rank=0):
        """Return a side, less a number, as float32 with `rank` axes."""
        value = self.Sub(self.Cast(side, to=TensorProto.FLOAT), [less])
        return self.Reshape(value, np.ones(rank, np.int64) if rank else np.zeros(0, np.int64))

    def count(self):
        """Return the number of frames, int64, (1,)."""
        return self.Slice(self.Shape("frame"), [0], [1])

    def grid(self, axis, scale):
        """Return the rows (axis 2) or columns (axis 3) of pixels of a scale, with four axes."""
        numbers = self.Range(np.array(0, "f"), self.number(self.side(axis, scale)), np.array(1, "f"))
        shape = np.ones(4, np.int64)
        shape[axis] = -1
        return self.Reshape(numbers, shape)

    # Layers

    def conv(self, x, name, *, activation=None, kernel=None, **attributes):
        """Convolve with the kernel of a layer, whose stride is 1 and whose sides are odd."""
        kernel, bias = kernel or self._kernel(name)
        pads = [side // 2 for side in kernel.shape[2:]] * 2
        attributes = {"kernel_shape": kernel.shape[2:], "pads": pads} | attributes
        x = self.Conv(x, kernel, bias, **attributes)
        return activation(x) if activation else x

    def _kernel(self, name):
        kernel, *bias = self.weights[name]
        return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), (
            bias[0] if bias else np.zeros(kernel.shape[-1], np.float32)
        )

    def pool(self, x, window, strides=None):
        """Return means over windows; without `strides` they overlap, and the edge counts what there is."""
        pads = None if strides else [side // 2 for side in window] * 2
        more = {"pads": pads, "count_include_pad": 0} if pads else {}
        return self.AveragePool(x, kernel_shape=window, strides=strides or [1, 1], **more)

    def stretch(self, x, size, factor, by=1.0):
        """Interpolate planes to grids that are `factor` (y, x) times as fine; multiply by a number."""
        if factor[0] > 1:
            x = self.MatMul(self._hats(size[0], factor[0], 1.0), x)
        if factor[1] > 1:
            return self.MatMul(x, self.Transpose(self._hats(size[1], factor[1], by), perm=[1, 0]))
        return x if by == 1 else self.Mul(x, [[[[by]]]])

    def _hats(self, size, factor, by):
        """Return the matrix (size * factor, size) of a linear interpolation."""
        zero, one = np.array(0, "f"), np.array(1, "f")
        coarse = self.Range(zero, self.number(size), one)
        fine = self.Range(zero, self.number(self.Mul(size, [factor])), one)
        fine = self.Add(self.Mul(fine, [1 / factor]), [0.5 / factor - 0.5])
        inside = self.Clip(fine, zero, self.number(size, 1.0))
        away = self.Abs(self.Sub(self.Unsqueeze(inside, [1]), self.Unsqueeze(coarse, [0])))
        hats = self.Relu(self.Sub([[1.0]], away))
        return hats if by == 1 else self.Mul(hats, [[by]])

    def warp(self, image, places, channels, scale):
        """Look planes of a scale, one image or one for each frame, up at y and x, (B, 1, h, w)."""
        rows = self.Slice(self.Shape(places[0]), [2], [4])
        size = self.Concat(self.count(), [channels], rows, axis=0)
        pixels = self.Reshape(image, [0, channels, -1])
        pixels = self.Expand(pixels, self.Concat(self.count(), [1], [1], axis=0))
        sides = [self.side(axis, scale) for axis in (2, 3)]
        flat = [self.Reshape(place, [0, 1, -1]) for place in places]
        return self.Reshape(self._looked_up(pixels, flat, channels, sides), size)

    def _looked_up(self, pixels, places, channels, sides):
        """Interpolate pixels (B, C, H W) at y and x, (B, 1, n)."""
        (top, part_y), (left, part_x) = (self._parted(p, s) for p, s in zip(places, sides, strict=True))
        width = self.Reshape(self.Cast(sides[1], to=TensorProto.INT32), [1, 1, 1])
        index = self.Add(self.Mul(top, width), left)
        if channels > 1:
            index = self.Concat(*[index] * channels, axis=1)

        def across(index):
            left = self.GatherElements(pixels, index, axis=2)
            right = self.GatherElements(pixels, self.Add(index, np.ones((1, 1, 1), np.int32)), axis=2)
            return self.Add(left, self.Mul(self.Sub(right, left), part_x))

        above, below = across(index), across(self.Add(index, width))
        return self.Add(above, self.Mul(self.Sub(below, above), part_y))

    def _parted(self, place, side):
        """Return the pixel before a place (int32, never the last), and how far behind it that is, 0 to 1."""
        zero = np.array(0, "f")
        # Of numbers that are not negative, a cast is the floor, and faster.
        whole = self.Cast(self.Clip(place, zero, self.number(side, 2.0)), to=TensorProto.INT32)
        part = self.Sub(
            self.Clip(place, zero, self.number(side, 1.0)), self.Cast(whole, to=TensorProto.FLOAT)
        )
        return whole, part

    def _gradient(self, image):
        """Return twice the central differences along y and x; across the edge they are 0."""
        found = []
        for axis in (2, 3):
            after, before = self.Slice(image, [2], [_END], [axis]), self.Slice(image, [0], [-2], [axis])
            margin = [int(place % 4 == axis) for place in range(8)]
            found.append(self.Pad(self.Sub(after, before), margin))
        return found

    def _inside(self, places, scale):
        """Return 1 where places lie inside pictures of a scale, 0 elsewhere."""
        last = [self.number(self.side(axis, scale), 1.0) for axis in (2, 3)]
        same = [self.Equal(self.Clip(p, np.array(0, "f"), e), p) for p, e in zip(places, last, strict=True)]
        return self.Cast(self.And(*same), to=TensorProto.FLOAT)

    def _mean(self, image):
        return self.ReduceMean(image, axes=[1, 2, 3], keepdims=1)

    # Encoder

    def _template(self):
        """Return the template's features, computed or as they are known."""
        known, fresh = Writer(self), Writer(self)
        template = fresh.Sub("template", fresh.ReduceMean("template", axes=[1, 2, 3], keepdims=1))
        cells = fresh.AveragePool(template, kernel_shape=[8, 8], strides=[8, 8])
        spread = fresh.Sqrt(fresh.ReduceMean(fresh.Mul(cells, cells), axes=[1, 2, 3], keepdims=1))
        contrast = fresh.Reciprocal(fresh.Add(spread, [[[[1e-6]]]]))
        found = self._encoded(fresh, fresh.Mul(template, contrast)) | {"contrast": contrast}
        names = [name for name in ("contrast", 8, 2) if name in found]
        computed = [found[name] for name in names]
        taken, start = [], self.constant([0])
        shapes = {"contrast": ([1], [1], [1])}
        for scale, channels in ((8, self.coarse), (2, self.fine)):
            shapes[scale] = ([channels], self.side(2, scale), self.side(3, scale))
        for name in names:
            channels, height, width = shapes[name]
            length = self.Mul(self.Mul(height, width), channels)
            end = self.Add(start, length)
            part = known.Slice(KNOWN, start, end, [1])
            taken.append(known.Reshape(part, self.Concat([-1], channels, height, width, axis=0)))
            start = end
        branches = [
            helper.make_graph(
                writer.nodes,
                name,
                [],
                [helper.make_tensor_value_info(o, TensorProto.FLOAT, [None] * 4) for o in outs],
            )
            for writer, name, outs in ((known, "known", taken), (fresh, "fresh", computed))
        ]
        results = [self.fresh("still") for _ in names]
        is_known = self.Squeeze(self.Greater(self.Slice(self.Shape(KNOWN), [1], [2]), [0]))
        self.nodes.append(
            helper.make_node("If", [is_known], results, then_branch=branches[0], else_branch=branches[1])
        )
        flat = [self.Reshape(result, [0, -1]) for result in results]
        self.Concat(*flat, axis=1, name=FEATURES)
        return dict(zip(names, results, strict=True))

    def _encoded(self, writer, image):
        """Return the features of pictures by scale."""
        kernel, bias = (_padded(part, 0) for part in self._kernel("encode2"))
        x = self.leaky(writer, image, kernel, bias, strides=[2, 2], pads=[1, 1, 2, 2])
        found = {2: self._fine(writer, image)} if self.fine else {}
        halving = {"strides": [2, 2], "pads": [0, 0, 1, 1]}
        for name, more in (("encode4", halving), ("encode8", halving), ("encode8b", {"pads": [1] * 4})):
            taken = len(bias)
            kernel, bias = (_padded(part, 0) for part in self._kernel(name))
            x = self.leaky(writer, x, _widened(kernel, taken), bias, **more)
        kernel, _ = self._kernel("features8")
        return found | {8: writer.Conv(x, _widened(kernel, len(bias)), kernel_shape=[1, 1])}

    def leaky(self, writer, x, kernel, bias, **attributes):
        """Convolve and rectify."""
        x = writer.Conv(x, kernel, bias, kernel_shape=kernel.shape[2:], **attributes)
        return writer.LeakyRelu(x, alpha=0.1)

    def _fine(self, writer, image):
        """Return the features at half the resolution.

        Few channels would cost as much as 16. So each channel of the convolution is a
        feature at another of 16 neighbouring columns, which afterwards are put in their order.
        """
        kernel, _ = self._kernel("features2")
        rows, columns = kernel.shape[2:]
        moved = np.zeros((self.fine, _BLOCK, kernel.shape[1], rows, columns + 2 * (_BLOCK - 1)), np.float32)
        for column in range(_BLOCK):
            moved[:, column, :, :, 2 * column : 2 * column + columns] = kernel
        moved = moved.reshape(-1, *moved.shape[2:])
        image = writer.Pad(image, [0, 0, 1, 1, 0, 0, 2, 2], mode="edge")
        x = writer.Conv(image, moved, kernel_shape=moved.shape[2:], strides=[2, 2 * _BLOCK])
        height, width, blocks = self.side(2, 2), self.side(3, 2), self.side(3, 2 * _BLOCK)
        x = writer.Reshape(x, self.Concat([-1, self.fine, _BLOCK], height, blocks, axis=0))
        x = writer.Transpose(x, perm=[0, 1, 3, 4, 2])
        return writer.Reshape(x, self.Concat([-1, self.fine], height, width, axis=0))

    # Motion

    def _places(self, scale, motion):
        return [self.Add(self.grid(axis, scale), part) for axis, part in ((2, motion[0]), (3, motion[1]))]

    def _motion(self, moving, still):
        """Return the smooth motion (two planes), that of the lines, the last state and the smallest cells."""
        shift = self.Neg(self.Reshape("shift", [-1, 2, 1, 1]))
        size = [self.side(axis, DIVISOR) for axis in (2, 3)]
        shape = self.Concat(self.count(), [2], *size, axis=0)
        smooth, before, lines, state = self.Expand(shift, shape), DIVISOR, None, None
        for number, (scale, cell) in enumerate(self.steps, 1):
            name = f"step{number}"
            places, factor = self._step_places(smooth, lines, before, scale), cell // scale
            equations = self._equations(moving[scale], still[scale], places, scale, name)
            if scale == 2:
                equations, lines = self._line_step(equations, lines, factor, f"{name}_lines")
            elif factor > 1:
                equations = self.pool(equations, [factor] * 2, [factor] * 2)
            equations = self.Mul(equations, _units(scale))
            if before > cell:
                smooth = self.stretch(smooth, [self.side(a, before) for a in (2, 3)], [before // cell] * 2)
            smooth, state = self._solve_cells(equations, smooth, cell, name)
            before = cell
        return smooth, lines, state, before

    def _step_places(self, smooth, lines, before, scale):
        """Return where each pixel of a scale looks: rows and columns, moved."""
        factor, size = before // scale, [self.side(axis, before) for axis in (2, 3)]
        parts = self.Split(smooth, axis=1, outputs=2)
        moved = [self.stretch(part, size, (factor, factor), 1 / scale) for part in parts]
        base = [self.grid(axis, scale) for axis in (2, 3)]
        if lines is None:
            return [self.Add(b, m) for b, m in zip(base, moved, strict=True)]
        line_y, line_x = (self.Mul(line, [[[[1 / scale]]]]) for line in self.Split(lines, axis=1, outputs=2))
        return [
            self.Add(self.Add(base[0], line_y), moved[0]),
            self.Add(self.Add(moved[1], line_x), base[1]),
        ]

    def _equations(self, moving, still, places, scale, name):
        """Return A (4 yy, 4 yx, 4 xx), b (2 y, 2 x) and the squared difference of every pixel, six planes."""
        channels = self.coarse if scale == 8 else self.fine
        still = self.warp(still, places, channels, scale)
        along_y, along_x = self._gradient(still)
        inside = self._inside(places, scale)
        difference = self.Sub(moving, still)
        apart = self.Abs(difference)
        if channels == 1:
            always, value, weight = (v.reshape(1, 1, 1, 1) for v in self.weights[f"{name}_trust"])
            said = self.Add(self.Add(self.Mul(still, value), self.Mul(apart, weight)), always)
            trust = self.Mul(self.Sigmoid(said), inside)
        else:
            seen = self.Concat(still, apart, axis=1)
            kernel, bias = (_padded(a, 0) for a in self._kernel(f"{name}_trust1"))
            seen = self.conv(seen, None, kernel=(kernel, bias), activation=self.Relu)
            kernel, bias = self._kernel(f"{name}_trust2")
            said = self.conv(seen, None, kernel=(_widened(kernel, _BLOCK), bias), activation=self.Sigmoid)
            trust = self.Mul(said, inside)
        weighted_y, weighted_x, weighted = (self.Mul(trust, a) for a in (along_y, along_x, difference))
        pairs = [
            (weighted_y, along_y),
            (weighted_y, along_x),
            (weighted_x, along_x),
            (weighted_y, difference),
            (weighted_x, difference),
            (weighted, difference),
        ]
        products = [self.Mul(*pair) for pair in pairs]
        if channels > 1:
            products = [self.ReduceSum(product, [1], keepdims=1) for product in products]
        return self.Concat(*products, axis=1)

    def _line_step(self, equations, lines, factor, name):
        """Solve for the lines; return the mean equations of the cells that are left, and the lines."""
        across = self.MatMul(equations, self._columns(factor))
        rows = self.Mul(self.ReduceMean(across, axes=[3], keepdims=1), _units(2))
        sizes = [rows, self.pool(rows, [3, 1]), self.pool(rows, [11, 1])]
        solution, evidence = self._solution(self.Concat(*sizes, axis=3))
        x = self.Concat(*self.Split(evidence, axis=3, outputs=3), axis=1)
        kernel, bias = self._kernel(f"{name}_conv1")
        x = self.Pad(x, [0, 0, 0, 0, 0, -kernel.shape[1] % _BLOCK, 0, 0])
        kernel = _padded(kernel, 1)
        x = self.conv(x, None, kernel=(kernel, bias), activation=self.Relu)
        x = self.conv(x, f"{name}_conv2", activation=self.Relu)
        gains = self.Split(self.conv(x, f"{name}_gain"), axis=1, outputs=3)
        found = self.ReduceSum(self.Mul(self.Concat(*gains, axis=3), solution), [3], keepdims=1)
        found_y, found_x = self.Split(self.Mul(found, [[[[0.25]]]]), axis=1, outputs=2)
        yy, yx, xx, y, x, rest = self.Split(across, axis=1, outputs=6)
        y = self.Sub(self.Sub(y, self.Mul(yy, found_y)), self.Mul(yx, found_x))
        x = self.Sub(self.Sub(x, self.Mul(yx, found_y)), self.Mul(xx, found_x))
        left = self.Concat(yy, yx, xx, y, x, rest, axis=1)
        return self.pool(left, [factor, 1], [factor, 1]), found if lines is None else self.Add(lines, found)

    def _columns(self, factor):
        """Return the matrix that takes means over `factor` neighbouring columns."""
        columns = self.side(3, 2)
        cells = self.Range(np.array(0, "f"), self.number(self.Div(columns, [factor])), np.array(1, "f"))
        of = self.Range(np.array(0, "f"), self.number(columns), np.array(1, "f"))
        of = self.Floor(self.Mul(of, [1 / factor]))
        matrix = self.Equal(self.Unsqueeze(of, [1]), self.Unsqueeze(cells, [0]))
        return self.Mul(self.Cast(matrix, to=TensorProto.FLOAT), [[1 / factor]])

    def _solution(self, equations):
        """Return the solution, two planes in pixels, and what speaks for it, ten."""
        yy, _, xx, _, _, rest = self.Split(equations, axis=1, outputs=6)
        trace = self.Add(yy, xx)
        relative = self.Mul(equations, self.Reciprocal(self.Add(trace, [[[[1e-6]]]])))
        yy, yx, xx, y, x, _ = self.Split(relative, axis=1, outputs=6)
        yy, xx = self.Add(yy, [[[[0.01]]]]), self.Add(xx, [[[[0.01]]]])
        scale = self.Reciprocal(self.Sub(self.Mul(yy, xx), self.Mul(yx, yx)))
        found = self.Concat(
            self.Sub(self.Mul(xx, y), self.Mul(yx, x)), self.Sub(self.Mul(yy, x), self.Mul(yx, y)), axis=1
        )
        found = self.Clip(self.Mul(found, scale), np.array(-8, "f"), np.array(8, "f"))
        amounts = self.Log(self.Add(self.Concat(trace, rest, axis=1), [[[[1e-5]]]]))
        relative = self.Clip(relative, np.array(-10, "f"), np.array(10, "f"))
        return found, self.Concat(
            found, relative, self.Add(self.Mul(amounts, [[[[0.3]]]]), [[[[1.0]]]]), axis=1
        )

    def _solve_cells(self, equations, smooth, cell, name):
        """Improve the smooth motion: solve for the frame, then for ever smaller cells; with the state."""
        pyramid = {cell: equations}
        while cell < DIVISOR:
            pyramid[2 * cell] = self.pool(pyramid[cell], [2, 2], [2, 2])
            cell *= 2
        whole = self.ReduceMean(pyramid[DIVISOR], axes=[2, 3], keepdims=1)
        solution, evidence = self._solution(whole)
        x = self.conv(evidence, f"{name}_frame", activation=self.Relu)
        found = self.Mul(self.conv(x, f"{name}_frame_gain"), solution)
        size = [self.side(axis, DIVISOR) for axis in (2, 3)]
        found = self.Expand(found, self.Concat(self.count(), [2], *size, axis=0))
        state = None
        while cell in pyramid:
            level = f"{name}_cells{cell}"
            if state is not None:
                size = [self.side(axis, 2 * cell) for axis in (2, 3)]
                found, state = (self.stretch(a, size, (2, 2)) for a in (found, state))
            cells = self._mean_of_nine(pyramid[cell], None if state is None else found)
            solution, evidence = self._solution(cells)
            x = [evidence, found] if state is None else [evidence, found, state]
            kernel, bias = self._kernel(f"{level}_conv1")
            x[0] = self.Pad(evidence, [0, 0, 0, 0, 0, -kernel.shape[1] % _BLOCK, 0, 0])
            kernel = np.insert(kernel, [10] * (-kernel.shape[1] % _BLOCK), 0, axis=1)
            x = self.conv(self.Concat(*x, axis=1), None, kernel=(kernel, bias), activation=self.Relu)
            state = self.conv(x, f"{level}_conv2", activation=self.Relu)
            gain = self.conv(state, f"{level}_gain")
            found = self.Add(found, self.Mul(gain, self.Sub(solution, found)))
            cell //= 2
        return self.Add(smooth, found), state

    def _mean_of_nine(self, equations, found):
        """Return the mean equations of each cell and its neighbours, about the motion found so far."""
        if found is None:
            return self.pool(equations, [3, 3])
        along = self.Split(found, axis=1, outputs=2)

        def explained(cells):
            parts = [self.Slice(cells, [n], [n + 2], [1]) for n in (0, 1)]
            return self.Add(*(self.Mul(part, by) for part, by in zip(parts, along, strict=True)))

        cells = self.pool(equations, [3, 3])
        change = self.Sub(explained(cells), self.pool(explained(equations), [3, 3]))
        return self.Add(cells, self.Pad(change, [0, 3, 0, 0, 0, 1, 0, 0]))

    # Smoothing

    def _smoothed(self, motion, state, expected, cell):
        """Move the motion of the cells towards planes through their neighbours, two planes of numbers."""
        spread = self.Add(expected, [[[[0.02]]]])
        weights, scale = self.Reciprocal(self.Mul(spread, spread)), self.Reciprocal(spread)
        known = self.Concat(weights, self.Mul(weights, motion), axis=1)
        changes = [self.Sub(self._plane(known, reach, cell), motion) for reach in REACHES]
        limits = np.array(-10, "f"), np.array(10, "f")
        relative = [self.Clip(self.Mul(change, scale), *limits) for change in changes]
        whole = [self.Log(self.Add(self._mean(self.Mul(r, r)), [[[[1e-3]]]])) for r in relative]
        whole = [self.Add(self.Mul(spread, [[[[0.0]]]]), number) for number in whole]
        kernel, bias = self._kernel("smoothed_conv")
        x = self.Concat(state, *relative, *whole, axis=1)
        x = self.Pad(x, [0, 0, 0, 0, 0, -kernel.shape[1] % _BLOCK, 0, 0])
        x = self.conv(x, None, kernel=(_padded(kernel, 1), bias), activation=self.Relu)
        gains = self.Split(self.conv(x, "smoothed_gain"), axis=1, outputs=len(REACHES))
        for gain, change in zip(gains, changes, strict=True):
            motion = self.Add(motion, self.Mul(gain, change))
        return motion

    def _plane(self, known, reach, cell):
        """Return the heights of planes, as `calzoo.networks.smoothing.LocalPlane` has them."""
        rows, columns = (self._moments(self.side(axis, cell), reach) for axis in (2, 3))
        down = [self.MatMul(moment, known) for moment in rows]
        alone = [self.Slice(part, [0], [1], [1]) for part in down]
        across = [self.Transpose(moment, perm=[1, 0]) for moment in columns]
        sums = [self.MatMul(down[y], across[x]) for y, x in ((0, 0), (1, 0), (0, 1))]
        share = self.Reciprocal(self.Slice(sums[0], [0], [1], [1]))
        mean, product_y, product_x = (self.Mul(self.Slice(s, [1], [_END], [1]), share) for s in sums)
        mean_y, mean_x = (self.Mul(self.Slice(s, [0], [1], [1]), share) for s in sums[1:])
        yy, yx, xx = (self.Mul(self.MatMul(alone[y], across[x]), share) for y, x in ((2, 0), (1, 1), (0, 2)))
        yy, xx = (
            self.Add(self.Sub(square, self.Mul(own, own)), [[[[FLAT]]]])
            for square, own in ((yy, mean_y), (xx, mean_x))
        )
        yx = self.Sub(yx, self.Mul(mean_y, mean_x))
        product_y, product_x = (
            self.Sub(product, self.Mul(mean, own))
            for product, own in ((product_y, mean_y), (product_x, mean_x))
        )
        scale = self.Reciprocal(self.Sub(self.Mul(yy, xx), self.Mul(yx, yx)))
        slope_y = self.Mul(self.Sub(self.Mul(xx, product_y), self.Mul(yx, product_x)), scale)
        slope_x = self.Mul(self.Sub(self.Mul(yy, product_x), self.Mul(yx, product_y)), scale)
        return self.Sub(self.Sub(mean, self.Mul(slope_y, mean_y)), self.Mul(slope_x, mean_x))

    def _moments(self, side, reach):
        """Return matrices (side, side): the Gaussian of the distance, times distance^0, 1, 2."""
        places = self.Range(np.array(0, "f"), self.number(side), np.array(1, "f"))
        away = self.Sub(self.Unsqueeze(places, [0]), self.Unsqueeze(places, [1]))
        gaussian = self.Exp(self.Mul(self.Mul(away, away), [[-0.5 / reach**2]]))
        return gaussian, self.Mul(gaussian, away), self.Mul(self.Mul(gaussian, away), away)

    # Flow

    def _inverse(self, smooth, cell, iterations=3):
        """Return the field in the other sense, two planes, by fixed-point iteration on cells."""
        inverse = self.Neg(smooth)
        for _ in range(iterations):
            parts = self.Split(self.Mul(inverse, [[[[1 / cell]]]]), axis=1, outputs=2)
            inverse = self.Neg(self.warp(smooth, self._places(cell, parts), 2, cell))
        return self.Split(inverse, axis=1, outputs=2)

    def _outward(self, coarse, lines, cell):
        """Return the flow of every row, on cells along x, two planes."""
        size = [self.side(axis, cell) for axis in (2, 3)]
        parts = [self.stretch(part, size, (cell, 1)) for part in coarse]
        if lines is not None:
            # Row r of the frame lies at (r - 0.5) / 2 among pairs of rows.
            row = self.Add(
                self.Mul(parts[0], [[[[0.5]]]]),
                self.Sub(self.Mul(self.grid(2, 1), [[[[0.5]]]]), [[[[0.25]]]]),
            )
            parts = [
                self.Sub(p, self._line_at(line, row))
                for p, line in zip(parts, self.Split(lines, axis=1, outputs=2), strict=True)
            ]
        return parts

    def _line_at(self, line, row):
        """Interpolate a displacement of lines (B, 1, h, 1) at rows (B, 1, Y, w)."""
        shape = self.Shape(row)
        whole, part = self._parted(self.Reshape(row, [0, -1]), self.side(2, 2))
        line = self.Reshape(line, [0, -1])
        above = self.GatherElements(line, whole, axis=1)
        below = self.GatherElements(line, self.Add(whole, np.ones((1, 1), np.int32)), axis=1)
        return self.Reshape(self.Add(above, self.Mul(self.Sub(below, above), part)), shape)

    def _moved(self, parts, cell):
        """Give every pixel its flow and look the frame up along it, stripe by stripe."""
        sides = [self.side(axis) for axis in (2, 3)]
        size = [self.side(axis, cell) for axis in (2, 3)]
        rows = self.Div(sides[0], [_STRIPES])
        shape = self.Concat(self.count(), [1], rows, sides[1], axis=0)
        pixels = self.Reshape("frame", [0, 1, -1])
        rowwise = self.Concat(*parts, axis=1)
        flows, stripes = [], []
        for number in range(_STRIPES):
            span = [self.Mul(rows, [n]) for n in (number, number + 1)]
            here = self.Slice(self.grid(2, 1), *span, [2])
            flows.append(self.stretch(self.Slice(rowwise, *span, [2]), size, (1, cell)))
            along_y, along_x = self.Split(flows[-1], axis=1, outputs=2)
            places = [self.Add(along_y, here), self.Add(along_x, self.grid(3, 1))]
            flat = [self.Reshape(place, [0, 1, -1]) for place in places]
            stripes.append(self.Reshape(self._looked_up(pixels, flat, 1, sides), shape))
        self.Concat(*stripes, axis=2, name="registered")
        self.Concat(*flows, axis=2, name="flow")

    def _graph(self):
        """Return what was written as a `Graph`."""
        picture = ["batch", 1, "y", "x"]
        inputs = {"frame": picture, "template": ["templates", 1, "y", "x"], "shift": ["batch", 2]}
        outputs = {"flow": ["batch", 2, "y", "x"], "registered": picture}
        outputs["uncertainty"] = ["batch", 1, "cells_y", "cells_x"]
        outputs[FEATURES] = ["templates", "features"]
        values = [
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in tensors.items()]
            for tensors in (inputs, outputs)
        ]
        constants = self.constants | {KNOWN: np.zeros((1, 0), np.float32)}
        initializers = [numpy_helper.from_array(a, n) for n, a in constants.items()]
        graph = helper.make_graph(self.nodes, "calzoo", *values, initializers)
        opset = [helper.make_opsetid("", OPSET)]
        written = Graph(helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opset))
        # An input with a value of its own need not be fed.
        shape = ["known_templates", "known_features"]
        written.inputs.append(helper.make_tensor_value_info(KNOWN, TensorProto.FLOAT, shape))
        return written


def _units(scale):
    """Return what turns equations of doubled differences in pixels of a scale into those in full pixels."""
    return np.float32([0.25 * scale**-2] * 3 + [0.5 / scale] * 2 + [1]).reshape(1, 6, 1, 1)


def _padded(array, axis):
    """Return an array with zeros behind, up to a multiple of the channels that kernels compute at once."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = 0, -array.shape[axis] % _BLOCK
    return np.pad(array, widths)


def _widened(kernel, channels):
    """Return a kernel that takes more channels, and leaves the last ones out."""
    return np.pad(kernel, [(0, 0), (0, channels - kernel.shape[1]), (0, 0), (0, 0)])
