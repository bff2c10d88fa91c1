#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `make vagrant-test`: vagrant up, the tests inside by `vagrant ssh -c`, vagrant destroy. The machine is described by the
# environment (vagrant/Vagrantfile); VAGRANT_TESTS is another command than `make test`. Vagrant's own files and the copy
# of the box go to a folder that is removed at the end.
# Where no libvirtd answers and VAGRANT_DEFAULT_PROVIDER is libvirt or not set, one is started for this time alone, in
# namespaces of its own (net, mount, pid: unshare(1)), so that its bridge, its files and its processes end with it;
# slirp4netns(1) is its way out.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tests=${VAGRANT_TESTS:-sudo make -C /minirt test}
export VAGRANT_DEFAULT_PROVIDER="${VAGRANT_DEFAULT_PROVIDER:-libvirt}"

up() {
    cd "$here"
    trap 'vagrant destroy -f' EXIT
    trap 'exit 130' INT TERM HUP
    vagrant up
    vagrant ssh -c "$tests"
}

# In the namespaces: a libvirt that nobody else sees
own_libvirt() {
    mount --make-rprivate /
    for folder in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /run; do
        mkdir -p "$work/$folder"
        test "$folder" != /etc/libvirt || cp -a /etc/libvirt/. "$work/etc/libvirt"
        mount --bind "$work/$folder" $folder
    done
    mkdir -p /run/lock
    printf 'nameserver 10.0.2.3\n' >"$work/resolv.conf"
    mount --bind "$work/resolv.conf" "$(readlink -f /etc/resolv.conf)"
    printf 'cgroup_controllers = []\nsecurity_driver = "none"\nuser = "root"\ngroup = "root"\n' >/etc/libvirt/qemu.conf
    printf 'unix_sock_group = "root"\nauth_unix_rw = "none"\n' >/etc/libvirt/libvirtd.conf
    ip link set lo up
    until ip link show tap0 >/dev/null 2>&1; do sleep 0.1; done
    virtlogd --daemon
    libvirtd --daemon
    until virsh -c qemu:///system version >/dev/null 2>&1; do sleep 0.5; done
    mkdir -p /var/lib/libvirt/images
    virsh -c qemu:///system pool-create-as default dir --target /var/lib/libvirt/images
    test -e /dev/kvm && test "${MINIRT_LIBVIRT_DRIVER-}" != qemu || export MINIRT_LIBVIRT_DRIVER=qemu
    up
}

case ${1-} in
inside)
    own_libvirt
    exit
    ;;
esac
command -v vagrant >/dev/null || { echo "vagrant-test: no vagrant; on Debian: apt-get install vagrant vagrant-libvirt \
libvirt-daemon-system libvirt-clients dnsmasq-base rsync openssh-client slirp4netns" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/var/tmp}/minirt-vagrant.XXXXXX")
export work VAGRANT_HOME="$work/home" VAGRANT_DOTFILE_PATH="$work/dot"
trap 'test -z "${network-}" || kill $network 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
if test "$VAGRANT_DEFAULT_PROVIDER" != libvirt || virsh -c qemu:///system version >/dev/null 2>&1; then
    (up)
    exit
fi
mkfifo "$work/go"
unshare --net --mount --pid --fork --kill-child --mount-proc \
    sh -c 'read -r _ <"$work/go"; exec sh "$0" inside' "$here/test.sh" &
namespaces=$!
# unshare(1) has one child, the init of the namespaces
until inner=$(cat /proc/$namespaces/task/$namespaces/children) && test -n "$inner"; do sleep 0.1; done
slirp4netns --configure --mtu=1500 --disable-host-loopback "${inner% }" tap0 >/dev/null 2>&1 &
network=$!
echo go >"$work/go"
wait $namespaces
