"""Every command of the window, once: its words, its keys, its icon. Menus, tool bar and the sheet of keys read it."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget

from mldsim.gui import theme


@dataclass(frozen=True, slots=True)
class Spec:
    """One command.

    `keys` are Qt key sequences, the first is the one that is shown. `short` is the word on the tool bar.
    """

    text: str
    tip: str
    keys: tuple[str, ...] = ()
    icon: str = ""
    short: str = ""
    checkable: bool = False
    group: str = ""


SPECS: dict[str, Spec] = {
    "run": Spec("Run or pause", "Run or pause the simulation", ("Space",), "run", "Run", group="Simulation"),
    "step": Spec("Single step", "Take one time step and pause", ("Right",), "step", "Step", group="Simulation"),
    "step_frame": Spec(
        "One picture", "Take as many time steps as lie between two pictures, and pause", ("Shift+Right",),
        group="Simulation",
    ),
    "run_for": Spec(
        "Run for…", "Run for so much simulated time, then pause", ("Ctrl+T",), group="Simulation"
    ),
    "extend": Spec(
        "Extend the run", "Add as much again to a run with an end, and go on", ("Ctrl+Shift+T",), group="Simulation"
    ),
    "run_on": Spec("Run without an end", "Forget the end of the run, and go on", group="Simulation"),
    "faster": Spec(
        "Faster", "More simulated time per second, up to flat out; the time step stays", ("+", "="), group="Simulation"
    ),
    "slower": Spec(
        "Slower", "Less simulated time per second, down to slow motion; the time step stays", ("-",),
        group="Simulation",
    ),
    "undo": Spec("Undo", "Take back the last change of a parameter", ("Ctrl+Z",), group="Simulation"),
    "redo": Spec("Redo", "Change it again", ("Ctrl+Shift+Z", "Ctrl+Y"), group="Simulation"),
    "reset": Spec(
        "Reset", "Back to the start of this simulation", ("Ctrl+Backspace",), "reset", "Reset", group="Simulation"
    ),
    "quench": Spec(
        "Quench", "Descend the loss without inertia until it is flat, then pause", ("Ctrl+D",), "quench", "Quench",
        group="Simulation",
    ),
    "velocities": Spec(
        "New velocities", "Draw all velocities anew at the target temperature", ("Ctrl+N",), "velocities",
        "New velocities", group="Simulation",
    ),
    "schedule": Spec(
        "Temperature schedule…", "Move the target temperature: heat, cool, or go up and down again and again",
        ("Ctrl+Shift+H",), group="Simulation",
    ),
    "save_preset": Spec(
        "Save as a preset…", "Keep what is set now under a name", ("Ctrl+Shift+N",), group="Simulation"
    ),
    "manage_presets": Spec("Manage presets…", "Rename and delete your own presets", group="Simulation"),
    "heat": Spec(
        "Heat", "Half as much again of kinetic energy around the picked agent; everywhere where nothing is picked",
        ("Ctrl+Up",), group="Simulation",
    ),
    "cool": Spec(
        "Cool", "Two thirds of the kinetic energy around the picked agent; everywhere where nothing is picked",
        ("Ctrl+Down",), group="Simulation",
    ),
    "kick": Spec("Kick", "Kick the picked molecule away from you, 1500 m/s", ("Ctrl+K",), group="Simulation"),
    "look_back": Spec(
        "Look back", "Watch what is in memory of this run, and go on from there", ("Ctrl+B",), group="Simulation"
    ),
    "first": Spec("First frame", "The first frame of the trajectory", ("Home",), "first", group="Trajectory"),
    "step_back": Spec("Frame before", "One frame back", ("Left",), "back", group="Trajectory"),
    "step_frames_back": Spec("Ten frames back", "Ten frames back", ("Shift+Left",), group="Trajectory"),
    "last": Spec("Last frame", "The last frame of the trajectory", ("End",), "last", group="Trajectory"),
    "loop": Spec(
        "Loop", "Begin anew at the end of the trajectory", ("L",), "loop", checkable=True, group="Trajectory"
    ),
    "go_on": Spec(
        "Go on from this frame", "Go on simulating from the frame that is shown", ("Ctrl+G",), "run",
        "Go on from here", group="Trajectory",
    ),
    "back": Spec(
        "Back to the simulation", "Close the trajectory; the simulation goes on where it was", ("Ctrl+W",), "close",
        "Back", group="Trajectory",
    ),
    "remove_molecule": Spec(
        "Remove", "Take the picked molecule out; the others close the gap", ("Delete",), group="Simulation"
    ),
    "add_molecule": Spec(
        "Add", "Put a molecule of water where there is room, near the picked agent or anywhere", ("Insert",),
        group="Simulation",
    ),
    "take_back": Spec(
        "Take back", "Everything as it was before the last heating, kick, removal or addition", ("Ctrl+Alt+Z",),
        group="Simulation",
    ),
    "open_model": Spec("Open model…", "Go on with the loss model of a file", ("Ctrl+O",), "model", group="Files"),
    "open_structure": Spec(
        "Open structure…", "Start again from the agents and the box of a file", ("Ctrl+Shift+O",), "structure",
        group="Files",
    ),
    "open_session": Spec(
        "Open session…", "Go on from a session or a checkpoint: everything is as it was", ("Ctrl+Shift+L",),
        group="Files",
    ),
    "save_session": Spec(
        "Save session…", "Save the simulation and what the window shows, to go on later", ("Ctrl+Shift+S",),
        group="Files",
    ),
    "open_trajectory": Spec(
        "Open trajectory…", "Watch a recorded trajectory: H5MD or extended XYZ", ("Ctrl+L",), "trajectory",
        group="Files",
    ),
    "record": Spec(
        "Record…", "Write the trajectory to an H5MD file while it runs", ("Ctrl+R",), "record", "Record", group="Files"
    ),
    "export": Spec(
        "Export trajectory…", "Write the frames that are kept in memory", ("Ctrl+E",), "export", group="Files"
    ),
    "picture": Spec("Save picture…", "Save the view as a picture", ("Ctrl+S",), "picture", "Picture", group="Files"),
    "preferences": Spec(
        "Preferences…", "Theme, folder, model at the start, threads, memory", ("Ctrl+,",), group="Files"
    ),
    "movie": Spec(
        "Make movie…", "Draw a trajectory into an MP4 or a GIF, or record the view while it runs", ("Ctrl+M",), "movie",
        group="Files",
    ),
    "quit": Spec("Quit", "Finish the recording and close the window", ("Ctrl+Q",), group="Files"),
    "view_reset": Spec("Reset view", "Show the whole box", ("R",), "view-reset", group="View"),
    "bonds": Spec("Bonds", "Show or hide the bonds", ("B",), checkable=True, group="View"),
    "box": Spec("Periodic box", "Show or hide the periodic box", ("U",), checkable=True, group="View"),
    "orthographic": Spec(
        "Orthographic", "Parallel projection instead of perspective", ("O",), checkable=True, group="View"
    ),
    "hydrogen_bonds": Spec(
        "Hydrogen bonds", "Show or hide hydrogen bonds: O…O below 3.5 Å, H–O…O below 30°", ("H",), checkable=True,
        group="View",
    ),
    "axes": Spec("Axes", "Show or hide the directions of x, y and z", ("A",), checkable=True, group="View"),
    "fog": Spec("Depth fog", "Let what is far fade into the ground", ("D",), checkable=True, group="View"),
    "find": Spec("Find agent", "Pick an agent by its number", ("Ctrl+F",), group="View"),
    "clear": Spec("Pick nothing", "Forget what is picked", ("Esc",), group="View"),
    "focus": Spec("Focus", "Bring what is picked to the middle, or the whole box", ("F",), group="View"),
    "axis_x": Spec("Look along x", "Look along the x axis", ("X",), group="View"),
    "axis_y": Spec("Look along y", "Look along the y axis", ("Y",), group="View"),
    "axis_z": Spec("Look along z", "Look along the z axis", ("Z",), group="View"),
    "full_screen": Spec("Full screen", "Fill the whole screen", ("F11",), checkable=True, group="View"),
    "restore_layout": Spec("Restore layout", "Bring all docks back to their places", group="View"),
    "average_anew": Spec(
        "Restart averaging", "Forget all averages and begin anew with the next step", ("Ctrl+Shift+A",),
        group="Analysis",
    ),
    "watch_doubt": Spec(
        "Watch doubt", "Judge the forces while it runs: the error to expect of each agent", ("Ctrl+J",),
        checkable=True, group="Analysis",
    ),
    "pause_on_doubt": Spec(
        "Pause on doubt", "Pause the run as soon as a force is in doubt", checkable=True, group="Analysis"
    ),
    "save_doubtful": Spec(
        "Save doubtful frames…", "Write the frames that were in doubt to a file that 'mldsim label' takes",
        group="Analysis",
    ),
    "fit": Spec("Fit a loss", "Show the dock Fit; where it is shown, fit", ("Ctrl+Shift+F",), group="Analysis"),
    "cancel_fit": Spec("Cancel the fit", "Stop fitting or labelling; nothing of it is kept", group="Analysis"),
    "compare": Spec(
        "Run another beside", "Show the dock Two; where it is shown, start another loss from where this one stands",
        ("Ctrl+2",), group="Analysis",
    ),
    "end_compare": Spec("End the comparison", "Go on with the left one of two alone", group="Analysis"),
    "analysis_table": Spec(
        "Save analysis as a table…", "Save the curve that is shown, its reference and their errors", group="Analysis"
    ),
    "analysis_picture": Spec(
        "Save analysis as a picture…", "Save the analysis that is shown, for print", group="Analysis"
    ),
    "freeze_plots": Spec(
        "Freeze plots", "Let the plots of the run stand while it goes on", ("Ctrl+Shift+E",), checkable=True,
        group="Analysis",
    ),
    "follow_plots": Spec(
        "Plots follow the run", "Undo zooming, panning and freezing in the plots of the run", ("Ctrl+Shift+G",),
        group="Analysis",
    ),
    "thermo_table": Spec(
        "Save thermo table…", "Save temperature, energies and losses of the whole run as comma-separated values",
        group="Analysis",
    ),
    "palette": Spec("Find a command", "Every command, found by a few letters", ("Ctrl+Shift+P",), group="Help"),
    "keys": Spec("Keys", "What every key does", ("?",), group="Help"),
    "about": Spec("About mldsim", "Versions, and how to cite", group="Help"),
}  # fmt: skip


REPEATING = ("step", "step_frame", "step_back", "step_frames_back", "faster", "slower")
"""Commands that go on while their key is held."""


class Actions:
    """The commands of `SPECS` as QActions of a window: ``actions["run"]``.

    Shortcuts act in the whole window. A field that is being typed into claims plain keys for itself before any
    shortcut sees them (see `mldsim.gui.panels.fields`), so the letter B in a field is only the letter B.
    """

    def __init__(self, window: QWidget) -> None:
        self._actions: dict[str, QAction] = {}
        for name, spec in SPECS.items():
            action = QAction(spec.text, window)
            action.setObjectName(name)
            action.setIconText(spec.short or spec.text)
            action.setShortcuts([QKeySequence(key) for key in spec.keys])
            action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
            action.setCheckable(spec.checkable)
            action.setAutoRepeat(name in REPEATING)
            self._describe(action, spec.tip)
            window.addAction(action)
            self._actions[name] = action

    def __getitem__(self, name: str) -> QAction:
        return self._actions[name]

    def colour(self, colours: theme.Colours) -> None:
        """Draw the icons in the colours of a theme."""
        for name, spec in SPECS.items():
            if spec.icon:
                self[name].setIcon(theme.icon(spec.icon, colours))

    def retitle(self, name: str, text: str, short: str, tip: str) -> None:
        """Give a command other words, such as Pause for Run."""
        action = self[name]
        action.setText(text)
        action.setIconText(short)
        self._describe(action, tip)

    @staticmethod
    def _describe(action: QAction, tip: str) -> None:
        shortcut = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        action.setToolTip(f"{tip} ({shortcut})" if shortcut else tip)
        action.setStatusTip("")
