# SPDX-License-Identifier: GPL-2.0
# Every verb is the runner's (qemu/runner), started inside the Debian root that
# qemu/bootstrap.sh makes. `make help` lists them.

# Without LANE the tests run in both.
TEST_LANE := $(if $(LANE),--lane $(LANE))
LANE ?= stock
# As it stands, whatever quotes, dollars and lines it has.
export VSERVER_COMMAND := $(value CMD)
unexport CMD
export SHARE ACCEL KERNEL_VERSION KERNEL_FLAVOUR
CARGO ?= cargo
MAKEFLAGS += --no-print-directory

# How many inputs `make fuzz` tries in each of its two parts.
N ?= 10000000

.PHONY: run fuzz test test-long check kmod kernel steps userland deb exec bench starts analyzer header fmt help

run:
	@qemu/bootstrap.sh run
test:
	@qemu/bootstrap.sh test --filter '$(T)' $(TEST_LANE)
test-long:
	@qemu/bootstrap.sh test-long --part '$(PART)' $(TEST_LANE) $(if $(FORCE),--force)
fuzz:
	@FUZZ='$(N)' INSTA_UPDATE=no $(CARGO) test --profile fuzz -p libvserver -p vserver fuzz_ -- --nocapture
check:
	@qemu/bootstrap.sh check
kmod:
	@qemu/bootstrap.sh kmod --lane $(LANE)
kernel:
	@qemu/bootstrap.sh kernel
steps:
	@qemu/bootstrap.sh steps
userland:
	@qemu/bootstrap.sh userland
deb:
	@qemu/bootstrap.sh deb
exec:
	@qemu/bootstrap.sh exec --lane $(LANE) $(if $(ICOUNT),--icount) --make
bench:
	@qemu/bootstrap.sh bench
starts:
	@qemu/bootstrap.sh starts
analyzer:
	@qemu/bootstrap.sh analyzer
header:
	@qemu/bootstrap.sh header
fmt:
	@qemu/bootstrap.sh fmt
help:
	@echo 'make run                  boot a stock Debian kernel with two vservers and look around'
	@echo 'make fuzz [N=10000000]                        give nonsense to all that reads what others write'
	@echo 'make test [T=pattern] [LANE=stock|patched]   all tests, or a part; with LANE no host tests'
	@echo 'make test-long [PART=name|list] [LANE=stock|patched] [FORCE=1]   the long tests, in parts; prints their results'
	@echo 'make check                formatting, lints, unsafe by folder, header drift, C, layouts and prototypes'
	@echo 'make exec CMD=... [LANE=patched] [SHARE=dir] [ICOUNT=1]   run a command as root on that machine'
	@echo 'make bench                instructions per system call, in every lane, into docs/benchmarks.md'
	@echo 'make starts               start and stop times beside systemd-nspawn and lxc, into docs/starting.md'
	@echo 'make kmod | kernel | userland   only build; prints where the result is (kernel: the patched one)'
	@echo 'make deb                  the Debian packages, without a word of lintian; prints where they are'
	@echo 'make steps                the kernel after each patch of patches/, and with their option off'
	@echo 'make analyzer             rust-project.json for kmod/, into target/analyzer'
	@echo 'make header | fmt         regenerate include/vserver_ioctl.h; format the sources'
