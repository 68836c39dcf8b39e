# Installs Debian packages without starting their services.
# Usage: sh -c "$(cat apt.sh)" apt.sh "SERVICE..." PACKAGE...

set -e
export DEBIAN_FRONTEND=noninteractive
services=$1
shift

# Debian asks this program before it starts or restarts a service. One that is there already is left.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

# A list that cannot be read need not be one of those that matter: installing will tell.
apt-get update -q || echo 'apt-get update failed; trying with the lists that are there' >&2
# --no-remove: Debian's rustc-web would take the place of a rustc that somebody installed.
apt-get install -q -y --no-install-recommends --no-remove -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"

if [ -d /run/systemd/system ]; then
    for service in $services; do
        systemctl disable --now "$service"
    done
fi
