#!/usr/bin/sh
# In a matrix VM: tcptrace on the rung of the attach ladder that the test's line of the plan asks for, unless the test asks itself.
case "$1 ${VM_RUNG:-auto} $*" in
"watch auto "* | *" --attach "*) ;;
"watch "*)
    shift
    set -- watch --attach "$VM_RUNG" "$@"
    ;;
esac
exec /usr/bin/tcptrace "$@"
