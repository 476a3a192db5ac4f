"""The file of frames that runs came upon."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.labelling import read_configurations
from mldsim.learning.frames import Found, Why, can_be_labelled, configurations, read_found, write_found

SYMBOLS = ("O", "H", "H")
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def found(**changes: object) -> Found:
    usual = Found(WATER, np.array([6.0, 6.5, 7.0]), np.array([0.1, 0.2, 0.3]), 1.5, 120.0, Why.DOUBT)
    return replace(usual, **changes)


def test_what_is_written_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    written = [found(positions=WATER + rng.normal(0, 0.02, (3, 3)), why=why) for why in Why]
    write_found(tmp_path / "a.xyz", SYMBOLS, written)
    symbols, read = read_found(tmp_path / "a.xyz")
    assert symbols == SYMBOLS
    for before, after in zip(written, read, strict=True):
        np.testing.assert_allclose(after.positions, before.positions, atol=1e-10)
        np.testing.assert_allclose(after.box, before.box)
        np.testing.assert_allclose(after.doubts, before.doubts)
        assert (after.excess, after.time, after.why) == (before.excess, before.time, before.why)


def test_the_file_can_be_labelled_by_hand(tmp_path: Path) -> None:
    write_found(tmp_path / "a.xyz", SYMBOLS, [found(), found()])
    (system,) = read_configurations(tmp_path / "a.xyz")
    assert system.n_frames == 2
    np.testing.assert_allclose(system.boxes[0], [6.0, 6.5, 7.0])


def test_no_frame_is_a_file_too(tmp_path: Path) -> None:
    write_found(tmp_path / "a.xyz", SYMBOLS, [])
    assert read_found(tmp_path / "a.xyz") == ((), [])


def test_fused_nuclei_cannot_be_labelled() -> None:
    """One such frame would make the whole file of labels unreadable. The nearest image counts."""
    assert can_be_labelled(found())
    assert not can_be_labelled(found(positions=0.4 * WATER))
    over_the_edge = WATER.copy()
    over_the_edge[1, 0] += 4.7
    assert not can_be_labelled(found(positions=over_the_edge, box=np.full(3, 6.0)))
    assert not can_be_labelled(found(positions=WATER * np.nan))


@pytest.mark.parametrize("spoil", [lambda t: t[: 3 * len(t) // 4], lambda t: t.replace("why", "how"), lambda t: "no"])
def test_a_spoilt_file_is_one_sentence(tmp_path: Path, spoil) -> None:
    write_found(tmp_path / "a.xyz", SYMBOLS, [found(), found()])
    text = (tmp_path / "a.xyz").read_text()
    (tmp_path / "a.xyz").write_text(spoil(text))
    with pytest.raises(InputError, match=r"a\.xyz is not a file of frames"):
        read_found(tmp_path / "a.xyz")


def test_frames_of_one_box_stand_together(tmp_path: Path) -> None:
    """An engine reads every change of the box in anew."""
    boxes = [np.full(3, edge) for edge in (6.0, 7.0, 6.0, 7.0)]
    (system,) = configurations(SYMBOLS, [found(box=box) for box in boxes], tmp_path / "a.xyz")
    assert system.boxes[:, 0].tolist() == [6.0, 6.0, 7.0, 7.0]
    assert system.numbers.tolist() == [0, 2, 1, 3]
    assert configurations(SYMBOLS, [], tmp_path / "a.xyz") == []
