#!/usr/bin/env bash
# Every method on the same random scenes and seeds: a table, and a page of the videos.
#   runs/compare_controls.sh [FOLDER] [scenes] [seeds]        e.g. runs/compare_controls.sh runs/out/controls 100 2
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/out/controls} n=${2:-8} seeds=${3:-1}
mkdir -p "$out"
python=.venv/bin/python
row() { # one process for each method, so that its peak memory is measured alone; existing rows are kept
  local name=$1 file; file="$out/${1//:/-}${2:-}.json"; shift
  [ -s "$file" ] || "$python" -m animatic.toy.evals.controls "$name" --n "$n" --seeds "$seeds" "$@" > "$file.part"
  [ -s "$file" ] || mv "$file.part" "$file"
  cat "$file"
}
for method in none layout-attention lvd lvd-gligen lvd+; do row "$method"; done
for method in none multidiffusion boxdiff backward-guidance gligen lmd lmd+; do row "$method" --still; done
"$python" -m animatic.benchmarks.gallery "$out" --scenes 6
echo "page: $out/controls.html"
