#!/usr/bin/env bash
# Slurm of one machine for tests, in a folder of its own: munged, slurmctld and slurmd, until standard input ends.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: tests/slurm/private_slurm.sh FOLDER CTLD_PORT SLURMD_PORT

Starts Slurm with its configuration, keys and logs in FOLDER, on two free ports of the loopback interface, for the user
that calls it. Prints `ready` once the node takes jobs; those are sent with SLURM_CONF=FOLDER/slurm.conf. Ends with
everything it started when its standard input is closed.
USAGE
}

(($# == 3)) || { usage >&2; exit 2; }
mkdir -p -- "$1"
folder=$(cd "$1" && pwd) controller_port=$2 node_port=$3
user=$(id -un) node=$(hostname -s) memory=2048
mkdir -p "$folder"/{state,spool}
chmod 700 "$folder"

cat >"$folder/slurm.conf" <<CONF
ClusterName=private
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential has expired.
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
SlurmdParameters=config_overrides
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0
ReturnToService=2
MinJobAge=600
KillWait=5
NodeName=$node NodeAddr=127.0.0.1 CPUs=4 RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
CONF
export SLURM_CONF=$folder/slurm.conf

started=()
# shellcheck disable=SC2329 # it is what EXIT brings about
stop() {
    local process
    for process in "${started[@]}"; do
        kill -TERM "$process" 2>/dev/null || true
    done
    wait
    # Jobs outlive the daemons; all that they are has this configuration in its environment.
    for process in /proc/[0-9]*; do
        if { tr '\0' '\n' <"$process/environ"; } 2>/dev/null | grep --quiet --fixed-strings --line-regexp "SLURM_CONF=$SLURM_CONF"; then
            kill -KILL "${process#/proc/}" 2>/dev/null || true
        fi
    done
}
trap stop EXIT

head -c 1024 /dev/urandom >"$folder/munge.key"
chmod 600 "$folder/munge.key"
munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --num-threads=2 \
    --pid-file="$folder/munged.pid" --seed-file="$folder/munged.seed" --log-file="$folder/munged.log" \
    >"$folder/munged.out" 2>&1 &
started+=($!)
for ((try = 0; try < 100; try++)); do
    [[ ! -S $folder/munge.socket ]] || break
    sleep 0.1
done
slurmctld -D -f "$SLURM_CONF" >"$folder/slurmctld.out" 2>&1 &
started=($! "${started[@]}")
slurmd -D -f "$SLURM_CONF" -N "$node" >"$folder/slurmd.out" 2>&1 &
started=($! "${started[@]}")

for ((try = 0; try < 600; try++)); do
    if [[ $(sinfo --noheader --format=%T 2>/dev/null || true) == idle ]]; then
        printf 'ready\n'
        cat >/dev/null
        exit
    fi
    sleep 0.2
done
printf 'Slurm does not take jobs after two minutes: %s holds its logs\n' "$folder" >&2
exit 1
