// SPDX-License-Identifier: GPL-2.0
/*
 * The stock lane's wrappers on the way of kill(2), which is short: they decide the case that
 * nobody concerned is in a context, in a few instructions, and leave every other case to
 * attach/ftrace/. No policy here.
 *
 * They are reached by direct jumps only, so they need no ENDBR, and are not traced themselves.
 * `make bench` shows what each instruction here adds to a kill(2).
 */
#include <linux/ftrace.h>
#include <linux/pid.h>
#include <linux/rculist.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <asm/syscall.h>
#include <asm/unistd.h>
#include <asm/unistd_32_ia32.h>

#include "helpers.h"
#include "pid_numbers.h"
#include "wrap.h"

#ifndef CONFIG_SECURITY_VSERVER

/* Whether nothing stands between the caller and a task, for reasons that are plain to see. */
static __always_inline bool plainly_near(const struct task_struct *task)
{
	return vserver_shares_nsproxy(task) || vserver_outside(task);
}

extern int vserver_orig_security_task_kill(struct task_struct *task, struct kernel_siginfo *info,
					   int sig, const struct cred *cred);
extern int vserver_slow_security_task_kill(struct task_struct *task, struct kernel_siginfo *info,
					   int sig, const struct cred *cred);

static noinline notrace int kill_in_context(struct task_struct *task, struct kernel_siginfo *info,
					    int sig, const struct cred *cred)
{
	if (vserver_same_context(current, task))
		return vserver_orig_security_task_kill(task, info, sig, cred);
	return vserver_slow_security_task_kill(task, info, sig, cred);
}

VSERVER_WRAP(int, security_task_kill, struct task_struct *task, struct kernel_siginfo *info, int sig,
     const struct cred *cred)
{
	if (likely(plainly_near(task)))
		return vserver_orig_security_task_kill(task, info, sig, cred);
	return kill_in_context(task, info, sig, cred);
}

/*
 * Whether the system call that looks up a number means the process of that number and nothing
 * else. A number also stands for the group and the session that its process leads or has led; these
 * may have members in view when the process is not.
 */
static bool means_process(void)
{
	struct pt_regs *regs = task_pt_regs(current);

	if (in_ia32_syscall())
		return (regs->orig_ax == __NR_ia32_kill ||
			regs->orig_ax == __NR_ia32_rt_sigqueueinfo) && (int)regs->bx > 0;
	return (regs->orig_ax == __NR_kill || regs->orig_ax == __NR_rt_sigqueueinfo) &&
	       (int)regs->di > 0;
}

/* A pid that was found for the caller, when somebody concerned is in a context. */
static noinline notrace struct pid *checked_pid(struct pid *pid)
{
	struct task_struct *task = pid_task(pid, PIDTYPE_PID);

	if (task && vserver_same_context(current, task))
		return pid;
	if (!vserver_pid_in_view(pid))
		return NULL;
	return means_process() && !vserver_process_in_view(pid) ? NULL : pid;
}

static noinline notrace struct pid *own_meaning(int nr, struct pid *pid)
{
	rcu_read_lock();
	pid = vserver_own_meaning(nr, task_active_pid_ns(current), pid);
	rcu_read_unlock();
	return pid;
}

VSERVER_WRAP(struct pid *, find_vpid, int nr)
{
	struct pid *pid = vserver_orig_find_vpid(nr);
	struct hlist_node *first;

	if (static_branch_unlikely(&vserver_has_inits))
		pid = own_meaning(nr, pid);
	if (!pid)
		return pid;
	/* The callers hold RCU or tasklist_lock; that one's symbol is not exported to check. */
	first = rcu_dereference_raw(hlist_first_rcu(&pid->tasks[PIDTYPE_PID]));
	if (likely(first && plainly_near(hlist_entry(first, struct task_struct,
						     pid_links[PIDTYPE_PID]))))
		return pid;
	return checked_pid(pid);
}

#endif
