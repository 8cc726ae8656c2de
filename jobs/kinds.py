"""Kinds of job: each app registers what its jobs consist of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.models import Job

if TYPE_CHECKING:
    from jobs.context import Context


@dataclass(frozen=True)
class StepDef:
    """One step: `do` must be safe to run twice; `undo` must be safe when `do` never began, ended half-way, or ended.

    Args:
        weight: its share of the whole job, for the progress bar.
    """

    name: str
    title: str
    do: "Callable[[Context], None]"
    undo: "Callable[[Context], None] | None" = None
    weight: int = 1


@dataclass(frozen=True)
class Kind:
    name: str
    steps: Callable[[Job], list[StepDef]]
    cancellable: bool = True
    on_end: Callable[[Job], None] | None = None


_kinds: dict[str, Kind] = {}


def register(
    name: str,
    steps: Callable[[Job], list[StepDef]] | list[StepDef],
    *,
    cancellable: bool = True,
    on_end: Callable[[Job], None] | None = None,
) -> None:
    """Called once per kind, from AppConfig.ready.

    Args:
        steps: the list, or a function of the job that gives it (always the same list for the same job).
        on_end: runs inside the transaction that ends the job, whatever its end.
    """
    _kinds[name] = Kind(name, steps if callable(steps) else lambda job: steps, cancellable, on_end)


def kind_of(name: str) -> Kind:
    """Raises KeyError for a kind that nobody registered."""
    return _kinds[name]


def all_kinds() -> dict[str, Kind]:
    return dict(_kinds)
