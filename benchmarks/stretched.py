"""What frames with stretched bonds change in a bounded loss, by their weight: python benchmarks/stretched.py [MODEL].

The channels are those of a shipped model, as they are; all that is linear is fitted anew to assets/data/cnnp_fit.h5
with two thirds of assets/data/cnnp_stretched.h5 at several weights. Force errors on assets/data/cnnp_holdout.h5 and on
the stretched frames that were left out. Five minutes of one core for `water`.
"""

import argparse
from copy import deepcopy
from dataclasses import replace
from importlib import resources
from pathlib import Path

from make_models import RECIPES

from mldsim.accuracy import force_errors
from mldsim.inference import infer
from mldsim.loss import load_model
from mldsim.progress import progress_bar
from mldsim.readers import load_frames

WEIGHTS = (None, 0.03, 0.1, 0.2, 0.3, 1.0)


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name, recipe in RECIPES.items() if recipe.stretched]
    parser.add_argument("model", nargs="?", default="water", choices=names)
    options = parser.parse_args()
    data = Path(str(resources.files("mldsim.assets.data")))
    fit, holdout, stretched = (load_frames(data / f"cnnp_{name}.h5") for name in ("fit", "holdout", "stretched"))
    tested = [system.take(slice(2, None, 3)) for system in stretched]
    fitted = [system.take([i for i in range(system.n_frames) if i % 3 != 2]) for system in stretched]
    settings = replace(RECIPES[options.model].settings, channel_steps=0)
    with progress_bar("without") as report:
        found = infer(
            fit, settings, channels_of=load_model(options.model), bounded=True, keep_bad_frames=True, progress=report
        )  # fmt: skip
    print(f"{options.model}: force error in meV/Å\nweight   held-out frames   stretched, held-out", flush=True)
    for weight in WEIGHTS:
        model = found.model
        if weight is not None:
            more = [replace(system, weight=weight) for system in fitted]
            model = infer(more, settings, known=deepcopy(found.kept), bounded=True, keep_bad_frames=True).model
        errors = (1e3 * force_errors(model, systems).rmse for systems in (holdout, tested))
        print(f"{'-' if weight is None else weight:>6}{next(errors):18.2f}{next(errors):22.1f}", flush=True)


if __name__ == "__main__":
    main()
