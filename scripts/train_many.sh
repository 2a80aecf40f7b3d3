#!/usr/bin/env bash
# Trains a list of recipes, one after the other, and goes on after a failure.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=batch.sh
source "$(dirname "${BASH_SOURCE[0]}")/batch.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/train_many.sh RECIPE... [-- KEY=VALUE...]

Runs `revlm train RECIPE KEY=VALUE...` for each recipe, one after the other. Give each recipe its own output_dir.
A run that was interrupted after a good checkpoint (exit code 75) is started again, up to TRIES times in all; a
recipe that fails does not stop the others. The summary at the end is on standard output, and the exit code is 1
if any failed. Ctrl-C stops the whole list with exit code 75: the same command again goes on where it stood. So does
SIGTERM to the process group; one to the script alone waits for the run in work.

  -h, --help  this text

REVLM names the executable (default: the project's .venv/bin/revlm, else revlm on PATH). TRIES is 20 by default.

Example: scripts/train_many.sh recipes/small.yaml recipes/large.yaml -- train.max_steps=500
USAGE
}

recipes=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        -*) refuse "unknown option $1; overrides follow --, and --help shows the rest" ;;
        *) recipes+=("$1"); shift ;;
    esac
done
((${#recipes[@]})) || refuse "no recipe was named; --help shows how"
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
        say "stopped; the same command again goes on where it stood"
        exit "$interrupted"
    fi
done
print_summary
