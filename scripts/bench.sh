#!/usr/bin/env bash
# Every figure, or those of the named modules. Usage: bench.sh [NAME …]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --lab --test
exec var/venv/bin/python -m bench "$@"
