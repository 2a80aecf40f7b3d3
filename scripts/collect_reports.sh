#!/usr/bin/env bash
# Writes the reports of many runs and collects pages and pictures in one folder, with an index.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=batch.sh
source "$(dirname "${BASH_SOURCE[0]}")/batch.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/collect_reports.sh [-o DIR] [RUN...]

Runs `revlm report RUN` for each run folder and copies its page and pictures to DIR/<name of RUN>, with an index
at DIR/index.html. If one fails, the others continue. The summary at the end goes to standard output, and the exit
code is 1 if any failed. Without RUN: every folder under ./runs that holds a metrics.jsonl.

  -o DIR      folder for the collection (default: reports)
  -h, --help  show this text

REVLM names the executable (default: the project's .venv/bin/revlm, else revlm on PATH).

Example: scripts/collect_reports.sh -o reports runs/small runs/large
USAGE
}

escape_html() {
    local text=$1
    text=${text//&/&amp;}
    text=${text//</&lt;}
    text=${text//>/&gt;}
    printf '%s' "${text//\"/&quot;}"
}

index_entry() {
    local name
    name=$(escape_html "$1")
    printf '<h2><a href="%s/report.html">%s</a></h2>\n' "$name" "$name"
    local picture
    for picture in "$output/$1"/*.png; do
        [[ -e $picture ]] || continue
        picture=$(escape_html "$(basename -- "$picture")")
        printf '<img src="%s/%s" alt="%s of %s">\n' "$name" "$picture" "${picture%.png}" "$name"
    done
}

output=reports
runs=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit 0 ;;
        -o) (($# > 1)) || refuse "-o needs a folder, as in -o reports"; output=$2; shift 2 ;;
        -*) refuse "unknown option $1; see --help" ;;
        *) runs+=("$1"); shift ;;
    esac
done
if ((${#runs[@]} == 0)); then
    for metrics in runs/*/metrics.jsonl; do
        [[ -e $metrics ]] || refuse "no run under ./runs; give run folders, or train first"
        runs+=("$(dirname "$metrics")")
    done
fi

declare -A run_of_name=()
for run in "${runs[@]}"; do
    name=$(name_of "$run")
    if [[ -n ${run_of_name[$name]:-} ]]; then
        refuse "$run and ${run_of_name[$name]} would both be copied to $output/$name; collect one of them with another -o"
    fi
    run_of_name[$name]=$run
done

revlm=$(find_revlm)
mkdir -p "$output"
entries=()
for run in "${runs[@]}"; do
    say "reporting on $run"
    started=$SECONDS
    status=0
    "$revlm" report "$run" || status=$?
    if ((status == 0)); then
        name=$(name_of "$run")
        mkdir -p "$output/$name"
        cp -- "$run"/report.html "$run"/*.png "$output/$name/" || status=$?
        entries+=("$name")
    fi
    note_result "$run" "$status" "$((SECONDS - started))"
done

{
    printf '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>revlm runs</title>\n'
    printf '<style>body { font-family: sans-serif; margin: 2rem; } img { max-width: 48%%; }</style>\n'
    printf '<h1>revlm runs</h1>\n'
    for name in ${entries[@]+"${entries[@]}"}; do
        index_entry "$name"
    done
    printf '</html>\n'
} >"$output/index.html"
say "the index is $output/index.html"
print_summary
