"""Training of the cell networks: sources, samples, losses, scores, one step of both recipes."""

import json
import shutil

import cell_fakes
import numpy as np
import pytest

pytestmark = pytest.mark.train
keras = pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.imaging.masks import Masks, write_masks
from calzoo.networks import cell_seeds
from calzoo.networks.instance import instance
from calzoo.networks.proposal import halo, proposal
from calzoo.training import (
    cells_crops,
    cells_data,
    cells_heat,
    cells_losses,
    cells_pool,
    cells_samples,
    recipes,
)
from calzoo.training.cells_sources import CellPicture, read_cell_pictures
from calzoo.weights.card import Card

CROSS = {"filters": [4, 4], "bottom": 4}


@pytest.fixture(autouse=True)
def forget_networks():
    yield
    keras.backend.clear_session()


def picture_of_disks(
    rng, *, name="disks", source="own", shape=(120, 150), count=15, diameter=12.0, facts=None
):
    picture, truth = cell_fakes.disks(rng, shape, diameter, count)
    masks = Masks.from_stack(truth)
    return CellPicture(
        name,
        source,
        f"{source}/{name}",
        {"mean": picture.astype(np.float32)},
        masks,
        np.ones(shape, bool),
        facts or {},
    )


@pytest.fixture
def folder(rng, tmp_path):
    """Return a folder with pictures of disks, labelled in four ways."""
    import tifffile

    for number, ending in enumerate(("_masks.npz", "_labels.tif", "_rois.zip", "_regions.json")):
        picture = picture_of_disks(rng, shape=(90, 100), count=8)
        tifffile.imwrite(tmp_path / f"p{number}.tif", picture.pictures["mean"])
        path = tmp_path / f"p{number}{ending}"
        if ending == "_masks.npz":
            write_masks(path, cells=picture.masks)
        elif ending == "_labels.tif":
            tifffile.imwrite(path, picture.masks.labels())
        elif ending == "_rois.zip":
            from calzoo.imaging.imagej_rois import write_rois

            write_rois(path, picture.masks)
        else:
            regions = [{"coordinates": np.transpose(pixels).tolist()} for pixels in picture.masks]
            path.write_text(json.dumps(regions))
    return tmp_path


def tiny(name, **settings):
    schedule = {"epochs": 1, "steps": 2, "batch": 4, "average": 0.0, "score_every": 1, "warmup": 1}
    changes = {f"schedule.{k}": v for k, v in schedule.items()}
    if name.startswith("cells-proposal"):
        changes |= {"side": 48, "network": CROSS}
    else:
        changes |= {"network": CROSS | {"hidden": 4}}
    return recipes.changed(recipes.recipe(name), changes | settings)


def test_seeds_have_the_parameters_of_the_published_networks():
    assert cell_seeds.seed_proposal().count_params() == 1_955_444
    assert cell_seeds.seed_instance().count_params() == 1_834_298


def test_default_networks_have_a_few_hundred_thousand_parameters():
    assert 300_000 < proposal().count_params() < 450_000
    assert 250_000 < instance().count_params() < 400_000


def test_illegal_side_is_refused_with_the_next_legal_one():
    with pytest.raises(
        ValueError, match=r"multiples of 8, got shape=\(60, 64\). Pad the pictures to \(64, 64\)"
    ):
        proposal((60, 64))
    with pytest.raises(ValueError, match="a multiple of 8, got 50; take 56"):
        instance(50)


def test_neither_gain_nor_light_from_one_side_matter_to_what_the_network_sees(rng):
    """Where there is contrast, the second copy of each picture is the same at any gain."""
    model = proposal(filters=(2,), bottom=2)
    seen = keras.Model(model.inputs, model.get_layer("pictures").output)
    image = rng.random((1, 64, 64, 3)).astype(np.float32)
    present = np.ones((1, 3), np.float32)
    ramp = np.linspace(0, 5, 64, dtype=np.float32)[None, :, None, None]
    plain, steep, strong = (
        keras.ops.convert_to_numpy(seen({"image": x, "present": present}))[0, 20:-20, 20:-20]
        for x in (image, image + ramp, 3 * image)
    )
    np.testing.assert_allclose(steep[..., :3], plain[..., :3], atol=0.02)
    np.testing.assert_allclose(strong[..., 3:], plain[..., 3:], atol=0.02)


def test_network_sees_the_same_in_training_and_later(rng):
    """The product of matrices that replaces slow convolutions in training gives their result."""
    model = proposal(filters=(2,), bottom=2)
    seen = keras.Model(model.inputs, model.get_layer("pictures").output)
    given = {"image": rng.random((2, 32, 40, 3)).astype(np.float32), "present": np.ones((2, 3), np.float32)}
    trained, later = (keras.ops.convert_to_numpy(seen(given, training=t)) for t in (True, False))
    np.testing.assert_allclose(trained, later, atol=1e-5)


def test_flat_picture_has_no_bright_rim():
    model = proposal(filters=(2,), bottom=2)
    seen = keras.Model(model.inputs, model.get_layer("pictures").output)
    flat = {"image": np.full((1, 32, 40, 3), 0.7, np.float32), "present": np.ones((1, 3), np.float32)}
    np.testing.assert_allclose(keras.ops.convert_to_numpy(seen(flat)), 0, atol=1e-4)


def test_picture_that_is_not_present_does_not_count(rng):
    model = proposal(filters=(2,), bottom=2)
    image = rng.random((1, 16, 16, 3)).astype(np.float32)
    other = image.copy()
    other[..., 0] = rng.random((1, 16, 16))
    present = np.float32([[0, 1, 1]])
    one, two = (model.predict_on_batch({"image": x, "present": present}) for x in (image, other))
    np.testing.assert_array_equal(one, two)
    assert np.abs(model.predict_on_batch({"image": image, "present": np.ones((1, 3))}) - one).max() > 1e-6


def test_network_looks_no_further_than_its_halo(rng):
    filters = (2, 2)
    model = proposal(filters=filters, bottom=2)
    reach = halo(filters)
    side = 4 * (2 * reach // 4 + 3)
    image = rng.random((1, 8, side, 3)).astype(np.float32)
    changed = image.copy()
    middle = side // 2
    changed[:, :, middle] += 5
    present = np.ones((1, 3), np.float32)
    before, after = (model.predict_on_batch({"image": x, "present": present})[0] for x in (image, changed))
    different = np.flatnonzero(np.abs(after - before).max(axis=(0, 2)) > 1e-7)
    assert max(middle - different.min(), different.max() - middle) <= reach


def test_folder_of_pictures_is_read_whatever_labels_it_has(folder):
    pictures = read_cell_pictures(folder)
    assert [p.name for p in pictures] == ["p0", "p1", "p2", "p3"]
    assert {p.source for p in pictures} == {"own"}
    assert {len(p.masks) for p in pictures} == {8}
    for picture in pictures:
        inside = picture.masks.count() > 0
        assert picture.pictures["mean"][inside].min() > 200 > picture.pictures["mean"][~inside].mean()


def test_folder_without_labelled_pictures_is_refused(tmp_path):
    with pytest.raises(CalzooError, match=r"expected a pool of scenes .* found none"):
        read_cell_pictures(tmp_path)


def test_pictures_without_labels_are_left_out_and_named(tmp_path, capsys):
    import tifffile

    for name in "abcde":
        tifffile.imwrite(tmp_path / f"{name}.tif", np.ones((20, 30), np.uint16))
    write_masks(tmp_path / "e_masks.npz", cells=Masks.from_pixels((20, 30), [([1], [1])]))
    assert [p.name for p in read_cell_pictures(tmp_path)] == ["e"]
    assert (
        "without labels beside them, and left out: a.tif, b.tif, c.tif and 1 more." in capsys.readouterr().err
    )
    write_masks(tmp_path / "a_masks.npz", cells=Masks.from_pixels((20, 30), [([1], [1])]))
    for name in "bcd":
        (tmp_path / f"{name}.tif").unlink()
    assert len(read_cell_pictures(tmp_path)) == 2
    assert not capsys.readouterr().err


def test_masks_of_another_frame_are_refused(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.uint16))
    write_masks(tmp_path / "a_masks.npz", cells=Masks.from_pixels((20, 31), [([1], [1])]))
    with pytest.raises(CalzooError, match=r"frames of \(20, 31\) pixels, a.tif has \(20, 30\)"):
        read_cell_pictures(tmp_path)


def test_scene_of_a_pool_is_read_as_it_was_drawn(tmp_path):
    scene, style = cells_pool.draw_scene(3, 1)
    cells_pool.write_scene(tmp_path / "00001.npz", scene, style)
    (picture,) = read_cell_pictures(tmp_path)
    assert picture.source == "simulation"
    for name, image in scene.pictures.items():
        span = np.ptp(image) or 1
        np.testing.assert_allclose(picture.pictures[name], image, atol=span / 65535)
    np.testing.assert_array_equal(picture.masks.labels(), scene.masks.labels())
    assert set(np.unique(picture.status((False, True, False)))) <= {-1, 0, 1}


def test_a_damaged_scene_is_named(tmp_path):
    scene, style = cells_pool.draw_scene(3, 1)
    path = tmp_path / "00001.npz"
    cells_pool.write_scene(path, scene, style)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CalzooError, match=r"00001\.npz: expected a scene of a pool, got .*draw it again"):
        cells_pool.read_scene(path)


def test_pool_gets_the_scenes_that_it_lacks_and_none_of_another_seed(tmp_path, monkeypatch):
    drawn = []

    def write_scene(path, *scene):
        drawn.append(scene)
        path.touch()

    monkeypatch.setattr(cells_pool, "draw_scene", lambda seed, number: (seed, number))
    monkeypatch.setattr(cells_pool, "write_scene", write_scene)
    cells_pool.main(["-o", str(tmp_path / "pool"), "-n", "2", "--seed", "3"])
    cells_pool.draw_pool(tmp_path / "pool", 2, seed=3, first=1)
    assert drawn == [(3, 0), (3, 1), (3, 2)]
    names = [path.name for path in cells_pool.pool_files(tmp_path / "pool")]
    assert names == ["00000.npz", "00001.npz", "00002.npz"]
    with pytest.raises(CalzooError, match=r"expected a cells pool, version \d+, seed 4; got a cells pool"):
        cells_pool.draw_pool(tmp_path / "pool", 9, seed=4)
    (tmp_path / "pool" / "pool.txt").unlink()
    with pytest.raises(CalzooError, match=r"scenes without pool\.txt, whose seed is not known"):
        cells_pool.draw_pool(tmp_path / "pool", 9, seed=3)
    assert len(drawn) == 3


def test_active_cell_counts_only_where_activity_is_shown(rng):
    facts = {
        "in_focus": np.array([True, True, True]),
        "active": np.array([True, False, False]),
        "snr": np.array([20.0, 0.0, 0.0]),
        "clarity": np.array([0.1, 0.8, 0.4]),
    }
    picture = picture_of_disks(rng, source="simulation", count=3, facts=facts)
    assert picture.status((True, True, True)).tolist() == [1, 1, 0]
    assert picture.status((False, True, False)).tolist() == [-1, 1, 0]


def test_scaled_picture_has_cells_of_the_diameter(rng):
    picture = picture_of_disks(rng, diameter=9.0).scaled(12.0)
    assert picture.diameter() == pytest.approx(12.0, rel=0.05)
    inside = picture.masks.count() > 0
    assert picture.pictures["mean"][inside].mean() > 3 * picture.pictures["mean"][~inside].mean()


def test_heat_of_a_turned_view_lies_on_the_cells(rng):
    picture = picture_of_disks(rng)
    variation = cells_samples.Variation(zoom=0.2)
    for _ in range(5):
        view = cells_samples.draw_view(rng, (60, 75), 31.5, variation)
        image, present = cells_samples.image_sample(rng, picture, [None, "mean", None], view, 64)
        heat = cells_heat.heat_sample(picture, picture.masks.centers, present, view, 64)
        soma, border, center, weight = np.moveaxis(heat, -1, 0)
        known = weight > 0
        assert (
            image[..., 1][known & (soma > 0)].mean() > 350 > 200 > image[..., 1][known & (soma == 0)].mean()
        )
        assert (border <= soma).all()
        peaks = np.argwhere((center > 0.9) & known)
        assert len(peaks)
        assert all(soma[tuple(p)] for p in peaks)


def test_what_cannot_be_seen_hides_nothing_that_can():
    y, x = np.mgrid[:48, :48]
    near = lambda cy, cx, r: np.nonzero((y - cy) ** 2 + (x - cx) ** 2 <= r**2)  # noqa: E731
    masks = Masks.from_pixels((48, 48), [near(24, 24, 9), near(24, 24, 4), near(24, 36, 4)])
    facts = {"clarity": np.array([0.9, 0.0, 0.4]), "snr": np.zeros(3), "active": np.ones(3)}
    facts |= {"in_focus": np.ones(3, bool)}
    picture = CellPicture(
        "one", "simulation", "simulation/one", {"mean": np.zeros((48, 48), np.float32)}, masks,
        np.ones((48, 48), bool), facts,
    )  # fmt: skip
    assert picture.status((False, True, False)).tolist() == [1, -1, 0]
    view = cells_samples.plain_view((23.5, 23.5), 23.5)
    heat = cells_heat.heat_sample(picture, masks.centers, np.array([0, 1, 0]), view, 48)
    assert heat[..., 0].sum() == len(masks[0][0])
    # The doubtful cell is unknown where it does not lie on the other.
    assert 0 < (heat[..., -1] == 0).sum() <= 1.5 * len(masks[2][0])
    assert heat[24, 24, 0] == 1


def test_mask_of_a_turned_view_is_that_of_the_cell_in_the_middle(rng):
    picture = picture_of_disks(rng)
    center = picture.masks.centers[4]
    view = cells_samples.draw_view(rng, center, 24, cells_samples.Variation(zoom=0.1, stretch=0.0))
    mask = cells_crops.mask_sample(picture.masks, 4, view, 48)
    y, x = np.nonzero(mask)
    assert abs(y.mean() - 24) < 1
    assert abs(x.mean() - 24) < 1
    size = np.abs(np.linalg.det(view.matrix))
    assert mask.sum() == pytest.approx(picture.masks.areas[4] / size, rel=0.15)


def test_places_go_there_and_back(rng):
    view = cells_samples.draw_view(rng, (40.0, 50.0), 31.5, cells_samples.Variation())
    grid = view.grid(64)
    places = np.stack([grid[:, 3, 60], grid[:, 20, 7]])
    np.testing.assert_allclose(view.back(places), [(3, 60), (20, 7)], atol=1e-9)


def test_unmarked_lookalike_is_not_background_where_labels_miss_cells(rng):
    complete = picture_of_disks(rng, count=10)
    marked = CellPicture(
        "00.00",
        "neurofinder",
        "neurofinder/00",
        complete.pictures,
        complete.masks.select(slice(0, 6)),
        complete.known,
        {},
    )
    known = cells_data.trusted(marked).known
    for (rows, cols), is_marked in zip(complete.masks, [True] * 6 + [False] * 4, strict=True):
        middle = round(rows.mean()), round(cols.mean())
        assert known[middle] == is_marked
    assert known.mean() > 0.8
    assert cells_data.trusted(complete) is complete


def test_fields_of_view_never_part(rng):
    names = [("abo", "a"), ("abo", "b"), ("abo", "c"), ("abo", "d"), ("abo", "e"), ("neurofinder", "x")]
    pictures = [picture_of_disks(rng, name=n, source=s, count=1) for s, n in names]
    twin = picture_of_disks(rng, name="x.test", source="neurofinder", count=1)
    pictures.append(CellPicture(**vars(twin) | {"field": "neurofinder/x"}))
    folds = [cells_data.held_out(pictures, fold, 0) for fold in range(4)]
    assert folds[0] == {"abo/a", "abo/e", "neurofinder/x"}
    assert set.union(*folds) == {p.field for p in pictures}
    assert sum(map(len, folds)) == len({p.field for p in pictures})
    assert cells_data.held_out(pictures, -1, 0) == set()


def test_perfect_heat_has_no_loss_and_unknown_pixels_none_at_all(rng):
    loss = cells_losses.heat_loss((1, 1, 1))
    truth = (rng.random((2, 8, 8, 3)) < 0.3).astype(np.float32)
    target = np.concatenate([truth, np.ones((2, 8, 8, 1), np.float32)], axis=-1)
    assert float(loss(target, truth)) < 1e-4
    wrong = np.where(np.arange(8)[None, :, None, None] < 4, truth, 1 - truth)
    target[:, 4:, :, 3] = 0
    assert float(loss(target, wrong)) < 1e-4
    assert float(loss(target, 1 - truth)) > 1


def test_mask_of_a_negative_crop_costs_nothing(rng):
    target = np.zeros((2, 8, 8, 2), np.float32)
    target[0, 2:5, 2:5] = 1
    target[0, ..., 1] = 1
    perfect = target[..., :1].copy()
    worse = perfect.copy()
    worse[1] = 1
    assert float(cells_losses.mask_loss(target, perfect)) == pytest.approx(0, abs=1e-4)
    assert float(cells_losses.mask_loss(target, worse)) == pytest.approx(0, abs=1e-4)
    assert float(cells_losses.mask_loss(target, 1 - perfect)) > 1


def test_score_that_nobody_knows_costs_nothing():
    target = np.float32([[1, 1], [0, 1], [1, 0]])
    good, bad = np.float32([[1], [0], [0]]), np.float32([[0], [1], [1]])
    assert float(cells_losses.score_loss(target, good)) == pytest.approx(0, abs=1e-5)
    assert float(cells_losses.score_loss(target, bad)) > 5


def test_area_under_the_curve():
    assert cells_crops._area_under_curve(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == 0.875
    assert np.isnan(cells_crops._area_under_curve(np.array([]), np.array([1.0])))


@pytest.mark.parametrize("name", ["cells-proposal-research", "cells-instance-research"])
def test_recipe_trains_scores_and_is_exported(folder, tmp_path, name):
    from calzoo.export import export_run
    from calzoo.inference.models import load_model
    from calzoo.training.trainer import train

    recipe = tiny(name, fold=1)
    run = tmp_path / "run"
    progress = train(recipe, run, folders=[folder], quiet=True)
    assert progress.step == 2
    assert 0 <= progress.history[-1]["score"] <= 1
    assert (run / "preview_0.png").is_file()
    held = json.loads((run / "fingerprint.json").read_text())
    assert len(held) == 4
    export_run(run, tmp_path / "net.onnx", timing=False)
    card = load_model(tmp_path / "net.onnx", provider="cpu").card
    assert card.task == "cells"
    assert card.role == name.split("-")[1]
    assert card.name == "cells-2p"


@pytest.mark.parametrize(
    ("sources", "name", "licence"),
    [
        (("simulation",), "cells-2p", "MIT"),
        (("simulation", "own"), "cells-2p", "MIT"),
        (("neurofinder", "simulation"), "cells-2p-research", "research use"),
    ],
)
def test_card_of_a_network_that_saw_research_data_says_so(sources, name, licence):
    recipe = tiny("cells-proposal")
    card = Card(**recipe.card_fields(recipe.build(), sources))
    assert (card.name, card.licence) == (name, licence)


@pytest.mark.parametrize("name", ["cells-proposal", "cells-instance"])
def test_batch_depends_on_seed_epoch_and_step_alone(folder, name):
    recipe = tiny(name)
    one, two = recipe.data([folder]), recipe.data([folder])
    two.batch(0, 0)
    for a, b in zip(one.batch(3, 1), two.batch(3, 1), strict=True):
        values = zip(a.values(), b.values(), strict=True) if isinstance(a, dict) else [(a, b)]
        for x, y in values:
            np.testing.assert_array_equal(x, y)
    assert not np.array_equal(one.batch(3, 1)[0]["image"], one.batch(3, 2)[0]["image"])


def test_another_marked_region_is_another_fingerprint(folder, tmp_path):
    before = read_cell_pictures(folder)[0].fingerprint()
    other = tmp_path / "other"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("other"))
    (other / "p0_region.json").write_text(json.dumps({"r": [0, 0, 20, 20]}))
    assert read_cell_pictures(other)[0].fingerprint() != before


def test_pictures_without_cells_or_all_held_out_are_refused(folder, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone, ignore=shutil.ignore_patterns("alone", "p[123]*"))
    with pytest.raises(CalzooError, match=r"beside those that are held out \(own/p0\), got none.*fold=-1"):
        tiny("cells-proposal", fold=0).data([alone])
    write_masks(alone / "p0_masks.npz", cells=Masks.from_pixels(read_cell_pictures(alone)[0].masks.shape, []))
    with pytest.raises(CalzooError, match="expected labels with cells in them, got none in 1 pictures"):
        tiny("cells-proposal").data([alone])


def test_recipe_without_pictures_says_how_to_make_some():
    with pytest.raises(CalzooError, match=r"none was given.*cells_pool -o POOL draws simulated ones"):
        recipes.recipe("cells-proposal").data([])


@pytest.mark.parametrize("name", ["cells-proposal", "cells-instance"])
def test_empty_masks_are_no_cells(folder, name):
    masks = read_cell_pictures(folder)[0].masks
    nothing = np.empty(0, int), np.empty(0, int)
    write_masks(folder / "p0_masks.npz", cells=Masks.from_pixels(masks.shape, [nothing, *masks, nothing]))
    assert len(read_cell_pictures(folder)[0].masks) == len(masks)
    data = tiny(name).data([folder])
    for step in range(6):
        x, _ = data.batch(0, step)
        assert np.isfinite(x["image"]).all()


def test_pictures_of_one_name_have_fingerprints_of_their_own(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("other", "p[123]*"))
    data = tiny("cells-proposal").data([folder, other])
    assert list(data.fingerprint()) == [*(f"own/p{n}" for n in range(4)), "own/p0 (2)"]


def test_halo_of_the_card_is_that_of_the_kernel():
    recipe = tiny("cells-proposal", network=CROSS | {"kernel": 5})
    assert (
        recipe.card_fields(recipe.build())["halo"]["y"] == halo(CROSS["filters"], 5) > halo(CROSS["filters"])
    )
