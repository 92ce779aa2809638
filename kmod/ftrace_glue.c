// SPDX-License-Identifier: GPL-2.0
/*
 * The attachment by ftrace: each wrapped kernel function starts with a jump to our function of
 * the same signature (an ftrace direct jump), which may call the original past that jump.
 *
 * The hook table is the list VSERVER_WRAPS below; the wrappers are in attach/ftrace/, or by
 * VSERVER_WRAP() in C.
 */
#include <linux/ftrace.h>
#include <linux/delay.h>
#include <linux/linkage.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/objtool.h>

#include "helpers.h"
#include "pid_numbers.h"
#include "unexported.h"

/* In both lanes: no patch is worth its lines where a wrapper is as good. */
#define VSERVER_NETWORK_WRAPS(W)		\
	W(security_socket_post_create)		\
	W(security_socket_bind)			\
	W(security_socket_connect)		\
	W(security_file_receive)		\
	W(__inet_lookup_listener)		\
	W(inet6_lookup_listener)		\
	W(__icmp_send)				\
	W(icmp6_send)				\
	W(tcp4_seq_show)			\
	W(tcp6_seq_show)			\
	W(udp4_seq_show)			\
	W(udp6_seq_show)			\
	W(raw_seq_show)				\
	W(raw6_seq_show)			\
	W(ping_v4_seq_show)			\
	W(ping_v6_seq_show)			\
	W(unix_seq_show)			\
	W(packet_seq_show)			\
	W(netlink_seq_show)			\
	W(dev_ifconf)				\
	W(dev_seq_show)				\
	W(fib_route_seq_show)			\
	W(fib_trie_seq_show)			\
	W(arp_seq_show)				\
	W(if6_seq_show)				\
	W(ipv6_route_seq_show)			\
	W(kernfs_iop_permission)		\
	W(kernfs_iop_getattr)			\
	W(kernfs_iop_get_link)			\
	W(kernfs_fop_readdir)

#define VSERVER_BARRIER_WRAPS(W)		\
	W(capable_wrt_inode_uidgid)		\
	W(chmod_common)				\
	W(vfs_set_acl)				\
	W(security_inode_rename)		\
	W(security_sb_mount)			\
	W(security_move_mount)			\
	W(security_sb_pivotroot)		\
	W(exportfs_decode_fh_raw)		\
	W(mm_access)				\
	W(nd_jump_link)				\
	W(security_path_link)			\
	W(mntns_install)			\
	W(copy_mnt_ns)				\
	W(get_sequential_mnt_ns)

#ifdef CONFIG_COMPAT
#define VSERVER_PTY_COMPAT_WRAPS(W)	W(tty_compat_ioctl)
#else
#define VSERVER_PTY_COMPAT_WRAPS(W)
#endif

#define VSERVER_PTY_WRAPS(W)			\
	W(devpts_pty_new)			\
	W(devpts_pty_kill)			\
	W(devpts_get_priv)			\
	W(dcache_readdir)			\
	W(tty_open)				\
	W(tty_ioctl)				\
	W(tty_vhangup_self)			\
	VSERVER_PTY_COMPAT_WRAPS(W)

#define VSERVER_MACHINE_WRAPS(W)		\
	W(proc_sys_permission)			\
	W(proc_reg_open)			\
	W(proc_setattr)				\
	W(proc_fd_permission)			\
	W(locks_show)				\
	W(kernfs_iop_setattr)			\
	W(oom_adj_write)			\
	W(oom_score_adj_write)			\
	W(timerslack_ns_write)			\
	W(sched_write)				\
	VSERVER_AUTOGROUP_WRAPS(W)		\
	VSERVER_ELF_CORE_WRAPS(W)		\
	VSERVER_PAGE_MONITOR_WRAPS(W)		\
	VSERVER_PROC_EVENTS_WRAPS(W)		\
	VSERVER_TASKSTATS_WRAPS(W)		\
	VSERVER_KEYS_WRAPS(W)			\
	VSERVER_PERSISTENT_WRAPS(W)

/* What a kernel is built without needs no wall. */
#ifdef CONFIG_SCHED_AUTOGROUP
#define VSERVER_AUTOGROUP_WRAPS(W)	W(sched_autogroup_write)
#else
#define VSERVER_AUTOGROUP_WRAPS(W)
#endif

#ifdef CONFIG_ELF_CORE
#define VSERVER_ELF_CORE_WRAPS(W)	W(proc_coredump_filter_write)
#else
#define VSERVER_ELF_CORE_WRAPS(W)
#endif

#ifdef CONFIG_PROC_PAGE_MONITOR
#define VSERVER_PAGE_MONITOR_WRAPS(W)	W(clear_refs_write)
#else
#define VSERVER_PAGE_MONITOR_WRAPS(W)
#endif

#ifdef CONFIG_PROC_EVENTS
#define VSERVER_PROC_EVENTS_WRAPS(W)	W(cn_netlink_send_mult)
#else
#define VSERVER_PROC_EVENTS_WRAPS(W)
#endif

#ifdef CONFIG_TASKSTATS
#define VSERVER_TASKSTATS_WRAPS(W)	W(taskstats_user_cmd)
#else
#define VSERVER_TASKSTATS_WRAPS(W)
#endif

#ifdef CONFIG_KEYS
#define VSERVER_KEYS_WRAPS(W)			\
	W(security_key_alloc)			\
	W(security_key_free)			\
	W(key_task_permission)			\
	W(look_up_user_keyrings)		\
	W(get_user_session_keyring_rcu)		\
	W(keyctl_session_to_parent)		\
	W(request_key_and_link)			\
	W(proc_key_users_show)
#else
#define VSERVER_KEYS_WRAPS(W)
#endif

#ifdef CONFIG_PERSISTENT_KEYRINGS
#define VSERVER_PERSISTENT_WRAPS(W)	W(keyctl_get_persistent)
#else
#define VSERVER_PERSISTENT_WRAPS(W)
#endif

#ifdef CONFIG_IA32_EMULATION
#define VSERVER_CALL_WRAPS(W)			\
	VSERVER_CALL_WRAPS_64(W)		\
	W(__ia32_sys_reboot)			\
	W(__ia32_sys_sethostname)		\
	W(__ia32_sys_setdomainname)
#else
#define VSERVER_CALL_WRAPS(W)	VSERVER_CALL_WRAPS_64(W)
#endif

#define VSERVER_CALL_WRAPS_64(W)		\
	W(__x64_sys_reboot)			\
	W(__x64_sys_sethostname)		\
	W(__x64_sys_setdomainname)

#define VSERVER_COMMON_WRAPS(W)			\
	VSERVER_NETWORK_WRAPS(W)		\
	VSERVER_BARRIER_WRAPS(W)		\
	VSERVER_PTY_WRAPS(W)			\
	VSERVER_MACHINE_WRAPS(W)		\
	VSERVER_CALL_WRAPS(W)

/*
 * Attached with the first process 1 of a context, before it is one: some of them are on the way of calls that
 * all processes make all the time.
 */
#define VSERVER_COMMON_INIT_WRAPS(W)		\
	W(__task_pid_nr_ns)			\
	W(pid_nr_ns)				\
	W(pid_vnr)				\
	W(do_notify_parent)			\
	W(fcntl_getlk)				\
	W(proc_pid_lookup)			\
	W(proc_pid_readdir)			\
	W(disassociate_ctty)			\
	W(security_task_prctl)			\
	VSERVER_PIDFD_OPEN_WRAPS(W)

#ifdef CONFIG_IA32_EMULATION
#define VSERVER_PIDFD_OPEN_WRAPS(W)		\
	W(__x64_sys_pidfd_open)			\
	W(__ia32_sys_pidfd_open)
#else
#define VSERVER_PIDFD_OPEN_WRAPS(W)	W(__x64_sys_pidfd_open)
#endif

#ifdef CONFIG_SECURITY_VSERVER

#define VSERVER_WRAPS(W)			\
	VSERVER_COMMON_WRAPS(W)

#define VSERVER_INIT_WRAPS(W)			\
	VSERVER_COMMON_INIT_WRAPS(W)		\
	W(find_vpid)				\
	W(find_get_pid)				\
	W(find_ge_pid)				\
	W(find_task_by_pid_ns)			\
	W(find_task_by_vpid)			\
	W(find_get_task_by_vpid)

#else

#define VSERVER_INIT_WRAPS(W)			\
	VSERVER_COMMON_INIT_WRAPS(W)

#define VSERVER_WRAPS(W)			\
	VSERVER_COMMON_WRAPS(W)			\
	W(security_task_alloc)			\
	W(security_task_free)			\
	W(pidfs_exit)				\
	W(security_task_kill)			\
	W(do_pidfd_send_signal)			\
	W(__f_setown)				\
	W(security_ptrace_access_check)		\
	W(security_ptrace_traceme)		\
	W(find_vpid)				\
	W(find_get_pid)				\
	W(find_ge_pid)				\
	W(find_task_by_pid_ns)			\
	W(find_task_by_vpid)			\
	W(find_get_task_by_vpid)		\
	W(get_pid_task)				\
	W(pidfd_get_task)			\
	W(pidfd_prepare)			\
	W(pidfd_getfd)				\
	W(pidfs_fh_to_dentry)			\
	W(set_one_prio)				\
	W(set_task_ioprio)			\
	W(security_task_getioprio)		\
	W(__x64_sys_getpriority)		\
	W(__ia32_sys_getpriority)		\
	W(__x64_sys_ioprio_set)			\
	W(__ia32_sys_ioprio_set)		\
	W(__scm_send)				\
	W(cgroup_procs_show)			\
	W(pid_revalidate)			\
	W(proc_pid_permission)			\
	W(proc_task_readdir)			\
	W(pid_getattr)				\
	W(get_proc_task_net)			\
	W(children_seq_start)			\
	W(mem_read)				\
	W(mem_write)				\
	W(environ_read)				\
	W(auxv_read)				\
	W(pagemap_read)				\
	W(do_pagemap_cmd)			\
	W(procfs_procmap_ioctl)			\
	W(proc_pid_status)

#endif

/*
 * vserver_orig_NAME(...) runs the original behind its fentry site. The middle of a function has no
 * ENDBR, so it is reached by a return, not by an indirect jump: valid with IBT, and the
 * return thunk keeps the machine's return mitigations. Itself it is called directly only, and
 * needs no ENDBR.
 */
#define W(name)								\
	extern void vserver_wrap_##name(void);				\
	unsigned long vserver_addr_##name;				\
	asm(".pushsection .text, \"ax\"\n"				\
	    ".globl vserver_orig_" #name "\n"				\
	    ".type vserver_orig_" #name ", @function\n"			\
	    "vserver_orig_" #name ":\n"					\
	    "pushq vserver_addr_" #name "(%rip)\n"			\
	    ASM_RET							\
	    ".size vserver_orig_" #name ", .-vserver_orig_" #name "\n"	\
	    ".popsection\n");						\
	extern void vserver_orig_##name(void);				\
	STACK_FRAME_NON_STANDARD(vserver_orig_##name);
VSERVER_WRAPS(W)
VSERVER_INIT_WRAPS(W)
#undef W

struct wrap {
	const char *name;
	void (*handler)(void);
	unsigned long *original;
	unsigned long site;
};

#define W(fn) { .name = #fn, .handler = vserver_wrap_##fn, .original = &vserver_addr_##fn },
static struct wrap wraps[] = { VSERVER_WRAPS(W) };
static struct wrap init_wraps[] = { VSERVER_INIT_WRAPS(W) };
#undef W

/* PERMANENT: kernel.ftrace_enabled=0 must not switch a wall off. */
static struct ftrace_ops ops = { .flags = FTRACE_OPS_FL_PERMANENT };

/* Wrappers that are attached together. */
struct group {
	struct wrap *wraps;
	size_t count;
	/* What is attached; NULL: nothing. */
	struct ftrace_hash *attached;
};

static struct group always = { .wraps = wraps, .count = ARRAY_SIZE(wraps) };
static struct group with_inits = { .wraps = init_wraps, .count = ARRAY_SIZE(init_wraps) };

/* Attaching with the first process 1. Taken with no other lock of ours. */
static DEFINE_MUTEX(attach_mutex);

static int resolve_wraps(struct group *group)
{
	size_t i;

	for (i = 0; i < group->count; i++) {
		struct wrap *wrap = &group->wraps[i];
		unsigned long address = vserver_call_kallsyms_lookup_name(wrap->name);

		if (!address) {
			pr_err("vserver: hook %s: this kernel has no such function\n", wrap->name);
			return -ENOENT;
		}
		wrap->site = vserver_call_ftrace_location(address);
		if (!wrap->site) {
			pr_err("vserver: hook %s: the function has no ftrace site\n", wrap->name);
			return -ENOENT;
		}
		*wrap->original = wrap->site + MCOUNT_INSN_SIZE;
	}
	return 0;
}

static struct ftrace_hash *hash_of(const struct wrap *first, size_t count)
{
	struct ftrace_hash *hash = vserver_call_alloc_ftrace_hash(order_base_2(count));
	const struct wrap *wrap;

	for (wrap = first; hash && wrap < first + count; wrap++) {
		if (!vserver_call_add_ftrace_hash_entry_direct(hash, wrap->site,
				ftrace_jmp_set((unsigned long)wrap->handler))) {
			vserver_call_free_ftrace_hash(hash);
			hash = NULL;
		}
	}
	return hash;
}

static void detach(struct ftrace_hash *hash)
{
	int error;

	/* The kernel allocates for this; there is no way on without it. */
	while ((error = vserver_call_update_ftrace_direct_del(&ops, hash)) == -ENOMEM)
		fsleep(10 * USEC_PER_MSEC);
	WARN_ON(error);
	vserver_call_free_ftrace_hash(hash);
}

/* All together fail without saying which: one by one tells. Attaches nothing. */
static void name_the_culprit(const struct group *group)
{
	struct ftrace_hash *hash;
	size_t i;
	int error;

	for (i = 0; i < group->count; i++) {
		hash = hash_of(&group->wraps[i], 1);
		if (!hash)
			return;
		error = vserver_call_update_ftrace_direct_add(&ops, hash);
		if (error) {
			pr_err("vserver: hook %s: cannot be attached (error %d; held by a livepatch or another direct call?)\n",
			       group->wraps[i].name, error);
			vserver_call_free_ftrace_hash(hash);
		} else {
			detach(hash);
		}
	}
}

/* All hooks of a group or none, in one pass over the kernel's text. */
static int attach_group(struct group *group)
{
	struct ftrace_hash *hash;
	int error;

	hash = hash_of(group->wraps, group->count);
	if (!hash)
		return -ENOMEM;
	error = vserver_call_update_ftrace_direct_add(&ops, hash);
	if (error) {
		vserver_call_free_ftrace_hash(hash);
		name_the_culprit(group);
		return error;
	}
	group->attached = hash;
	return 0;
}

static void detach_group(struct group *group)
{
	if (group->attached)
		detach(group->attached);
	group->attached = NULL;
}

/* What is needed later is looked for now: a kernel that lacks it is refused at once. */
int vserver_attach(void)
{
	int error = resolve_wraps(&always) ?: resolve_wraps(&with_inits);

	return error ?: attach_group(&always);
}

/* Before a process becomes a context's process 1. They stay attached until the module goes. */
int vserver_attach_inits(void)
{
	int error = 0;

	mutex_lock(&attach_mutex);
	if (!with_inits.attached) {
		error = attach_group(&with_inits);
		if (!error) {
			vserver_inits_begin();
			vserver_proc_roots_begin();
		}
	}
	mutex_unlock(&attach_mutex);
	return error;
}

void vserver_detach(void)
{
	detach_group(&with_inits);
	detach_group(&always);
}

unsigned int vserver_hooks_attached(void)
{
	return (always.attached ? always.count : 0) +
	       (with_inits.attached ? with_inits.count : 0);
}

/* Those that are to be attached by now. */
unsigned int vserver_hooks_total(void)
{
	return always.count + (with_inits.attached ? with_inits.count : 0);
}
