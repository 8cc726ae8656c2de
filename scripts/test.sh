#!/usr/bin/env bash
# All tests: units on SQLite and on PostgreSQL, real hosts in the lab, a real browser on the real stack.
# Usage: test.sh [PYTEST ARGUMENT …]   with arguments: pytest alone, on SQLite
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --lab --test
export PATH="$PWD/var/venv/bin:$PATH"

if [ $# -gt 0 ]; then exec python -m pytest "$@"; fi

scratch=$(mktemp -d /tmp/vireo-all-XXXXXX)
postgres_dir=$(mktemp -d /tmp/vireo-pg-XXXXXX)
postgres_bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
postgres_port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
[ "$(id -u)" = 0 ] && chown postgres "$postgres_dir"
lanes=
stop() {
  if [ -n "$lanes" ]; then kill -INT -- "-$lanes" 2>/dev/null || true; wait "$lanes" || true; fi
  as_postgres "$postgres_bin/pg_ctl" -D "$postgres_dir/data" -m immediate -s stop || true
  rm -rf "$postgres_dir" "$scratch"
}
trap stop EXIT
cd /tmp
as_postgres "$postgres_bin/initdb" -D "$postgres_dir/data" -A trust -U vireo -E UTF8 --no-sync >/dev/null
as_postgres "$postgres_bin/pg_ctl" -D "$postgres_dir/data" -s -w -l "$postgres_dir/log" \
  -o "-c listen_addresses=127.0.0.1 -p $postgres_port -k $postgres_dir -c fsync=off -c max_connections=200" start
as_postgres createdb -h 127.0.0.1 -p "$postgres_port" -U vireo stack
cd - >/dev/null
export VIREO_TEST_POSTGRES="postgres://vireo@127.0.0.1:$postgres_port"

# Two lanes take one part after the other, the longest first, so that neither waits for the other at the end.
{
  echo "units-on-postgresql tests/unit"
  echo "units-on-sqlite tests/unit"
  echo "browser tests/browser"
  ls tests/lab/test_*.py | xargs -n 5 echo real-hosts
  echo "browser-on-postgresql tests/browser/test_first_vm.py"
} >"$scratch/parts"
set -m  # a process group of their own, which can be ended as a whole
xargs --arg-file="$scratch/parts" --max-procs=2 --max-lines=1 --process-slot-var=VIREO_TEST_LANE \
  scripts/test-part.sh "$scratch" </dev/null &
lanes=$!
set +m
status=0
wait "$lanes" || status=1
lanes=
exit $status
