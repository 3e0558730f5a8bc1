"""What stacks of axons look like in different laboratories: parameters drawn at random.

Every style draws the same parameters. Lengths are in in-plane pixels, light in units of
what a voxel of a typical axon shows after blurring, density of bodies per million cubic pixels.

=========================== =====================================================
``anisotropy``              distance of two planes in pixels
``axon_share``              part of the volume that is labelled
``diameter_px``             typical width, before blurring
``diameter_spread``         log standard deviation between axons
``roughness``               log standard deviation of the outline along an axon
``axial_stretch``           depth of an axon over its width, before blurring
``label_reach``             how much of the in-plane blur observers label, in its sigma
``label_reach_axial``       the same across planes
``label_glow``              0: all axons alike, 1: as far as bright ones outshine typical ones
``bundles``                 number of main directions
``slope``                   0: axons stay in a plane, 1: any direction
``alignment``               spread of the directions about the main ones
``tortuosity, bend_px``     turn in radians after 100 pixels; length of one bend
``length_px``               mean length of an axon
``branches_per_1000px``     side branches along an axon
``patchiness``              log standard deviation of the density of starting points
``fascicles``               part of the axons that run along another one
``beads``                   swelling of boutons, relative
``bead_spacing_px``         distance between boutons
``gap_share``               part of an axon that is faint or missing
``brightness_spread``       log standard deviation between axons
``brightness_along``        log standard deviation along an axon
``dimmest``                 brightness below which an axon does not fall
``clarity``                 signal-to-noise ratio of a short piece below which it does not fall
``psf_px, psf_axial_px``    sigma of the blur, in the plane and across planes
``psf_growth``              how much wider it gets across the volume
``glare, glare_px``         scattered light of the axons themselves, and its reach
``haze``                    light of axons out of focus
``background``              light of the tissue
``texture, grain``          its unevenness above 10 pixels and below
``boundary_level``          background beyond a boundary, 1 where there is none
``cells, granules``         bright bodies, per million cubic pixels
``vessels``                 number of wide bright tubes
``dark_cells, dark_vessels`` the same, darker than the tissue by ``darkness``
``cell_radius_px``          radius of cells
``unevenness, attenuation`` illumination: log standard deviation; loss with depth
``flicker, striping``       unevenness between planes; stripes within them
``photons``                 photons per unit of light
``speckle, speckle_axial``  multiplicative noise, and its length in planes
``excess_noise``            amplification noise over shot noise
``read_noise``              in units of light
``hot_pixels``              part of the voxels
``smoothing_px``            sigma of the blur after the noise (resampling)
``smoothing_axial``         the same in planes, in units of ``smoothing_px``
``black_level``             light that is digitised as 0; negative is an offset
``white_point``             light above the black level that saturates
``bits, levels``            of the grey values
``margin``                  "none", "polygon" or "boxes": black outside of it
=========================== =====================================================
"""

import numpy as np

from calzoo.errors import CalzooError
from calzoo.simulation.fields import log_uniform
from calzoo.simulation.recordings import check_number


def _sometimes(rng, odds, value, otherwise=0.0):
    """Return `value` in a part `odds` of the draws."""
    return value if rng.random() < odds else otherwise


def _spots(rng):
    """Return a density of small bright bodies: none, some, or as many as stained cells in cleared brains."""
    density, kind = log_uniform(rng, 5, 150), rng.random()
    return density if kind < 0.6 else 25 * density if kind < 0.8 else 0.0


def _photons(contrast_to_noise, background):
    """Return the photons per unit that give a typical axon this d' against shot noise alone."""
    return contrast_to_noise**2 * (background + 0.5)


def _settled(style):
    """Return a style in which dim axons can be seen and the background does not saturate."""
    noise = np.sqrt((style["background"] + 0.5) / style["photons"])  # of one voxel
    patch = np.sqrt(3 * 3) * style["diameter_px"]  # root of the voxels in a short piece of axon
    visible = style["clarity"] * noise / patch + (style["grain"] + style["speckle"]) * style["background"]
    dark = style["background"] - style["black_level"]
    return style | {
        "dimmest": float(np.clip(visible, style["dimmest"], 0.7)),
        "white_point": max(style["white_point"], 1.3 * dark + 1.5),
    }


#: What is in pixels, and so many times longer where pixels are finer.
_LENGTHS = (
    "anisotropy",
    "diameter_px",
    "bend_px",
    "length_px",
    "bead_spacing_px",
    "psf_px",
    "psf_axial_px",
    "glare_px",
    "cell_radius_px",
)
_DENSITIES = ("cells", "granules", "dark_cells")  # per million cubic pixels


def magnified(style, factor):
    """Return a style as finer pixels show it: all is `factor` times larger, the light of a voxel the same.

    What would leave its limits stays at them.

    Parameters
    ----------
    style : dict
        Parameters by name.
    factor : float

    Returns
    -------
    dict
    """
    changed = {name: style[name] * factor for name in _LENGTHS}
    changed |= {name: style[name] / factor**3 for name in _DENSITIES}
    changed["branches_per_1000px"] = style["branches_per_1000px"] / factor
    return style | {name: float(np.clip(value, *LIMITS[name])) for name, value in changed.items()}


def confocal(rng):
    """Photon-starved confocal: thick, long, nearly parallel axons in few planes, few grey levels."""
    background = 1 / log_uniform(rng, 0.6, 5)
    levels = int(rng.integers(6, 33))
    dark_photons = log_uniform(rng, 0.2, 4)  # per background voxel: exp(-this) are exact zeros
    photons = dark_photons / background
    coarse = np.ceil((1.3 * background + 2) * photons / (levels - 1))
    return {
        "anisotropy": rng.uniform(1.3, 4.5),
        "axon_share": log_uniform(rng, 0.008, 0.25),
        "diameter_px": log_uniform(rng, 5, 11),
        "diameter_spread": rng.uniform(0.1, 0.3),
        "roughness": rng.uniform(0, 0.2),
        "axial_stretch": rng.uniform(0.9, 1.5),
        "label_reach": rng.uniform(0.6, 1.2),
        "label_reach_axial": rng.uniform(0.7, 1.4),
        "label_glow": 0.0,
        "bundles": int(rng.choice([1, 1, 1, 2])),
        "slope": rng.uniform(0.02, 0.2),
        "alignment": log_uniform(rng, 0.03, 0.3),
        "tortuosity": rng.uniform(0.05, 0.5),
        "bend_px": log_uniform(rng, 10, 60),
        "length_px": log_uniform(rng, 150, 3000),
        "branches_per_1000px": 0.0,
        "patchiness": rng.uniform(0, 1),
        "fascicles": rng.uniform(0, 0.5),
        "beads": rng.uniform(0, 0.6),
        "bead_spacing_px": log_uniform(rng, 15, 60),
        "gap_share": _sometimes(rng, 0.7, rng.uniform(0, 0.15)),
        "brightness_spread": rng.uniform(0.15, 0.55),
        "brightness_along": rng.uniform(0.1, 0.35),
        "dimmest": rng.uniform(0.25, 0.4),
        "clarity": 4.0,
        "psf_px": rng.uniform(0.6, 1.6),
        "psf_axial_px": rng.uniform(1.0, 4.0),
        "psf_growth": 1.0,
        "glare": _sometimes(rng, 0.5, rng.uniform(0, 0.5)),
        "glare_px": rng.uniform(8, 20),
        "haze": _sometimes(rng, 0.7, rng.uniform(0.05, 0.5) * min(1.0, 2 * background)),
        "background": background,
        "texture": rng.uniform(0.05, 0.3),
        "grain": rng.uniform(0, 0.3),
        "boundary_level": _sometimes(rng, 0.15, rng.uniform(0.1, 0.8), 1.0),
        "cells": _sometimes(rng, 0.25, log_uniform(rng, 1, 8)),
        "granules": _sometimes(rng, 0.4, log_uniform(rng, 1, 30)),
        "vessels": int(_sometimes(rng, 0.15, rng.integers(1, 3), 0)),
        "dark_cells": _sometimes(rng, 0.3, log_uniform(rng, 1, 20)),
        "dark_vessels": int(_sometimes(rng, 0.2, rng.integers(1, 3), 0)),
        "darkness": rng.uniform(0.1, 0.8),
        "cell_radius_px": log_uniform(rng, 8, 20),
        "unevenness": rng.uniform(0, 0.3),
        "attenuation": rng.uniform(0, 0.6),
        "flicker": _sometimes(rng, 0.3, rng.uniform(0, 0.08)),
        "striping": _sometimes(rng, 0.15, rng.uniform(0, 0.08)),
        "photons": photons,
        "speckle": 0.0,
        "speckle_axial": 1.0,
        "excess_noise": _sometimes(rng, 0.3, rng.uniform(0.1, 0.6)),
        "read_noise": _sometimes(rng, 0.2, rng.uniform(0.02, 0.2)),
        "hot_pixels": _sometimes(rng, 0.3, log_uniform(rng, 1e-5, 3e-4)),
        "smoothing_px": _sometimes(rng, 0.1, rng.uniform(0.3, 0.6)),
        "smoothing_axial": 0.5,
        "black_level": _sometimes(rng, 0.3, rng.uniform(-0.2, 0.8)) * background,
        # A grey level is one photon, or a few where there are many.
        "white_point": coarse * (levels - 1) / photons,
        "bits": 8,
        "levels": levels,
        "margin": str(rng.choice(["none", "polygon"], p=[0.65, 0.35])),
    }


def lightsheet(rng):
    """Bright light-sheet: thin, branched, tortuous axons of any brightness, 16 bit, long axial blur."""
    background = log_uniform(rng, 0.15, 3)
    return {
        "anisotropy": log_uniform(rng, 1, 1.8),
        "axon_share": _sometimes(rng, 0.93, log_uniform(rng, 0.003, 0.15)),
        "diameter_px": log_uniform(rng, 1.0, 2.8),
        "diameter_spread": rng.uniform(0.1, 0.35),
        "roughness": rng.uniform(0, 0.15),
        "axial_stretch": 1.0,
        "label_reach": rng.uniform(0.2, 0.9),
        # Observers label plane by plane, also what shines in from the next planes.
        "label_reach_axial": rng.uniform(0.8, 1.5),
        "label_glow": 1.0,
        "bundles": int(rng.integers(1, 5)),
        "slope": rng.uniform(0.5, 1),
        "alignment": log_uniform(rng, 0.3, 3),
        "tortuosity": log_uniform(rng, 0.5, 3.5),
        "bend_px": log_uniform(rng, 2.5, 12),
        "length_px": log_uniform(rng, 60, 1500),
        "branches_per_1000px": _sometimes(rng, 0.8, rng.uniform(0, 12)),
        "patchiness": rng.uniform(0, 2.5),
        "fascicles": rng.uniform(0, 0.2),
        "beads": rng.uniform(0, 1),
        "bead_spacing_px": log_uniform(rng, 6, 25),
        "gap_share": _sometimes(rng, 0.6, rng.uniform(0, 0.12)),
        "brightness_spread": log_uniform(rng, 0.2, 1.2),
        "brightness_along": rng.uniform(0.15, 0.5),
        "dimmest": rng.uniform(0.2, 0.4),
        # Where much else is bright, observers pass over what hardly stands out.
        "clarity": rng.uniform(6, 12),
        "psf_px": rng.uniform(0.5, 1.1),
        "psf_axial_px": log_uniform(rng, 0.8, 4.5),
        "psf_growth": _sometimes(rng, 0.4, rng.uniform(1.2, 2.2), 1.0),
        "glare": _sometimes(rng, 0.7, rng.uniform(0.1, 1.2)),
        "glare_px": log_uniform(rng, 5, 20),
        "haze": _sometimes(rng, 0.4, log_uniform(rng, 0.05, 1)),
        "background": background,
        "texture": log_uniform(rng, 0.02, 0.25),
        "grain": log_uniform(rng, 0.01, 0.15),
        "boundary_level": _sometimes(rng, 0.35, rng.choice([0.0, rng.uniform(0.3, 0.9)]), 1.0),
        "cells": _sometimes(rng, 0.3, log_uniform(rng, 2, 30)),
        "granules": _spots(rng),
        "vessels": int(_sometimes(rng, 0.2, rng.integers(1, 3), 0)),
        "dark_cells": _sometimes(rng, 0.5, log_uniform(rng, 5, 100)),
        "dark_vessels": int(_sometimes(rng, 0.3, rng.integers(1, 4), 0)),
        "darkness": log_uniform(rng, 0.05, 0.6),
        "cell_radius_px": log_uniform(rng, 2, 8),
        "unevenness": rng.uniform(0, 0.25),
        "attenuation": rng.uniform(0, 0.5),
        "flicker": _sometimes(rng, 0.3, rng.uniform(0, 0.06)),
        "striping": _sometimes(rng, 0.4, rng.uniform(0, 0.05)),
        "photons": _photons(log_uniform(rng, 3, 30), background),
        # Dark, striped tissue shows grain as fine and as bright as dim axons.
        "speckle": _sometimes(rng, 0.3, rng.uniform(0.05, 0.35)),
        "speckle_axial": 1.0,
        "excess_noise": 0.0,
        "read_noise": _sometimes(rng, 0.5, rng.uniform(0, 0.1)),
        "hot_pixels": _sometimes(rng, 0.2, log_uniform(rng, 1e-6, 1e-4)),
        "smoothing_px": _sometimes(rng, 0.75, rng.uniform(0.3, 0.8)),
        "smoothing_axial": rng.uniform(0.3, 1.6),
        "black_level": -rng.uniform(0, 1.5),
        "white_point": log_uniform(rng, 8, 150),
        "bits": 16,
        "levels": 65536,
        "margin": str(rng.choice(["none", "boxes", "polygon"], p=[0.85, 0.1, 0.05])),
    }


def twophoton(rng):
    """Two-photon: axons with boutons in thick planes, moderate light, 8 or 12 bits."""
    style = lightsheet(rng)
    background = log_uniform(rng, 0.1, 1.5)
    style.update(
        anisotropy=rng.uniform(1.5, 5),
        axon_share=log_uniform(rng, 0.005, 0.15),
        granules=min(style["granules"], 150.0),  # as wide as axons, more of them would fill the tissue
        diameter_px=log_uniform(rng, 1.8, 5),
        slope=rng.uniform(0.2, 0.7),
        tortuosity=rng.uniform(0.3, 1.5),
        length_px=log_uniform(rng, 100, 1500),
        beads=rng.uniform(0.3, 1.5),
        bead_spacing_px=log_uniform(rng, 8, 40),
        brightness_spread=rng.uniform(0.3, 0.7),
        psf_axial_px=rng.uniform(2, 6),
        background=background,
        photons=_photons(log_uniform(rng, 0.8, 8), background),
        excess_noise=_sometimes(rng, 0.5, rng.uniform(0.1, 0.7)),
        striping=0.0,
        smoothing_px=_sometimes(rng, 0.4, rng.uniform(0.3, 0.8)),
        black_level=_sometimes(rng, 0.7, rng.uniform(-0.5, 0.8)) * background,
        white_point=log_uniform(rng, 2, 15),
        bits=int(rng.choice([8, 16])),
        levels=int(rng.choice([256, 64, 256])),
        margin=str(rng.choice(["none", "polygon"], p=[0.9, 0.1])),
    )
    if style["bits"] == 16:
        style["levels"] = 4096
    return style


def neuropil(rng):
    """Dense neuropil: axons of any direction fill much of the volume."""
    style = confocal(rng) if rng.random() < 0.5 else twophoton(rng)
    style.update(
        axon_share=rng.uniform(0.12, 0.35),
        bundles=int(rng.integers(1, 6)),
        slope=rng.uniform(0.2, 1),
        boundary_level=_sometimes(rng, 0.15, rng.uniform(0.3, 0.9), 1.0),
        alignment=log_uniform(rng, 0.2, 2),
        fascicles=rng.uniform(0.2, 0.6),
        patchiness=rng.uniform(0, 0.8),
        glare=rng.uniform(0.1, 1),
        psf_axial_px=rng.uniform(0.8, 3),
    )
    return style


def anything(rng):
    """Each parameter from another style, so that no combination is impossible."""
    drawn = [style(rng) for style in (confocal, lightsheet, twophoton)]
    style = {name: drawn[int(rng.integers(3))][name] for name in drawn[0]}
    background = log_uniform(rng, 0.1, 3)
    bits, levels = ((8, int(rng.choice([8, 16, 64, 256]))), (16, 4096), (16, 65536))[rng.integers(3)]
    style.update(
        background=background,
        photons=_photons(log_uniform(rng, 0.7, 20), background),
        diameter_px=log_uniform(rng, 1.6, 10),
        speckle=_sometimes(rng, 0.3, rng.uniform(0.1, 0.6)),
        speckle_axial=float(rng.uniform(1, 6)),
        black_level=rng.uniform(-1, 0.8) * background,
        white_point=log_uniform(rng, 2, 30),
        bits=bits,
        levels=levels,
    )
    style["psf_axial_px"] = min(style["psf_axial_px"], 1.5 * style["diameter_px"])
    return style


def draw(rng, name):
    """Draw the parameters of a style as Python numbers, strings and bools, ready for JSON.

    Parameters
    ----------
    rng : numpy.random.Generator
    name : str
        A key of `STYLES`.

    Returns
    -------
    dict
    """
    drawn = _settled(STYLES[name](rng))
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in drawn.items()}


def check(style):
    """Check parameters, of which a caller may have given some.

    Parameters
    ----------
    style : dict
        From `draw`.

    Raises
    ------
    CalzooError
        If one is not what it may be.
    """
    for name, (low, high) in LIMITS.items():
        check_number(f"axon parameter {name}", style[name], low, high, whole=name in _WHOLE)
    for name, values in _CHOICES.items():
        if style[name] not in values:
            message = (
                f"axon parameter {name} must be one of {', '.join(map(str, values))}, got {style[name]!r}"
            )
            raise CalzooError(message)
    if style["bits"] == 8:
        check_number("axon parameter levels, with bits=8,", style["levels"], 2, 256, whole=True)


# Smallest and largest value of each number.
LIMITS = {
    "anisotropy": (0.1, 20),
    "axon_share": (0, 0.6),
    "diameter_px": (0.5, 50),
    "diameter_spread": (0, 1),
    "roughness": (0, 1),
    "axial_stretch": (0.1, 10),
    "label_reach": (0, 5),
    "label_reach_axial": (0, 5),
    "bundles": (1, 100),
    "slope": (0, 1),
    "alignment": (0, 10),
    "tortuosity": (0, 10),
    "bend_px": (0.5, 1000),
    "length_px": (1, 1e5),
    "branches_per_1000px": (0, 100),
    "patchiness": (0, 5),
    "fascicles": (0, 1),
    "beads": (0, 5),
    "bead_spacing_px": (1, 1000),
    "gap_share": (0, 0.9),
    "brightness_spread": (0, 3),
    "brightness_along": (0, 3),
    "dimmest": (0, 10),
    "label_glow": (0, 1),
    "clarity": (0, 1000),
    "psf_px": (0, 20),
    "psf_axial_px": (0, 50),
    "psf_growth": (1, 10),
    "glare": (0, 10),
    "glare_px": (1, 200),
    "haze": (0, 100),
    "background": (0, 100),
    "texture": (0, 2),
    "grain": (0, 2),
    "boundary_level": (0, 1),
    "cells": (0, 1000),
    "granules": (0, 5000),
    "vessels": (0, 100),
    "dark_cells": (0, 1000),
    "dark_vessels": (0, 100),
    "darkness": (0, 1),
    "cell_radius_px": (0.5, 100),
    "unevenness": (0, 2),
    "attenuation": (0, 10),
    "flicker": (0, 1),
    "striping": (0, 1),
    "photons": (1e-3, 1e7),
    "speckle": (0, 5),
    "speckle_axial": (0, 100),
    "excess_noise": (0, 10),
    "read_noise": (0, 10),
    "hot_pixels": (0, 1),
    "smoothing_px": (0, 20),
    "smoothing_axial": (0, 20),
    "black_level": (-100, 100),
    "white_point": (1e-3, 1e6),
    "levels": (2, 65536),
}
_WHOLE = {"bundles", "vessels", "dark_vessels", "levels"}
_CHOICES = {"bits": (8, 16), "margin": ("none", "polygon", "boxes")}

STYLES = {
    "confocal": confocal,
    "lightsheet": lightsheet,
    "twophoton": twophoton,
    "neuropil": neuropil,
    "anything": anything,
}
