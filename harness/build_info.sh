#!/bin/sh
# usage: harness/build_info.sh FILE CC FLAGS ISA_FLAGS INJECT
# Writes what is being built to FILE (read by harness/build_info.c), touching it only when something changed.
set -eu
file=$1 cc=$2 flags=$3 isa_flags=$4 inject=$5
commit=$(git rev-parse HEAD 2>/dev/null) || commit=unknown
dirty=false
# Only what ends up in the program counts: notes and results beside it do not make a build dirty.
[ -z "$(git status --porcelain -- Makefile kernels harness bench reports 2>/dev/null)" ] || dirty=true
[ -z "$inject" ] || dirty=true
digest() { if command -v sha256sum >/dev/null; then sha256sum; else cksum; fi | cut -c 1-16 | tr -d ' '; }
kernels=$({
    find kernels -type f \( -name '*.[ch]' -o -name '*.def' \) | LC_ALL=C sort | while read -r source; do
        echo "$source"
        cat "$source"
    done
    $cc --version 2>/dev/null | head -n 1
    echo "$flags" | tr ' ' '\n' | grep -v '^-W' # warnings change no code
    echo "$isa_flags; $inject"
} | digest)
quote() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }
{
    echo "#define BUILD_COMMIT \"$commit\""
    echo "#define BUILD_DIRTY $dirty"
    echo "#define BUILD_FLAGS \"$(quote "$flags")\""
    echo "#define BUILD_KERNELS \"$kernels\""
    echo "#define BUILD_INJECT \"$(quote "$inject")\""
} >"$file.new"
if cmp -s "$file.new" "$file"; then rm "$file.new"; else mv "$file.new" "$file"; fi
