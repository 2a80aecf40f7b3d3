#!/usr/bin/env bash
# Tokenizes many corpora, one after another, and continues after a failure.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=batch.sh
source "$(dirname "${BASH_SOURCE[0]}")/batch.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/tokenize_many.sh [-o DIR] CORPUS... [-- OPTION...]

Runs `revlm tokenize CORPUS -o DIR/<name of CORPUS> OPTION...` for each corpus, one after another. If one
fails, the others continue. The summary at the end goes to standard output, and the exit code is 1 if any failed.

  -o DIR      folder for the token stores (default: data)
  -h, --help  show this text

REVLM names the executable (default: the project's .venv/bin/revlm, else revlm on PATH).

Example: scripts/tokenize_many.sh -o data texts/russian texts/english -- --vocab-size 4096
USAGE
}

output=data
corpora=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit 0 ;;
        -o) (($# > 1)) || refuse "-o needs a folder, as in -o data"; output=$2; shift 2 ;;
        --) shift; break ;;
        -*) refuse "unknown option $1; options of revlm tokenize follow --, see --help" ;;
        *) corpora+=("$1"); shift ;;
    esac
done
((${#corpora[@]})) || refuse "no corpus was given; see --help"

declare -A corpus_of_name=()
for corpus in "${corpora[@]}"; do
    name=$(name_of "$corpus")
    if [[ -n ${corpus_of_name[$name]:-} ]]; then
        refuse "$corpus and ${corpus_of_name[$name]} would both be written to $output/$name; tokenize one of them with another -o"
    fi
    corpus_of_name[$name]=$corpus
done

revlm=$(find_revlm)
for corpus in "${corpora[@]}"; do
    say "tokenizing $corpus"
    started=$SECONDS
    status=0
    "$revlm" tokenize "$corpus" -o "$output/$(name_of "$corpus")" "$@" || status=$?
    note_result "$corpus" "$status" "$((SECONDS - started))"
done
print_summary
