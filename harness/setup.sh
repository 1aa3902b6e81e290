#!/bin/sh
# `make setup` (install everything) and the check every build starts with (name what is missing).
# usage: harness/setup.sh install|check|data
set -eu

# header or program that proves it : Debian package : required or optional
needs='
hwloc.h:libhwloc-dev:required
jansson.h:libjansson-dev:required
zlib.h:zlib1g-dev:required
zip.h:libzip-dev:required
cmocka.h:libcmocka-dev:required
benchmark/benchmark.h:libbenchmark-dev:required
Random123/philox.h:librandom123-dev:required
%pkg-config:pkg-config:required
%gnuplot:gnuplot-nox:required
%g++:g++:required
oneapi/dnnl/dnnl.h:libdnnl-dev:optional
openblas-openmp/cblas.h:libopenblas-openmp-dev:optional
xnnpack.h:libxnnpack-dev:optional
pthreadpool.h:libpthreadpool-dev:optional
'

present() {
    case $1 in
    %*) command -v "${1#%}" >/dev/null 2>&1; return ;;
    esac
    for dir in /usr/include /usr/include/*-linux-gnu /usr/local/include; do
        [ -e "$dir/$1" ] && return 0
    done
    return 1
}

missing() { # $1: required or optional
    for need in $needs; do
        proof=${need%%:*} rest=${need#*:}
        if [ "${rest#*:}" = "$1" ] && ! present "$proof"; then printf ' %s' "${rest%%:*}"; fi
    done
}

case ${1-} in
check)
    packages=$(missing required)
    if [ -n "$packages" ]; then
        echo "sepbench: missing packages:$packages; 'make setup' installs them" >&2
        exit 2
    fi
    ;;
install)
    packages="$(missing required)$(missing optional)"
    if [ -n "$packages" ]; then
        sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
        command -v apt-get >/dev/null || {
            echo "sepbench: no apt-get here; install the equivalents of:$packages" >&2
            exit 2
        }
        $sudo apt-get update -qq
        for package in $packages; do # one by one: an optional peer that a release lacks must not stop the rest
            $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
                echo "sepbench: could not install $package" >&2
        done
    fi
    sh "$0" check
    left=$(missing optional)
    [ -z "$left" ] || echo "sepbench: without$left: those peers will be absent from the comparison"
    ;;
*)
    echo "usage: $0 check|install" >&2
    exit 2
    ;;
esac
