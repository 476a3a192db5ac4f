"""The page of a validation: one HTML file that holds everything it shows, to be read on a screen or on paper."""

from __future__ import annotations

import base64
import datetime
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import mldsim
from mldsim import card
from mldsim.analysis.forces import ForceComparison
from mldsim.analysis.statistics import Number
from mldsim.files import whole_file
from mldsim.validation import ForceRow, Panel, Quantity, Validation

MODEL, REFERENCE, INK, FAINT = "#0b6bd3", "#1a212b", "#1a212b", "#8a95a3"
"""Colours that stay apart in grey print and for the colour-blind: blue over black."""

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.5rem 4rem; background: #fff; color: #1a212b;
       font: 16px/1.5 system-ui, "Segoe UI", "Noto Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 1px solid #d3d9e1; }
.lead { font-size: 1.05rem; color: #414b58; margin: 0 0 1rem; }
.stopped { border-left: 4px solid #b3540a; background: #fdf3ea; padding: .6rem 1rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #5a6675; padding: .2rem 0 .5rem; }
th, td { text-align: right; padding: .28rem .6rem; border-bottom: 1px solid #e6eaef; white-space: nowrap; }
th { font-weight: 600; border-bottom: 2px solid #8a95a3; vertical-align: bottom; }
th { white-space: normal; }
th:first-child, td:first-child { text-align: left; white-space: normal; padding-left: 0; }
.summary td:first-child { min-width: 13rem; } .unit { color: #5a6675; white-space: nowrap; }
.within { color: #1d6b3c; } .beyond { color: #b3540a; font-weight: 600; } .unknown, .too_short { color: #5a6675; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1.2rem 1.6rem;
           margin-top: 1.4rem; }
figure { margin: 0; break-inside: avoid; } figure img { width: 100%; height: auto; }
figcaption { font-size: .88em; color: #5a6675; }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .25rem 1.2rem; margin: 0; }
dt { color: #5a6675; } dd { margin: 0; overflow-wrap: anywhere; }
li { margin-bottom: .35rem; }
footer { margin-top: 3rem; color: #5a6675; font-size: .88rem; }
@media (max-width: 34rem) { .figures { grid-template-columns: 1fr; } dl { grid-template-columns: 1fr; } }
@media print { body { max-width: none; padding: 0; font-size: 9.5pt; } table { font-size: 8pt; }
               th, td { padding: .2rem .25rem; } .summary td:first-child { min-width: 9rem; } h2 { break-after: avoid; }
               .figures { grid-template-columns: 1fr 1fr; } tr { break-inside: avoid; } }
"""


def write_report(found: Validation, path: Path) -> None:
    """Write the page; it appears whole or not at all.

    Raises
    ------
    WorkFailed
        When the file cannot be written.
    """
    text = render(found)
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def render(found: Validation) -> str:
    """The page as text."""
    name = escape(found.model.name)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Validation of {name}</title><style>{STYLE}</style></head><body>",
        f"<h1>Validation of the loss model <em>{name}</em></h1>",
        f'<p class="lead">{escape(_lead(found))}</p>',
    ]
    if found.stopped:
        parts.append(f'<p class="stopped">Not complete: {escape(found.stopped)} What was measured so far is shown.</p>')
    if found.quantities:
        parts += ["<h2>Summary</h2>", _summary(found.quantities)]
    if found.drift is not None:
        parts.append(
            f"<p>Drift of the conserved quantity: {_with_error(found.drift)} meV per agent and ps; "
            "the exact dynamics have none.</p>"
        )
    if found.forces:
        parts += ["<h2>Forces on labelled frames</h2>", _forces(found.forces)]
        if found.parity is not None:
            parts += ['<div class="figures">', *_parity(found.parity), "</div>"]
    if found.panels:
        parts += ["<h2>Structure and motion</h2>"]
        parts.append(
            "<p>Above, the model (blue) over the reference (black); below, the difference. Bands are two standard "
            "errors wide on each side; in the lower part that of the difference: where the line leaves it, the two "
            "differ by more than noise.</p>"
        )
        parts += ['<div class="figures">', *(_figure(panel) for panel in found.panels), "</div>"]
    for title, values in (("How the reference was made", found.reference), ("How the run was made", found.run)):
        if values:
            parts += [f"<h2>{title}</h2>", _pairs(values)]
    parts += ["<h2>The model's card</h2>", _pairs(_card(found))]
    for title, texts in (("What limits the claim", found.limits), ("What was not compared", found.left_out)):
        if texts:
            parts += [f"<h2>{title}</h2><ul>", *(f"<li>{escape(text)}</li>" for text in texts), "</ul>"]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts.append(f"<footer>Made by mldsim {escape(mldsim.__version__)}, {now}.</footer></body></html>\n")
    return "\n".join(parts)


def _lead(found: Validation) -> str:
    against = found.reference.get("Theory")
    told = f"Compared with {against}." if against else "Compared with labelled frames."
    within, judged = found.agreement()
    if judged:
        told += f" {within} of {judged} quantities agree within their statistical noise."
    elif found.quantities:
        told += " The series are too short to tell a difference from noise."
    if found.forces:
        number, rms = found.forces[0].rows["all"]
        told += f" The force error is {number.value:.1f} meV/Å, where forces are {rms:.0f}."
    return told


# -- numbers ------------------------------------------------------------------------------------------------------


def decimals(number: Number) -> int:
    """Places that say something: two digits of the error, or four digits of a value whose error is not known."""
    size, digits = (number.error, 2) if math.isfinite(number.error) and number.error > 0.0 else (abs(number.value), 4)
    if not math.isfinite(size) or size == 0.0:
        return 2
    return int(np.clip(digits - 1 - math.floor(math.log10(size)), 0, 8))


def _fixed(value: float, places: int) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")  # + 0.0: no negative zero


def _with_error(number: Number | None) -> str:
    if number is None:
        return "–"
    places = decimals(number)
    if not math.isfinite(number.error):
        return _fixed(number.value, places)
    if number.error == 0.0:
        return f"{number.value:g}" if float(f"{number.value:g}") == number.value else _fixed(number.value, 2)
    return f"{_fixed(number.value, places)} ± {_fixed(number.error, places)}"


def _summary(quantities: Sequence[Quantity]) -> str:
    rows = [
        '<div class="table"><table class="summary"><caption>Values with their standard errors, differences with the '
        "combined one. Up to two of these a difference is within noise; up to 1.2, if it is the mean difference of two "
        "curves.</caption>",
        "<thead><tr><th>Quantity</th><th>Model</th><th>Reference</th><th>Difference</th><th>Verdict</th></tr></thead>",
        "<tbody>",
    ]
    for quantity in quantities:
        verdict = quantity.verdict
        difference = _with_error(Number(quantity.difference, quantity.error))
        sign = "+" if quantity.model is not None and quantity.difference > 0.0 else ""
        unit = f' <span class="unit">({escape(quantity.unit)})</span>' if quantity.unit else ""
        cells = [
            f"<td>{escape(quantity.label)}{unit}</td>",
            f"<td>{_with_error(quantity.model)}</td><td>{_with_error(quantity.reference)}</td>",
            f'<td>{sign}{difference}</td><td class="{verdict.name.lower()}">{verdict.value}</td>',
        ]
        rows.append(f'<tr id="{escape(quantity.key, quote=True)}">{"".join(cells)}</tr>')
    return "\n".join([*rows, "</tbody></table></div>"])


def _forces(forces: Sequence[ForceRow]) -> str:
    shown = forces if len(forces) > 2 else forces[:1]
    names = list(forces[0].rows)
    titles = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = [
        '<div class="table"><table><caption>Root mean square errors per component, meV/Å (torque: meV), and '
        "in brackets that of the labels themselves. Net force and torque are those of whole molecules; intramolecular "
        "is what is left of the forces on agents without them.</caption>",
        f"<thead><tr><th>Frames</th><th></th>{titles}</tr></thead><tbody>",
    ]
    for row in shown:
        cells = "".join(
            f"<td>{_with_error(number)}<br><small>({_fixed(rms, 0)})</small></td>"
            if math.isfinite(number.value)
            else "<td>–</td>"
            for number, rms in row.rows.values()
        )
        rows.append(f"<tr><td>{escape(row.name)}</td><td>{row.frames}</td>{cells}</tr>")
    return "\n".join([*rows, "</tbody></table></div>"])


# -- words --------------------------------------------------------------------------------------------------------


def _pairs(values: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in values.items()) + "</dl>"


def _card(found: Validation) -> dict[str, str]:
    model = found.model
    form = (
        f"{model.scope.value} scope, order {model.order}, highest rank {model.max_rank}, "
        f"{model.radial.n_radial} radial functions per pair, cutoff {model.cutoff:g} Å, {model.n_parameters} parameters"
    )
    return {"Form": form} | card.told(model.card)


# -- figures ------------------------------------------------------------------------------------------------------


def as_image(figure: Any, alternative: str) -> str:
    """The figure as an SVG inside the page: a picture of its own, so that no two share names of their parts."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "mldsim"}):  # the same numbers give the same file
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(alternative, quote=True)}">'


def style_axes(axis: Any) -> None:
    """The looks of all plots of matplotlib axes."""
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(FAINT)
    axis.tick_params(color=FAINT, labelcolor=INK, labelsize=10)
    axis.grid(color="#e6eaef", linewidth=0.8)
    axis.set_axisbelow(True)


def _figure(panel: Panel) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.25])
    x, model, reference = panel.model.x, panel.model, panel.reference
    for curve, colour, label, width in (
        (reference, REFERENCE, panel.reference_label, 1.3),
        (model, MODEL, "model", 1.6),
    ):
        band = 2.0 * np.nan_to_num(curve.error)
        above.fill_between(curve.x, curve.y - band, curve.y + band, color=colour, alpha=0.18, linewidth=0)
        above.plot(curve.x, curve.y, color=colour, linewidth=width, label=label)
    y = np.interp(x, reference.x, reference.y, left=np.nan, right=np.nan)
    its_error = np.interp(x, reference.x, reference.error, left=np.nan, right=np.nan)
    noise = 2.0 * np.hypot(model.error, its_error)
    below.axhline(0.0, color=FAINT, linewidth=0.8)
    if np.isfinite(noise).any():
        below.fill_between(x, -noise, noise, color=FAINT, alpha=0.3, linewidth=0)
    below.plot(x, model.y - y, color=MODEL, linewidth=1.3)
    for axis in (above, below):
        style_axes(axis)
    above.set_title(panel.title, loc="left", fontsize=12, color=INK, fontweight="bold")
    above.set_ylabel(panel.y_label, fontsize=10.5, color=INK)
    below.set_ylabel("difference", fontsize=10.5, color=INK)
    below.set_xlabel(panel.x_label, fontsize=10.5, color=INK)
    above.set_xlim(x[0], x[-1])
    above.legend(frameon=False, fontsize=10)
    figure.align_ylabels()
    caption = f"<figcaption>{escape(panel.text)}</figcaption>" if panel.text else ""
    image = as_image(figure, f"{panel.title}: model, {panel.reference_label} and their difference")
    return f'<figure id="figure-{escape(panel.key, quote=True)}">{image}{caption}</figure>'


def _parity(comparison: ForceComparison) -> list[str]:
    from matplotlib.figure import Figure

    figures = []
    for symbol in comparison.symbols:
        labels, forces = comparison.parity(symbol)
        figure = Figure(figsize=(6.0, 4.6), layout="constrained", dpi=160)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.25])
        ends = [float(min(labels.min(), forces.min())), float(max(labels.max(), forces.max()))]
        above.plot(ends, ends, color=FAINT, linewidth=0.9)
        # Thousands of points would make the page heavy: they are pixels, axes and letters are not.
        above.plot(labels, forces, ".", color=MODEL, markersize=2.2, alpha=0.35, rasterized=True)
        below.axhline(0.0, color=FAINT, linewidth=0.9)
        below.plot(labels, 1e3 * (forces - labels), ".", color=MODEL, markersize=2.2, alpha=0.35, rasterized=True)
        for axis in (above, below):
            style_axes(axis)
        above.set_title(f"Forces on {symbol}", loc="left", fontsize=12, color=INK, fontweight="bold")
        above.set_ylabel("model (eV/Å)", fontsize=10.5, color=INK)
        below.set_ylabel("error (meV/Å)", fontsize=10.5, color=INK)
        below.set_xlabel("label (eV/Å)", fontsize=10.5, color=INK)
        figure.align_ylabels()
        caption = f"<figcaption>{len(labels)} components, drawn at random from all frames.</figcaption>"
        image = as_image(figure, f"Force components on {symbol}, model against labels, and their error")
        figures.append(f'<figure id="figure-forces_{escape(symbol, quote=True)}">{image}{caption}</figure>')
    return figures
