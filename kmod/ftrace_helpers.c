// SPDX-License-Identifier: GPL-2.0
/*
 * Small C pieces for the stock lane's wrappers (attach/ftrace/): what the kernel offers only as
 * macros, inline functions or structures that Rust has no binding for. No policy here.
 */
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/ioprio.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/uidgid.h>
#include <net/scm.h>
#include <asm/syscall.h>
#include <asm/unistd.h>
#include <asm/unistd_32_ia32.h>

#include "helpers.h"
#include "proc_inode.h"

#ifndef CONFIG_SECURITY_VSERVER

/* getpriority() of a group or a user, as sys_getpriority() but for the tasks in view only. */
static long getpriority_of_many(int which, int who)
{
	const struct cred *cred = current_cred();
	struct task_struct *group, *task;
	long best = -ESRCH;
	struct pid *pgrp;
	kuid_t uid;

	rcu_read_lock();
	if (which == PRIO_PGRP) {
		pgrp = who ? find_vpid(who) : task_pgrp(current);
		/* tasklist_lock is not ours to take; a walk under RCU may miss who is just leaving. */
		do_each_pid_task(pgrp, PIDTYPE_PGID, group) {
			for_each_thread(group, task) {
				if (vserver_task_in_view(task))
					best = max(best, (long)nice_to_rlimit(task_nice(task)));
			}
		} while_each_pid_task(pgrp, PIDTYPE_PGID, group);
	} else {
		uid = who ? make_kuid(cred->user_ns, who) : cred->uid;
		for_each_process_thread(group, task) {
			if (uid_eq(task_uid(task), uid) && task_pid_vnr(task) &&
			    vserver_task_in_view(task))
				best = max(best, (long)nice_to_rlimit(task_nice(task)));
		}
	}
	rcu_read_unlock();
	return best;
}

extern long vserver_orig___x64_sys_getpriority_call(const struct pt_regs *regs)
	asm("vserver_orig___x64_sys_getpriority");
extern long vserver_orig___ia32_sys_getpriority_call(const struct pt_regs *regs)
	asm("vserver_orig___ia32_sys_getpriority");

long vserver_getpriority(const struct pt_regs *regs, bool ia32)
{
	int which = ia32 ? (int)regs->bx : (int)regs->di;
	int who = ia32 ? (int)regs->cx : (int)regs->si;

	if (which == PRIO_PGRP || which == PRIO_USER)
		return getpriority_of_many(which, who);
	return ia32 ? vserver_orig___ia32_sys_getpriority_call(regs) :
		      vserver_orig___x64_sys_getpriority_call(regs);
}

extern long vserver_orig___x64_sys_ioprio_set_call(const struct pt_regs *regs)
	asm("vserver_orig___x64_sys_ioprio_set");
extern long vserver_orig___ia32_sys_ioprio_set_call(const struct pt_regs *regs)
	asm("vserver_orig___ia32_sys_ioprio_set");

static bool user_in_view(kuid_t uid)
{
	struct task_struct *group, *task;
	bool found = false;

	rcu_read_lock();
	for_each_process_thread(group, task) {
		if (uid_eq(task_uid(task), uid) && vserver_task_in_view(task)) {
			found = true;
			goto out;
		}
	}
out:
	rcu_read_unlock();
	return found;
}

/* For a user, who is not there when none of its processes is in view: ESRCH, not success. */
long vserver_ioprio_set(const struct pt_regs *regs, bool ia32)
{
	int which = ia32 ? (int)regs->bx : (int)regs->di;
	int who = ia32 ? (int)regs->cx : (int)regs->si;
	long result = ia32 ? vserver_orig___ia32_sys_ioprio_set_call(regs) :
			     vserver_orig___x64_sys_ioprio_set_call(regs);

	if (result || which != IOPRIO_WHO_USER || !who)
		return result;
	return user_in_view(make_kuid(current_user_ns(), who)) ? 0 : -ESRCH;
}

/* Whether the caller is in kill(-1). */
bool vserver_kills_all(void)
{
	struct pt_regs *regs = task_pt_regs(current);

	if (in_ia32_syscall())
		return regs->orig_ax == __NR_ia32_kill && (int)regs->bx == -1;
	return regs->orig_ax == __NR_kill && (int)regs->di == -1;
}

struct inode *vserver_dentry_inode(struct dentry *dentry)
{
	return d_inode_rcu(dentry);
}

/* The task behind an inode of /proc/PID, under rcu_read_lock(); NULL when it has gone. */
struct task_struct *vserver_proc_task(struct inode *inode)
{
	struct pid *pid = vserver_proc_inode(inode)->pid;

	return pid_task(pid, PIDTYPE_PID);
}

struct inode *vserver_path_inode(const struct path *path)
{
	return d_inode(path->dentry);
}

/* Whether what a pidfd names, a process or its process group, is there for the caller. */
bool vserver_pid_signalable(struct pid *pid)
{
	bool in_view;

	if (!vserver_process_in_view(pid))
		return false;
	rcu_read_lock();
	in_view = !pid_task(pid, PIDTYPE_PGID) || vserver_pid_in_view(pid);
	rcu_read_unlock();
	return in_view;
}

/* Takes over a dentry of pidfs, or none, or an error; gives it back when it may be seen. */
struct dentry *vserver_pidfs_dentry(struct dentry *dentry)
{
	if (IS_ERR_OR_NULL(dentry) || vserver_pid_may_have_fd(d_inode(dentry)->i_private))
		return dentry;
	dput(dentry);
	return NULL;
}

/* After __scm_send(), which leaves nothing in the cookie when it fails. */
int vserver_scm_check(struct scm_cookie *cookie)
{
	if (!cookie->pid || vserver_process_in_view(cookie->pid))
		return 0;
	scm_destroy(cookie);
	return -ESRCH;
}

#endif
