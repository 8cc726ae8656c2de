#!/usr/bin/env bash
# Installs the Debian packages of the named lists (scripts/packages/NAME.txt) that are missing.
# Usage: install-packages.sh NAME [NAME …]
set -euo pipefail
cd "$(dirname "$0")/packages"

wanted=$(for list in "$@"; do grep -v '^#' "$list.txt"; done)
# Node comes from Debian unless the machine has its own: two packagings of it conflict.
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then wanted="$wanted nodejs npm"; fi

missing=()
for package in $wanted; do
  state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
  [ "${state:0:2}" = "ii" ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ]; then
  echo "Missing packages, and only root can install them: apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "Installing packages: ${missing[*]}"

# Debian starts a service as it installs it; ours are private, so the system's must stay off.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
