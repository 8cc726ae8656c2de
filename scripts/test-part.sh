#!/usr/bin/env bash
# One part of all tests, beside the part of another lane: what it prints comes at its end, in one piece.
# Usage: VIREO_TEST_LANE=… VIREO_TEST_POSTGRES=… test-part.sh SCRATCH-DIRECTORY NAME PYTEST-ARGUMENT …
set -uo pipefail
scratch=$1 name=$2
shift 2
export VIREO_TEST_LAB_NAME="vireotest$VIREO_TEST_LANE"
case "$name" in
  units-on-postgresql) export DATABASE_URL="$VIREO_TEST_POSTGRES/postgres" ;;
  browser-on-postgresql) export VIREO_TEST_STACK_DATABASE="$VIREO_TEST_POSTGRES/stack" ;;
esac
echo "== $name begins in lane $VIREO_TEST_LANE"
python -m pytest -p no:cacheprovider "$@" >"$scratch/$VIREO_TEST_LANE.log" 2>&1
status=$?
echo "== $name, $(printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60))): $*"
cat "$scratch/$VIREO_TEST_LANE.log"
exit "$status"
