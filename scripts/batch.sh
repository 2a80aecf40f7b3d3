# shellcheck shell=bash
# Sourced by the other scripts: finds the revlm executable, and prints the summary.

scripts_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project_folder=$(dirname "$scripts_folder")

# REVLM from the environment, else the one in the project's virtual environment, else the one on PATH.
find_revlm() {
    if [[ -n ${REVLM:-} ]]; then
        printf '%s\n' "$REVLM"
    elif [[ -x $project_folder/.venv/bin/revlm ]]; then
        printf '%s\n' "$project_folder/.venv/bin/revlm"
    else
        printf 'revlm\n'
    fi
}

say() {
    printf '%s\n' "$*" >&2
}

# Wrong use: one sentence, exit code 2.
refuse() {
    say "${0##*/}: $*"
    exit 2
}

# The last part of a path, even of `.` or a path that ends in a slash.
name_of() {
    local path=$1
    if [[ -d $path ]]; then
        path=$(cd "$path" && pwd)
    fi
    basename -- "$path"
}

results=()
failures=0

# note_result NAME STATUS SECONDS
note_result() {
    if (($2 == 0)); then
        results+=("done             ${3} s  ${1}")
    else
        results+=("failed (exit $2)  ${3} s  ${1}")
        failures=$((failures + 1))
    fi
}

# Prints the results on standard output; fails if anything failed.
print_summary() {
    printf '%s\n' "${results[@]}"
    printf '%d done, %d failed\n' "$((${#results[@]} - failures))" "$failures"
    ((failures == 0))
}
