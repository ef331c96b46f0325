#!/bin/sh
# Installs dsr-edge as a service on this machine, from the checkout that this file lies in.
# Run it again after every update: what is already right is left as it is, and a configuration,
# a register of people or an outbox is never overwritten.
set -eu
umask 022

usage() {
    cat <<'TEXT'
usage: sudo systemd/install.sh [options]

Creates the user dsr-edge, a Python environment in /opt/dsr-edge/venv from a lock with hashes, the
models in /opt/dsr-edge/models, a first configuration in /etc/dsr-edge/box.yaml and the service.

  --config FILE   install FILE as the configuration where there is none yet
  --wheel FILE    install this wheel of dsr-edge instead of building one from the checkout
  --offline DIR   take every package from DIR (made with: pip download --dest DIR -r locks/box.txt)
  --python FILE   the Python to make the environment with (default: python3)
  --jetson, --no-jetson
                  use JetPack's own OpenCV and TensorRT (default: if this is a Jetson)
  --cpu-only      harden further, for a box without a GPU (drop-ins/cpu-only.conf)
  --no-start      enable the service, but do not start or restart it now
  --root DIR      lay the files into an image at DIR: no Python environment, nothing is started
  --dry-run       print what would be done, change nothing
  --help          print this

afterwards:
  edit /etc/dsr-edge/box.yaml, then
  sudo -u dsr-edge /opt/dsr-edge/venv/bin/dsr-edge doctor --config /etc/dsr-edge/box.yaml
  sudo systemctl restart dsr-edge
TEXT
}

die() {
    printf 'install.sh: %s\n' "$1" >&2
    if [ $# -gt 1 ]; then printf '  fix: %s\n' "$2" >&2; fi
    exit 2
}

say() { printf '%s\n' "-- $1"; }

# Run a command, or print it.
act() {
    if [ "$dry_run" = 1 ]; then printf '   would run:'; printf ' %s' "$@"; printf '\n'; else "$@"; fi
}

# Install a file with a mode unless it is there with the same content; says which.
place() { # mode source destination
    if cmp -s "$2" "$root$3" 2>/dev/null; then
        printf '   unchanged: %s\n' "$3"
    else
        act install -D -m "$1" "$2" "$root$3"
    fi
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
checkout=$(dirname -- "$here")
prefix=/opt/dsr-edge
config='' wheel='' offline='' python=python3 jetson='' cpu_only=0 start=1 root='' dry_run=0

while [ $# -gt 0 ]; do
    case $1 in
        --config|--wheel|--offline|--python|--root)
            [ $# -ge 2 ] || die "$1 needs a value" "see --help"
            case $1 in
                --config) config=$2 ;;
                --wheel) wheel=$2 ;;
                --offline) offline=$2 ;;
                --python) python=$2 ;;
                --root) root=${2%/} ;;
            esac
            shift ;;
        --jetson) jetson=1 ;;
        --no-jetson) jetson=0 ;;
        --cpu-only) cpu_only=1 ;;
        --no-start) start=0 ;;
        --dry-run) dry_run=1 ;;
        --help|-h) usage; exit 0 ;;
        *) die "no such option: $1" "see --help" ;;
    esac
    shift
done

is_jetson() {
    [ -e /etc/nv_tegra_release ] || tr -d '\0' 2>/dev/null </proc/device-tree/model | grep -qi jetson
}

check_before() {
    if [ "$dry_run" = 0 ] && [ "$(id -u)" != 0 ]; then
        die "must be run as root; this is $(id -un)" "sudo $0"
    fi
    for file in "$config" "$wheel"; do
        [ -z "$file" ] || [ -r "$file" ] || die "cannot read $file" "give the path of a readable file"
    done
    [ -z "$offline" ] || [ -d "$offline" ] || die "no such folder: $offline" "fill it with pip download"
    [ -z "$root" ] || [ -d "$root/etc" ] || die "no system image at $root: it has no folder etc" "see --help"
    [ -n "$jetson" ] || if is_jetson; then jetson=1; else jetson=0; fi
    if [ "$jetson" = 1 ] && [ "$cpu_only" = 1 ]; then
        die "--cpu-only on a Jetson would keep TensorRT from running" "leave it out"
    fi
    if [ -z "$root" ]; then
        "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
            die "$python is no Python 3.10 or newer with venv" "apt-get install python3-venv, or --python FILE"
    fi
}

make_user_and_folders() {
    say "user and folders"
    place 644 "$here/sysusers.d/dsr-edge.conf" /usr/lib/sysusers.d/dsr-edge.conf
    place 644 "$here/tmpfiles.d/dsr-edge.conf" /usr/lib/tmpfiles.d/dsr-edge.conf
    act systemd-sysusers ${root:+--root="$root"} dsr-edge.conf
    act systemd-tmpfiles ${root:+--root="$root"} --create dsr-edge.conf
}

# Print the entries of a lock for the packages named, each with its hashes.
from_lock() { # lock package...
    lock=$1
    shift
    awk -v wanted=" $* " '
        /^[A-Za-z0-9]/ { split($1, part, "=="); keep = index(wanted, " " part[1] " ") > 0 }
        /^#/ { keep = 0 }
        keep { print }' "$lock"
}

# The wheel is built in an environment of its own, from pinned and hashed build tools.
build_wheel() { # folder
    "$python" -m venv "$1/env"
    from_lock "$checkout/locks/all.txt" hatchling packaging pathspec pluggy tomli trove-classifiers >"$1/lock"
    "$1/env/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
        ${offline:+--no-index --find-links "$offline"} -r "$1/lock"
    PATH="$1/env/bin:$PATH" "$1/env/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation --no-index --wheel-dir "$1" "$checkout"
}

install_python() {
    lock=$checkout/locks/box.txt
    [ "$jetson" = 0 ] || lock=$checkout/locks/jetson.txt
    say "Python environment in $prefix/venv, from ${lock#"$checkout"/}"
    if [ -n "$root" ]; then
        echo "   left out with --root: run install.sh on the box itself for it"
        return
    fi
    pip="$prefix/venv/bin/python -m pip install --quiet --disable-pip-version-check"
    [ -x "$prefix/venv/bin/python" ] || if [ "$jetson" = 1 ]; then
        act "$python" -m venv --system-site-packages "$prefix/venv"
    else
        act "$python" -m venv "$prefix/venv"
    fi
    # shellcheck disable=SC2086 # $pip is a command and its options
    act $pip --require-hashes --no-deps ${offline:+--no-index --find-links "$offline"} -r "$lock"
    if [ -z "$wheel" ] && [ "$dry_run" = 0 ]; then
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        build_wheel "$work"
        wheel=$(find "$work" -maxdepth 1 -name 'dsr_edge-*.whl')
    fi
    # shellcheck disable=SC2086
    act $pip --no-deps --no-index --force-reinstall "${wheel:-the wheel built from $checkout}"
}

# The recogniser comes with the checkout; the detector was fetched and prepared by `run.py setup demo`.
install_models() {
    say "models in $prefix/models"
    for file in "$checkout"/models/* "$checkout"/.cache/models/*; do
        case $file in *.json|*.onnx|*.sig)
            [ ! -e "$file" ] || place 644 "$file" "$prefix/models/${file##*/}" ;;
        esac
    done
    for name in centerface dustface dsr_inception; do
        [ -e "$checkout/models/$name.json" ] || [ -e "$checkout/.cache/models/$name.json" ] ||
            echo "   missing: $name.json; python3 run.py setup demo prepares the detector"
    done
}

install_config() {
    say "configuration"
    fresh=0
    if [ -e "$root/etc/dsr-edge/box.yaml" ]; then
        echo "   kept: /etc/dsr-edge/box.yaml"
        return
    fi
    fresh=1
    if [ -n "$config" ]; then
        place 640 "$config" /etc/dsr-edge/box.yaml
    elif [ "$dry_run" = 1 ]; then
        echo "   would write: /etc/dsr-edge/box.yaml from the commented example"
    else
        (umask 027 && sed -e "s|\([ :]\)models/|\1$prefix/models/|" -e 's|\([ :]\)state/|\1/var/lib/dsr-edge/|' \
            "$checkout/edge_app/cli/box.example.yaml" >"$root/etc/dsr-edge/box.yaml")
        echo "   wrote /etc/dsr-edge/box.yaml"
    fi
    act systemd-tmpfiles ${root:+--root="$root"} --create dsr-edge.conf
}

install_service() {
    say "service"
    for unit in dsr-edge.service dsr-edge-build.service dsr-edge-build.path; do
        place 644 "$here/$unit" "/usr/lib/systemd/system/$unit"
    done
    for file in "$checkout"/docs/*.md; do
        if [ -e "$file" ]; then place 644 "$file" "$prefix/share/docs/${file##*/}"; fi
    done
    drop_ins=/usr/lib/systemd/system/dsr-edge.service.d
    version=$(systemctl --version 2>/dev/null | awk 'NR == 1 { print $2 + 0 }')
    if [ "${version:-0}" -ge 254 ]; then place 644 "$here/drop-ins/backoff.conf" "$drop_ins/backoff.conf"; fi
    if [ "$cpu_only" = 1 ]; then place 644 "$here/drop-ins/cpu-only.conf" "$drop_ins/cpu-only.conf"; fi
    act systemctl ${root:+--root="$root"} enable dsr-edge.service
    # Nothing is built on a box without a GPU, and nothing anywhere unless engines.rebuild allows it.
    if [ "$cpu_only" = 0 ]; then act systemctl ${root:+--root="$root"} enable dsr-edge-build.path; fi
    if [ -n "$root" ] || [ "$dry_run" = 0 ] && [ ! -d /run/systemd/system ]; then
        echo "   not started: systemd does not run here"
    elif [ "$start" = 0 ]; then
        act systemctl daemon-reload
    elif [ "$fresh" = 1 ] && [ -z "$config" ]; then
        act systemctl daemon-reload
        echo "   not started: first edit /etc/dsr-edge/box.yaml, then see what the doctor says:"
        echo "   sudo -u dsr-edge $prefix/venv/bin/dsr-edge doctor --config /etc/dsr-edge/box.yaml"
    else
        act systemctl daemon-reload
        act systemctl restart dsr-edge.service
        if [ "$cpu_only" = 0 ]; then act systemctl restart dsr-edge-build.path; fi
    fi
}

check_before
make_user_and_folders
install_python
install_models
install_config
install_service
say "done"
