#!/usr/bin/env bash
# What Snakemake asks of a job of Slurm, by its number; for another system print the same words.
said=$(scontrol show job "$1" 2>&1)
if [[ $said =~ JobState=([A-Z_]+) ]]; then
    state=${BASH_REMATCH[1]}
elif [[ $said == *"Invalid job id"* ]]; then # over for some minutes
    state=$(sacct --noheader --allocations --parsable2 --format=State --jobs "$1" 2> /dev/null | head -n 1)
else
    state=UNKNOWN # the controller does not answer
fi
case $state in
    COMPLETED) echo success ;;
    PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | STOPPED | PREEMPTED | REQUEUED | RESIZING | UNKNOWN) echo running ;;
    *) echo failed ;;
esac
