"""A card in words: what fit writes is told in short, what is unknown is told as it is."""

from mldsim.card import told


def test_what_fit_writes_is_told_in_short() -> None:
    words = told(
        {
            "theory": "revPBE0-D3",
            "ridge": 1e-7,
            "errors": {"train": {"force_rmse_meV_A": 43.21, "frames": 580}, "holdout": None},
            "cross_validation": {"folds": 5, "trials": [{}] * 32},
            "bad_frames": [{"source": "a.h5", "system": "hot", "frame": 17}, {"source": "b.xyz", "frame": 0}],
            "bounded": {"train_force_rmse_meV_A": 55.04, "free_train_force_rmse_meV_A": 43.2},
        }
    )
    assert words == {
        "theory": "revPBE0-D3",
        "ridge": "1e-07",
        "force error, train": "43.2 meV/Å on 580 frames",
        "force error, holdout": "null",
        "cross-validation": "32 settings tried on 5 folds",
        "bad frames left out": "a.h5 hot frame 17; b.xyz frame 0",
        "bounded below": "force error 55.0 meV/Å on the fitted frames, 43.2 without the bound",
    }


def test_a_strangers_card_is_told_as_it_is() -> None:
    card = {"errors": "none", "bad_frames": [3], "bounded": {"yes": 1}, "cross_validation": "done", "å": {"b": [1]}}
    assert told(card) == {
        "errors": "none",
        "bad frames left out": "3",
        "bounded below": '{"yes": 1}',
        "cross_validation": "done",
        "å": '{"b": [1]}',
    }
