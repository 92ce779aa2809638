// SPDX-License-Identifier: GPL-2.0
/*
 * Process 1 of a context ("fakeinit"), from pids to numbers. To who is in such a context its process 1
 * has the number 1, and no other; a process that is not there has none, as with pid namespaces. All
 * other numbers are the machine's. The way back is in pid_lookup.c.
 *
 * A pid becomes a number in three functions of kernel/pid.c alone. Wrappers may run inside one
 * another, as the compiler inlined or not: so what they do to a result does nothing to it a
 * second time.
 *
 * Attached with the first process 1 of a context (VSERVER_INIT_WRAPS).
 */
#include <linux/fcntl.h>
#include <linux/filelock.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "helpers.h"
#include "net.h"
#include "pid_numbers.h"
#include "wrap.h"

DEFINE_STATIC_KEY_FALSE(vserver_has_inits);

/* The wrappers are attached. */
void vserver_inits_begin(void)
{
	static_branch_enable(&vserver_has_inits);
}

static struct pid *init_of(const struct task_struct *task)
{
	if (PF_IN_CONTEXT && likely(!(READ_ONCE(task->flags) & PF_IN_CONTEXT)))
		return NULL;
	return vserver_init_of(task);
}

struct pid *vserver_init_of_caller(struct pid_namespace *ns)
{
	struct pid *init;

	/* An interrupt is nobody's doing. */
	if (!in_task())
		return NULL;
	init = init_of(current);
	return init && ns_of_pid(init) == ns ? init : NULL;
}

struct pid *vserver_init_in_own_ns(void)
{
	return vserver_own_init(task_active_pid_ns(current));
}

/*
 * Who is telling a parent of the end of a child, and which parent. The kernel asks for the number then
 * as the parent sees it. It holds tasklist_lock for writing, so there is never more than one.
 */
static const struct task_struct *teller, *told;

/* Whether the process that a pid names is neither in view of the caller nor a child of its own. */
static bool is_elsewhere(struct pid *pid)
{
	struct task_struct *task = pid_task(pid, PIDTYPE_PID);

	return task && !vserver_shares_nsproxy(task) && !vserver_task_in_view(task) &&
	       !same_thread_group(rcu_dereference(task->real_parent), current);
}

/* The number of a pid as its reader knows it; @nr: as the kernel does. Under RCU. */
static pid_t seen_nr(struct pid *pid, struct pid_namespace *ns, pid_t nr)
{
	const struct task_struct *reader = current;
	struct pid *init;

	if (!nr || !pid || !in_task())
		return nr;
	if (unlikely(READ_ONCE(teller) == current))
		reader = READ_ONCE(told);
	init = init_of(reader);
	if (!init || ns_of_pid(init) != ns)
		return nr;
	if (pid == init)
		return 1;
	return reader == current && is_elsewhere(pid) ? 0 : nr;
}

static __always_inline bool is_outside(void)
{
	return PF_IN_CONTEXT && likely(!(current->flags & PF_IN_CONTEXT));
}

VSERVER_WRAP(pid_t, __task_pid_nr_ns, struct task_struct *task, enum pid_type type,
	     struct pid_namespace *ns)
{
	pid_t nr = vserver_orig___task_pid_nr_ns(task, type, ns);

	if (is_outside())
		return nr;
	rcu_read_lock();
	nr = seen_nr(task_pid_type(task, type), ns ?: task_active_pid_ns(current), nr);
	rcu_read_unlock();
	return nr;
}

VSERVER_WRAP(pid_t, pid_nr_ns, struct pid *pid, struct pid_namespace *ns)
{
	pid_t nr = vserver_orig_pid_nr_ns(pid, ns);

	if (is_outside())
		return nr;
	rcu_read_lock();
	nr = seen_nr(pid, ns, nr);
	rcu_read_unlock();
	return nr;
}

VSERVER_WRAP(pid_t, pid_vnr, struct pid *pid)
{
	pid_t nr = vserver_orig_pid_vnr(pid);

	if (is_outside())
		return nr;
	rcu_read_lock();
	nr = seen_nr(pid, task_active_pid_ns(current), nr);
	rcu_read_unlock();
	return nr;
}

/* With tasklist_lock held for writing. */
VSERVER_WRAP(bool, do_notify_parent, struct task_struct *task, int signal)
{
	bool reaps_itself;

	WRITE_ONCE(told, task->parent);
	WRITE_ONCE(teller, current);
	reaps_itself = vserver_orig_do_notify_parent(task, signal);
	WRITE_ONCE(teller, NULL);
	return reaps_itself;
}

/* For the first pid namespace the kernel takes the number of a lock's owner as it is. */
pid_t vserver_seen_owner(pid_t owner)
{
	struct pid *pid;

	if (owner <= 0)
		return owner;
	rcu_read_lock();
	pid = find_pid_ns(owner, &init_pid_ns);
	if (pid && task_active_pid_ns(current) == &init_pid_ns)
		owner = seen_nr(pid, &init_pid_ns, owner);
	rcu_read_unlock();
	return owner;
}

VSERVER_WRAP(int, fcntl_getlk, struct file *file, unsigned int command, struct flock *lock)
{
	int error;

	vserver_inside(1);
	error = vserver_orig_fcntl_getlk(file, command, lock);
	if (!error && lock->l_type != F_UNLCK)
		lock->l_pid = vserver_seen_owner(lock->l_pid);
	vserver_inside(-1);
	return error;
}
