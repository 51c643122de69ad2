#!/bin/sh
# sbatch --array=1-4 slurm.sh
# Then: slotquake merge "$HOME"/campaign/part-* --out "$HOME"/campaign/all
#SBATCH --job-name=chaos
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=02:00:00
# A campaign measures time: nobody else on its cores.
#SBATCH --hint=nomultithread
set -u
part=$SLURM_ARRAY_TASK_ID
out=$HOME/campaign/part-$part
resume=
if [ -e "$out/campaign.jsonl" ]; then resume=--resume; fi
slotquake chaos --for 1h --profile rough --seed 7 --shard "$part/$SLURM_ARRAY_TASK_COUNT" --out "$out" $resume
code=$?
# 1 is a result: something that must hold failed. It is in the folder.
if [ "$code" = 1 ]; then exit 0; fi
exit "$code"
