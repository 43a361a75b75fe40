#!/usr/bin/env bash
# The demo, then attacks of all kinds that were ever found to hurt, then the demo again, with one appliance (lab1) that is not started again: in
# a memory group of 64 MiB and with its file on a card of 64 MB. Needs root, for the group and the card; without it says so and ends.
# POSTINO is the program; WITHSTAND words of the attacks that are to be made, all without. Some ten minutes.
set -euo pipefail
cd "$(dirname "$0")"
MIB=${WITHSTAND_MIB:-64}
skip() { echo "SKIPPED: withstand.sh: $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip "only root can make a memory group and a card"
for tool in python3 mkfs.ext4 swaks mpop neomutt curl; do command -v $tool >/dev/null || skip "there is no $tool"; done
work=$(mktemp -d)
group=
cleanup() {
  status=$?
  mountpoint -q "$work/card" && { umount "$work/card" || umount -l "$work/card"; }
  [ -z "$group" ] || rmdir "$group" 2>/dev/null || true
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT

# A group of version 2, or else of version 1.
for try in "/sys/fs/cgroup memory.max" "/sys/fs/cgroup/memory memory.limit_in_bytes"; do
  set -- $try
  if mkdir "$1/postino-withstand-$$" 2>/dev/null; then
    group=$1/postino-withstand-$$
    if [ -e "$group/$2" ] && echo $((MIB << 20)) 2>/dev/null >"$group/$2"; then break; fi
    rmdir "$group"; group=
  fi
done
[ -n "$group" ] || skip "no memory group can be made here"
echo 0 2>/dev/null >"$group/memory.swap.max" || true

mkdir "$work/card"
truncate -s 64M "$work/image"
mkfs.ext4 -q -m 0 "$work/image"
mount -o loop "$work/image" "$work/card" 2>/dev/null || skip "no loop device can be mounted here"

cat >"$work/wrap" <<WRAP
#!/bin/sh
echo \$\$ >$group/cgroup.procs && exec "\$@"
WRAP
chmod +x "$work/wrap"
ports=${DEMO_PORTS:-10000}
# A destination that nobody answers for, and forty of hosts that accept and then say nothing.
silent=$((ports + 2599))
routes='"dead.arpa" = "127.0.0.1:9"'$'\n'
for i in $(seq 1 40); do routes+="\"silent$i.arpa\" = \"127.0.9.$i:$silent\""$'\n'; done
export GROUP=$group CARD=$work/card SILENT=$silent PORTS=$ports PEER=$((ports + ${DEMO_APART:-10000}))
DEMO_CARD=$work/card DEMO_WRAP=$work/wrap DEMO_ROUTES=$routes DEMO_BETWEEN="python3 $PWD/withstand.py ${WITHSTAND:-}" bash demo.sh
echo "no kill for memory, no restart: withstood"
