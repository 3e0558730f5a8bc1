"""Runs of a released preset for cells, written again to change its thresholds."""

import pytest

pytestmark = pytest.mark.train
pytest.importorskip("keras")

from calzoo.errors import CalzooError
from calzoo.inference.models import load_model
from calzoo.training.cells_released import main, unpack
from calzoo.training.runs import build_model, load_run


def test_run_of_a_preset_is_that_of_its_card(tmp_path, capsys):
    main(["cells-2p", "-o", str(tmp_path)])
    assert capsys.readouterr().out.strip() == str(tmp_path)
    for role in ("proposal", "instance"):
        run, card = load_run(tmp_path / role), load_model("cells-2p", role=role).card
        fields = run.card_fields(build_model(run))
        assert fields["postprocessing"] == dict(card.postprocessing)
        assert fields["training"]["schedule"] == dict(card.training["schedule"])
        assert fields["training"]["steps"] == card.training["steps"]
        assert (fields["name"], fields["data"]) == (card.name, card.data)
        assert not run.scores


def test_runs_are_not_overwritten(tmp_path):
    (tmp_path / "proposal").mkdir()
    with pytest.raises(CalzooError, match="name a folder without runs"):
        unpack("cells-2p", tmp_path)
