#!/usr/bin/env bash
# Tokenizes one large corpus in shards, as a Slurm job array or on one machine, and merges them.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=batch.sh
source "$(dirname "${BASH_SOURCE[0]}")/batch.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/tokenize_shards.sh [-o DIR] [-n SHARDS] [-j JOBS] [-t TOKENIZER] [--deduplicate] CORPUS [-- OPTION...]

Trains a tokenizer on CORPUS, tokenizes it in SHARDS parts, JOBS at a time, and merges them into the token store that
`revlm tokenize CORPUS -o DIR OPTION...` would write. Tokenizer and shards are in DIR.shards, which can be removed
afterwards. After a kill or a failure, the same command resumes: finished shards are not tokenized again, unless the
corpus or the options have changed. The summary goes to standard output. Exit codes: 0 done, 1 if a shard or the merge
failed, 2 wrong use, 75 stopped by a signal; that of `revlm tokenize` if training the tokenizer fails.

As a task of a job array (SLURM_ARRAY_TASK_ID, from 1), it trains the tokenizer if no other task has, tokenizes the
shard of its number, and ends with the exit code of `revlm tokenize`. To merge, run the same command outside the array.

  -o DIR         token store (default: data/<name of CORPUS>)
  -n SHARDS      number of shards (default: SLURM_ARRAY_TASK_COUNT, else one per core)
  -j JOBS        shards at a time (default: 1; with more, limit each with `-- --workers N`)
  -t TOKENIZER   tokenizer to use instead of training one: a file, a folder, or bytes
  --deduplicate  leave out texts that are in the store already, even as another edition
  -h, --help     show this text

REVLM names the executable (default: the project's .venv/bin/revlm, else revlm on PATH).

Example: scripts/tokenize_shards.sh -n 64 -j 4 books -- --workers 2 --errors skip
Example: sbatch --array=1-64 --wrap 'scripts/tokenize_shards.sh -n 64 books'
USAGE
}

require_number() {
    [[ $2 =~ ^[1-9][0-9]*$ ]] || refuse "$1 is $2; it must be a whole number above 0"
}

output='' shards=${SLURM_ARRAY_TASK_COUNT:-$(nproc)} jobs=1 tokenizer='' corpus=''
merge_options=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit 0 ;;
        -o) (($# > 1)) || refuse "-o needs a folder, as in -o data/books"; output=$2; shift 2 ;;
        -n) (($# > 1)) || refuse "-n needs a number, as in -n 64"; shards=$2; shift 2 ;;
        -j) (($# > 1)) || refuse "-j needs a number, as in -j 4"; jobs=$2; shift 2 ;;
        -t) (($# > 1)) || refuse "-t needs a tokenizer, as in -t bytes"; tokenizer=$2; shift 2 ;;
        --deduplicate) merge_options+=("$1"); shift ;;
        --) shift; break ;;
        -*) refuse "unknown option $1; options of revlm tokenize follow --, see --help" ;;
        *) [[ -z $corpus ]] || refuse "two corpora were given, $corpus and $1; give one"; corpus=$1; shift ;;
    esac
done
[[ -n $corpus ]] || refuse "no corpus was given; see --help"
require_number "-n" "$shards"
require_number "-j" "$jobs"
task=${SLURM_ARRAY_TASK_ID:-}
if [[ -n $task ]]; then
    require_number SLURM_ARRAY_TASK_ID "$task"
    ((task <= shards)) || refuse "SLURM_ARRAY_TASK_ID is $task but there are only $shards shards; give the array's size with -n"
fi
if [[ -z $output && ! -e $corpus ]]; then
    refuse "$corpus is not a folder or file; check the path, or for a pattern give the store with -o"
fi
output=${output:-data/$(name_of "$corpus")}
work=$output.shards
revlm=$(find_revlm)
interrupted=75

# What the shards depend on: after a change of corpus or options, earlier shards are useless.
shard_inputs() {
    printf '%q ' "$corpus" "$shards" "$tokenizer" "$@"
    if [[ -e $corpus ]]; then
        # A cycle of links, which find skips, is not a failure.
        { find -L "$corpus" -type f -printf '%P %s %T@\n' 2>/dev/null || true; } | LC_ALL=C sort | sha256sum
    fi
}

# A batch system sends these signals to this shell too; it waits for revlm to handle them.
trap : USR1 USR2

# Trains the tokenizer once; tasks that start at the same time wait for the first.
prepare() {
    local wanted
    wanted=$(shard_inputs "$@")
    mkdir -p -- "$work"
    exec {lock}>"$work/.lock"
    flock "$lock"
    if [[ ! -e $work/plan || $(<"$work/plan") != "$wanted" ]]; then
        [[ ! -e $work/plan ]] || say "starting again: the corpus or the options have changed"
        rm -rf -- "$work"/tokenizer "$work"/{,.}[0-9]*-of-[0-9]*
        printf '%s\n' "$wanted" >"$work/plan"
    fi
    if [[ -z $tokenizer && ! -e $work/tokenizer ]]; then
        "$revlm" tokenize "$corpus" -o "$work/tokenizer" --only-tokenizer "$@" >&2 || exit
    fi
    exec {lock}>&-
}

is_done() {
    [[ -e $work/$1-of-$shards/manifest.json ]]
}

# tokenize_shard NUMBER OPTION...; replaces this shell, so that a signal reaches revlm itself
tokenize_shard() {
    local number=$1
    shift
    exec "$revlm" tokenize "$corpus" -o "$work/$number-of-$shards" --shard "$number/$shards" \
        --tokenizer "${tokenizer:-$work/tokenizer}" "$@" >&2
}

prepare "$@"
if [[ -n $task ]]; then
    if is_done "$task"; then
        say "$work/$task-of-$shards exists already"
        exit 0
    fi
    tokenize_shard "$task" "$@"
fi

stopped=no
numbers=() processes=() begins=()

forward_term() {
    stopped=yes
    kill -TERM "${processes[@]}" 2>/dev/null || true
}
# In a terminal, Ctrl-C reaches the shards as well; a SIGTERM reaches only this process.
trap 'stopped=yes' INT
trap forward_term TERM

# Waits for the oldest running shard, even if a signal interrupts the wait.
wait_for_first() {
    local status=0
    wait "${processes[0]}" || status=$?
    while kill -0 "${processes[0]}" 2>/dev/null; do
        status=0
        wait "${processes[0]}" || status=$?
    done
    note_result "shard ${numbers[0]} of $shards" "$status" "$((SECONDS - begins[0]))"
    numbers=("${numbers[@]:1}") processes=("${processes[@]:1}") begins=("${begins[@]:1}")
}

folders=()
for ((number = 1; number <= shards; number++)); do
    folders+=("$work/$number-of-$shards")
    if is_done "$number" || [[ $stopped == yes ]]; then
        continue
    fi
    ((${#processes[@]} < jobs)) || wait_for_first
    [[ $stopped == no ]] || continue
    say "tokenizing shard $number of $shards"
    tokenize_shard "$number" "$@" &
    numbers+=("$number") processes+=($!) begins+=("$SECONDS")
done
while ((${#processes[@]})); do
    wait_for_first
done

if [[ $stopped == yes ]]; then
    print_summary || true
    say "stopped; run the same command again to resume"
    exit "$interrupted"
fi
if ((failures == 0)); then
    say "merging $shards shards into $output"
    started=$SECONDS status=0
    "$revlm" data merge "${folders[@]}" -o "$output" "${merge_options[@]}" >&2 || status=$?
    note_result "$output" "$status" "$((SECONDS - started))"
fi
print_summary
