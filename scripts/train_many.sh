#!/usr/bin/env bash
# Trains a list of recipes, one after another, and continues after a failure.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=batch.sh
source "$(dirname "${BASH_SOURCE[0]}")/batch.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/train_many.sh RECIPE... [-- KEY=VALUE...]

Runs `revlm train RECIPE KEY=VALUE...` for each recipe, one after another. Give each recipe its own output_dir.
A run that a signal stopped after saving a checkpoint (exit code 75) is resumed, up to TRIES times in all; if a recipe
fails, the others continue. The summary at the end goes to standard output, and the exit code is 1 if any failed.
Ctrl-C, or SIGTERM to the process group, stops the whole list with exit code 75, and the same command resumes it; a
SIGTERM to the script alone waits for the current run.

  -h, --help  show this text

REVLM names the executable (default: the project's .venv/bin/revlm, else revlm on PATH). TRIES is 20 by default.

Example: scripts/train_many.sh recipes/small.yaml recipes/large.yaml -- train.max_steps=500
USAGE
}

recipes=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        -*) refuse "unknown option $1; overrides follow --, see --help" ;;
        *) recipes+=("$1"); shift ;;
    esac
done
((${#recipes[@]})) || refuse "no recipe was given; see --help"
tries=${TRIES:-20}
[[ $tries =~ ^[1-9][0-9]*$ ]] || refuse "TRIES is $tries; it must be a whole number above 0"

revlm=$(find_revlm)
interrupted=75
stopped=no
trap 'stopped=yes' INT TERM

for recipe in "${recipes[@]}"; do
    started=$SECONDS
    for ((try = 1; try <= tries; try++)); do
        say "training $recipe (try $try of at most $tries)"
        status=0
        "$revlm" train "$recipe" "$@" || status=$?
        if ((status != interrupted)) || [[ $stopped == yes ]]; then
            break
        fi
    done
    note_result "$recipe" "$status" "$((SECONDS - started))"
    if [[ $stopped == yes ]]; then
        print_summary || true
        say "stopped; run the same command again to resume"
        exit "$interrupted"
    fi
done
print_summary
