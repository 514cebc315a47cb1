#!/usr/bin/env bash
# A Slurm cluster of one node, for the test of `make run EXECUTOR=slurm`: no accounting, all on
# loopback, all its files in one folder but a link to its configuration, where jobs look for it.
# Needs Debian's slurm-wlm and munge, and root. Usage: cluster.sh start|stop FOLDER
set -euo pipefail
folder=$(realpath "$2")
configuration=/etc/slurm/slurm.conf

start() {
  local memory
  if [ -e $configuration ]; then
    echo "This machine belongs to a cluster: $configuration exists." >&2
    exit 1
  fi
  memory=$(slurmd -C | grep -o "RealMemory=[0-9]*")
  mkdir -p "$folder"/{state,spool,log}
  chmod 755 "$folder"
  dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none
  chmod 400 "$folder/munge.key"
  cat >"$folder/slurm.conf" <<CONF
ClusterName=course
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) $memory State=UNKNOWN
PartitionName=course Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
    --pid-file="$folder/munged.pid" --log-file="$folder/log/munged.log" --seed-file="$folder/seed"
  ln -s "$folder/slurm.conf" $configuration
  slurmctld -c
  slurmd
  for _ in $(seq 60); do
    if sinfo --noheader --format=%t 2>/dev/null | grep -q idle; then return; fi
    sleep 0.5
  done
  echo "The cluster did not come up; see $folder/log." >&2
  exit 1
}

stop() {
  for daemon in slurmd slurmctld munged; do
    if [ -f "$folder/$daemon.pid" ]; then kill "$(cat "$folder/$daemon.pid")" || true; fi
  done
  if [ "$(readlink $configuration)" = "$folder/slurm.conf" ]; then rm $configuration; fi
}

"$1"
