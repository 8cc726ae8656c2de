"""`python -m bench [NAME …]`: runs the benchmarks, prints a line per figure, writes var/bench.json."""

import importlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from bench.figures import Figure

MODULES = (
    "memory",
    "lists",
    "storage",
    "permissions",
    "scheduling",
    "run_vm",
    "template_vm",
    "copy_disk",
    "migrate",
    "evacuate",
    "ha_restart",
    "event_latency",
    "fanout",
    "console",
    "self_service",
    "images",
)


def main(names: list[str]) -> int:
    unknown = set(names) - set(MODULES)
    if unknown:
        print(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(MODULES)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in names or MODULES:
        for figure in importlib.import_module(f"bench.{name}").measure():
            print(figure.line(), flush=True)
            figures.append(figure)
    target = Path(os.environ.get("VIREO_VAR", Path(__file__).resolve().parent.parent / "var")) / "bench.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = {entry["name"]: entry for entry in (json.loads(target.read_text()) if target.exists() and names else [])}
    kept.update({figure.name: asdict(figure) for figure in figures})
    target.write_text(json.dumps(list(kept.values()), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
