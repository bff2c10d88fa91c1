#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What runs inside the test machine, as root, after its boot: vm_disk.py puts this script, `settings` (shell words:
# tree, seconds) and `command` (a script) on the second disk, which is mounted at /mnt. The tree is brought to the path
# that it has outside, since a venv knows only that one. Everything in /run/results, with the exit code in `exit`, goes
# to the third disk as a tar archive; then the machine ends.
# A command that writes the script /var/lib/minirt-vm/again has the machine booted once more, to run that one.
set -u
. /mnt/settings
again=/var/lib/minirt-vm/again
stty -F /dev/ttyS1 raw -echo
mkdir -p "$tree" /run/results /var/lib/minirt-vm
mount --bind /mnt/tree "$tree"
cd "$tree" || exit 1
export CI=true TERM=dumb SYSTEMD_COLORS=0 LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
script=/mnt/command
if test -e "$again.started"; then
    script=$again
    cp -a /var/lib/minirt-vm/results/. /run/results
fi
read -r up _ </proc/uptime
echo "$(uname -sr), $(nproc) CPUs, booted in ${up%.*} s, cgroup2: $(cat /sys/fs/cgroup/cgroup.controllers)"
timeout -s INT -k 20 "$seconds" sh "$script" </dev/null
code=$?
test $code != 124 || echo "not done after $seconds s"
if test -e "$again" && test ! -e "$again.started"; then
    echo $code >/run/results/exit
    touch "$again.started"
    cp -a /run/results /var/lib/minirt-vm/results
    touch /run/minirt-vm-reboots
    systemctl reboot
    sleep 600
fi
# the worse of the two
read -r first 2>/dev/null </run/results/exit || first=0
test "$first" = 0 || code=$first
echo $code >/run/results/exit
tar -cf - -C /run/results . | dd of=/dev/vdc bs=1M iflag=fullblock conv=fsync status=none
