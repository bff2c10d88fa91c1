#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# vagrant/root.sh FOLDER PACKAGE...
#
# Makes the machine that `make vm-test` boots: FOLDER/root.ext4 (Debian 12 with systemd and its cloud kernel, cgroup v2
# only), FOLDER/vmlinuz and FOLDER/initrd. Needs root, mmdebstrap and mke2fs; no loop device, nothing is mounted outside
# of mmdebstrap's own namespace. The machine does one thing: it mounts its second disk at /mnt and runs /mnt/session,
# whose output is its second serial port (vagrant/session.sh).
# MINIRT_VM_PYTHON: Python packages for a venv in /usr/lib/minirt-vm, where the host's own cannot be taken along.
set -eu
folder=$1
shift
suite=bookworm
base="systemd-sysv udev kmod dbus make ca-certificates e2fsprogs procps linux-image-cloud-amd64 initramfs-tools zstd"
# What would only take time or start something that no test asked for
masked="apt-daily.timer apt-daily-upgrade.timer containerd.service dnsmasq.service docker-registry.service
        docker.service docker.socket dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
        getty@tty1.service nginx.service podman-auto-update.timer podman-restart.service podman.service podman.socket
        serial-getty@ttyS0.service serial-getty@ttyS1.service systemd-pstore.service systemd-update-utmp.service"

work=$(mktemp -d "$folder/root.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
root=$work/root

# Before the kernel's package makes its initrd: five megabytes instead of forty
cat >"$work/before" <<'END'
#!/bin/sh
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\nCOMPRESS=zstd\n' >"$1/etc/initramfs-tools/conf.d/minirt"
printf 'virtio_pci\nvirtio_blk\next4\n' >"$1/usr/share/initramfs-tools/modules.d/minirt"
END

cat >"$work/after" <<'END'
#!/bin/sh
set -eu
echo minirt-vm >"$1/etc/hostname"
printf '127.0.0.1 localhost minirt-vm\n::1 localhost\n' >"$1/etc/hosts"
echo 6d696e6972742d766d2d6d616368696e >"$1/etc/machine-id"  # a first boot would ask for presets
cat >"$1/etc/systemd/system/minirt-vm.service" <<'UNIT'
[Unit]
Description=What the second disk asks for
After=multi-user.target

[Service]
Type=exec
Environment=HOME=/root
ExecStartPre=/bin/mount /dev/vdb /mnt
ExecStart=/bin/sh /mnt/session
ExecStopPost=/bin/sh -c 'test -e /run/minirt-vm-reboots || systemctl poweroff --force --force'
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/ttyS1

[Install]
WantedBy=graphical.target
UNIT
mkdir -p "$1/etc/systemd/system/graphical.target.wants"
ln -s ../minirt-vm.service "$1/etc/systemd/system/graphical.target.wants/minirt-vm.service"
ln -sf /lib/systemd/system/graphical.target "$1/etc/systemd/system/default.target"
for unit in $masked; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done
if test -n "$MINIRT_VM_PYTHON"; then
    chroot "$1" python3 -m venv /usr/lib/minirt-vm
    eval "set -- \"\$1\" $MINIRT_VM_PYTHON"
    where=$1
    shift
    # the certificates that the host trusts, a proxy's among them
    cp /etc/ssl/certs/ca-certificates.crt "$where/usr/lib/minirt-vm"
    trusted=/usr/lib/minirt-vm/ca-certificates.crt
    PIP_CERT=$trusted REQUESTS_CA_BUNDLE=$trusted chroot "$where" /usr/lib/minirt-vm/bin/pip \
        --disable-pip-version-check --quiet install "$@"
    set -- "$where"
fi
: >"$1/etc/resolv.conf"
END
chmod 755 "$work/before" "$work/after"

MINIRT_VM_PYTHON=${MINIRT_VM_PYTHON-} masked=$masked mmdebstrap --quiet --mode=root --variant=minbase \
    --include="$(echo $base "$@" | tr ' ' ,)" \
    --essential-hook="$work/before \"\$1\"" --customize-hook="$work/after \"\$1\"" $suite "$root"

cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
cp "$root"/boot/initrd.img-* "$work/initrd"
mke2fs -q -t ext4 -L minirt-vm -d "$root" "$work/root.ext4" 8G >/dev/null
mv "$work/vmlinuz" "$work/initrd" "$work/root.ext4" "$folder"
