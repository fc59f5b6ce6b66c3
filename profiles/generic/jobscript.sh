#!/usr/bin/env bash
# properties = {properties}
# A signal to this script alone goes on to all that it runs, and is waited for: a training saves its state.
trap 'trap : TERM; kill -TERM 0' TERM USR1
(
    trap : TERM USR1
    {exec_job}
) &
wait $!
code=$?
while kill -0 $! 2> /dev/null; do
    wait $!
    code=$?
done
exit $code
