#!/bin/sh
# Unpacks packages of any Debian suite into a directory, without installing them: ci/unpack.sh SUITE DIR PACKAGE... A package may
# be a pattern, of which the last in order is taken. What is there already stays. The system's own lists are not touched.
set -eu
suite=$1 dir=$2
shift 2
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -n 1)
mkdir -p "$dir"
scratch=$(mktemp -d "$dir/.apt.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$scratch/debs"
: >"$scratch/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$scratch/sources.list"
cat >"$scratch/apt.conf" <<CONF
Dir::Etc::sourcelist "$scratch/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$scratch/lists";
Dir::State::status "$scratch/status";
Dir::Cache "$scratch/cache";
Acquire::Languages "none";
APT::Architectures { "${KAPOK_DEBIAN_ARCH:-amd64}"; };
APT::Architecture "${KAPOK_DEBIAN_ARCH:-amd64}";
APT::Sandbox::User "root";
CONF
export APT_CONFIG="$scratch/apt.conf"
apt-get update -qq
for package; do
    found=$(apt-cache pkgnames | grep -Ex "$package" | sort -V | tail -n 1)
    [ -n "$found" ] || { echo "Debian $suite has no package $package" >&2; exit 1; }
    (cd "$scratch/debs" && apt-get download -qq "$found")
done
for deb in "$scratch"/debs/*.deb; do dpkg -x "$deb" "$dir"; done
