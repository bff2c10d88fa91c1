#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# vagrant/box.sh FILE PACKAGE...
#
# Makes a Vagrant box for libvirt out of Debian's packages alone, for those who would rather not trust, or cannot reach,
# a public one: Debian 12 with its cloud kernel and the packages given, so that provisioning has little left to fetch.
# The root is mmdebstrap's, the file system mke2fs -d's at the partition's place in the file, the boot loader two files
# written before it: no loop device, nothing is mounted. The key for ssh is made here and lies in the box.
# Needs root, mmdebstrap, mke2fs, sfdisk, grub-mkimage with grub-pc-bin, qemu-img.
set -eu
file=$1
shift
suite=bookworm
size_gib=20
first_sector=2048
base="systemd-sysv udev kmod dbus libpam-systemd ifupdown isc-dhcp-client openssh-server sudo rsync make procps
      ca-certificates e2fsprogs linux-image-cloud-amd64 initramfs-tools zstd"
grub=/usr/lib/grub/i386-pc

mkdir -p "$(dirname "$file")"
work=$(mktemp -d "$(dirname "$file")/box.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
root=$work/root

# What systemd names after hardware would differ between the drivers of QEMU
kernel="root=LABEL=minirt-box rw console=tty0 console=ttyS0 net.ifnames=0 quiet"

cat >"$work/before" <<'END'
#!/bin/sh
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\nCOMPRESS=zstd\n' >"$1/etc/initramfs-tools/conf.d/minirt"
printf 'virtio_pci\nvirtio_blk\nvirtio_scsi\nsd_mod\next4\n' >"$1/usr/share/initramfs-tools/modules.d/minirt"
END

cat >"$work/after" <<'END'
#!/bin/sh
set -eu
echo minirt >"$1/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 minirt\n::1 localhost\n' >"$1/etc/hosts"
echo 'LABEL=minirt-box / ext4 defaults 0 1' >"$1/etc/fstab"
printf 'auto lo\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet dhcp\n' >"$1/etc/network/interfaces"
: >"$1/etc/machine-id"  # each machine makes its own
rm -f "$1/etc/ssh/"ssh_host_*_key*
mkdir -p "$1/etc/systemd/system/ssh.service.d"
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
    >"$1/etc/systemd/system/ssh.service.d/keys.conf"
echo 'UseDNS no' >"$1/etc/ssh/sshd_config.d/vagrant.conf"
chroot "$1" useradd --create-home --shell /bin/bash vagrant
echo 'vagrant ALL=(ALL) NOPASSWD:ALL' >"$1/etc/sudoers.d/vagrant"
install -d -m 700 "$1/home/vagrant/.ssh"
chroot "$1" ssh-keygen -q -t ed25519 -N '' -C 'minirt box' -f /home/vagrant/.ssh/key
mv "$1/home/vagrant/.ssh/key" "${1%/root}/key"
mv "$1/home/vagrant/.ssh/key.pub" "$1/home/vagrant/.ssh/authorized_keys"
chroot "$1" chown -R vagrant:vagrant /home/vagrant
for unit in apt-daily.timer apt-daily-upgrade.timer containerd.service docker.service docker.socket \
        docker-registry.service nginx.service podman.socket podman-restart.service podman-auto-update.timer; do
    chroot "$1" systemctl --quiet mask $unit
done
END
chmod 755 "$work/before" "$work/after"

mmdebstrap --quiet --mode=root --variant=minbase --include="$(echo $base "$@" | tr ' ' ,)" \
    --essential-hook="$work/before \"\$1\"" --customize-hook="$work/after \"\$1\"" $suite "$root"

# The disk: a table with one bootable partition, the file system at its place, GRUB in the sectors before it. boot.img
# loads sector 1, which is where core.img is put; core.img knows ext4 and says at once what to boot.
disk=$work/disk
truncate -s ${size_gib}G "$disk"
printf 'label: dos\nstart=%s, type=83, bootable\n' $first_sector | sfdisk --quiet "$disk"
mke2fs -q -F -t ext4 -L minirt-box -E offset=$((first_sector * 512)) -d "$root" "$disk" \
    $((size_gib * 1048576 - first_sector / 2))k
cat >"$work/grub.cfg" <<END
set root=(hd0,msdos1)
linux /vmlinuz $kernel
initrd /initrd.img
boot
END
grub-mkimage --format=i386-pc --directory=$grub --prefix='(hd0,msdos1)/boot/grub' --config="$work/grub.cfg" \
    --output="$work/core.img" biosdisk part_msdos ext2 linux normal
test "$(stat -c %s "$work/core.img")" -lt $(((first_sector - 1) * 512))
dd if=$grub/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none

qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd "$disk" "$work/box.img"
printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": %s}\n' $size_gib >"$work/metadata.json"
cat >"$work/Vagrantfile" <<'END'
Vagrant.configure("2") do |config|
  config.vm.guest = :debian
  config.ssh.insert_key = false
  config.ssh.private_key_path = File.expand_path("../key", __FILE__)
end
END
tar -cf "$work/whole.box" -C "$work" metadata.json Vagrantfile key box.img
mv "$work/whole.box" "$file"
