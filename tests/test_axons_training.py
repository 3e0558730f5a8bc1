from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from tiny_recipe import tiny_recipe

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.simulation.axon_styles import draw
from calzoo.simulation.axons import simulate_axons
from calzoo.training import axons_simulated, recipes
from calzoo.training.axons_augmentation import Variation
from calzoo.training.axons_simulated import simulated_recording
from calzoo.training.axons_sources import Recording
from calzoo.training.simulated import VALIDATION
from calzoo.training.tiles import IGNORE
from calzoo.weights.card import Card


def test_a_simulated_stack_depends_on_seed_and_number_alone():
    styles = {"confocal": 1, "lightsheet": 1}
    one, again, other = (simulated_recording(2, n, (4, 24, 24), styles) for n in (5, 5, VALIDATION))
    np.testing.assert_array_equal(one.volume, again.volume)
    assert one.name == again.name
    assert other.name.endswith(str(VALIDATION))


def test_the_style_does_not_decide_what_is_in_a_stack(monkeypatch):
    """From one stream the number that chooses the style would be the first of its parameters."""
    made = []
    nothing = SimpleNamespace(volume=None, instances=None)
    monkeypatch.setattr(
        axons_simulated,
        "simulate_axons",
        lambda seed, shape, style, **_: made.append((seed, style)) or nothing,
    )
    for number in range(300):
        simulated_recording(2, number, (4, 24, 24), {"confocal": 1, "lightsheet": 1})
    for style in ("confocal", "lightsheet"):
        drawn = [
            draw(np.random.default_rng(seed), style)["background"] for seed, name in made if name == style
        ]
        free = [draw(np.random.default_rng(number), style)["background"] for number in range(300)]
        assert len(drawn) > 100
        assert 0.35 < np.mean(drawn < np.median(free)) < 0.65


def test_half_of_the_stacks_are_magnified(monkeypatch):
    made = []
    nothing = SimpleNamespace(volume=None, instances=None)
    monkeypatch.setattr(
        axons_simulated,
        "simulate_axons",
        lambda *_, magnification, **__: made.append(magnification) or nothing,
    )
    for largest in (1.0, 2.5):
        for number in range(400):
            simulated_recording(2, number, (4, 24, 24), {"confocal": 1}, largest)
    assert set(made[:400]) == {1.0}
    larger = [factor for factor in made[400:] if factor > 1]
    assert 0.42 < len(larger) / 400 < 0.58
    assert max(larger) <= 2.5
    assert np.median(larger) == pytest.approx(2.5**0.5, rel=0.1)


def test_no_stack_is_one_that_the_command_writes():
    recording = simulated_recording(2, 5, (4, 24, 24), {"confocal": 1})
    assert not np.array_equal(recording.volume, simulate_axons((2, 5), (4, 24, 24), style="confocal").volume)


@pytest.fixture
def data(request):
    data = tiny_recipe(**getattr(request, "param", {})).data()
    data.prepare(0)
    yield data
    data.close()


def test_a_batch_is_a_function_of_epoch_and_step(data):
    first, again, other = data.batch(0, 1), data.batch(0, 1), data.batch(0, 2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


def test_a_batch_has_tiles_classes_and_weights(data):
    x, y = data.batch(0, 0)
    assert (x.shape, x.dtype) == ((2, 4, 16, 16, 1), np.float32)
    assert (y.shape, y.dtype) == ((2, 4, 16, 16, 2), np.float32)
    assert x.min() >= -1
    assert x.max() <= 4
    assert set(np.unique(y[..., 0])) <= {0, 1, 2}
    assert set(np.unique(y[..., 1])) <= {0, 1}


def own_recording(labels):
    """A recording whose intensities tell the truth: 10 background, 20 axon, 30 border, 40 not known."""
    volume = np.array([10, 20, 30, 40], np.uint16)[np.where(labels == IGNORE, 3, labels)]
    return Recording("mine", "own", volume, labels, instances=False)


def test_an_axon_of_any_number_is_trained_on(rng):
    from calzoo.training.axons_data import AxonData

    labels = np.zeros((8, 40, 40), np.uint8)
    labels[:, 12:28, 12:28] = 1
    recipe = tiny_recipe(shares={"own": 1.0}, ignore_zeros=False)
    ones, named = (
        AxonData(recipe, [Recording("mine", "own", own_recording(labels).volume, labels * n, instances=True)])
        for n in (1, IGNORE)
    )
    for step in range(4):
        for one, other in zip(ones.batch(0, step), named.batch(0, step), strict=True):
            np.testing.assert_array_equal(one, other)


def test_own_recordings_are_trained_on_and_unknown_voxels_weigh_nothing(rng):
    from calzoo.training.axons_data import AxonData

    labels = rng.choice(np.array([0, 1, 2, IGNORE], np.uint8), (8, 40, 40))
    recipe = tiny_recipe(shares={"own": 1.0}, ignore_zeros=False)
    recipe = recipes.changed(recipe, {f"variation.own.{k}": 0.0 for k in recipe.variation["own"]})
    data = AxonData(recipe, [own_recording(labels)])
    x, y = data.batch(0, 0)
    truth, weight = y[..., 0], y[..., 1]
    for value, kind in zip(np.unique(x), (0, 1, 2, None), strict=True):
        here = x[..., 0] == value
        assert (weight[here] == (kind is not None)).all()
        assert kind is None or (truth[here] == kind).all()
    assert data.validation == []
    assert recipe.score(None, data) == ({}, [])


def test_only_the_given_planes_of_own_recordings_are_trained_on(rng):
    from calzoo.training.axons_data import AxonData

    labels = np.zeros((8, 40, 40), np.uint8)
    labels[4:] = 1
    bare = asdict(Variation(frame=0.0))  # a black frame is background
    recipe = tiny_recipe(shares={"own": 1.0}, own_planes=[4, 8], variation={"own": bare})
    data = AxonData(recipe, [own_recording(labels)])
    for step in range(4):
        _, y = data.batch(0, step)
        assert (y[..., 0][y[..., 1] > 0] == 1).all()


def test_without_any_recording_of_its_sources_a_recipe_asks_for_them():
    with pytest.raises(CalzooError, match="recipe 'axons' trains on own, but no such recording was given"):
        tiny_recipe(shares={"own": 1.0}).data()


@pytest.mark.data
def test_labelled_planes_are_split_into_training_and_validation(shared_data):
    recipe = tiny_recipe(shares={"trailmap": 1.0}, validation_planes=[77])
    data = recipe.data([shared_data / "trailmap", shared_data / "dlmbmap"])
    assert data.sources == ("trailmap",)
    (held,) = data.validation
    assert np.flatnonzero((held.labels != IGNORE).any((1, 2))).tolist() == [77]
    tiles, instances = data._tiles["trailmap"][0]
    assert not instances
    # Tiles lie every 4 voxels / 4 = 1 plane: the grid index is the first plane, the margin one plane.
    planes = {
        int(np.unravel_index(k, tiles.images.shape[:3])[0]) + 1 + i for k in tiles.kept for i in range(4)
    }
    assert {17, 48} <= planes
    assert 77 not in planes


@pytest.mark.parametrize("name", [name for name in recipes.RECIPES if name.startswith("axons")])
def test_card_fields_of_axon_recipes_make_a_card_that_survives_json(name):
    class Counted:
        """Building the VGG16 network takes a second and says nothing here."""

        def count_params(self):
            return 12

    card = Card(**recipes.recipe(name).card_fields(Counted(), ("simulation", "trailmap", "dlmbmap")))
    again = Card.from_json(card.to_json())
    assert again.normalisation == card.normalisation
    assert (card.normalisation.low, card.normalisation.high, card.normalisation.ignore_zeros) == (
        1,
        99.8,
        True,
    )
    assert card.normalisation.clip == (-1, 4)
    assert [d.licence for d in card.data] == ["MIT", "MIT", "CC-BY-4.0"]
    assert card.tile["z"] % card.divisor["z"] == 0


def write_labelled(folder, rng, labels, name="volume.tif", ending="label.tif"):
    folder.mkdir(exist_ok=True, parents=True)
    for path, array in ((name, rng.integers(0, 200, labels.shape).astype(np.uint8)), (ending, labels)):
        tifffile.imwrite(folder / path, array, photometric="minisblack", metadata={"axes": "ZYX"})
    return folder


def test_only_recordings_that_are_trained_on_are_in_the_fingerprint(rng, tmp_path):
    labels = rng.integers(0, 2, (8, 40, 40)).astype(np.uint8)
    own = write_labelled(tmp_path / "own", rng, labels)
    weak = write_labelled(tmp_path / "weak", rng, labels, "cube1_volume.tif", "cube1_finelabel.tif")
    for shares in ({"own": 1.0}, {"own": 1.0, "dlmbmap": 0.0}):
        assert list(tiny_recipe(shares=shares).data([own, weak]).fingerprint()) == ["own/own"]


def test_recordings_of_one_name_have_fingerprints_of_their_own(rng, tmp_path):
    labels = rng.integers(0, 2, (8, 40, 40)).astype(np.uint8)
    folders = [write_labelled(tmp_path / place / "rec", rng, labels) for place in "ab"]
    recipe = tiny_recipe(shares={"own": 1.0})
    before = recipe.data(folders).fingerprint()
    write_labelled(folders[0], rng, 1 - labels)
    after = recipe.data(folders).fingerprint()
    assert list(before) == list(after) == ["own/rec", "own/rec (2)"]
    assert before["own/rec"] != after["own/rec"]
    assert before["own/rec (2)"] == after["own/rec (2)"]


@pytest.mark.parametrize("known", [None, 0])
def test_labels_that_tell_nothing_are_refused(known):
    from calzoo.training.axons_data import AxonData

    labels = np.full((8, 40, 40), IGNORE, np.uint8)
    if known is not None:
        labels[known] = 1  # in the margin of every tile
    with pytest.raises(CalzooError, match=r"mine: expected known labels to train on, at least \[1, 2, 2\]"):
        AxonData(tiny_recipe(shares={"own": 1.0}), [own_recording(labels)])


def test_planes_beyond_the_end_are_refused():
    from calzoo.training.axons_data import AxonData

    recipe = tiny_recipe(shares={"own": 1.0}, own_planes=[8, 12])
    with pytest.raises(CalzooError, match=r"mine: expected planes \[8, 12\] \(own_planes\) .* got 8 planes"):
        AxonData(recipe, [own_recording(np.zeros((8, 40, 40), np.uint8))])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tile": (4, 16, 32)}, r"tile must be \(z, y, x\) with y = x, .* got \[4, 16, 32\]"),
        ({"margin": (1, 2, 4)}, r"margin must be \(z, y, x\) with y = x, .* got \[1, 2, 4\]"),
        ({"tile": (16, 16)}, r"tile must be \(z, y, x\) with y = x, .* got \[16, 16\]"),
    ],
)
def test_tiles_that_cannot_be_turned_are_refused(settings, reason):
    with pytest.raises(CalzooError, match=reason):
        replace(tiny_recipe(), **settings)


def test_halo_of_the_card_is_that_of_the_kernel():
    from calzoo.networks.unet3d import halo

    network = {"filters": [2, 4], "bottom": 4, "pool": [[1, 2, 2], [1, 2, 2]], "kernel": 5}
    recipe = tiny_recipe(network=network)
    found = recipe.card_fields(recipe.build())["halo"]
    assert tuple(found.values()) == halo(network["pool"], 5) > halo(network["pool"])
