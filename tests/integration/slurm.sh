#!/usr/bin/env bash
# A real one-node Slurm with a GPU resource (a file stands for the device): the whole pipeline by -profile test,slurm,gpu,
# GPUs only for tasks that ask, small tasks in array jobs, and a training that is killed twice goes on from its last epoch.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
export PATH="$root/.venv/bin:$PATH:/usr/sbin:/sbin"
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" > /dev/null || { echo "SKIPPED: $program is not installed (Debian: slurm-wlm munge)"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "SKIPPED: starting slurmd needs root"; exit 77; }

folder=$(mktemp -d /tmp/allelegro-slurm.XXXXXX)
pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done; wait 2> /dev/null || true; }
trap stop EXIT

mkdir -p "$folder"/{spool,state,run}
chmod 755 "$folder" && chmod 700 "$folder/run"
mknod -m 666 "$folder/gpu0" c 1 3  # /dev/null under another name stands for the GPU
dd if=/dev/urandom of="$folder/run/munge.key" bs=1024 count=1 2> /dev/null
chmod 400 "$folder/run/munge.key"
munged --foreground --force --key-file="$folder/run/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/run/munged.pid" \
    --log-file="$folder/run/munged.log" --seed-file="$folder/run/munged.seed" 2> "$folder/munged.err" & pids+=($!)

host=$(hostname -s)
cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
AuthInfo=socket=$folder/munge.socket
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MinJobAge=3600
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(($(free -m | awk '/^Mem/ {print $2}') * 8 / 10)) Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
printf 'NodeName=%s Name=gpu File=%s\n' "$host" "$folder/gpu0" > "$folder/gres.conf"
export SLURM_CONF=$folder/slurm.conf
slurmctld -D 2> "$folder/slurmctld.err" & pids+=($!)
slurmd -D 2> "$folder/slurmd.err" & pids+=($!)
for _ in $(seq 60); do sinfo -h -o %T 2> /dev/null | grep -q idle && break; sleep 1; done
sinfo -h -o '%N %T %G' | grep 'idle gpu:1' || { echo "FAILED  the node does not come up, see $folder/*.log"; exit 1; }

# Each task notes what it was given; one node answers at once, so Nextflow need not wait for it as for a busy cluster.
cat > "$folder/test.config" <<'CONF'
process.beforeScript = 'echo "${CUDA_VISIBLE_DEVICES-none}" > .devices'
executor {
    pollInterval = '1 sec'
    queueStatInterval = '5 sec'
    exitReadTimeout = '15 sec'
}
CONF
mkdir "$folder/launch with spaces"
cd "$folder/launch with spaces"
nextflow -log nextflow.log run "$root/main.nf" -c "$folder/test.config" -profile test,slurm,gpu --simulate tiny --models legnet --score_models legnet --shards 2 \
    -work-dir "$folder/work" --job_array 4 --device auto --max_cpus 1 --max_memory '3 GB' --finetune_epochs 20 -ansi-log false > run.log 2>&1 & run=$!; pids+=("$run")

# Once a fine-tuning has saved a state, its processes are killed at once, as when a node is lost: no exit status is left behind.
# Its second attempt, once it has gone on from that state, is killed by the scheduler.
killed=()
while kill -0 "$run" 2> /dev/null; do
    job=$(squeue -h -t RUNNING -o '%i %j' | awk '/FINETUNE/ {print $1; exit}')
    if [ ${#killed[@]} = 0 ] && [ -n "$job" ] && compgen -G "$folder/work/checkpoints/*/legnet-*/*" > /dev/null; then
        scontrol listpids "$job" | awk 'NR > 1 && $1 > 1 {print $1}' | xargs -r kill -KILL && killed+=("$job")
    elif [ ${#killed[@]} = 1 ] && [ -n "$job" ] && [ "$job" != "${killed[0]}" ] \
        && grep -q 'continuing after' "$(scontrol show job "$job" | sed -n 's/^ *WorkDir=//p')/.command.log"; then
        scancel --signal=KILL --full "$job" && killed+=("$job")
    fi
    sleep 0.5
done
wait "$run" || { tail -n 40 run.log; echo "FAILED  the run, see $folder"; exit 1; }
grep 'Allelegro finished' run.log

scontrol show job -o > jobs.txt
python "$root/tests/integration/check_slurm.py" "$root" "$folder/work" "${killed[@]}"
rm -rf "$folder"
