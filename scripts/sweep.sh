#!/usr/bin/env bash
# Trains a recipe with every combination of some values, one after another here, or each as a Slurm job.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=batch.sh
source "$(dirname "${BASH_SOURCE[0]}")/batch.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/sweep.sh [-o DIR] [--slurm] RECIPE KEY=VALUE,VALUE,... [KEY=VALUE,VALUE,...]... [-- OVERRIDE|OPTION...]

Runs `revlm train RECIPE KEY=VALUE... OVERRIDE...` for every combination of the values, each in its own run folder
DIR/KEY=VALUE_KEY=VALUE, like scripts/train_many.sh: an interrupted run is resumed, if one fails the others continue,
Ctrl-C stops all, and the same command resumes. The summary goes to standard output, and the exit code is 1 if any
failed. Compare the runs with scripts/collect_reports.sh DIR/*.

  -o DIR      folder of the runs (default: runs/<name of RECIPE>-sweep)
  --slurm     submit each as a job of scripts/slurm_train.sbatch instead; arguments after -- that begin with - are
              options of sbatch, written as --NAME=VALUE
  -h, --help  show this text

Put values that contain commas in brackets, as in model.layers=[local],[local,lsh]. REVLM names the executable
(default: the project's .venv/bin/revlm, else revlm on PATH). TRIES is 20 by default.

Example: scripts/sweep.sh novel-64k optimizer.lr=1e-3,3e-3 model.n_rounds=1,2,4 -- data.path=data/novels
Example: scripts/sweep.sh --slurm novel-64k optimizer.lr=1e-3,3e-3 -- --gpus=1 --time=02:00:00 data.path=data/novels
USAGE
}

output='' recipe='' slurm=no
keys=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit 0 ;;
        -o) (($# > 1)) || refuse "-o needs a folder, as in -o runs/rates"; output=$2; shift 2 ;;
        --slurm) slurm=yes; shift ;;
        --) shift; break ;;
        -*) refuse "unknown option $1; overrides follow --, see --help" ;;
        *=*) keys+=("$1"); shift ;;
        *) [[ -z $recipe ]] || refuse "two recipes were given, $recipe and $1; give one"; recipe=$1; shift ;;
    esac
done
[[ -n $recipe ]] || refuse "no recipe was given; see --help"
((${#keys[@]})) || refuse "no values were given, such as optimizer.lr=1e-3,3e-3"
name=$(name_of "$recipe")
output=${output:-runs/${name%.yaml}-sweep}

# The values of KEY=VALUE,VALUE,..., one per line; commas within brackets do not separate values.
values_of() {
    local text=${1#*=} value='' depth=0 place character
    for ((place = 0; place < ${#text}; place++)); do
        character=${text:place:1}
        case $character in
            '[' | '{') depth=$((depth + 1)) ;;
            ']' | '}') depth=$((depth - 1)) ;;
        esac
        if [[ $character == , ]] && ((depth == 0)); then
            printf '%s\n' "$value"
            value=''
        else
            value+=$character
        fi
    done
    printf '%s\n' "$value"
}

# Each combination as lines of KEY=VALUE, followed by an empty line.
combinations() {
    if ((${#keys[@]} == $1)); then
        printf '%s\n' "${@:2}" ''
        return
    fi
    local value
    while IFS= read -r value; do
        combinations "$(($1 + 1))" "${@:2}" "${keys[$1]%%=*}=$value"
    done < <(values_of "${keys[$1]}")
}

overrides=() options=()
for each in "$@"; do
    if [[ $slurm == yes && $each == -* ]]; then
        options+=("$each")
    else
        overrides+=("$each")
    fi
done

stopped=no
trap 'stopped=yes' INT TERM
chosen=()
while IFS= read -r -u 3 line; do
    if [[ -n $line ]]; then
        chosen+=("$line")
        continue
    fi
    run=$(IFS=_ && printf '%s' "${chosen[*]}")
    arguments=("${chosen[@]}" "output_dir=$output/${run//\//-}" "${overrides[@]}")
    chosen=()
    started=$SECONDS status=0
    if [[ $slurm == yes ]]; then
        sbatch --job-name="$run" "${options[@]}" "$scripts_folder/slurm_train.sbatch" "$recipe" "${arguments[@]}" >&2 ||
            status=$?
    else
        "$scripts_folder/train_many.sh" "$recipe" -- "${arguments[@]}" >&2 || status=$?
    fi
    note_result "$run" "$status" "$((SECONDS - started))"
    if [[ $stopped == yes ]]; then
        print_summary || true
        say "stopped; run the same command again to resume"
        exit 75
    fi
done 3< <(combinations 0)
print_summary
