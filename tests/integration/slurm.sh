#!/usr/bin/env bash
# A real one-node Slurm with a GPU resource (a file stands for the device): the whole pipeline by -profile test,slurm,gpu,
# GPUs only for tasks that ask, and a training task that is killed in the middle goes on from its last epoch.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" > /dev/null || PATH=$PATH:/usr/sbin command -v "$program" > /dev/null || { echo "SKIPPED: $program is not installed (Debian: slurm-wlm munge)"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "SKIPPED: starting slurmd needs root"; exit 77; }
export PATH=$PATH:/usr/sbin:/sbin

folder=$(mktemp -d /tmp/allelegro-slurm.XXXXXX)
pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done; wait 2> /dev/null || true; }
trap stop EXIT
export PATH="$root/.venv/bin:$PATH"

mkdir -p "$folder"/{spool,state,run}
chmod 755 "$folder" && chmod 700 "$folder/run"
mknod -m 666 "$folder/gpu0" c 1 3  # /dev/null under another name stands for the GPU
dd if=/dev/urandom of="$folder/run/munge.key" bs=1024 count=1 2> /dev/null
chmod 400 "$folder/run/munge.key"
munged --foreground --force --key-file="$folder/run/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/run/munged.pid" \
    --log-file="$folder/run/munged.log" --seed-file="$folder/run/munged.seed" & pids+=($!)

host=$(hostname -s)
cat > "$folder/slurm.conf" <<END
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
END
printf 'NodeName=%s Name=gpu File=%s\n' "$host" "$folder/gpu0" > "$folder/gres.conf"
export SLURM_CONF=$folder/slurm.conf
slurmctld -D & pids+=($!)
slurmd -D & pids+=($!)
for _ in $(seq 60); do sinfo -h -o %T 2> /dev/null | grep -q idle && break; sleep 1; done
sinfo -o '%N %T %G'

export MUNGE_SOCKET=$folder/munge.socket
mkdir "$folder/launch with spaces"
cd "$folder/launch with spaces"
nextflow -log nextflow.log run "$root/main.nf" -profile test,slurm,gpu --simulate "${PRESET:-tiny}" --models "${MODELS:-legnet,scratch}" --shards 2 --device auto \
    --max_cpus 1 --max_memory '3 GB' --finetune_epochs "${EPOCHS:-20}" -ansi-log false > run.log 2>&1 & run=$!; pids+=("$run")

# Kill the first fine-tuning job once it has saved a state, as a preempting scheduler would.
killed=''
while kill -0 "$run" 2> /dev/null; do
    job=$(squeue -h -t RUNNING -o '%i %j' | awk '/FINETUNE/ {print $1; exit}')
    if [ -z "$killed" ] && [ -n "$job" ] && compgen -G "work/checkpoints/*/*/*" > /dev/null; then
        sleep "${KILL_AFTER:-5}"
        scancel --signal=KILL --full "$job" && killed=$job && echo "killed job $job in the middle of its training"
    fi
    sleep 1
done
wait "$run" || { tail -n 40 run.log; exit 1; }

failures=0
check() { if eval "$2"; then echo "ok      $1"; else echo "FAILED  $1"; failures=$((failures + 1)); fi; }
check "the report is there" '[ -s results/report/report.html ]'
check "a job was killed and its task run again" '[ -n "$killed" ] && awk -F"\t" "NR == 1 {for (i = 1; i <= NF; i++) column[\$i] = i} \$column[\"process\"] ~ /FINETUNE/ && \$column[\"attempt\"] > 1 && \$column[\"status\"] == \"COMPLETED\" {found = 1} END {exit !found}" results/pipeline_info/trace.tsv'
check "the retried training went on from its state" 'grep -rlE "ontinu|resum" --include=.command.err work | xargs -r grep -l . | grep -q .'
for header in work/*/*/.command.run; do
    asked=$(grep -c '^#SBATCH.*--gres=gpu:1' "$header" || true)
    wants=$(grep -cE 'NXF_TASK_NAME|nxf_task_name' "$header" > /dev/null; head -n 3 "$header" | grep -cE 'PRETRAIN|FINETUNE|EVALUATE|SCORE|SATURATE' || true)
    [ "$asked" = 0 ] || [ "$wants" -gt 0 ] || { echo "FAILED  $header asks for a GPU"; failures=$((failures + 1)); }
    [ "$asked" -gt 0 ] || [ "$wants" = 0 ] || { echo "FAILED  $header does not ask for a GPU"; failures=$((failures + 1)); }
done
exit $((failures > 0))
