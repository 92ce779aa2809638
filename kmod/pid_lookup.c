// SPDX-License-Identifier: GPL-2.0
/*
 * From numbers to pids and processes: only to those that are there for the caller, and the number 1 to process 1
 * of its context (see pid_numbers.c).
 *
 * Wrappers may run inside one another, as the compiler inlined or not: so they look at what was
 * found, and never look for another number than they were asked for.
 *
 * In the patched lane the kernel asks who is in view itself, and these are attached with the first
 * process 1 of a context. There find_vpid() is here, too; in the other it is in ftrace_fast.c.
 */
#include <linux/limits.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/task.h>

#include "helpers.h"
#include "net.h"
#include "pid_numbers.h"
#include "wrap.h"

static bool in_view(struct task_struct *task)
{
	return vserver_outside(task) || vserver_task_in_view(task);
}

/* For /proc, where a process 1 is shown to everyone. */
static bool is_listed(struct task_struct *task)
{
	return in_view(task) || vserver_is_shown_init(task);
}

/* What a number means to the caller, when it means @pid to the kernel. Under RCU. */
struct pid *vserver_own_meaning(int nr, struct pid_namespace *ns, struct pid *pid)
{
	struct pid *init = vserver_own_init(ns);

	if (!init)
		return pid;
	if (nr == 1)
		return init;
	return pid == init ? NULL : pid;
}

static struct task_struct *own_meaning_task(int nr, struct pid_namespace *ns,
					    struct task_struct *task)
{
	struct pid *init = vserver_own_init(ns);

	if (!init)
		return task;
	if (nr == 1)
		return pid_task(init, PIDTYPE_PID);
	return task && task_pid(task) == init ? NULL : task;
}

#ifdef CONFIG_SECURITY_VSERVER
VSERVER_WRAP(struct pid *, find_vpid, int nr)
{
	struct pid *pid;

	rcu_read_lock();
	pid = vserver_own_meaning(nr, task_active_pid_ns(current), vserver_orig_find_vpid(nr));
	if (pid && !vserver_pid_in_view(pid))
		pid = NULL;
	rcu_read_unlock();
	return pid;
}
#endif

/* With a reference. Who waits, waits for a child wherever it went. */
VSERVER_WRAP(struct pid *, find_get_pid, pid_t nr)
{
	struct pid *found = vserver_orig_find_get_pid(nr);
	struct pid *pid;

	rcu_read_lock();
	pid = vserver_own_meaning(nr, task_active_pid_ns(current), found);
	if (pid && !vserver_pid_in_view(pid) && !vserver_pid_has_child(pid))
		pid = NULL;
	if (pid != found) {
		put_pid(found);
		get_pid(pid);
	}
	rcu_read_unlock();
	return pid;
}

VSERVER_WRAP(struct task_struct *, find_task_by_pid_ns, pid_t nr, struct pid_namespace *ns)
{
	struct task_struct *task;

	/* The callers hold RCU. /proc looks processes up here. */
	task = own_meaning_task(nr, ns, vserver_orig_find_task_by_pid_ns(nr, ns));
	return task && is_listed(task) ? task : NULL;
}

VSERVER_WRAP(struct task_struct *, find_task_by_vpid, pid_t nr)
{
	struct task_struct *task;

	/* The callers hold RCU. */
	task = own_meaning_task(nr, task_active_pid_ns(current),
				vserver_orig_find_task_by_vpid(nr));
	return task && in_view(task) ? task : NULL;
}

VSERVER_WRAP(struct task_struct *, find_get_task_by_vpid, pid_t nr)
{
	struct task_struct *found = vserver_orig_find_get_task_by_vpid(nr);
	struct task_struct *task;

	rcu_read_lock();
	task = own_meaning_task(nr, task_active_pid_ns(current), found);
	if (task && !in_view(task))
		task = NULL;
	if (task && task != found)
		get_task_struct(task);
	rcu_read_unlock();
	if (found && found != task)
		put_task_struct(found);
	return task;
}

/* For listings, the callers hold RCU: the next one that is listed. */
VSERVER_WRAP(struct pid *, find_ge_pid, int nr, struct pid_namespace *ns)
{
	struct pid *init = vserver_own_init(ns);
	struct pid *pid;

	if (init && nr <= 1)
		return init;
	while ((pid = vserver_orig_find_ge_pid(nr, ns))) {
		if (pid != init && vserver_pid_listed(pid))
			break;
		nr = vserver_raw_nr(pid, ns) + 1;
	}
	return pid;
}

/*
 * pidfd_open(2) has the look-up inlined, or not. So the number that is process 1's outside is made one that nobody
 * has, and where nobody was found for 1 it is tried by the kernel's number.
 */
static struct pid *own_init(int *nr)
{
	struct pid *init;

	rcu_read_lock();
	init = vserver_init_in_own_ns();
	*nr = init ? vserver_raw_nr(init, task_active_pid_ns(current)) : 0;
	rcu_read_unlock();
	return init;
}

static bool names_own_init(int nr)
{
	int raw;

	return own_init(&raw) && (nr == 1 || nr == raw);
}

#define NOBODY	INT_MAX

/* @nr: where the number is in @regs. */
static long open_own_init(long (*call)(const struct pt_regs *regs), struct pt_regs *regs,
			  unsigned long *nr)
{
	bool by_own_number = (int)*nr == 1;
	long result;
	int raw;

	own_init(&raw);
	if (!by_own_number)
		*nr = NOBODY;
	result = call(regs);
	if (result == -ESRCH && by_own_number && raw > 1) {
		*nr = raw;
		result = call(regs);
	}
	return result;
}

#define WRAP_PIDFD_OPEN(name, register)						\
	VSERVER_DIVERT(long, name, const struct pt_regs *regs);			\
	notrace bool vserver_diverts_##name(const struct pt_regs *regs)		\
	{									\
		return names_own_init(regs->register);				\
	}									\
	static long call_##name(const struct pt_regs *regs)			\
	{									\
		return vserver_orig_##name(regs);				\
	}									\
	notrace long vserver_instead_##name(const struct pt_regs *regs)		\
	{									\
		struct pt_regs changed = *regs;					\
		long result;							\
										\
		vserver_inside(1);						\
		result = open_own_init(call_##name, &changed, &changed.register); \
		vserver_inside(-1);						\
		return result;							\
	}

WRAP_PIDFD_OPEN(__x64_sys_pidfd_open, di)
#ifdef CONFIG_IA32_EMULATION
WRAP_PIDFD_OPEN(__ia32_sys_pidfd_open, bx)
#endif
