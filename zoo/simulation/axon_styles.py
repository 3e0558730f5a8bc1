"""What stacks of axons look like in different laboratories: the parameters, drawn at random."""

import numpy as np


def log_uniform(rng, low, high):
    """Draw a number whose logarithm is uniform between those of `low` and `high`."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def confocal(rng):
    """Draw a photon-starved confocal stack: thick, nearly parallel axons, few grey levels."""
    anisotropy = rng.uniform(1.5, 4)
    return {
        "anisotropy": anisotropy,
        "diameter_px": log_uniform(rng, 5, 11),
        "diameter_spread": rng.uniform(0.1, 0.3),
        "axial_stretch": rng.uniform(1.0, 1.6),
        "axon_share": log_uniform(rng, 0.01, 0.15),
        "alignment": rng.uniform(0.05, 0.3),
        "tortuosity": rng.uniform(0.05, 0.4),
        "branches_per_mm": 0.0,
        "beads": rng.uniform(0, 0.5),
        "gaps_per_100px": rng.choice([0.0, rng.uniform(0, 0.6)]),
        "brightness_spread": rng.uniform(0.2, 0.6),
        "psf_px": rng.uniform(0.6, 1.5),
        "psf_axial_px": rng.uniform(1.0, 4.0),
        "background": log_uniform(rng, 0.15, 1.0),
        "background_texture": rng.uniform(0.05, 0.4),
        "haze": rng.uniform(0, 0.6),
        "striping": 0.0,
        "photons": log_uniform(rng, 0.5, 6),
        "read_noise": 0.0,
        "offset": 0.0,
        "bits": 8,
        "levels": int(rng.integers(8, 24)),
        "white_point": rng.uniform(6, 14),
        "margin": bool(rng.random() < 0.3),
    }


def lightsheet(rng):
    """Draw a bright light-sheet stack: thin, branched, tortuous axons, nearly isotropic, 16 bit."""
    return {
        "anisotropy": rng.uniform(1, 1.6),
        "diameter_px": log_uniform(rng, 1.6, 4),
        "diameter_spread": rng.uniform(0.1, 0.4),
        "axial_stretch": rng.uniform(1.0, 1.5),
        "axon_share": log_uniform(rng, 0.002, 0.08),
        "alignment": rng.uniform(0.3, 3),
        "tortuosity": rng.uniform(0.4, 2.0),
        "branches_per_mm": rng.uniform(0, 10),
        "beads": rng.uniform(0, 1),
        "gaps_per_100px": rng.uniform(0, 0.5),
        "brightness_spread": rng.uniform(0.3, 0.8),
        "psf_px": rng.uniform(0.4, 1.0),
        "psf_axial_px": rng.uniform(0.6, 3.0),
        "background": log_uniform(rng, 0.1, 3.0),
        "background_texture": rng.uniform(0.1, 0.6),
        "haze": rng.uniform(0, 0.5),
        "striping": rng.choice([0.0, rng.uniform(0, 0.1)]),
        "photons": log_uniform(rng, 10, 300),
        "read_noise": rng.uniform(0, 0.1),
        "offset": rng.uniform(0, 0.5),
        "bits": 16,
        "levels": 65536,
        "white_point": log_uniform(rng, 3, 100),
        "margin": False,
    }


def twophoton(rng):
    """Draw a two-photon stack: axons with boutons, of middle calibre and signal, in thick planes."""
    drawn = lightsheet(rng)
    drawn.update(
        anisotropy=rng.uniform(1.5, 5),
        diameter_px=log_uniform(rng, 2, 6),
        axon_share=log_uniform(rng, 0.005, 0.1),
        beads=rng.uniform(0.5, 2),
        psf_axial_px=rng.uniform(2, 6),
        photons=log_uniform(rng, 2, 30),
        striping=0.0,
        background=log_uniform(rng, 0.05, 0.6),
        bits=int(rng.choice([8, 16])),
        levels=int(rng.choice([256, 4096])),
        white_point=log_uniform(rng, 2, 12),
    )
    return drawn


STYLES = {"confocal": confocal, "lightsheet": lightsheet, "twophoton": twophoton}
