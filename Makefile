# SPDX-License-Identifier: Apache-2.0
#
# Two commands do everything on a fresh Debian 12 machine, as root:
#   make demo      system packages, a venv in .venv, the build, then containers from the embedded image
#   make test      the same set-up, then every test
# And: make install (minirt on the system's PATH), make bench (beside docker, podman, skopeo, runc, bubblewrap;
# BENCH='--only networks' for a part of it),
# make fuzz, make lint, make clean. What was done leaves a stamp in .make/, so a second run goes straight to work.

# --- system packages: this list is the only one -------------------------------------------------------------
# build: the compiler, musl for the static monitor, libseccomp (profiles to BPF), libcap (python-prctl),
# busybox-static (what localhost/busybox is made of)
PACKAGES_BUILD = gcc libc6-dev pkg-config musl-tools ninja-build python3 python3-dev python3-venv \
                 libseccomp-dev libcap-dev busybox-static
# run: what containers with networks need: nft for guards and published ports, dnsmasq for names
PACKAGES_RUN = nftables dnsmasq-base
# tests: images made by other hands and a registry to keep them in, certificates, zstd layers, a second opinion on
# system calls; for networks a web server and its client, a meter, ip, and the kernel's table of connections
PACKAGES_TEST = skopeo umoci mmdebstrap docker-registry openssl zstd strace podman docker.io \
                nginx-light curl iperf3 iproute2 conntrack e2fsprogs
# the test machine: QEMU and what makes its root
PACKAGES_VM = qemu-system-x86 mmdebstrap e2fsprogs
# a Vagrant box: its disk's table, its boot loader, its format
PACKAGES_BOX = mmdebstrap e2fsprogs fdisk grub-common grub-pc-bin qemu-utils
# bench: the peers
PACKAGES_BENCH = docker.io containerd podman runc conmon bubblewrap

# --- Python packages beside what pyproject.toml names -------------------------------------------------------
PYTHON_BUILD = 'meson-python>=0.15' 'meson>=1.1' 'cffi>=1.16'
PYTHON_TEST = 'pytest>=8,<10' 'pytest-xdist>=3.5,<4' 'ruff>=0.6' 'mypy>=1.11' types-cffi

# fuzzing: libFuzzer for Python
PYTHON_FUZZ = 'atheris>=2.3,<4'
FUZZ_TARGETS = tar entries stream documents references answers addresses networks
FUZZ_SECONDS = 60

SHELL = /bin/sh
STAMPS = .make
VENV = .venv
PIP = $(VENV)/bin/pip --disable-pip-version-check --quiet
MINIRT = $(VENV)/bin/minirt
PREFIX = /usr/local
# starts after boot what --restart asks for (systemd.unit(5): the directory for what is installed locally)
UNIT = $(PREFIX)/lib/systemd/system/minirt.service
# kernel tests mostly wait for processes, so two for each CPU
JOBS = $(shell expr 2 \* `nproc`)
SOURCES = pyproject.toml $(shell find meson.build csrc minirt -name __pycache__ -prune -o \
          -type f ! -name '*.so' ! -name minirt-monitor -print)

# A real interpreter of 3.11 to 3.13 with venv and headers; Debian's own first, so that no shim answers.
PYTHON = $(shell for python in /usr/bin/python3 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 \
             python3 python3.13 python3.12 python3.11; do \
             $$python -c 'import sys, os, sysconfig, venv, ensurepip; \
               ok = (3, 11) <= sys.version_info < (3, 14); \
               ok = ok and os.path.exists(sysconfig.get_path("include") + "/Python.h"); \
               ok and print(sys.executable); sys.exit(not ok)' 2>/dev/null && break; done)

# $(call apt,LIST): installs what is missing of LIST, and asks apt only then. Services that come along are neither
# started (RUNLEVEL is for init scripts, policy-rc.d for systemd) nor, the registry and nginx, started at the next boot.
POLICY = /usr/sbin/policy-rc.d
apt = missing=$$(for name in $(1); do \
          dpkg-query -W -f '$${db:Status-Status}\n' $$name 2>/dev/null | grep -qx installed || echo $$name; done); \
      test -z "$$missing" || { echo "installing" $$missing; \
          test -e $(POLICY) || { trap 'rm -f $(POLICY)' EXIT INT TERM; printf '\043!/bin/sh\nexit 101\n' >$(POLICY); \
              chmod 755 $(POLICY); }; \
          apt-get -q update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
              apt-get -q install -y --no-install-recommends $$missing && \
          for service in docker-registry nginx-light; do \
              case " $$missing " in *" $$service "*) ! command -v systemctl >/dev/null || \
                  systemctl --quiet disable $${service%-light}; esac; done; }

.PHONY: demo test vm-test vagrant-test box install uninstall bench fuzz lint test-c test-pure test-kernel clean root
.DELETE_ON_ERROR:

root:
	@test "$$(id -u)" = 0 || { echo "make: containers and system packages need root; try sudo make" >&2; exit 1; }

# --- set-up -------------------------------------------------------------------------------------------------
$(STAMPS)/packages-build: Makefile | root
	@mkdir -p $(STAMPS)
	@$(call apt,$(PACKAGES_BUILD) $(PACKAGES_RUN))
	@touch $@

$(STAMPS)/packages-test: Makefile | root
	@mkdir -p $(STAMPS)
	@$(call apt,$(PACKAGES_TEST))
	@touch $@

$(STAMPS)/packages-vm: Makefile | root
	@test "$$(uname -m)" = x86_64 || { echo "make: the test machine is made for x86-64 only" >&2; exit 1; }
	@mkdir -p $(STAMPS)
	@$(call apt,$(PACKAGES_VM))
	@touch $@

$(STAMPS)/packages-box: Makefile | root
	@mkdir -p $(STAMPS)
	@$(call apt,$(PACKAGES_BOX))
	@touch $@

$(STAMPS)/packages-bench: Makefile | root
	@mkdir -p $(STAMPS)
	@$(call apt,$(PACKAGES_BENCH))
	@touch $@

$(VENV)/stamp-python: | $(STAMPS)/packages-build
	@python=$(PYTHON); test -n "$$python" || { echo "make: no Python 3.11 to 3.13 with venv and headers" >&2; exit 1; }; \
	    echo "making $(VENV) with $$python"; $$python -m venv --clear $(VENV)
	@$(PIP) install $(PYTHON_BUILD)
	@touch $@

$(VENV)/stamp-dependencies: $(VENV)/stamp-python pyproject.toml
	@$(VENV)/bin/python -c 'import tomllib; \
	    print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' >$(VENV)/dependencies
	@$(PIP) install --use-pep517 -r $(VENV)/dependencies
	@touch $@

$(VENV)/stamp-minirt: $(VENV)/stamp-dependencies $(SOURCES)
	@echo "building and installing minirt into $(VENV)"
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PIP) install --no-build-isolation --force-reinstall --no-deps \
	    --config-settings=build-dir=build/venv .
	@touch $@

$(VENV)/stamp-test: $(VENV)/stamp-python | $(STAMPS)/packages-test
	@$(PIP) install $(PYTHON_TEST)
	@touch $@

$(VENV)/stamp-fuzz: $(VENV)/stamp-python
	@$(PIP) install $(PYTHON_FUZZ)
	@touch $@

# --- the main job -------------------------------------------------------------------------------------------
demo: $(VENV)/stamp-minirt
	$(MINIRT) doctor
	$(MINIRT) run --rm localhost/busybox echo "hello from a container"
	$(MINIRT) plan localhost/busybox echo "hello from a container"
	$(MINIRT) run --rm --explain localhost/busybox true
	-@$(MINIRT) rm -f demo >/dev/null 2>&1
	$(MINIRT) run -d --name demo localhost/busybox sh -c 'echo started; sleep 60'
	$(MINIRT) ps
	$(MINIRT) exec demo ps
	$(MINIRT) logs demo
	$(MINIRT) rm -f demo

# --- tests --------------------------------------------------------------------------------------------------
test: lint test-c test-pure test-kernel

lint: $(VENV)/stamp-test $(VENV)/stamp-minirt
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@set -e; for folder in `find tests -name '*.py' -printf '%h\n' | sort -u`; do \
	    echo "mypy $$folder"; MYPYPATH=tests:tests/runtime:tests/image:tests/network:tests/attacks/registry:$$folder $(VENV)/bin/mypy $$folder/*.py; done

# The C part without Python, under the address and undefined-behaviour sanitizers
test-c: $(STAMPS)/packages-build
	$(MAKE) -C csrc/tests check

# What needs neither root nor a kernel: values, plans, style
test-pure: $(VENV)/stamp-test $(VENV)/stamp-minirt
	$(VENV)/bin/pytest -q -m "not kernel" -n $(JOBS) tests

# Everything that makes system calls or containers
test-kernel: $(VENV)/stamp-test $(VENV)/stamp-minirt | root
	$(VENV)/bin/pytest -q -m kernel -n $(JOBS) tests

# The same in a machine with cgroup v2's controllers and systemd: QEMU with KVM, else emulated and then only the tests
# for which that matters. Its root is made once and kept in /var/cache/minirt; VM_TESTS are other words for pytest
vm-test: $(VENV)/stamp-test $(VENV)/stamp-minirt $(STAMPS)/packages-vm | root
	$(VENV)/bin/python vagrant/vm_test.py --packages "$(PACKAGES_BUILD) $(PACKAGES_RUN) $(PACKAGES_TEST)" \
	    --python "$(PYTHON_BUILD) $(PYTHON_TEST)" -- $(VM_TESTS)

# A real `vagrant up`, `make test` inside, `vagrant destroy`; vagrant/Vagrantfile says what the environment may say
vagrant-test:
	sh vagrant/test.sh

# A box for that, from Debian's packages alone: MINIRT_BOX=build/minirt.box
box: $(STAMPS)/packages-box | root
	sh vagrant/box.sh build/minirt.box $(PACKAGES_BUILD) $(PACKAGES_RUN) $(PACKAGES_TEST)

# FUZZ_SECONDS for each target, and for the C part under the sanitizers; new inputs and findings go to build/fuzz,
# tests/fuzz/fuzz.py says what to do with them
fuzz: $(VENV)/stamp-fuzz $(VENV)/stamp-minirt | root
	@set -e; for target in $(FUZZ_TARGETS); do echo "fuzzing $$target for $(FUZZ_SECONDS) seconds"; \
	    $(VENV)/bin/python tests/fuzz/fuzz.py $$target --seconds $(FUZZ_SECONDS); done
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(MAKE) -C csrc/tests check

# --- beside the peers ---------------------------------------------------------------------------------------
bench: $(VENV)/stamp-minirt $(STAMPS)/packages-test $(STAMPS)/packages-bench
	$(VENV)/bin/python bench/bench.py --minirt $(MINIRT) $(BENCH)

# --- on the system's PATH -----------------------------------------------------------------------------------
install: $(STAMPS)/packages-build
	@python=$(PYTHON); test -n "$$python" || { echo "make: no Python 3.11 to 3.13 with venv and headers" >&2; exit 1; }; \
	    $$python -m venv --clear $(PREFIX)/lib/minirt
	@$(PREFIX)/lib/minirt/bin/pip --disable-pip-version-check --quiet install --use-pep517 .
	@mkdir -p $(PREFIX)/bin
	@ln -sfn ../lib/minirt/bin/minirt $(PREFIX)/bin/minirt
	@mkdir -p $(dir $(UNIT))
	@sed 's|^\(Exec.*=\)@MINIRT@|\1$(PREFIX)/bin/minirt|' systemd/minirt.service >$(UNIT)
	@test ! -d /run/systemd/system || { systemctl daemon-reload && systemctl --quiet enable --now minirt.service; }
	@echo "installed $(PREFIX)/bin/minirt and $(UNIT)"

uninstall:
	test ! -d /run/systemd/system || systemctl --quiet disable minirt.service
	rm -rf $(PREFIX)/lib/minirt $(PREFIX)/bin/minirt $(UNIT)

clean:
	rm -rf $(VENV) $(STAMPS) build
