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
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/task.h>

#include "helpers.h"
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
