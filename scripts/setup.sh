#!/usr/bin/env bash
# Brings this checkout to where it can run: packages, virtual environment, bundle. What is there already costs nothing.
# Usage: setup.sh [--lab] [--test]
set -euo pipefail
cd "$(dirname "$0")/.."
var="${VIREO_VAR:-var}"
mkdir -p "$var"

lists=(run)
requirements=requirements.txt
for option in "$@"; do
  case "$option" in
    --lab) lists+=(lab) ;;
    --test) lists+=(test) requirements=requirements-dev.txt ;;
    *) echo "setup.sh: unknown option $option" >&2; exit 2 ;;
  esac
done

scripts/install-packages.sh "${lists[@]}" || {
  # Without root the machine may still have all that it takes, from elsewhere.
  command -v redis-server >/dev/null && command -v npm >/dev/null || exit 1
}

# A stamp holds the digest of the files that something was made of.
digest() { cat "$@" | sha256sum | cut -d' ' -f1; }
fresh() { local stamp=$1; shift; [ "$(cat "$stamp" 2>/dev/null)" = "$(digest "$@")" ]; }
mark() { local stamp=$1; shift; digest "$@" >"$stamp"; }

# The environment belongs to the checkout, not to one VIREO_VAR.
if [ ! -x var/venv/bin/python ]; then
  echo "Making the virtual environment"
  /usr/bin/python3 -m venv var/venv
fi
if ! fresh "var/venv/.$requirements" requirements.txt "$requirements"; then
  echo "Installing Python packages"
  var/venv/bin/pip install --quiet --disable-pip-version-check wheel
  var/venv/bin/pip install --quiet --disable-pip-version-check -r "$requirements"
  mark "var/venv/.$requirements" requirements.txt "$requirements"
  mark var/venv/.requirements.txt requirements.txt requirements.txt
fi

mkdir -p static/dist
mapfile -t sources < <(find frontend -path frontend/node_modules -prune -o -type f -print | sort)
if ! fresh static/dist/.stamp "${sources[@]}"; then
  echo "Building the bundle"
  (cd frontend && npm ci --silent --no-audit --no-fund </dev/null && npm run --silent build </dev/null)
  mark static/dist/.stamp "${sources[@]}"
fi
