#!/bin/bash
# Compiles and links the whole suite for systems that nothing runs of here, the C shim included: ci/link.sh [targets]. zig has those
# systems' headers and libraries, and is taken from PyPI (100 MB, kept in ~/.cache/kapok-ci); rustup has their standard libraries, or
# the source of them. A target that cannot be had is skipped, visibly, unless KAPOK_REQUIRE_TARGETS names it.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${KAPOK_CI_CACHE:-$HOME/.cache/kapok-ci}
zig=$cache/zig/ziglang/zig
[ -x "$zig" ] || python3 -m pip install --quiet --no-deps --target "$cache/zig" ziglang==0.17.1
export ZIG_GLOBAL_CACHE_DIR="$cache/zig-libraries" CRATE_CC_NO_DEFAULTS=1 CARGO_TARGET_DIR=target/link CARGO_PROFILE_DEV_DEBUG=0
# In a place that stays: Cargo builds everything anew where its linker is another one.
tools=$PWD/target/link/tools
mkdir -p "$tools"
# zig knows the targets by other names, and does not take what rustc and the cc crate say of them. What unwinds is libgcc_s there,
# and LLVM's libunwind here, which has the same functions.
cat >"$tools/cc" <<'CC'
#!/bin/bash
arguments=()
for argument; do
    case $argument in
        --target=* | -m64) ;;
        -lgcc_s) arguments+=(-lunwind) ;;
        # The libc crate names them on FreeBSD, and the last on macOS; zig has not got them, and nobody calls them.
        -lkvm | -lmemstat | -lprocstat | -ldevstat | -liconv) ;;
        *) arguments+=("$argument") ;;
    esac
done
exec "$ZIG" cc -target "$ZIG_TARGET" "${arguments[@]}"
CC
# The system's own makes archives that a linker for macOS does not read.
cat >"$tools/ar" <<'AR'
#!/bin/sh
exec "$ZIG" ar "$@"
AR
chmod +x "$tools/cc" "$tools/ar"

skip() { # target why
    if [[ ",${KAPOK_REQUIRE_TARGETS:-}," == *",$1,"* ]]; then
        echo "$1: $2, and KAPOK_REQUIRE_TARGETS names it" >&2
        exit 1
    fi
    echo "SKIP $1: $2"
}

if [ $# = 0 ]; then
    set -- x86_64-unknown-freebsd x86_64-unknown-netbsd x86_64-unknown-openbsd x86_64-apple-darwin aarch64-apple-darwin
fi
for target; do
    options=()
    case $target in
        x86_64-unknown-freebsd) zig_target=x86_64-freebsd ;;
        x86_64-unknown-netbsd) zig_target=x86_64-netbsd.11.0 ;; # the first with the kevent that its header declares
        x86_64-unknown-openbsd) zig_target=x86_64-openbsd options=("-Zbuild-std=std,panic_unwind,test") ;;
        x86_64-apple-darwin) zig_target=x86_64-macos ;;
        aarch64-apple-darwin) zig_target=aarch64-macos ;;
        *)
            echo "zig's name of $target is not known here" >&2
            exit 1
            ;;
    esac
    if [ ${#options[@]} -gt 0 ]; then
        timeout 60 rustup component add rust-src >/dev/null 2>&1 || { skip "$target" "rustup gives no rust-src" && continue; }
        export RUSTC_BOOTSTRAP=1
    else
        timeout 120 rustup target add "$target" >/dev/null 2>&1 || { skip "$target" "rustup gives no standard library" && continue; }
        unset RUSTC_BOOTSTRAP
    fi
    name=${target//-/_}
    from=$SECONDS
    env ZIG="$zig" ZIG_TARGET="$zig_target" "CC_$name=$tools/cc" "AR_$name=$tools/ar" "CFLAGS_$name=-fPIC" \
        "CARGO_TARGET_${name^^}_LINKER=$tools/cc" cargo test --no-run --no-fail-fast --target "$target" "${options[@]}" 2>&1 |
        tee "$tools/$target.log"
    echo "$target: $(grep -c '^  Executable ' "$tools/$target.log") test programs link ($((SECONDS - from)) s)"
done
