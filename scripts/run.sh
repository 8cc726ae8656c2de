#!/usr/bin/env bash
# Vireo in the foreground: Redis, web, worker, watcher and beat, and the lab's hosts when root runs it.
# Ctrl-C stops what this script started, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
export VIREO_VAR="${VIREO_VAR:-$PWD/var}" VIREO_PORT="${VIREO_PORT:-8000}" DJANGO_SETTINGS_MODULE=portal.settings
export PATH="$PWD/var/venv/bin:$PATH" PYTHONUNBUFFERED=1
export CELERY_SKIP_CHECKS=true # a worker needs no pages, nor the memory that importing them takes
mkdir -p "$VIREO_VAR/run" "$VIREO_VAR/log"

exec 9>"$VIREO_VAR/run/vireo.lock"
flock -n 9 || { echo "Vireo already runs from $VIREO_VAR." >&2; exit 1; }

lab=1
if [ "${VIREO_LAB:-1}" = 0 ]; then
  lab=0; echo "VIREO_LAB=0: starting without the lab's hosts."
elif [ "$(id -u)" != 0 ]; then
  lab=0; echo "Not root: starting without the lab's hosts; add your own under Hosts."
fi
scripts/setup.sh $([ $lab = 1 ] && echo --lab)

redis_pid='' honcho_pid='' lab_started=0
stop() {
  trap '' INT TERM
  [ -n "$honcho_pid" ] && kill -TERM "$honcho_pid" 2>/dev/null && wait "$honcho_pid" || true
  [ "$lab_started" = 1 ] && { echo "Stopping the lab's hosts"; setsid python manage.py lab down 9>&-; }
  [ -n "$redis_pid" ] && kill -TERM "$redis_pid" 2>/dev/null && wait "$redis_pid" || true
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "${REDIS_URL:-}" ]; then
  # setsid: Ctrl-C reaches the foreground group at once, but Redis must outlive its clients.
  setsid redis-server --port 0 --unixsocket "$VIREO_VAR/run/redis.sock" --unixsocketperm 700 --dir "$VIREO_VAR/run" \
    --save "" --appendonly no --maxmemory 64mb --maxmemory-policy volatile-lru --logfile "$VIREO_VAR/log/redis.log" 9>&- &
  redis_pid=$!
fi
python manage.py migrate --verbosity 0 9>&-
if [ $lab = 1 ]; then
  if ! python manage.py lab status --quiet 9>&-; then lab_started=1; fi
  python manage.py lab up --hosts "${VIREO_LAB_HOSTS:-2}" 9>&-
fi
python manage.py bootstrap $([ $lab = 1 ] && echo --lab) 9>&-

setsid honcho --procfile Procfile start 9>&- &
honcho_pid=$!
if [ "${VIREO_DEBIAN_IMAGE:-0}" = 1 ]; then
  # A worker builds it meanwhile; its progress is on the page.
  python manage.py build_debian_image --template 9>&- || echo "The Debian image was not asked for." >&2
fi
echo "Vireo is at http://127.0.0.1:$VIREO_PORT"
wait "$honcho_pid"
