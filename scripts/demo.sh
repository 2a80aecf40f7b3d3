#!/usr/bin/env bash
# Runs the demo (`make demo`): trains a model from scratch, then writes its report and a sample of its text.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=batch.sh
source "$(dirname "${BASH_SOURCE[0]}")/batch.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/demo.sh [CORPUS]

Trains the bundled recipe `demo` on one novel, finally in examples of 65,536 tokens, then writes the report and a
sample of text, and checks that the loss fell by a fifth. The novel is the first of Crime and Punishment, Moby-Dick and
the Bible that can be downloaded; to train on another corpus, give a folder of .txt files or one such file.

Texts go to data/texts/demo, tokens to data/demo-<name> (data/demo-<name>.corpus names their corpus), the run to
runs/demo-<name>, all in the project's folder.
If run again, it reuses the text and the tokens and resumes the run; a finished run is only reported again. Remove
runs/demo-<name> to train from scratch.

  -h, --help  show this text

REVLM names the executable (default: the project's .venv/bin/revlm, else revlm on PATH), PYTHON the Python that
reads the losses (default: the project's, else python3).
USAGE
}

novels=(crime-and-punishment moby-dick bible)
texts=data/texts/demo

# Chooses the first novel that is downloaded already, else the first that can be downloaded.
download_novel() {
    local name
    for name in "${novels[@]}"; do
        if [[ -f $texts/$name/$name.txt ]]; then
            corpus=$texts/$name
            say "the novel is $name, downloaded before: $corpus/$name.txt"
            return
        fi
    done
    for name in "${novels[@]}"; do
        if "$revlm" fetch "$name" -o "$texts/$name"; then
            corpus=$texts/$name
            say "the novel is $name: $corpus/$name.txt"
            return
        fi
        say "$name cannot be downloaded; trying the next novel"
    done
    say "none of ${novels[*]} can be downloaded: put a .txt file into a folder and run \`make demo CORPUS=that-folder\`"
    exit 3
}

# Whether the tokens are complete, of this corpus (not of another of the same name), and newer than its texts.
tokens_are_current() {
    [[ -f $tokens/manifest.json && -f $tokens.corpus && $(<"$tokens.corpus") == "$(realpath -- "$corpus")" ]] &&
        [[ -z $(find "$corpus" -newer "$tokens/manifest.json" -print -quit) ]]
}

# Prints the losses, the longest steps and the peak memory of a run's metrics.jsonl; fails unless the loss fell by a
# fifth.
check_losses() {
    "$python" - "$1" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as journal:
    records = [json.loads(line) for line in journal]
steps = [record for record in records if record["event"] == "step"]
if len(steps) < 6:
    sys.exit(f"the run has {len(steps)} steps, too few to compare the last five with the first")
first = steps[0]["loss"]
last = sum(record["loss"] for record in steps[-5:]) / 5
print(f"loss: {first:.3f} at first, {last:.3f} over the last five of {len(steps)} steps ({last / first - 1:+.0%})")
held_out = [record["bits_per_byte"] for record in records if record["event"] == "evaluate"]
if held_out and held_out[-1] is not None:
    print(f"held out: {held_out[-1]:.3f} bits per byte")
longest = max(record["tokens"] for record in steps)
print(f"longest steps: {longest:,} tokens, {sum(record['tokens'] == longest for record in steps)} of them")
print(f"peak memory: {max(record['memory_peak_bytes'] for record in steps) / 2**30:.2f} GiB")
if last > 0.8 * first:
    sys.exit("the mean of the last five losses is not 20% below the first: the demo has failed")
PYTHON
}

case ${1:-} in
    -h | --help) usage; exit 0 ;;
    -*) refuse "unknown option $1; see --help" ;;
esac
(($# <= 1)) || refuse "give one corpus at a time; see --help"

corpus=${1:-}
if [[ -n $corpus ]]; then
    if [[ ! -e $corpus ]]; then
        say "there is no corpus $corpus: give a folder of .txt files, or one such file"
        exit 3
    fi
    corpus=$(realpath -- "$corpus")
fi
cd "$project_folder"
revlm=$(find_revlm)
python=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}
if [[ -z $corpus ]]; then
    download_novel
fi

name=$(name_of "$corpus")
name=${name%.txt}
tokens=data/demo-$name
run=runs/demo-$name

if tokens_are_current; then
    say "reusing the tokens of $corpus in $tokens"
else
    rm -f -- "$tokens.corpus"
    "$revlm" tokenize "$corpus" -o "$tokens" --vocab-size 4096
    realpath -- "$corpus" >"$tokens.corpus"
fi
if [[ -f $run/metrics.jsonl ]]; then
    say "resuming $run; remove it to train from scratch"
fi
"$revlm" train demo data.path="$tokens" output_dir="$run"
"$revlm" report "$run"
say "a sample of text:"
# A new document begins like the novel, often with a table of contents; a prompt of some lines leads into its prose.
prompt="It was late in the evening. The old man stood at the door for a long time, and then he said to me,"
"$revlm" generate --run "$run" --prompt "$prompt" --max-tokens 150 --temperature 0.5 --seed 1
printf '\n'

outcome=0
check_losses "$run/metrics.jsonl" || outcome=1
printf 'corpus: %s\n' "$corpus"
printf 'pictures: %s and %s\n' "$project_folder/$run/loss.png" "$project_folder/$run/memory.png"
printf 'report: %s\n' "$project_folder/$run/report.html"
printf 'total time: %d min %d s\n' "$((SECONDS / 60))" "$((SECONDS % 60))"
exit "$outcome"
