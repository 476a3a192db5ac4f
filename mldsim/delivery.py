"""Something that a device was asked for, and that comes while the device goes on working."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Delivery(Generic[T]):
    """What was asked for and will be there.

    Parameters
    ----------
    wait : callable
        Waits for it and returns it; may raise what the device raises. What it has returned once it returns again.
    arrived : callable, optional
        Whether `wait` would return at once; always, where none is given.
    """

    def __init__(self, wait: Callable[[], T], arrived: Callable[[], bool] = lambda: True) -> None:
        self.wait, self.arrived = wait, arrived

    def then(self, change: Callable[[T], U]) -> Delivery[U]:
        """The same, changed when it is there."""
        return Delivery(lambda: change(self.wait()), self.arrived)

    def beside(self, other: Delivery[U]) -> Delivery[tuple[T, U]]:
        """Both, when both are there."""
        return Delivery(lambda: (self.wait(), other.wait()), lambda: self.arrived() and other.arrived())
