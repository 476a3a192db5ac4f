"""Presets: those that teach can be taken, and the user's own are saved, renamed, deleted, and brought back."""

import pytest

from mldsim.errors import InputError, WorkFailed
from mldsim.loss import shipped_models
from mldsim.parameters import Parameters, Setup, ThermostatKind
from mldsim.presets import SHIPPED, Preset, Presets
from mldsim.schedules import Leg, Schedule

MINE = Preset("Mine", "", Setup(molecules=32), Parameters(temperature=350.0, thermostat=ThermostatKind.CSVR))


@pytest.fixture
def path(home):
    return home / "config" / "mldsim" / "presets.json"


def test_shipped_presets_have_names_of_their_own_and_models_that_are_there():
    assert len({preset.name for preset in SHIPPED}) == len(SHIPPED)
    assert SHIPPED[0].parameters == Parameters()
    assert SHIPPED[0].setup == Setup()
    for preset in SHIPPED:
        assert preset.setup.model in shipped_models()
        assert preset.told.endswith(".")


def test_own_presets_are_kept_from_one_start_to_the_next(path):
    presets = Presets(path)
    assert presets.all() == SHIPPED
    presets.save(MINE)
    ramped = Preset("A ramp", parameters=Parameters(schedule=Schedule((Leg(400.0, 1e3),))))
    presets.save(ramped)
    assert Presets(path).own == (ramped, MINE)
    assert Presets(path).trouble == ""


def test_what_was_done_can_be_undone(path):
    presets = Presets(path)
    presets.save(MINE)
    presets.rename("Mine", "  Yours  ")
    assert [preset.name for preset in presets.own] == ["Yours"]
    presets.delete("Yours")
    assert presets.own == ()
    presets.undo()
    assert [preset.name for preset in presets.own] == ["Yours"]
    presets.undo()
    assert presets.own == (MINE,)
    assert Presets(path).own == (MINE,)
    presets.undo()
    assert not presets.undoable
    presets.undo()
    assert presets.own == ()


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "a name"), ("   ", "a name"), ("x" * 61, "at most 60"), ("Mine", "already"), (SHIPPED[0].name, "already")],
)
def test_names_that_cannot_be_are_refused(path, name, told):
    presets = Presets(path)
    presets.save(MINE)
    with pytest.raises(InputError, match=told):
        presets.save(Preset(name))
    presets.save(Preset("Mine", "another"), replacing=True)
    assert [preset.told for preset in presets.own] == ["another"]
    with pytest.raises(InputError, match="comes with mldsim"):
        presets.save(Preset(SHIPPED[0].name), replacing=True)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe", b"[]", b'{"schema": 9, "presets": []}',
        b'{"schema": 1, "presets": [{"name": "a", "parameters": {"temperature": 1e9}}]}',
    ],
)  # fmt: skip
def test_a_broken_file_is_told_and_kept_aside(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    presets = Presets(path)
    assert presets.all() == SHIPPED
    assert str(path) in presets.trouble
    assert "set aside as presets.json.broken" in presets.trouble
    assert (path.parent / "presets.json.broken").read_bytes() == content
    presets.save(MINE)
    assert Presets(path).own == (MINE,)


def test_a_disk_that_refuses_changes_nothing(path, monkeypatch):
    presets = Presets(path)
    presets.save(MINE)

    def full(self, *_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(WorkFailed, match="the disk is full"):
        presets.delete("Mine")
    assert presets.own == (MINE,)
    assert not [file for file in path.parent.iterdir() if file.name.endswith(".part")]
