/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* Generated from kmod/uapi/mod.rs by `make header`. Do not edit. */
#ifndef VSERVER_IOCTL_H
#define VSERVER_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VSERVER_ABI_VERSION 2
#define VSERVER_CONTEXT_ROOT 0
#define VSERVER_CONTEXT_SPECTATOR 1
#define VSERVER_CONTEXT_NEW (-1)
#define VSERVER_CONTEXT_STAY (-2)
#define VSERVER_CONTEXT_MIN 2
#define VSERVER_CONTEXT_DYNAMIC_MIN 49152
#define VSERVER_CONTEXT_MAX 65535
#define VSERVER_FLAG_LOCK 1
#define VSERVER_FLAG_SCHED 2
#define VSERVER_FLAG_NPROC 4
#define VSERVER_FLAG_PRIVATE 8
#define VSERVER_FLAG_FAKEINIT 16
#define VSERVER_FLAG_HIDEINFO 32
#define VSERVER_FLAG_ULIMIT 64
#define VSERVER_FLAG_ALL 127
#define VSERVER_ENTER_OPEN_FD 1
#define VSERVER_ENTER_OPTIONS_ALL 1
#define VSERVER_ADDRESSES_MAX 4096
#define VSERVER_FAMILY_IPV4 2
#define VSERVER_FAMILY_IPV6 10
#define VSERVER_ADDRESS_PREFIX 1
#define VSERVER_FEATURE_ADDRESSES 1
#define VSERVER_FEATURE_FAKEINIT 2
#define VSERVER_FEATURE_ORPHANS 4
#define VSERVER_LANE_STOCK 0
#define VSERVER_LANE_PATCHED 1
#define VSERVER_HOOK_NAME_LEN 48
#define VSERVER_HOOK_KIND_LEN 16
#define VSERVER_HOOK_FILE_LEN 40
#define VSERVER_HOOK_FUNCTION 0
#define VSERVER_HOOK_MEMBER 1
#define VSERVER_STATE_ALIVE 1
#define VSERVER_STATE_ENDING 2
#define VSERVER_STATE_ENDED 3
#define VSERVER_SIGNAL_INIT 0
#define VSERVER_SIGNAL_ALL (-1)
#define VSERVER_INIT_NONE 0
#define VSERVER_INIT_RUNNING 1
#define VSERVER_INIT_EXITED 2
#define VSERVER_REBOOT_NONE 0
#define VSERVER_REBOOT_RESTART 1
#define VSERVER_REBOOT_HALT 2
#define VSERVER_REBOOT_POWER_OFF 3

struct vserver_info {
	__u32 abi_version;
	__u32 lane;
	__u32 hooks_attached;
	__u32 hooks_total;
	__u32 contexts;
	__u32 contexts_max;
	__u32 flags_supported;
	__u32 capabilities;
	__u64 features;
	__u64 reserved[3];
};

struct vserver_enter {
	__s32 context;
	__u32 flags;
	__u64 caps_drop;
	__u32 options;
	__s32 fd;
	__u64 reserved[5];
};

struct vserver_context_info {
	__s32 context;
	__u32 flags;
	__u64 caps_dropped;
	__u32 tasks;
	__s32 outer;
	__s32 initpid;
	__u32 state;
	__u64 created_ns;
	__u64 nproc_limit;
	__u64 reserved[2];
};

struct vserver_get {
	__s32 pid;
	__u32 reserved;
	struct vserver_context_info info;
};

struct vserver_list {
	__u64 buffer;
	__u32 count;
	__s32 after;
	__u64 reserved[2];
};

struct vserver_open {
	__s32 context;
	__s32 fd;
	__u64 reserved[3];
};

struct vserver_signal {
	__s32 context;
	__s32 pid;
	__u32 signal;
	__u32 processes;
	__u64 reserved[2];
};

struct vserver_status {
	__s32 context;
	__u32 state;
	__u32 tasks;
	__u32 init;
	__u32 init_status;
	__u32 reboot;
	__u64 reserved[3];
};

struct vserver_address {
	__u16 family;
	__u8 prefix;
	__u8 flags;
	__u32 reserved;
	__u8 address[16];
};

struct vserver_addresses {
	__u64 buffer;
	__u32 count;
	__s32 pid;
	__u8 broadcast[4];
	__u8 loopback[4];
	__u64 reserved[3];
};

struct vserver_list_hooks {
	__u64 buffer;
	__u32 count;
	__u32 skip;
	__u64 reserved[2];
};

struct vserver_hook_info {
	__u8 name[VSERVER_HOOK_NAME_LEN];
	__u8 kind[VSERVER_HOOK_KIND_LEN];
	__u8 file[VSERVER_HOOK_FILE_LEN];
	__u32 place;
	__u32 attached;
	__u64 reserved[2];
};

#define VSERVER_IOC_INFO _IOR(0xb9, 0, struct vserver_info)
#define VSERVER_IOC_ENTER _IOWR(0xb9, 1, struct vserver_enter)
#define VSERVER_IOC_GET _IOWR(0xb9, 2, struct vserver_get)
#define VSERVER_IOC_LIST _IOWR(0xb9, 3, struct vserver_list)
#define VSERVER_IOC_OPEN _IOWR(0xb9, 4, struct vserver_open)
#define VSERVER_IOC_SET_ADDRESSES _IOWR(0xb9, 5, struct vserver_addresses)
#define VSERVER_IOC_GET_ADDRESSES _IOWR(0xb9, 6, struct vserver_addresses)
#define VSERVER_IOC_SIGNAL _IOWR(0xb9, 7, struct vserver_signal)
#define VSERVER_IOC_STATUS _IOR(0xb9, 8, struct vserver_status)
#define VSERVER_IOC_LIST_HOOKS _IOWR(0xb9, 9, struct vserver_list_hooks)

#endif
