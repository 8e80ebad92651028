#!/bin/bash
# A Slurm of two nodes on this one machine, on loopback only, each with a GPU that is none: two_nodes.sh start|stop DIR.
# For root on Debian or Ubuntu, with slurmctld, slurmd, slurm-client and munge. Clients find it by SLURM_CONF=DIR/slurm.conf,
# and by a link in /etc/slurm, because the executor's steps forget SLURM_CONF. A machine with a cluster of its own is refused.
set -euo pipefail
place=$2
link=/etc/slurm/slurm.conf
export SLURM_CONF=$place/slurm.conf

start() {
  [[ ! -e $link ]] || { echo "$link exists: this machine has a cluster of its own" >&2; return 1; }
  install -d -m 755 "$place" "$place"/{run,log,state,node1,node2}
  install -d -m 755 -o munge -g munge "$place/munge"
  (umask 077 && head -c 1024 /dev/urandom >"$place/munge/key")
  chown munge:munge "$place/munge/key"
  [[ -e $place/gpu ]] || mknod "$place/gpu" c 1 3
  echo "NodeName=node[1-2] Name=gpu File=$place/gpu" >"$place/gres.conf"
  cat >"$SLURM_CONF" <<CONF
ClusterName=two
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=16827
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$place/munge/socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/%n
SlurmctldPidFile=$place/run/slurmctld.pid
SlurmdPidFile=$place/run/%n.pid
SlurmctldLogFile=$place/log/slurmctld.log
SlurmdLogFile=$place/log/%n.log
MailProg=/bin/true
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MinJobAge=3600
KillWait=30
SchedulerParameters=bf_interval=5,sched_interval=5,batch_sched_delay=0,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
GresTypes=gpu
NodeName=node[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[16831-16832] CPUs=8 RealMemory=100000 Gres=gpu:1
PartitionName=two Nodes=node[1-2] Default=YES MaxTime=INFINITE State=UP
CONF
  mkdir -p "${link%/*}" && ln -sf "$SLURM_CONF" "$link"
  setpriv --reuid munge --regid munge --clear-groups /usr/sbin/munged --socket="$place/munge/socket" \
    --key-file="$place/munge/key" --log-file="$place/munge/log" --pid-file="$place/munge/pid" \
    --seed-file="$place/munge/seed"
  slurmctld -c -f "$SLURM_CONF"
  slurmd -c -f "$SLURM_CONF" -N node1
  slurmd -c -f "$SLURM_CONF" -N node2
  for _ in $(seq 100); do
    [[ $(sinfo --noheader --Node --format=%T 2>/dev/null | grep -c '^idle$') == 2 ]] && return
    sleep .2
  done
  tail -20 "$place"/log/*.log >&2
  return 1
}

stop() {
  [[ $(readlink "$link") != "$SLURM_CONF" ]] || rm "$link"
  squeue --noheader --format=%A 2>/dev/null | sort -u | xargs -r scancel || true
  local file process
  for file in "$place"/run/node1.pid "$place"/run/node2.pid "$place"/run/slurmctld.pid "$place"/munge/pid; do
    [[ -s $file ]] || continue
    process=$(<"$file")
    kill "$process" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$process" 2>/dev/null || break; sleep .1; done
  done
}

"$1"
