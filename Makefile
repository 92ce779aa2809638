# SPDX-License-Identifier: GPL-2.0
# Every verb is the runner's (qemu/runner), started inside the Debian root that
# qemu/bootstrap.sh makes. `make help` lists them.

LANE ?= stock
export SHARE ACCEL KERNEL_VERSION

.PHONY: run test check kmod userland exec header fmt help

run:
	@qemu/bootstrap.sh run
test:
	@qemu/bootstrap.sh test --filter '$(T)'
check:
	@qemu/bootstrap.sh check
kmod:
	@qemu/bootstrap.sh kmod --lane $(LANE)
userland:
	@qemu/bootstrap.sh userland
exec:
	@qemu/bootstrap.sh exec --lane $(LANE) $(if $(ICOUNT),--icount) -- '$(subst ','\'',$(CMD))'
header:
	@qemu/bootstrap.sh header
fmt:
	@qemu/bootstrap.sh fmt
help:
	@echo 'make run                  boot a stock Debian kernel with two vservers and look around'
	@echo 'make test [T=pattern]     all tests'
	@echo 'make check                formatting, lints, unsafe budget, header drift'
	@echo 'make exec CMD=... [SHARE=dir] [ICOUNT=1]   run a command as root on that machine'
	@echo 'make kmod | userland      only build; prints where the result is'
	@echo 'make header | fmt         regenerate include/vserver_ioctl.h; format the sources'
