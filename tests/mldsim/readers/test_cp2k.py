from dataclasses import replace

import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.readers import open_frames

# Worked by hand from CODATA 2018: 27.211386245988 eV / 0.529177210903 A, and 0.529177210903 A / 0.024188843265857 fs.
HARTREE_PER_BOHR = 51.42206747
BOHR_PER_ATOMIC_TIME = 21.87691264


def test_units_are_converted(cp2k_project, water):
    (frames,) = open_frames(cp2k_project())
    assert frames.symbols == water.symbols
    np.testing.assert_allclose(frames.positions, water.positions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(frames.forces, water.forces * HARTREE_PER_BOHR, rtol=1e-9)
    np.testing.assert_allclose(frames.velocities, water.velocities * BOHR_PER_ATOMIC_TIME, rtol=1e-9)
    assert frames.energies[0] == pytest.approx(-925.187132, abs=1e-6)  # -34 hartree
    np.testing.assert_array_equal(frames.steps, [0, 10, 20, 30, 40])
    np.testing.assert_allclose(frames.boxes, np.tile([6.0, 7.0, 8.0], (5, 1)))
    assert frames.provenance["ensemble"] == "NVT"
    assert "PBE" in frames.provenance["method"]
    assert "left_out" not in frames.provenance


@pytest.mark.parametrize("name", ["water-pos-1.xyz", "water-frc-1.xyz", "water-vel-1.xyz", "water.inp", "."])
def test_any_file_of_the_project_names_it(cp2k_project, tmp_path, name):
    cp2k_project()
    (frames,) = open_frames(tmp_path / name)
    assert frames.n_frames == 5


def test_molecules_may_come_in_any_order(cp2k_project, water):
    order = [1, 3, 0, 5, 2, 4]
    (frames,) = open_frames(cp2k_project(water.reordered(order)))
    assert frames.symbols == ("H", "O", "O", "H", "H", "H")
    np.testing.assert_allclose(frames.forces, water.forces[:, order] * HARTREE_PER_BOHR, rtol=1e-9)


def test_velocities_are_optional(cp2k_project):
    (frames,) = open_frames(cp2k_project(without=["vel"]))
    assert frames.velocities is None


def test_frames_are_paired_by_step(cp2k_project, tmp_path, water, frame_text):
    positions = cp2k_project()
    # Forces were printed at other intervals: steps 10, 15, 30 and 35.
    frames = [(1, 10), (1, 15), (3, 30), (3, 35)]
    text = "".join(frame_text(water.symbols, water.forces[i], step, water.energies[i]) for i, step in frames)
    (tmp_path / "water-frc-1.xyz").write_text(text)
    (read,) = open_frames(positions)
    np.testing.assert_array_equal(read.steps, [10, 30])
    np.testing.assert_allclose(read.forces, water.forces[[1, 3]] * HARTREE_PER_BOHR, rtol=1e-9)
    np.testing.assert_allclose(read.positions, water.positions[[1, 3]], atol=1e-12)
    np.testing.assert_allclose(read.velocities, water.velocities[[1, 3]] * BOHR_PER_ATOMIC_TIME, rtol=1e-9)
    assert "positions without forces: 3" in read.provenance["left_out"]
    assert "forces without positions: 2" in read.provenance["left_out"]


def test_of_a_repeated_step_the_last_frame_counts(cp2k_project, tmp_path, water, frame_text):
    positions = cp2k_project()
    for kind, values in (("pos", water.positions), ("frc", water.forces), ("vel", water.velocities)):
        with (tmp_path / f"water-{kind}-1.xyz").open("a") as file:  # restarted from step 30: 40 comes again, then 50
            file.write(frame_text(water.symbols, values[0], 40, -34.45))
            file.write(frame_text(water.symbols, values[1], 50, -34.5))
    (read,) = open_frames(positions)
    np.testing.assert_array_equal(read.steps, [0, 10, 20, 30, 40, 50])
    np.testing.assert_allclose(read.positions[4], water.positions[0], atol=1e-12)
    assert read.energies[4] == pytest.approx(-34.45 * 27.211386245988)
    assert "repeated frames (of a step the last one counts): 3" in read.provenance["left_out"]


@pytest.mark.parametrize("cut", [1, 15, 40, 70, 200, 401])
def test_half_a_frame_at_the_end_is_dropped(cp2k_project, tmp_path, cut):
    positions = cp2k_project()
    forces = tmp_path / "water-frc-1.xyz"
    forces.write_text(forces.read_text()[:-cut])
    (read,) = open_frames(positions)
    np.testing.assert_array_equal(read.steps, [0, 10, 20, 30])
    assert "frames cut short: 1" in read.provenance["left_out"]


@pytest.mark.parametrize("cut", [1, 20, 25, 45, 68, 69, 100])
def test_half_a_frame_where_a_killed_run_was_continued_is_dropped(cp2k_project, tmp_path, water, frame_text, cut):
    positions = cp2k_project()
    forces = tmp_path / "water-frc-1.xyz"
    broken = forces.read_text()[:-cut]
    forces.write_text(broken + frame_text(water.symbols, water.forces[0], 50, -34.5))
    with positions.open("a") as file:
        file.write(frame_text(water.symbols, water.positions[0], 50, -34.5))
    (read,) = open_frames(positions)
    np.testing.assert_array_equal(read.steps, [0, 10, 20, 30, 50])
    np.testing.assert_allclose(read.forces[-1], water.forces[0] * HARTREE_PER_BOHR, rtol=1e-9)


def test_one_step_of_two_runs_is_not_paired(cp2k_project, tmp_path, water, frame_text):
    """A restart repeated step 40 in the positions; the disk was full when its forces were due."""
    positions = cp2k_project()
    with positions.open("a") as file:
        file.write(frame_text(water.symbols, water.positions[0], 40, -34.9))
    (read,) = open_frames(positions)
    np.testing.assert_array_equal(read.steps, [0, 10, 20, 30])
    assert "different runs" in read.provenance["left_out"]


def test_forces_of_another_run_are_refused(cp2k_project, tmp_path, water):
    positions = cp2k_project()
    text = positions.with_name("water-frc-1.xyz").read_text()
    cp2k_project(replace(water, energies=water.energies + 0.01), without=["frc"])
    positions.with_name("water-frc-1.xyz").write_text(text)
    with pytest.raises(InputError, match="do not belong to one run"):
        open_frames(positions)


def test_missing_forces_say_what_makes_cp2k_write_them(cp2k_project):
    with pytest.raises(InputError, match=r"water-frc-1\.xyz was looked for.*&MOTION &PRINT &FORCES ON"):
        open_frames(cp2k_project(without=["frc"]))


def test_atoms_that_differ_between_files_are_refused(cp2k_project, tmp_path, water):
    positions = cp2k_project()
    text = positions.read_text()
    cp2k_project(water.reordered([1, 0, 2, 3, 4, 5]))
    positions.write_text(text)
    with pytest.raises(InputError, match=r"frc-1\.xyz lists other atoms.*atom 1 is H instead of O"):
        open_frames(positions)


@pytest.mark.parametrize(
    "cell",
    [
        "A 6.0 0.0 0.0\n B 0.0 7.0 0.0\n C 0.0 0.0 8.0",
        "ABC [angstrom] 6.0 7.0 8.0\n ALPHA_BETA_GAMMA 90 90 90",
        "ABC [bohr] 11.33835675 13.22808288 15.11780900",
        "abc 6.0 7.0 4.0\n MULTIPLE_UNIT_CELL 1 1 2",
    ],
)
def test_spellings_of_the_cell(cp2k_project, cell):
    (frames,) = open_frames(cp2k_project(cell=cell))
    np.testing.assert_allclose(frames.boxes[0], [6.0, 7.0, 8.0], rtol=1e-8)


def test_variables_of_the_input(cp2k_project, tmp_path):
    positions = cp2k_project(cell="ABC ${EDGE} 7.0 8.0")
    inp = tmp_path / "water.inp"
    inp.write_text("@SET EDGE 6.0\n" + inp.read_text())
    (frames,) = open_frames(positions)
    np.testing.assert_allclose(frames.boxes[0], [6.0, 7.0, 8.0])


def test_an_input_of_another_name_is_found_by_its_project(cp2k_project, tmp_path):
    positions = cp2k_project()
    (tmp_path / "water.inp").rename(tmp_path / "md_300K.inp")
    (tmp_path / "broken.inp").write_text("&GLOBAL\n")
    assert open_frames(positions)[0].n_frames == 5
    assert open_frames(tmp_path / "md_300K.inp")[0].n_frames == 5


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("ABC 6 7 8\n ALPHA_BETA_GAMMA 90 90 60", "only right angles"),
        ("A 6 0 0\n B 1 7 0\n C 0 0 8", "not orthorhombic"),
        ("ABC ${EDGE} 7 8", "--cell"),
        ("ABC -6 7 8", "three positive edges"),
        ("CELL_FILE_NAME water.cell", "--cell"),
    ],
)
def test_cells_that_cannot_be_used(cp2k_project, cell, message):
    with pytest.raises(InputError, match=message):
        open_frames(cp2k_project(cell=cell))


def test_a_cell_that_is_not_known_can_be_given(cp2k_project):
    positions = cp2k_project(without=["inp"])
    with pytest.raises(InputError, match="the cell is not known"):
        open_frames(positions)
    np.testing.assert_allclose(open_frames(positions, cell=[6, 7, 8])[0].boxes[0], [6.0, 7.0, 8.0])
    np.testing.assert_allclose(open_frames(positions, cell=[8.5])[0].boxes[0], [8.5, 8.5, 8.5])
    for wrong in ([6, 7], [6, 7, -8], [6, 7, float("nan")]):
        with pytest.raises(InputError, match="positive lengths"):
            open_frames(positions, cell=wrong)


def test_a_changing_cell_is_read_from_its_file(cp2k_project, tmp_path):
    positions = cp2k_project()
    inp = tmp_path / "water.inp"
    inp.write_text(inp.read_text().replace("NVT", "NPT_I"))
    with pytest.raises(InputError, match="&PRINT &CELL ON"):
        open_frames(positions)
    header = "#   Step   Time [fs]       Ax [Angstrom]  Ay Az  Bx By Bz  Cx Cy Cz   Volume [Angstrom^3]\n"
    rows = [f"{step} {step / 2} {6 + step / 100} 0 0 0 7 0 0 0 8 336.0\n" for step in (0, 10, 20, 40)]
    (tmp_path / "water-1.cell").write_text(header + "".join(rows))
    (frames,) = open_frames(positions)
    np.testing.assert_array_equal(frames.steps, [0, 10, 20, 40])
    np.testing.assert_allclose(frames.boxes[:, 0], [6.0, 6.1, 6.2, 6.4])
    assert "frames without a cell: 1" in frames.provenance["left_out"]


def test_a_folder_of_several_projects_is_ambiguous(cp2k_project, tmp_path):
    cp2k_project(project="cold")
    cp2k_project(project="hot")
    with pytest.raises(InputError, match="cold, hot"):
        open_frames(tmp_path)
    assert open_frames(tmp_path / "hot-pos-1.xyz")[0].n_frames == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  O ", "  Xx ", "'Xx' is not the symbol"),
        ("  H ", "  HO ", "'HO' is not the symbol"),
    ],
)
def test_unknown_elements(cp2k_project, tmp_path, old, new, message):
    positions = cp2k_project()
    for kind in ("pos", "frc", "vel"):
        file = tmp_path / f"water-{kind}-1.xyz"
        file.write_text(file.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        open_frames(positions)


def test_labels_of_kinds(cp2k_project, tmp_path):
    positions = cp2k_project()
    for kind in ("pos", "frc", "vel"):
        file = tmp_path / f"water-{kind}-1.xyz"
        file.write_text(file.read_text().replace("  O ", "  O1 ").replace("  H ", "  H_w "))
    assert open_frames(positions)[0].symbols == ("O", "H", "H") * 2


@pytest.mark.parametrize("value", ["*******", "NaN", "Infinity"])
def test_a_broken_number_names_file_and_line(cp2k_project, tmp_path, water, value):
    positions = cp2k_project()
    forces = tmp_path / "water-frc-1.xyz"
    lines = forces.read_text().splitlines(keepends=True)
    lines[10] = f"  O  0.1  {value}  0.2\n"
    forces.write_text("".join(lines))
    with pytest.raises(InputError, match=r"water-frc-1\.xyz, frame at line 10: a value is not a"):
        open_frames(positions)


def test_other_units_in_the_input_are_refused(cp2k_project, tmp_path):
    positions = cp2k_project()
    inp = tmp_path / "water.inp"
    section = "&MOTION\n &PRINT\n &TRAJECTORY\n UNIT bohr\n &END\n &END\n"
    inp.write_text(inp.read_text().replace("&MOTION\n", section, 1))
    with pytest.raises(InputError, match="UNIT bohr"):
        open_frames(positions)


def test_positions_in_bohr_are_noticed(cp2k_project, water):
    with pytest.raises(InputError, match="such as bohr"):
        open_frames(cp2k_project(replace(water, positions=water.positions * 1.8897), cell="ABC 12 14 16"))
