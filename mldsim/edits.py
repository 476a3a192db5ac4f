"""Changes of a learned loss that are made while it runs: terms switched off, losses scaled, another scope.

A `LossEdit` says what is changed and `of` gives the changed model. Its arrays have the shapes of the fitted ones, so
that kernels that are compiled stay so; what is switched off has zeros for coefficients. The wall is no part of what was
fitted and stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mldsim.errors import InputError
from mldsim.scope import Scope

if TYPE_CHECKING:
    from mldsim.loss import LossModel

LARGEST_SCALE = 3.0
"""Of a loss; beyond it nothing moves as a liquid does."""


@dataclass(frozen=True, slots=True)
class LossEdit:
    """What is changed of a fitted loss; equal changes compare equal.

    Attributes
    ----------
    off : tuple of str
        Terms without effect, of `terms`.
    scales : tuple of (symbol, factor)
        What the losses of species are multiplied by, where it is not one: 0 to `LARGEST_SCALE`.
    scope : Scope or None
        Whose loss is descended; None as fitted.
    """

    off: tuple[str, ...] = ()
    scales: tuple[tuple[str, float], ...] = ()
    scope: Scope | None = None

    def __post_init__(self) -> None:
        for symbol, factor in self.scales:
            if not 0.0 <= factor <= LARGEST_SCALE:
                raise InputError(f"The loss of {symbol} can be multiplied by 0 to {LARGEST_SCALE:g}, not {factor:g}.")
        object.__setattr__(self, "off", tuple(sorted(set(self.off))))
        scales = tuple(sorted((symbol, float(factor)) for symbol, factor in self.scales if factor != 1.0))
        object.__setattr__(self, "scales", scales)

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return bool(self.off or self.scales or self.scope)

    def scale(self, symbol: str) -> float:
        """What the loss of a species is multiplied by."""
        return dict(self.scales).get(symbol, 1.0)

    def words(self) -> str:
        """What is changed: ``cubic off, loss of O × 0.5, own scope``; empty where nothing is."""
        parts = [f"{', '.join(self.off)} off"] if self.off else []
        parts += [f"loss of {symbol} × {factor:.4g}" for symbol, factor in self.scales]
        parts += [f"{self.scope.value} scope"] if self.scope is not None else []
        return ", ".join(parts)

    def of(self, model: LossModel) -> LossModel:
        """The changed model, whose name and card say so; it knows no doubt, which belongs to what was fitted.

        Raises
        ------
        InputError
            If the model lacks a term or a species, or a part of it is for shared scope only.
        """
        if not self:
            return model
        for missing in set(self.off) - set(terms(model)):
            raise InputError(f"The model '{model.name}' has no term '{missing}' to be switched off.")
        for symbol, _ in self.scales:
            if symbol not in model.symbols:
                raise InputError(f"The model '{model.name}' has no loss of {symbol} to be scaled.")
        scope = self.scope or model.scope
        distant = [name for name in ("hops", "long range") if name in terms(model) and name not in self.off]
        if scope is Scope.OWN and distant:
            raise InputError(f"Own scope is for losses of local parts: switch {' and '.join(distant)} off first.")
        return _changed(replace(model, scope=scope), self)


FITTED = LossEdit()
"""No change."""


def terms(model: LossModel) -> tuple[str, ...]:
    """What can be switched off, by the names of `mldsim.dissection`: not the wall."""
    ranks = model.max_rank + 1 if model.order >= 2 else 0
    parts = {"cubic": model.cubic, "hops": model.hops, "long range": model.waves}
    return (
        "linear",
        *(f"quadratic, rank {rank}" for rank in range(ranks)),
        *(name for name, part in parts.items() if part is not None),
    )


def _changed(model: LossModel, edit: LossEdit) -> LossModel:
    import numpy as np

    from mldsim.kernels import mutual, waves

    scale = np.array([edit.scale(symbol) for symbol in model.symbols])

    def left(name: str) -> float:
        return 0.0 if name in edit.off else 1.0

    ranks = np.array([left(f"quadratic, rank {rank}") for rank in range(model.max_rank + 1)])
    parts: dict[str, Any] = {}
    if model.cubic is not None:
        coefficients = left("cubic") * scale[:, None] * model.cubic.coefficients
        parts["cubic"] = replace(model.cubic, coefficients=coefficients)

    def of_pairs(coefficients: Any, n_functions: int, n_numbers: int) -> Any:
        # Half of a pair's loss is each agent's: scaled alone, each half by its own factor, they add up to the mean.
        partner = mutual.columns(len(scale), n_functions, n_numbers)[:, 0]
        return coefficients * 0.5 * (scale[:, None] + scale[partner])

    if model.cubic is not None and model.hops is not None:
        coefficients = of_pairs(model.hops.coefficients, model.radial.n_radial, model.cubic.n_channels)
        parts["hops"] = replace(model.hops, coefficients=left("hops") * coefficients)
    if model.waves is not None:
        coefficients = of_pairs(model.waves.coefficients, len(model.waves.widths), waves.NUMBERS)
        parts["waves"] = replace(model.waves, coefficients=left("long range") * coefficients)
    return replace(
        model,
        name=f"{model.name} (edited)",
        linear=left("linear") * scale[:, None] * model.linear,
        quadratic=scale[:, None, None, None] * ranks[:, None, None] * model.quadratic,
        card={**model.card, "edited": f"The fitted loss was changed by hand: {edit.words()}."},
        committee=None,
        **parts,
    )
