# Ends the services that a tray or systemd then starts again, in the new version; running requests are finished first.
for process in /proc/[0-9]*; do
    command=$(tr '\0' ' ' 2>/dev/null <"$process/cmdline") || continue
    case "$command" in
    "/opt/meshlight/bin/python3 "*" serve "*) ;;
    *) continue ;;
    esac
    parent=$(sed -n 's/^PPid:[^0-9]*//p' "$process/status" 2>/dev/null) || continue
    if grep -qs '/meshlight\.service$' "$process/cgroup" ||
        tr '\0' ' ' 2>/dev/null <"/proc/$parent/cmdline" | grep -q '^/opt/meshlight/bin/python3 '; then
        kill -s TERM "${process#/proc/}" 2>/dev/null || true
    fi
done
