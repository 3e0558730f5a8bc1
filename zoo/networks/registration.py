"""Motion between a template and a frame, from coarse to fine: features, least squares, trust."""

import itertools

import keras
import numpy as np
from keras import layers, ops

from calzoo.networks.sampling import Gradient, Inside, PixelGrid, Stretch, Trust, Warp, follow
from calzoo.networks.sides import check_divisible
from calzoo.networks.smoothing import LocalPlane

#: Side in pixels of the largest cells: sides of a frame must be multiples of it.
DIVISOR = 64
#: Where each step compares pictures (pixels per feature), and the smallest cells (pixels) that it solves for.
STEPS = ((8, 32), (2, 16), (2, 8))
#: Standard deviations, in the smallest cells, of the neighbourhoods that the last motion is smoothed over.
REACHES = (1.0, 2.0)


def registration(shape=(None, None), *, filters=(8, 16, 32), features=(8, 1), width=16, steps=STEPS):
    """Build a network that finds where each pixel of a template lies in a frame.

    Each step looks the template up where the step before believed it to be. The
    gradient of its features, and their difference from those of the frame, give the
    equations of Lucas and Kanade [1]_ for every pixel, ``A d = b``; these are averaged
    over the frame and over cells of 64 pixels and less, solved, and small
    convolutions decide, from large cells to small ones, how far each solution is to be
    trusted: the flow of each level is a residual of the coarser one [2]_. Steps at half
    the resolution also find a displacement of every two scan lines. In the end planes are
    laid through neighbouring cells, and convolutions decide how far to go towards them: much
    where the motion is smooth. As solutions are weighted and nothing is added to them, equal
    images give exactly no motion.

    Parameters
    ----------
    shape : tuple of (int or None), optional
        Height and width in pixels, multiples of `DIVISOR`; None is any such.
    filters : tuple of int, optional
        Channels of the encoder at 1/2, 1/4 and 1/8 of the resolution.
    features : tuple of int, optional
        Features that are compared, at 1/8 and at 1/2.
    width : int, optional
        Channels of the convolutions that weigh the solutions.
    steps : tuple of tuple of int, optional
        Pixels per feature (8 or 2) and smallest cell (64, 32, 16 or 8) of each step.

    Returns
    -------
    keras.Model
        Inputs: ``frame``, float32, (B, Y, X, 1), intensities; ``template``, float32, (B or 1,
        Y, X, 1), in the same units; ``shift``, float32, (B, 2), the rigid displacement (dy, dx)
        in pixels to begin with, right to a few pixels. Outputs: ``flow``, float32, (B, Y, X, 2),
        (dy, dx) in pixels: what is at template(y, x) is found at frame(y + dy, x + dx);
        ``registered``, float32, (B, Y, X, 1), the frame looked up there; ``uncertainty``,
        float32, (B, Y / 8, X / 8, 1) for smallest cells of 8 pixels: the length, in pixels, that
        the error of the flow is expected to have.

    Raises
    ------
    ValueError
        If a side of `shape` is no multiple of `DIVISOR`, or `steps` do not go from coarse to fine.

    References
    ----------
    .. [1] Baker and Matthews, "Lucas-Kanade 20 years on", IJCV 2004. doi:10.1023/B:VISI.0000011205.11775.fd
    .. [2] Hui et al., "LiteFlowNet", CVPR 2018. arXiv:1805.07036

    Examples
    --------
    >>> registration((64, 128), filters=(2, 2, 4), features=(3, 1), steps=((8, 32), (2, 8))).output_shape
    [(None, 64, 128, 2), (None, 64, 128, 1), (None, 8, 16, 1)]
    """
    steps = tuple(tuple(step) for step in steps)
    _check(shape, steps)
    frame = keras.Input((*shape, 1), name="frame", dtype="float32")
    template = keras.Input((*shape, 1), name="template", dtype="float32")
    shift = keras.Input((2,), name="shift", dtype="float32")
    scales = {scale for scale, _ in steps}
    encode = _encoder(filters, features, scales)
    moving, still = (encode(image) for image in _standardised(frame, template))
    grids = {scale: PixelGrid(name=f"grid{scale}")(moving[scale]) for scale in scales}

    # Scan lines belong to the frame, so motion has the other sense here: frame(y) = template(y + motion(y)).
    coarsest = layers.AveragePooling2D(DIVISOR // 8, name="coarsest")(moving[8])
    smooth = 0 * coarsest[..., :2] - ops.reshape(shift, (-1, 1, 1, 2))
    before, lines = DIVISOR, None
    for number, (scale, cell) in enumerate(steps, 1):
        name = f"step{number}"
        motion = Stretch((before // scale,) * 2, name=f"{name}_smooth")(smooth / scale)
        motion = motion if lines is None else motion + lines / scale
        places = follow(grids[scale], motion)
        equations = _equations(moving[scale], still[scale], places, name)
        if scale == 2:
            equations, lines = _solve_lines(equations, lines, scale, width, f"{name}_lines")
        equations = _averaged(equations, cell // scale, scale, f"{name}_cells")
        if before > cell:
            smooth = Stretch((before // cell,) * 2, name=f"{name}_finer")(smooth)
        smooth, state = _solve_cells(equations, smooth, cell, width, name)
        before = cell
    expected = layers.Conv2D(1, 1, activation="softplus", name="expected")(state)
    smooth = _smoothed(smooth, state, expected, width)

    grid = PixelGrid(name="cells")(smooth)
    coarse = _inverse(smooth, grid, cell)
    flow = _outward(coarse, lines, cell)
    registered = Warp(name="registered")(frame, *follow(PixelGrid(name="pixels")(frame), flow))
    uncertainty = Warp(name="uncertainty")(expected, *follow(grid, coarse / cell))
    return keras.Model([frame, template, shift], [flow, registered, uncertainty], name="registration")


def training_view(model, steps=STEPS):
    """Return a network with the same weights that shows the motion after each step.

    Parameters
    ----------
    model : keras.Model
        From `registration`.
    steps : tuple of tuple of int, optional
        Those that it was built with.

    Returns
    -------
    keras.Model
        The same inputs; one output, float32, (B, Y / 2, X / 8, 2 S + 3): motion (dy, dx) in
        pixels after each of S steps and after it was smoothed, ``frame(y) = template(y + motion(y))``,
        and the expected length of the last one's error.
    """
    names = {layer.name for layer in model.layers}

    def with_lines(name, number, cell):
        motion = Stretch((cell // 2, cell // 8))(model.get_layer(name).output)
        lines = f"step{number}_lines"
        return motion + model.get_layer(lines).output if lines in names else motion

    shown = [with_lines(f"step{number}", number, cell) for number, (_, cell) in enumerate(steps, 1)]
    cell = steps[-1][1]
    shown.append(with_lines("smoothed", len(steps), cell))
    expected = Stretch((cell // 2, cell // 8))(model.get_layer("expected").output)
    packed = layers.Concatenate(dtype="float32", name="steps")([*shown, expected])
    return keras.Model(model.inputs, packed, name=model.name)


def _standardised(frame, template):
    """Return both pictures without their means, in units of the template's contrast."""
    template = template - ops.mean(template, axis=(1, 2), keepdims=True)
    frame = frame - ops.mean(frame, axis=(1, 2), keepdims=True)
    cells = layers.AveragePooling2D(8, name="contrast_cells")(template)  # nearly free of noise
    contrast = 1 / (ops.sqrt(ops.mean(ops.square(cells), axis=(1, 2, 3), keepdims=True)) + 1e-6)
    return frame * contrast, template * contrast


def _encoder(filters, features, scales):
    """Return a function from a picture to its features by scale, with the same weights for every picture."""
    half, quarter, eighth = filters
    stages = [
        layers.Conv2D(half, 5, strides=2, padding="same", name="encode2"),
        layers.Conv2D(quarter, 3, strides=2, padding="same", name="encode4"),
        layers.Conv2D(eighth, 3, strides=2, padding="same", name="encode8"),
        layers.Conv2D(eighth, 3, padding="same", name="encode8b"),
    ]
    rectify = [layers.LeakyReLU(0.1, name=f"{stage.name}_relu") for stage in stages]
    coarse = layers.Conv2D(features[0], 1, use_bias=False, name="features8")
    # Linear, so that averages of noisy pixels stay those of the light.
    fine = layers.Conv2D(features[1], 5, strides=2, use_bias=False, name="features2")

    def encode(image):
        x, found = image, {2: fine(_widened(image))} if 2 in scales else {}
        for stage, relu in zip(stages, rectify, strict=True):
            x = relu(stage(x))
        return found | {8: coarse(x)}

    return encode


def _widened(image):
    """Repeat the edge as far as the finest kernel reaches: zeros there would not move with the tissue."""
    for axis in (1, 2):
        first, last = (ops.take(image, [index], axis=axis) for index in (0, -1))
        image = layers.Concatenate(axis=axis)([first, image, last, last])
    return image


def _equations(moving, still, places, name):
    """Return the equations of each pixel: six pictures, A (yy, yx, xx), b (y, x) and the squared difference.

    Pixels that look outside the template have none.
    """
    inside = Inside(name=f"{name}_inside")(still, *places)
    still = Warp(name=f"{name}_warp")(still, *places)
    along_y, along_x = ops.split(Gradient(name=f"{name}_gradient")(still), 2, axis=-1)
    difference = moving - still
    if still.shape[-1] == 1:
        trust = Trust(name=f"{name}_trust")(still, difference) * inside
        weighted_y, weighted_x, weighted = trust * along_y, trust * along_x, trust * difference
        summed = list
    else:
        seen = layers.Concatenate(name=f"{name}_seen")([still, ops.abs(difference)])
        trust = layers.Conv2D(8, 1, activation="relu", name=f"{name}_trust1")(seen)
        trust = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_trust2")(trust) * inside
        weighted_y, weighted_x, weighted = trust * along_y, trust * along_x, trust * difference

        def summed(products):
            return [ops.sum(product, axis=-1, keepdims=True) for product in products]

    return summed(
        [
            weighted_y * along_y,
            weighted_y * along_x,
            weighted_x * along_x,
            weighted_y * difference,
            weighted_x * difference,
            weighted * difference,
        ]
    )


def _averaged(equations, factor, scale, name):
    """Return the mean equations of cells, (B, h, w, 6), in units of full pixels."""
    if factor > 1:
        # One picture at a time: numbers of six kinds that alternate would cost several times as much.
        equations = [layers.AveragePooling2D(factor, name=f"{name}{i}")(e) for i, e in enumerate(equations)]
    return layers.Concatenate(name=name)(equations) * _units(scale)


def _units(scale):
    """Return what turns equations in pixels of a scale into those in full pixels."""
    return np.float32([scale**-2] * 3 + [1 / scale] * 2 + [1])


def _solution(equations):
    """Return the solution (B, h, w, 2) in pixels, and what speaks for it, (B, h, w, 10)."""
    yy, _, xx, _, _, rest = ops.split(equations, 6, axis=-1)
    trace = yy + xx
    relative = equations * (1 / (trace + 1e-6))
    yy, yx, xx, y, x, _ = ops.split(relative, 6, axis=-1)
    yy, xx = yy + 0.01, xx + 0.01
    solution = layers.Concatenate()([xx * y - yx * x, yy * x - yx * y]) * (1 / (yy * xx - yx * yx))
    solution = ops.clip(solution, -8.0, 8.0)
    amounts = ops.log(layers.Concatenate()([trace, rest]) + 1e-5)
    return solution, layers.Concatenate()([solution, ops.clip(relative, -10.0, 10.0), 0.3 * amounts + 1])


def _solve_cells(equations, smooth, cell, width, name):
    """Improve the smooth motion: solve for the frame, then for ever smaller cells; return the state too."""
    pyramid = {cell: equations}
    while cell < DIVISOR:
        pyramid[2 * cell] = layers.AveragePooling2D(2, name=f"{name}_merge{2 * cell}")(pyramid[cell])
        cell *= 2
    solution, evidence = _solution(ops.mean(pyramid[DIVISOR], axis=(1, 2), keepdims=True))
    x = layers.Conv2D(width, 1, activation="relu", name=f"{name}_frame")(evidence)
    gain = layers.Conv2D(2, 1, kernel_initializer="zeros", name=f"{name}_frame_gain")(x)
    found = gain * solution + 0 * pyramid[DIVISOR][..., :2]
    state = None
    while cell in pyramid:
        level = f"{name}_cells{cell}"
        if state is not None:
            both = Stretch((2, 2), name=f"{level}_finer")(layers.Concatenate()([found, state]))
            found, state = both[..., :2], both[..., 2:]
        cells = _mean_of_nine(pyramid[cell], None if state is None else found, f"{level}_mean")
        solution, evidence = _solution(cells)
        x = [evidence, found] if state is None else [evidence, found, state]
        x = layers.Concatenate(name=f"{level}_all")(x)
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{level}_conv1")(x)
        state = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{level}_conv2")(x)
        gain = layers.Conv2D(2, 3, padding="same", kernel_initializer="zeros", name=f"{level}_gain")(state)
        found = found + gain * (solution - found)
        cell //= 2
    return layers.Add(name=name)([smooth, found]), state


def _mean_of_nine(equations, found, name):
    """Return the mean equations of each cell and its neighbours, about the motion found so far, (B, h, w, 2).

    Where motion changes, the mean is that of the middle of all neighbours, which at the edge
    is not the cell's own: so the change that is known is taken out of them before.
    """
    mean = layers.AveragePooling2D(3, 1, padding="same", name=name)
    if found is None:
        return mean(equations)
    found_y, found_x = ops.split(found, 2, axis=-1)

    def explained(cells):
        return cells[..., 0:2] * found_y + cells[..., 1:3] * found_x

    means = mean(layers.Concatenate(name=f"{name}_all")([equations, explained(equations)]))
    cells, change = means[..., :6], means[..., 6:]
    change = explained(cells) - change
    return layers.Concatenate(name=f"{name}_own")([cells[..., :3], cells[..., 3:5] + change, cells[..., 5:]])


def _solve_lines(equations, lines, scale, width, name):
    """Improve the displacement of the lines, (B, h, 1, 2); return first the equations that are left."""
    rows = layers.Concatenate(name=f"{name}_rows")([ops.mean(e, axis=2, keepdims=True) for e in equations])
    rows = rows * _units(scale)
    few = layers.AveragePooling2D((3, 1), 1, padding="same", name=f"{name}_few")(rows)
    many = layers.AveragePooling2D((11, 1), 1, padding="same", name=f"{name}_many")(rows)
    solution, evidence = _solution(layers.Concatenate(axis=2, name=f"{name}_sizes")([rows, few, many]))
    # Reshaped, not split and joined: OpenVINO 2026.4 takes that for channels that swap their places.
    x = layers.Reshape((-1, 1, 3 * evidence.shape[-1]), name=f"{name}_all")(evidence)
    x = layers.Conv2D(width, (5, 1), padding="same", activation="relu", name=f"{name}_conv1")(x)
    x = layers.Conv2D(width, (9, 1), padding="same", activation="relu", name=f"{name}_conv2")(x)
    gains = layers.Conv2D(6, 1, kernel_initializer="zeros", name=f"{name}_gain")(x)
    gains = layers.Reshape((-1, 3, 2), name=f"{name}_gains")(gains)
    found = ops.sum(gains * solution, axis=2, keepdims=True)
    yy, yx, xx, y, x, rest = equations
    found_y, found_x = ops.split(found / scale, 2, axis=-1)
    left = [yy, yx, xx, y - yy * found_y - yx * found_x, x - yx * found_y - xx * found_x, rest]
    lines = layers.Identity(name=name)(found) if lines is None else layers.Add(name=name)([lines, found])
    return left, lines


def _smoothed(motion, state, expected, width):
    """Move the motion of the cells towards planes through their neighbours, (B, h, w, 2)."""
    spread = ops.stop_gradient(expected) + 0.02  # else the weights would be bent to what smooths best
    weights = 1 / ops.square(spread)
    planes = [LocalPlane(reach, name=f"plane{reach:g}")(motion, weights) for reach in REACHES]
    changes = [plane - motion for plane in planes]
    relative = [ops.clip(change / spread, -10.0, 10.0) for change in changes]
    # What planes miss in the whole frame, over what errors explain, tells how smooth the motion is.
    whole = [ops.mean(ops.square(change), axis=(1, 2, 3), keepdims=True) for change in relative]
    whole = [ops.log(change + 1e-3) + 0 * spread for change in whole]
    x = layers.Concatenate(name="smoothed_all")([state, *relative, *whole])
    x = layers.Conv2D(width, 3, padding="same", activation="relu", name="smoothed_conv")(x)
    gains = layers.Conv2D(
        2 * len(REACHES),
        3,
        padding="same",
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(0.3),
        name="smoothed_gain",
    )(x)
    gains = ops.split(gains, len(REACHES), axis=-1)
    return layers.Add(name="smoothed")([motion, *(g * c for g, c in zip(gains, changes, strict=True))])


def _inverse(smooth, grid, cell, iterations=3):
    """Return the field in the other sense, v(y) = -u(y + v(y)), by fixed-point iteration on cells."""
    inverse = -smooth
    for number in range(1, iterations + 1):
        inverse = -Warp(name=f"inverse{number}")(smooth, *follow(grid, inverse / cell))
    return inverse


def _outward(coarse, lines, cell):
    """Return the flow of every pixel from that of the cells and of the frame's lines."""
    if lines is None:
        return Stretch((cell, cell), name="flow")(coarse)
    flow = Stretch((cell, 1), name="flow_rows")(coarse)  # (B, Y, X / cell, 2)
    rows, columns = PixelGrid(name="flow_grid")(flow)
    row, _ = follow((rows, columns), flow)
    # Row r of the frame lies at (r - 0.5) / 2 among pairs of rows.
    moved = Warp(name="flow_lines")(lines, 0.5 * row - 0.25, 0 * row)
    return Stretch((1, cell), name="flow")(flow - moved)


def _check(shape, steps):
    check_divisible("registration", shape, DIVISOR, sides="height and width", what="frames")
    known = all(scale in (2, 8) and cell in (8, 16, 32, 64) for scale, cell in steps)
    falling = all(a >= b for one, two in itertools.pairwise(steps) for a, b in zip(one, two, strict=True))
    if not steps or not known or not falling or steps[0][0] != 8:
        message = (
            "registration: steps must be pairs of pixels per feature (8, later 2) and smallest cell (64, 32, "
            f"16, 8), both never rising, got {steps}."
        )
        raise ValueError(message)
