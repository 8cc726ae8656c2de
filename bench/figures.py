"""A measured figure, as `make bench` prints it and writes it to var/bench.json."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the benchmark.

    Args:
        name: as the issue that asked for it names it.
        unit: "ms", "s", "bytes", "MiB", "ratio" or "clicks".
        peer: what it was measured against in the same run, or the limit it is held to.
    """

    name: str
    value: float
    unit: str
    peer: str

    def line(self) -> str:
        return f"{self.name:32} {self.value:12.3f} {self.unit:6}  {self.peer}"
