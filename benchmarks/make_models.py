"""Fit the shipped models from the shipped data, with their cards.

    python benchmarks/make_models.py [NAME ...]
    python benchmarks/make_models.py --folder /tmp --train data_0 data_1 data_2 --holdout data_3 water-best

Fitted on assets/data/cnnp_fit.h5, some also on cnnp_stretched.h5 and cnnp_learned.h5 there; the errors in the card are
those on assets/data/cnnp_holdout.h5, whose frames come from the last fifth of each run and are never fitted. What the
cards say of stability was measured with the commands in docs/models.md. The second form tries the settings on other
frames: such models are not the shipped ones.
"""

import argparse
import json
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import shipped

import mldsim
from mldsim.accuracy import force_errors
from mldsim.inference import infer
from mldsim.loss import Scope, load_model, save_model
from mldsim.progress import progress_bar
from mldsim.readers import load_frames
from mldsim.regression import FitSettings


@dataclass(frozen=True)
class Recipe:
    """Settings of one shipped model and the words of its card."""

    settings: FitSettings
    purpose: str
    stability: str
    limits: str
    bounded: bool = False
    doubt: bool = False
    stretched: bool = False
    """Whether frames with stretched bonds are fitted too."""
    learned: bool = False
    """Whether frames of its own run are, see make_learned.py; with the channels of the fit without them."""


THEORY = "CP2K C-NNP (Schran, Brezina, Marsalek 2020), a surrogate of revPBE0-D3"

STABILITY = "docs/models.md says which runs it went through: how long, how hot, how dense, how large."

LIMITS = (
    "Water whose molecules stay whole, fitted at 300 to 600 K and 0.92 to 1.10 g/cm3; classical nuclei; no "
    "electrostatics beyond the cutoff. The teacher is a surrogate of revPBE0-D3, not the functional itself."
)

RECIPES = {
    "water": Recipe(
        FitSettings(order=3, n_channels=6, max_rank=2, n_radial=8, cutoff=5.0),
        purpose="The default: liquid water that conserves momentum and energy, with the structure of its teacher.",
        stability=STABILITY,
        limits=LIMITS,
        bounded=True,
        doubt=True,
        stretched=True,
    ),
    "water-fast": Recipe(
        FitSettings(order=2, max_rank=2, n_radial=8, cutoff=4.5),
        purpose="The cheapest loss here that keeps the structure of water: for large boxes and slow machines.",
        stability=STABILITY,
        limits=LIMITS,
        doubt=True,
    ),
    "water-best": Recipe(
        FitSettings(
            order=3,
            n_channels=8,
            constant_channel=True,
            channel_steps=4,
            max_rank=2,
            n_radial=10,
            cutoff=6.0,
            ridge=1e-6,
        ),
        purpose="The smallest force error of the losses here; a step takes nearly twice as long as one of `water`.",
        stability=STABILITY,
        limits=LIMITS,
        bounded=True,
        doubt=True,
        stretched=True,
        learned=True,
    ),
    "water-paper": Recipe(
        FitSettings(scope=Scope.OWN, max_rank=0, n_radial=12, cutoff=6.0, ridge=1e-1, net_force_weight=0.0),
        purpose="The paper's form: each agent descends its own loss, quadratic in scalar invariants.",
        stability="100 ps of 64 H2O at 300 K under Nose-Hoover without a stop. The forces are not reciprocal and heat "
        "the agents by 370 meV per agent and ps; the thermostat carries it off. docs/models.md.",
        limits="Energy and momentum are not conserved. The first peak of g_OO is 4 % too low and what lies beyond it "
        "too soft; bonds are too stiff, and molecules diffuse six times too fast. For comparison with `water`, not for "
        "properties.",
    ),
    "water-own": Recipe(
        FitSettings(
            scope=Scope.OWN, max_rank=2, n_radial=8, cutoff=5.0, ridge=1e-3, net_force_weight=1.0, curl_weight=1000.0
        ),
        purpose="Own scope that hardly heats: each agent descends its own loss, and the fit keeps the curl of the "
        "forces small.",
        stability="100 ps of 64 H2O at 300 K under Nose-Hoover without a stop, 300.0 +- 19.5 K. docs/models.md.",
        limits="Energy and momentum are not conserved exactly. Forces are four times less accurate than those of "
        "`water-fast`; the liquid's structure is nearly right, but bonds are too stiff and molecules diffuse four "
        "times too fast.",
    ),
}

WORDS = ("purpose", "theory", "data", "holdout", "stability", "limits", "licence", "report", "speed")
"""Fields of a card that are words of this script, not facts of the fit."""


def words(name: str) -> dict[str, str]:
    """What the card of a shipped model tells; of speed and report only what was measured of this very model."""
    recipe = RECIPES[name]
    more = "; assets/data/cnnp_stretched.h5: frames of these with some bonds stretched" if recipe.stretched else ""
    if recipe.learned:
        more += "; assets/data/cnnp_learned.h5: frames of a run of the same form fitted to the others"
    told = {
        "purpose": recipe.purpose,
        "theory": THEORY,
        "data": "assets/data/cnnp_fit.h5: 64 H2O at 300 K (1.000 g/cm3), 350 K (0.916), 400 K (1.096) and 600 K, "
        f"32 H2O at 300, 450 and 600 K{more}",
        "holdout": "assets/data/cnnp_holdout.h5: the last fifth of each of these runs",
        "stability": recipe.stability,
        "limits": recipe.limits,
        "licence": "BSD-3-Clause",
        "report": shipped.report_of(name),
        "speed": shipped.speed_sentence(name),
    }
    return {key: text for key, text in told.items() if text}


def main() -> None:
    """Fit the named models, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--folder", type=Path, help="default: the shipped models themselves")
    parser.add_argument("--train", type=Path, nargs="+", help="other frames to fit, with --holdout and --folder")
    parser.add_argument("--holdout", type=Path, nargs="+", help="other frames to test on")
    parser.add_argument("--json", type=Path, help="write the errors to this file")
    parser.add_argument("--without-learned", action="store_true", help="leave out cnnp_learned.h5, with --folder")
    parser.add_argument("--first", type=Path, metavar="FILE", help="what that made: saves a fit")
    parser.add_argument("--cards", action="store_true", help="write the words of the cards anew, without a fit")
    options = parser.parse_args()
    elsewhere = (options.train is not None, options.holdout is not None)
    if any(elsewhere) and not (all(elsewhere) and options.folder):
        parser.error("--train, --holdout and --folder go together: only models of the shipped frames are shipped")
    if options.without_learned and not options.folder:
        parser.error("--without-learned needs --folder: such models are not shipped")
    data = Path(str(resources.files("mldsim.assets.data")))
    folder = options.folder or shipped.MODELS
    folder.mkdir(parents=True, exist_ok=True)
    names = options.names or list(RECIPES)
    if options.cards:
        for name in names:
            model = load_model(str(folder / f"{name}.json"))
            kept = {key: value for key, value in model.card.items() if key not in WORDS}
            save_model(replace(model, card=words(name) | kept), folder / f"{name}.json", force=True)
        return
    train = [system for path in options.train or [data / "cnnp_fit.h5"] for system in load_frames(path)]
    stretched = [] if any(elsewhere) else load_frames(data / "cnnp_stretched.h5")
    learned = [] if any(elsewhere) or options.without_learned else load_frames(data / "cnnp_learned.h5")
    holdout = [system for path in options.holdout or [data / "cnnp_holdout.h5"] for system in load_frames(path)]
    measured = {}
    for name in names:
        recipe = RECIPES[name]
        with progress_bar(name) as report:
            doubt = recipe.doubt and not any(elsewhere)  # which changes no force
            fitted = train + stretched * recipe.stretched
            how = {"name": name, "bounded": recipe.bounded, "progress": report}
            if recipe.learned and learned:
                first = load_model(str(options.first)) if options.first else infer(fitted, recipe.settings, **how).model
                settings = replace(recipe.settings, channel_steps=0)
                found = infer(fitted + learned, settings, channels_of=first, doubt=doubt, **how)
            else:
                found = infer(fitted, recipe.settings, doubt=doubt, **how)
        model = found.model
        errors = {"train": force_errors(model, train), "holdout": force_errors(model, holdout)}
        facts = {
            "errors": {part: found.to_json() for part, found in errors.items()},
            **{key: value for key, value in model.card.items() if key != "fit_seconds"},
            "mldsim": mldsim.__version__,
        }
        save_model(replace(model, card=facts), folder / f"{name}.json", force=True)
        if not any(elsewhere):  # now that its digest can be told
            save_model(replace(model, card=words(name) | facts), folder / f"{name}.json", force=True)
        measured[name] = facts["errors"]
        print(name, f"held-out force error {1e3 * errors['holdout'].rmse:.2f} meV/Å")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
