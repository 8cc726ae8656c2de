#!/usr/bin/env bash
# All tests: units on SQLite and on PostgreSQL, real hosts in the lab, a real browser on the real stack.
# Usage: test.sh [PYTEST ARGUMENT …]   with arguments: pytest alone, on SQLite
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --lab --test
export PATH="$PWD/var/venv/bin:$PATH"

if [ $# -gt 0 ]; then exec python -m pytest "$@"; fi

postgres_dir=$(mktemp -d /tmp/vireo-pg-XXXXXX)
postgres_bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
postgres_port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
[ "$(id -u)" = 0 ] && chown postgres "$postgres_dir"
beside=$(mktemp -d /tmp/vireo-unit-XXXXXX)
beside_pid=
stop() {
  if [ -n "$beside_pid" ]; then kill "$beside_pid" 2>/dev/null || true; wait "$beside_pid" || true; fi
  as_postgres "$postgres_bin/pg_ctl" -D "$postgres_dir/data" -m immediate -s stop || true
  rm -rf "$postgres_dir" "$beside"
}
trap stop EXIT
cd /tmp
as_postgres "$postgres_bin/initdb" -D "$postgres_dir/data" -A trust -U vireo -E UTF8 --no-sync >/dev/null
as_postgres "$postgres_bin/pg_ctl" -D "$postgres_dir/data" -s -w -l "$postgres_dir/log" \
  -o "-c listen_addresses=127.0.0.1 -p $postgres_port -k $postgres_dir -c fsync=off -c max_connections=200" start
cd - >/dev/null
export VIREO_TEST_POSTGRES="postgres://vireo@127.0.0.1:$postgres_port/postgres"

status=0
echo "== unit tests on SQLite, beside them on PostgreSQL"
VIREO_VAR="$beside" DATABASE_URL="$VIREO_TEST_POSTGRES" python -m pytest -p no:cacheprovider tests/unit >"$beside/pytest.log" 2>&1 &
beside_pid=$!
python -m pytest tests/unit || status=1
echo "== unit tests on PostgreSQL"
wait "$beside_pid" || status=1
beside_pid=
cat "$beside/pytest.log"
# Two labs side by side: mostly it is guests that are waited for.
echo "== real hosts, half of the tests beside the other half"
mapfile -t odd < <(ls tests/lab/test_*.py | awk 'NR % 2')
mapfile -t even < <(ls tests/lab/test_*.py | awk 'NR % 2 == 0')
VIREO_VAR="$beside" VIREO_TEST_LAB_NAME=vireobeside python -m pytest -p no:cacheprovider "${even[@]}" >"$beside/pytest.log" 2>&1 &
beside_pid=$!
python -m pytest "${odd[@]}" || status=1
echo "== real hosts, the other half"
wait "$beside_pid" || status=1
beside_pid=
cat "$beside/pytest.log"
echo "== real browser";             python -m pytest tests/browser || status=1
echo "== real browser, PostgreSQL"
(cd / && as_postgres createdb -h 127.0.0.1 -p "$postgres_port" -U vireo stack)
VIREO_TEST_STACK_DATABASE="postgres://vireo@127.0.0.1:$postgres_port/stack" python -m pytest tests/browser/test_first_vm.py || status=1
exit $status
