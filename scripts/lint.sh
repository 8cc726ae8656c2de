#!/usr/bin/env bash
# ruff, import-linter, mypy, bandit, pip-audit, and the types of the browser's modules.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --test
export PATH="$PWD/var/venv/bin:$PATH"
ruff check .
lint-imports
mypy
bandit --quiet --configfile pyproject.toml --recursive .
python scripts/audit.py
(cd frontend && npm run --silent check)
