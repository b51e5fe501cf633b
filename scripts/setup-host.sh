#!/usr/bin/env bash
# Installs the Debian packages that the tests need and this host lacks. Does nothing where all are there. With
# --if-possible a host where they cannot be installed is no failure: the tests that need them say that they were not run.
#   bubblewrap  the sandbox of agents
#   git, make   what agents are given to do
#   iproute2    machines of their own for nodes, whose cables are pulled
#   nftables    firewalls in front of them, lines that lose packets
#   openssl     certificates for the benchmark against gRPC
#   strace      disks that fail, for the tests of the store
set -euo pipefail

# What to end with where nothing can be installed.
failure=1
[ "${1:-}" = --if-possible ] && failure=0

# command:package
needed=(bwrap:bubblewrap git:git ip:iproute2 make:make nft:nftables openssl:openssl strace:strace)

missing=()
for each in "${needed[@]}"; do
  command -v "${each%%:*}" >/dev/null 2>&1 || missing+=("${each##*:}")
done

if [ "${#missing[@]}" -eq 0 ]; then
  echo "Host packages: all there."
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "Host packages: install by hand, since this is no Debian: ${missing[*]}" >&2
  exit "$failure"
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Host packages: run as root, or install by hand: apt-get install ${missing[*]}" >&2
  exit "$failure"
fi

echo "Host packages: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
