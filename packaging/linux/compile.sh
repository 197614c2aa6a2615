# Users can't write here, so nobody else would keep the compiled modules.
site=/opt/meshlight/lib/python3/site-packages
/opt/meshlight/bin/python3 -m compileall -q -j 0 "$site" >/dev/null 2>&1 ||
    /opt/meshlight/bin/python3 -m compileall -q "$site" >/dev/null 2>&1 || true
