#!/usr/bin/env bash
# Trains a recipe with every combination of some values, here one after the other, or each as a batch job of Slurm.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=batch.sh
source "$(dirname "${BASH_SOURCE[0]}")/batch.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/sweep.sh [-o DIR] [--slurm] RECIPE KEY=VALUE,VALUE,... [KEY=VALUE,VALUE,...]... [-- OVERRIDE|OPTION...]

Runs `revlm train RECIPE KEY=VALUE... OVERRIDE...` for every combination of the values, each in a run folder of its own,
DIR/KEY=VALUE_KEY=VALUE, as scripts/train_many.sh would: a run that is interrupted is started again, one that fails does
not stop the others, Ctrl-C stops all, and the same command again goes on. The summary is on standard output, and the
exit code is 1 if any failed. Compare the runs with scripts/collect_reports.sh DIR/*.

  -o DIR      the folder of the runs (default: runs/<name of RECIPE>-sweep)
  --slurm     submit each as a job of scripts/slurm_train.sbatch instead; of what follows --, what begins with - are
              options of sbatch, with an = before their value
  -h, --help  this text

A value with commas of its own stands in brackets, as in model.layers=[local],[local,lsh]. REVLM names the executable
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
        -*) refuse "unknown option $1; overrides follow --, and --help shows the rest" ;;
        *=*) keys+=("$1"); shift ;;
        *) [[ -z $recipe ]] || refuse "there are two recipes, $recipe and $1; give one"; recipe=$1; shift ;;
    esac
done
[[ -n $recipe ]] || refuse "no recipe was named; --help shows how"
((${#keys[@]})) || refuse "no values were named, as in optimizer.lr=1e-3,3e-3"
name=$(name_of "$recipe")
output=${output:-runs/${name%.yaml}-sweep}

# The values of KEY=VALUE,VALUE,... one a line; commas within brackets separate nothing.
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

# Each combination as lines of KEY=VALUE, and an empty line after each.
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
        say "stopped; the same command again goes on where it stood"
        exit 75
    fi
done 3< <(combinations 0)
print_summary
