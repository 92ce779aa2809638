// SPDX-License-Identifier: GPL-2.0
/*
 * The stock lane's attachment: each wrapped kernel function starts with a jump to our function of
 * the same signature (an ftrace direct jump), which may call the original past that jump.
 *
 * The hook table is the list VSERVER_WRAPS below; the Rust side is attach/ftrace.rs.
 */
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/linkage.h>
#include <linux/objtool.h>

#include "helpers.h"

#ifndef CONFIG_SECURITY_VSERVER

#define VSERVER_WRAPS(W)			\
	W(security_task_alloc)			\
	W(security_task_free)			\
	W(pidfs_exit)				\
	W(security_task_kill)			\
	W(kill_pid_info_type)			\
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

/*
 * vserver_orig_NAME(...) runs the original behind its fentry site. The middle of a function has no
 * ENDBR, so it is reached by a return, not by an indirect jump: valid with IBT, and the
 * return thunk keeps the machine's return mitigations.
 */
#define W(name)								\
	extern void vserver_wrap_##name(void);				\
	unsigned long vserver_addr_##name;				\
	asm(".pushsection .text, \"ax\"\n"				\
	    ".globl vserver_orig_" #name "\n"				\
	    ".type vserver_orig_" #name ", @function\n"			\
	    "vserver_orig_" #name ":\n"					\
	    ASM_ENDBR							\
	    "pushq vserver_addr_" #name "(%rip)\n"			\
	    ASM_RET							\
	    ".size vserver_orig_" #name ", .-vserver_orig_" #name "\n"	\
	    ".popsection\n");						\
	extern void vserver_orig_##name(void);				\
	STACK_FRAME_NON_STANDARD(vserver_orig_##name);
VSERVER_WRAPS(W)
#undef W

/* The same way in for the two functions that are not exported: their ENDBR may be sealed. */
unsigned long vserver_addr_resolver;
asm(".pushsection .text, \"ax\"\n"
    ".type vserver_call_resolver, @function\n"
    "vserver_call_resolver:\n"
    ASM_ENDBR
    "pushq vserver_addr_resolver(%rip)\n"
    ASM_RET
    ".size vserver_call_resolver, .-vserver_call_resolver\n"
    ".popsection\n");
extern unsigned long vserver_call_resolver(unsigned long argument);
STACK_FRAME_NON_STANDARD(vserver_call_resolver);

struct wrap {
	const char *name;
	void (*handler)(void);
	unsigned long *original;
	struct ftrace_ops ops;
	bool attached;
};

static struct wrap wraps[] = {
#define W(fn) { .name = #fn, .handler = vserver_wrap_##fn, .original = &vserver_addr_##fn },
	VSERVER_WRAPS(W)
#undef W
};

static unsigned int attached;

static int address_of(const char *name, unsigned long *address)
{
	struct kprobe probe = { .symbol_name = name };
	int error = register_kprobe(&probe);

	if (error)
		return error;
	*address = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
	return 0;
}

static int attach_one(struct wrap *wrap, unsigned long lookup_name, unsigned long location)
{
	unsigned long address, site;
	int error;

	vserver_addr_resolver = lookup_name;
	address = vserver_call_resolver((unsigned long)wrap->name);
	if (!address) {
		pr_err("vserver: hook %s: this kernel has no such function\n", wrap->name);
		return -ENOENT;
	}
	vserver_addr_resolver = location;
	site = vserver_call_resolver(address);
	if (!site) {
		pr_err("vserver: hook %s: the function has no ftrace site\n", wrap->name);
		return -ENOENT;
	}
	*wrap->original = site + MCOUNT_INSN_SIZE;

	/* kernel.ftrace_enabled=0 must not switch a wall off. */
	wrap->ops.flags = FTRACE_OPS_FL_PERMANENT;
	error = ftrace_set_filter_ip(&wrap->ops, site, 0, 1);
	if (!error)
		error = register_ftrace_direct(&wrap->ops,
					       ftrace_jmp_set((unsigned long)wrap->handler));
	if (error) {
		ftrace_free_filter(&wrap->ops);
		pr_err("vserver: hook %s: cannot be attached (error %d; held by a livepatch or another direct call?)\n",
		       wrap->name, error);
		return error;
	}
	wrap->attached = true;
	attached++;
	return 0;
}

int vserver_attach(void)
{
	unsigned long lookup_name, location = 0;
	size_t i;
	int error;

	error = address_of("kallsyms_lookup_name", &lookup_name);
	if (error) {
		pr_err("vserver: kallsyms_lookup_name cannot be found (error %d)\n", error);
		return error;
	}
	vserver_addr_resolver = lookup_name;
	location = vserver_call_resolver((unsigned long)"ftrace_location");
	if (!location) {
		pr_err("vserver: ftrace_location cannot be found\n");
		return -ENOENT;
	}
	for (i = 0; i < ARRAY_SIZE(wraps); i++) {
		error = attach_one(&wraps[i], lookup_name, location);
		if (error)
			return error;
	}
	return 0;
}

void vserver_detach(void)
{
	size_t i = ARRAY_SIZE(wraps);

	while (i--) {
		struct wrap *wrap = &wraps[i];

		if (!wrap->attached)
			continue;
		WARN_ON(unregister_ftrace_direct(&wrap->ops,
						 ftrace_jmp_set((unsigned long)wrap->handler),
						 true));
		wrap->attached = false;
		attached--;
	}
}

unsigned int vserver_hooks_attached(void)
{
	return attached;
}

unsigned int vserver_hooks_total(void)
{
	return ARRAY_SIZE(wraps);
}

#endif
