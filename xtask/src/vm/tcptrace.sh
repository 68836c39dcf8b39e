#!/usr/bin/sh
# In a matrix VM: tcptrace on the rung of the attach ladder that the test's line of the plan asks for.
if [ "$1" = watch ] && [ "${VM_RUNG:-auto}" != auto ]; then
    shift
    set -- watch --attach "$VM_RUNG" "$@"
fi
exec /usr/bin/tcptrace "$@"
