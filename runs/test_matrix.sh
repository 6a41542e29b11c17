#!/usr/bin/env bash
# The tests with other instructions of the processor, other thread counts and in other orders, as a table of Markdown.
# runs/test_matrix.sh [FOLDER FOR LOGS] [ARGUMENTS OF PYTEST...]; PYTHON=python3 says which.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=${1:-runs/out/test_matrix}
shift || true
mkdir -p "$logs"

# how many tests ended as $1 says, by the last line of pytest
count() { grep -Eo "[0-9]+ $1" <<<"$2" | grep -Eo "[0-9]+" || echo 0; }

echo "| instructions | threads | order | failed | passed | skipped | seconds |"
echo "|---|---|---|---|---|---|---|"
bad=0
for run in default:1:1 default:2:2 avx2:1:2 avx2:2:1 avx512:1:1 avx512:2:2; do
  IFS=: read -r isa threads seed <<<"$run"
  log="$logs/$isa-$threads-$seed.log"
  ATEN_CPU_CAPABILITY=$isa OMP_NUM_THREADS=$threads OMP_WAIT_POLICY=passive "${PYTHON:-.venv/bin/python}" -m pytest -n 2 --dist loadfile \
    --no-loadscope-reorder \
    -p randomly --randomly-seed="$seed" "$@" >"$log" 2>&1 || bad=1
  last=$(grep -E "(passed|failed|errors?).* in [0-9.]+s" "$log" | tail -1)
  failed=$(($(count failed "$last") + $(count error "$last")))
  seconds=$(grep -Eo "in [0-9.]+s" <<<"$last" | grep -Eo "[0-9.]+")
  echo "| $isa | $threads | $seed | $failed | $(count passed "$last") | $(count skipped "$last") | ${seconds:-none} |"
done
exit $bad
