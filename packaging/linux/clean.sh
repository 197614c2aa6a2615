if [ -d /opt/meshlight ]; then
    find /opt/meshlight -name __pycache__ -prune -exec rm -rf {} +
fi
