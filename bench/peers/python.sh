#!/bin/sh
# Prints the first Python that has a module: of those that PYTHON names, by default that of `make setup ENGINES=1` and
# the system's.
# usage: bench/peers/python.sh MODULE
root=$(dirname "$0")/../..
pythons=${PYTHON:-${SEPBENCH_ENGINES:-$root/build/engines}/python/bin/python3 /usr/bin/python3}
for python in $pythons; do
    if "$python" -c "import importlib.util as u, sys; sys.exit(not u.find_spec('$1'))" 2>/dev/null; then
        echo "$python"
        exit
    fi
done
echo "no Python with $1 (tried: $pythons; PYTHON= names another)" >&2
exit 1
