# Ends every program that runs from this installation, for all users: first with time for running requests.
ours() {
    for process in /proc/[0-9]*; do
        if tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -q '^/opt/meshlight/bin/python3 '; then
            echo "${process#/proc/}"
        fi
    done
}
for signal in TERM KILL; do
    left=$(ours)
    [ -n "$left" ] || break
    kill -s "$signal" $left 2>/dev/null || true
    tries=0
    while [ "$tries" -lt 150 ] && [ -n "$(ours)" ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
done
