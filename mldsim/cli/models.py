"""`mldsim models`: what models are shipped."""

from __future__ import annotations

import argparse

from mldsim.cli.output import DONE, print_json, ranks_of


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from mldsim.loss import load_model, shipped_models

    listed = []
    for name in shipped_models():
        model = load_model(name)
        holdout = (model.card.get("errors") or {}).get("holdout") or {}
        error = holdout.get("force_rmse_meV_A")
        listed.append(
            {
                "name": name,
                "scope": model.scope.value,
                "order": model.order,
                "max_rank": model.max_rank,
                "holdout_force_rmse_meV_A": error,
                "purpose": model.card.get("purpose", ""),
            }
        )
        told = f"held-out force error {error:.1f} meV/Å" if error is not None else "no held-out error known"
        print(f"{name}: {model.scope.value} scope, order {model.order}, {ranks_of(model.max_rank)}, {told}.")
        print(f"    {model.card.get('purpose', '')}")
    if options.json:
        print_json({"models": listed})
    return DONE
