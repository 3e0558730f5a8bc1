"""How much larger the border's error is for the best linear estimate of a smooth motion.

    python benchmarks/registration_border.py [--fields 24] [--sigma 48]

Motion is a Gaussian field of known covariance (smoothness `sigma`, longest vector 5 px, and a shift of up to
4 px along each axis). Cells of 4 px that both pictures show measure it, each with independent noise. Kriging
is then the linear estimate of the smallest expected error. Printed are its errors inside and in the
outer 25 px, as docs/registration.md has them, for noises given per 8 px.
"""

import argparse

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

SIDE, CELL, BORDER, PEAK, SHIFT = 512, 4, 25, 5.0, 4.0


def rectangles(fields, sigma):
    """Return of each field the standard deviation, and the first and last pixels that are seen, (2, 2)."""
    found = []
    for seed in range(fields):
        rng = np.random.default_rng(seed)
        field = gaussian_filter(rng.standard_normal((SIDE, SIDE, 2)), (sigma, sigma, 0), mode="reflect")
        field *= PEAK / np.linalg.norm(field, axis=-1).max()
        deviation = field.std()
        field += rng.uniform(-SHIFT, SHIFT, 2)
        # The mean displacement at each side moves what is seen there.
        sides = np.array([[field[0, :, 0], field[-1, :, 0]], [field[:, 0, 1], field[:, -1, 1]]]).mean(-1)
        found.append((deviation, np.clip(np.array([0, SIDE]) - sides, 0, SIDE)))
    return found


def errors(covariance, seen, noise):
    """Return the expected length of the error of kriging, mean inside and at the border."""
    middles = (np.arange(len(covariance)) + 0.5) * CELL
    rows, columns = (np.flatnonzero((middles > low) & (middles < high)) for low, high in seen)
    (of_rows, modes_rows), (of_columns, modes_columns) = (
        np.linalg.eigh(covariance[np.ix_(cells, cells)]) for cells in (rows, columns)
    )
    signal = np.clip(np.outer(of_rows, of_columns), 0, None)
    left = signal * noise**2 / (signal + noise**2)
    length = np.sqrt(np.pi / 2 * (modes_rows**2 @ left @ (modes_columns**2).T))
    edge = [np.minimum(middles[cells], SIDE - middles[cells]) for cells in (rows, columns)]
    border = np.minimum(edge[0][:, None], edge[1]) < BORDER
    return length[~border].mean(), length[border].mean()


def main():
    """Print a line per noise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=24)
    parser.add_argument("--sigma", type=float, default=48.0)
    args = parser.parse_args()
    smoothing = gaussian_filter1d(np.eye(SIDE), args.sigma, axis=0, mode="reflect")
    cells = (smoothing @ smoothing.T).reshape(SIDE // CELL, CELL, SIDE // CELL, CELL).mean((1, 3))
    cells /= np.diag(cells).mean()
    known = rectangles(args.fields, args.sigma)
    for noise in (1.0, 1.5, 2.0):
        of_cells = noise * 8 / CELL
        found = [errors(cells * deviation, seen, of_cells) for deviation, seen in known]
        inner, outer = np.mean(found, axis=0)
        print(f"noise {noise:.1f} px: inside {inner:.3f}  border {outer:.3f}  {outer / inner:.2f} x")


if __name__ == "__main__":
    main()
