# Makes trouble in a network namespace of its own, watches it in tmux, and prints the screen with its colours.
# Arguments: tcptrace, columns, lines.
set -eu
tcptrace=$1 columns=$2 lines=$3
folder=$(mktemp -d)
tmux() { command tmux -L tcptrace-picture -f /dev/null "$@"; }
children=
finish() {
    tmux kill-server 2>/dev/null || true
    for child in $children; do kill "$child" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap finish EXIT

ip link set lo up
sysctl -qw net.ipv4.tcp_max_tw_buckets=100 net.ipv4.tcp_congestion_control=reno
nft -f - <<RULES
add table inet loss
add chain inet loss input { type filter hook input priority 0; }
add rule inet loss input tcp dport 6399 numgen random mod 1000 < 4 drop
RULES

# An importer that never closes a socket, and log shippers whose collector is down.
cat >"$folder/worker.py" <<PYTHON
import resource, socket, sys, time
name, job = sys.argv[1:]
open("/proc/self/comm", "w").write(name)
if job == "leak":
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
while True:
    try:
        one = socket.socket()
        held.append(one)
        if job == "connect":
            one.connect(("127.0.0.1", 24224))
    except OSError:
        if job == "connect":
            held.clear()
    time.sleep(0.02 if job == "leak" else 0.4)
PYTHON
python3 "$folder/worker.py" importer leak & children="$children $!"
for _ in 1 2 3 4 5 6 7 8; do
    python3 "$folder/worker.py" log-shipper connect & children="$children $!"
done
redis-server --port 6399 --save '' >/dev/null & children="$children $!"
until redis-cli -p 6399 ping >/dev/null 2>&1; do sleep 0.1; done
redis-benchmark -p 6399 -k 0 -c 4 -n 100000000 -t ping_inline -q >/dev/null 2>&1 & children="$children $!"
sleep 3

tmux new-session -d -x "$columns" -y "$lines" env -u NO_COLOR LANG=C.UTF-8 TERM=screen-256color \
    "$tcptrace" watch --netns /proc/self/ns/net
# A picture of a minute, with trouble of each kind.
for _ in $(seq 150); do
    sleep 0.5
    tmux capture-pane -p >"$folder/screen"
    if grep -q '0:01:0[0-9]' "$folder/screen" && grep -q EMFILE "$folder/screen"; then
        tmux capture-pane -e -p
        exit 0
    fi
done
echo "the screen did not show what was expected:" >&2
cat "$folder/screen" >&2
exit 1
