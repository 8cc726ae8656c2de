"""A worker that stops at points of the code and waits there to be killed, or to be let on.

VIREO_TEST_HOLD_AT: with commas between them, each holds one job, the first that comes by and is not held yet:
`<step>:<before|after>` of vm.create, or `<module.function>:<before|after>` for an outside effect itself.
VIREO_TEST_HOLD_DIR: where it makes `held-<number>` at each point, and reads the FIFO `gate`, which blocks until somebody writes.
"""

import importlib
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import django

_this_thread = threading.local()


def holder(phase: str, marker: Path) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wraps a function so that its first call waits at the gate, before it does its work or after."""
    first = threading.Lock()

    def wait() -> None:
        marker.touch()
        (marker.parent / "gate").read_bytes()

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, **kwargs: Any) -> Any:
            mine = not hasattr(_this_thread, "point") and first.acquire(blocking=False)
            if mine:
                _this_thread.point = marker  # a thread runs one job, and that one has its point
            if mine and phase == "before":
                wait()
            result = function(*args, **kwargs)
            if mine and phase == "after":
                wait()
            return result

        return held

    return wrap


def install(point: str, marker: Path) -> None:
    """Puts the hold where `point` says."""
    name, _, phase = point.rpartition(":")
    wrap = holder(phase, marker)
    if "." in name:
        module_name, _, function = name.rpartition(".")
        module = importlib.import_module(module_name)
        setattr(module, function, wrap(getattr(module, function)))
        return
    from jobs import kinds

    kind = kinds.kind_of("vm.create")
    steps = [replace(step, do=wrap(step.do)) if step.name == name else step for step in kind.steps(None)]
    kinds.register(kind.name, steps, cancellable=kind.cancellable, on_end=kind.on_end)


if __name__ == "__main__":
    django.setup()
    for number, at in enumerate(os.environ["VIREO_TEST_HOLD_AT"].split(",")):
        install(at, Path(os.environ["VIREO_TEST_HOLD_DIR"]) / f"held-{number}")
    from portal.celery import app

    app.worker_main(["worker", *sys.argv[1:]])
