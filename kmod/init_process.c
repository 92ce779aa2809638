// SPDX-License-Identifier: GPL-2.0
/*
 * Process 1 of a context: how a process becomes it, its end and reboot(2), and signals to all
 * processes of a context. What follows from that is decided in fakeinit.rs.
 *
 * The kernel has the parts: signals with default action do not reach a process that is "unkillable",
 * orphans go to the next "child subreaper" above them.
 */
#include <linux/cred.h>
#include <linux/pid.h>
#include <linux/prctl.h>
#include <linux/ptrace.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/signal.h>
#include <linux/uidgid.h>

#include "helpers.h"
#include "init_process.h"
#include "inside.h"
#include "pid_numbers.h"
#include "unexported.h"
#include "wrap.h"

/* With a reference. */
struct pid *vserver_get_own_pid(void)
{
	return get_pid(task_tgid(current));
}

void vserver_put_pid(struct pid *pid)
{
	put_pid(pid);
}

/* As its reader knows it. */
int vserver_pid_number(struct pid *pid)
{
	return pid_vnr(pid);
}

bool vserver_is_own_pid(const struct pid *pid)
{
	return task_tgid(current) == pid;
}

/* A descendant that is in the context, too, leaves its orphans to the caller. With tasklist_lock held. */
static int expect_orphans(struct task_struct *task, void *context)
{
	if (!vserver_task_is_within(task, context))
		return 0;
	task->signal->has_child_subreaper = true;
	return 1;
}

/* The caller becomes process 1 of the context that it is in. Cannot fail. */
void vserver_become_init(const void *context)
{
	spin_lock_irq(&current->sighand->siglock);
	current->signal->flags |= SIGNAL_UNKILLABLE;
	spin_unlock_irq(&current->sighand->siglock);
	current->signal->is_child_subreaper = true;
	vserver_call_walk_process_tree(current, expect_orphans, (void *)context);
}

/*
 * Sends a signal of the kernel's own to the processes of a context and of those inside of it; to one of them
 * when @nr is not 0, that is its number for the caller. Not to the caller's own when @but_own. Returns
 * how many got it.
 *
 * Whoever is being made meanwhile gets SIGKILL, too: a fork becomes visible at the end of the list with its
 * parent's signal lock held, and only if the parent has no SIGKILL yet.
 */
unsigned int vserver_signal_processes(const void *context, int signal, int nr, bool but_own)
{
	const struct pid_namespace *ns = task_active_pid_ns(current);
	struct task_struct *process;
	unsigned int count = 0;

	rcu_read_lock();
	for_each_process(process) {
		struct pid *pid = rcu_dereference(process->thread_pid);

		if (!pid || (nr && vserver_raw_nr(pid, ns) != nr) ||
		    (but_own && same_thread_group(process, current)) ||
		    !vserver_task_is_within(process, context))
			continue;
		if (!kill_pid(pid, signal, 1))
			count++;
	}
	rcu_read_unlock();
	return count;
}

/*
 * To process 1 of a context. From outside what has no handler there kills it as anybody, when it
 * is not blocked; so it is unkillable no more. 0: it got the signal.
 */
int vserver_signal_init(struct pid *pid, int signal)
{
	struct task_struct *task;
	unsigned long flags;

	if (signal) {
		rcu_read_lock();
		task = pid_task(pid, PIDTYPE_PID);
		if (task && vserver_call_lock_task_sighand(task, &flags)) {
			if (sig_fatal(task, signal) && !sigismember(&task->blocked, signal))
				task->signal->flags &= ~SIGNAL_UNKILLABLE;
			unlock_task_sighand(task, &flags);
		}
		rcu_read_unlock();
	}
	return kill_pid(pid, signal, 1);
}

/* For who enters a context that is ending: he was not among its processes yet. */
void vserver_kill_own(void)
{
	send_sig(SIGKILL, current, 1);
}

/* As wait(2) reports it. The caller is the last thread of its process. */
static int exit_status(void)
{
	const struct signal_struct *signal = current->signal;

	return signal->flags & SIGNAL_GROUP_EXIT ? signal->group_exit_code :
						   current->group_leader->exit_code;
}

VSERVER_DIVERT(void, disassociate_ctty, int on_exit);

/* The last thread of each process comes by here, before anybody is told of the process's end. */
notrace bool vserver_diverts_disassociate_ctty(int on_exit)
{
	if (on_exit && vserver_is_inside()) {
		vserver_inside(1);
		vserver_process_exits(exit_status());
		vserver_inside(-1);
	}
	return false;
}

notrace void vserver_instead_disassociate_ctty(int on_exit)
{
	vserver_orig_disassociate_ctty(on_exit);
}

/* Process 1 gets all orphans, and does not get rid of that. */
VSERVER_WRAP(int, security_task_prctl, int option, unsigned long arg2, unsigned long arg3,
	     unsigned long arg4, unsigned long arg5)
{
	bool is_init;

	if (unlikely(option == PR_SET_CHILD_SUBREAPER)) {
		rcu_read_lock();
		is_init = vserver_is_own_pid(vserver_init_in_own_ns());
		rcu_read_unlock();
		if (is_init)
			return 0;
	}
	return vserver_orig_security_task_prctl(option, arg2, arg3, arg4, arg5);
}

#ifdef CONFIG_SECURITY_VSERVER
/*
 * Who adopts the orphans of the caller, who exits: process 1 of the context, or else who would do so outside.
 * With tasklist_lock held.
 */
struct task_struct *vserver_reaper_or(struct task_struct *reaper)
{
	struct task_struct *process, *thread;
	struct pid *init;

	rcu_read_lock();
	init = vserver_init_in_own_ns();
	process = init ? pid_task(init, PIDTYPE_PID) : NULL;
	if (process) {
		for_each_thread(process, thread) {
			if (!(thread->flags & PF_EXITING)) {
				reaper = thread;
				break;
			}
		}
	}
	rcu_read_unlock();
	return reaper;
}
#endif

static bool is_magic(int first, int second)
{
	return first == LINUX_REBOOT_MAGIC1 &&
	       (second == LINUX_REBOOT_MAGIC2 || second == LINUX_REBOOT_MAGIC2A ||
		second == LINUX_REBOOT_MAGIC2B || second == LINUX_REBOOT_MAGIC2C);
}

/*
 * reboot(2) inside. CAP_SYS_BOOT is for the machine, so it is not asked for: to end one's own context it takes
 * to be root in it.
 */
static long reboot_inside(int first, int second, unsigned int command)
{
	if (!vserver_context_has_init() || !uid_eq(current_euid(), GLOBAL_ROOT_UID))
		return -EPERM;
	if (!is_magic(first, second))
		return -EINVAL;
	switch (command) {
	case LINUX_REBOOT_CMD_RESTART:
	case LINUX_REBOOT_CMD_RESTART2:
		return vserver_reboot_context(VSERVER_REBOOT_RESTART);
	case LINUX_REBOOT_CMD_HALT:
		return vserver_reboot_context(VSERVER_REBOOT_HALT);
	case LINUX_REBOOT_CMD_POWER_OFF:
		return vserver_reboot_context(VSERVER_REBOOT_POWER_OFF);
	case LINUX_REBOOT_CMD_CAD_ON:
	case LINUX_REBOOT_CMD_CAD_OFF:
		/* The keyboard is the machine's. */
		return -EPERM;
	default:
		/* Suspending, and kernels to be started: there are none here. */
		return -EINVAL;
	}
}

VSERVER_DIVERT(long, __x64_sys_reboot, const struct pt_regs *regs);

notrace bool vserver_diverts___x64_sys_reboot(const struct pt_regs *regs)
{
	return vserver_is_inside();
}

notrace long vserver_instead___x64_sys_reboot(const struct pt_regs *regs)
{
	long result;

	vserver_inside(1);
	result = reboot_inside(regs->di, regs->si, regs->dx);
	vserver_inside(-1);
	return result;
}

#ifdef CONFIG_IA32_EMULATION
VSERVER_DIVERT(long, __ia32_sys_reboot, const struct pt_regs *regs);

notrace bool vserver_diverts___ia32_sys_reboot(const struct pt_regs *regs)
{
	return vserver_is_inside();
}

notrace long vserver_instead___ia32_sys_reboot(const struct pt_regs *regs)
{
	long result;

	vserver_inside(1);
	result = reboot_inside(regs->bx, regs->cx, regs->dx);
	vserver_inside(-1);
	return result;
}
#endif
