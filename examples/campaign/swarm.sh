#!/bin/sh
# ./swarm.sh PARTS FOLDER [argument of slotquake chaos]...
# Runs a campaign as a job of Docker Swarm, waits for its end and joins its parts in FOLDER, which every engine of the swarm
# must mount at the same place. On one engine: docker swarm init --advertise-addr 127.0.0.1, and afterwards
# docker swarm leave --force.
# IMAGE has slotquake, the servers and a shell; MOUNTS are more `--mount` arguments; SLOTQUAKE is the program on this machine.
set -eu
parts=$1
folder=$2
shift 2
if [ $# -eq 0 ]; then set -- --for 1h --profile rough --seed 7; fi
image=${IMAGE:-registry.example/slotquake:latest}
name=${NAME:-slotquake-chaos}

# The index of a task is in its name (job.0.xxxx). Where an engine writes the id of the node there, as `{{.Task.Slot}}` always
# does for the first task, it is the first. A job starts a task that failed again and again, whatever its restart condition, so
# each ends with 0, and its code is in the folder.
# shellcheck disable=SC2016,SC2086
docker service create --detach --quiet --name "$name" --mode replicated-job --replicas "$parts" --restart-condition none \
    --mount "type=bind,src=$folder,dst=/campaign" ${MOUNTS:-} \
    --env 'TASK={{.Task.Name}}' --env "PARTS=$parts" --env "HOME=/root" \
    "$image" sh -c '
        index=${TASK#*.}
        index=${index%%.*}
        case "$index" in *[!0-9]*) index=0 ;; esac
        part=$((index + 1))
        slotquake chaos "$@" --shard "$part/$PARTS" --out "/campaign/part-$part"
        echo "$?" > "/campaign/part-$part.code"
    ' chaos "$@" > /dev/null
trap 'docker service rm "$name" > /dev/null' EXIT

running() {
    docker service ps --format '{{.CurrentState}}' "$name" | grep -cvE '^(Complete|Failed|Rejected|Shutdown|Orphaned)' || true
}
while [ "$(running)" -gt 0 ]; do sleep 2; done
for part in $(seq "$parts"); do echo "part $part ended with code $(cat "$folder/part-$part.code" || echo unknown)"; done
docker service logs --raw "$name" > "$folder/swarm.log" 2>&1 || true
"${SLOTQUAKE:-slotquake}" merge "$folder"/part-*[0-9] --out "$folder/all"
