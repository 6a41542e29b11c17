#!/usr/bin/env bash
# What a GPU shows and a CPU cannot, as tables of Markdown: tests and steps in half precision, memory, compile, training.
# runs/gpu.sh [--tiny] [--only cells,steps,pipelines,caches,training]; --tiny is the same on tiny networks, on a CPU too.
# Each section is a process of its own: one that fails, or takes too long, is named at the end and loses no other's lines.
# PYTHON=python3 says which Python. Nothing is fetched.
set -uo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

declare -A minutes=([cells]=8 [steps]=4 [pipelines]=4 [caches]=6 [training]=2) # 24 in all
sections=(cells steps pipelines caches training)
options=()
while (($#)); do
  case $1 in
    --tiny) options+=(--tiny) && shift ;;
    --only) IFS=, read -ra sections <<<"${2:?--only wants names of sections}" && shift 2 ;;
    *) echo "unknown option $1; want --tiny or --only SECTIONS" >&2 && exit 2 ;;
  esac
done
for section in "${sections[@]}"; do
  [[ -v minutes[$section] ]] || { echo "no section $section; want ${!minutes[*]}" >&2 && exit 2; }
done

bad=0
summary=()
for section in "${sections[@]}"; do
  printf '\n## %s\n\n' "$section"
  began=$SECONDS
  timeout "${minutes[$section]}m" "${PYTHON:-.venv/bin/python}" "runs/gpu/$section.py" "${options[@]}"
  code=$?
  case $code in
    0) result=complete ;;
    124) result="stopped after ${minutes[$section]} minutes" ;;
    *) result="failed with code $code" ;;
  esac
  ((code)) && bad=1
  summary+=("| $section | $result | $((SECONDS - began)) |")
done

printf '\n## Sections\n\n| section | result | seconds |\n|---|---|---|\n'
printf '%s\n' "${summary[@]}"
exit $bad
