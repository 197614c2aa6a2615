# Runs inside a clean Debian, as root of its own process namespace: install, use, update, purge while it serves.
# Arguments: deb or rpm, and two free ports. The packages are in /packages: old, new and desktop; beside them a real
# llama-server and weights for it, where this machine has both.
set -eu
kind=$1
port=$2
step() { echo "-- $1"; }
fail() {
    echo "FAILED: $1"
    exit 1
}
install() {
    if [ "$kind" = deb ]; then
        dpkg --force-depends -i "$@" >/tmp/packer.log 2>&1 || {
            cat /tmp/packer.log
            fail "dpkg could not install"
        }
    else
        rpm -U --force --nodeps "$@"
    fi
}
files() { # without /opt itself, which dpkg removes when it is empty
    what='-true'
    [ "$kind" = deb ] || what='! -type d' # the folders are those of Fedora's own packages
    find / -xdev \( -path /proc -o -path /tmp -o -path /packages -o -path /var/log -o -path /home \) -prune -o \
        ! -path /opt ! -path '/var/lib/dpkg/*' ! -path '/var/lib/rpm/*' ! -path '/root/.rpmdb/*' \( -path '/opt/*' -o $what \) -print | sort
}
as_person() { runuser -u person -- env HOME=/home/person PATH=/usr/bin:/bin "$@"; }
instance() { sed -n 's/.*"instance":"\([^"]*\)".*/\1/p' $state/runtime.json 2>/dev/null || true; }
wait_for() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || fail "not so within 30 s: $*"
        sleep 0.1
    done
}
serves() { # status says by its exit code 4 that no service runs; without backends it is not green
    code=0
    as_person meshlight status >/tmp/status 2>&1 || code=$?
    [ "$code" -lt 4 ]
}
has_whole_stream() {
    whole=0
    # shellcheck disable=SC1091
    [ ! -s /home/person/streams ] || . /home/person/streams
    [ "$whole" -ge "$1" ]
}
is_new_instance() { [ -n "$(instance)" ] && [ "$(instance)" != "$old" ]; }

useradd --create-home person
state=/home/person/.local/state/meshlight
mkdir -p /usr/share/doc # minbase keeps some folders of documents away, and dpkg leaves those it has made
files >/tmp/before

step "install"
install /packages/old.$kind
[ -e /opt/meshlight/lib/python3/site-packages/meshlight/__pycache__ ] || fail "nothing was compiled"

step "selftest as a plain user"
as_person meshlight selftest
as_person meshlight version

step "the compiled modules of this Python are those that it imports"
as_person /opt/meshlight/bin/python3 -P /packages/check_compiled.py --may-be-none

if [ -x /packages/engine/llama-server ]; then
    step "a real llama-server is found, loads real weights and answers"
    real() { as_person env PATH=/packages/engine:/usr/bin:/bin MESHLIGHT_HOME=/home/person/real "$@"; }
    is_real_up() { real meshlight status >/tmp/status 2>&1 || [ $? -lt 4 ]; }
    as_person mkdir -p /home/person/real/models/maker/model
    cp /packages/engine/*.gguf /home/person/real/models/maker/model/
    real meshlight serve --quiet --no-discovery --port "$3" &
    wait_for is_real_up
    real meshlight test --count 1
    real meshlight quit
    rm -rf /home/person/real
fi

step "serve, supervised as the tray does it"
as_person /opt/meshlight/bin/python3 -P /packages/check_supervised.py "$port" /home/person/streams \
    >/tmp/supervisor.log 2>&1 &
wait_for serves
wait_for has_whole_stream 1
cp /home/person/.config/meshlight/config.toml /tmp/config
old=$(instance)

step "update"
install /packages/new.$kind /packages/desktop.$kind
wait_for is_new_instance
wait_for serves
. /home/person/streams
wait_for has_whole_stream $((whole + 2))
. /home/person/streams
[ "$cut" = 0 ] || fail "the update cut off $cut of $whole streams"
echo "streams: $(cat /home/person/streams)"
cmp -s /tmp/config /home/person/.config/meshlight/config.toml || fail "the configuration has changed"
[ ! -e /opt/meshlight/lib/python3/site-packages/stale.py ] || fail "a file of the old version is still there"
[ -s /usr/share/applications/meshlight.desktop ] || fail "there is no menu entry"
[ -s /usr/share/icons/hicolor/48x48/apps/meshlight.png ] || fail "there is no icon"

step "purge while it serves"
if [ "$kind" = deb ]; then
    dpkg --purge meshlight-desktop meshlight >/dev/null
else
    rpm -e meshlight-desktop meshlight
fi
for process in /proc/[0-9]*; do
    if tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -q '^/opt/meshlight'; then
        fail "a process still runs"
    fi
done
[ -s /home/person/.config/meshlight/config.toml ] || fail "the user's own file is gone"
files >/tmp/after
diff /tmp/before /tmp/after || fail "files were left behind"
step "nothing is left"
