// SPDX-License-Identifier: GPL-2.0
/*
 * Small C pieces for what the kernel offers only as macros or inline functions. No policy here.
 *
 * The Rust declarations are in ffi.rs.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/preempt.h>
#include <linux/ptrace.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/security.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>

#include "helpers.h"
#include "keys.h"
#include "pid_numbers.h"
#include "unexported.h"

/*
 * Guards the writers of the task map. Taken with interrupts off, because security_task_free()
 * comes from RCU callbacks too. A leaf lock: nothing is taken inside.
 */
static DEFINE_SPINLOCK(map_lock);

unsigned long vserver_map_lock(void)
{
	unsigned long flags;

	spin_lock_irqsave(&map_lock, flags);
	return flags;
}

void vserver_map_unlock(unsigned long flags)
{
	spin_unlock_irqrestore(&map_lock, flags);
}

/* Numbers of contexts. Callers hold the registry mutex, which is Rust's. */
static DEFINE_IDR(contexts);

int vserver_idr_take(void *context, int number)
{
	return idr_alloc(&contexts, context, number, number + 1, GFP_KERNEL);
}

int vserver_idr_next_free(void *context, int first, int last)
{
	return idr_alloc_cyclic(&contexts, context, first, last + 1, GFP_KERNEL);
}

void *vserver_idr_find(int number)
{
	return idr_find(&contexts, number);
}

void *vserver_idr_after(int *number)
{
	return idr_get_next(&contexts, number);
}

void vserver_idr_remove(int number)
{
	idr_remove(&contexts, number);
}

void vserver_idr_destroy(void)
{
	idr_destroy(&contexts);
}

/* Contexts end in atomic context (RCU callbacks); what must sleep for it runs here. */
static void reap(struct work_struct *work)
{
	vserver_reap();
}
static DECLARE_WORK(reap_work, reap);

void vserver_reap_later(void)
{
	schedule_work(&reap_work);
}

void vserver_reap_flush(void)
{
	flush_work(&reap_work);
}

bool vserver_single_threaded(void)
{
	return get_nr_threads(current) == 1 && thread_group_empty(current);
}

unsigned int vserver_threads(void)
{
	return get_nr_threads(current);
}

unsigned long vserver_rlimit_nproc(void)
{
	return rlimit(RLIMIT_NPROC);
}

/*
 * Whether a task is of the process 1 that everybody is shown, as tools expect one: that of the caller's context
 * or of one around it, or else the machine's.
 */
bool vserver_is_shown_init(struct task_struct *task)
{
	struct pid *init;
	bool is_shown;

	rcu_read_lock();
	init = vserver_init_in_own_ns();
	is_shown = init ? task_tgid_nr(task) == pid_nr(init) : is_global_init(task);
	rcu_read_unlock();
	return is_shown;
}

/* The task is the caller or does not run yet. */
void vserver_mark(struct task_struct *task)
{
	task->flags |= PF_IN_CONTEXT;
}

bool vserver_same_process(struct task_struct *a, struct task_struct *b)
{
	return same_thread_group(a, b);
}

u64 vserver_boottime_ns(void)
{
	return ktime_get_boottime_ns();
}

unsigned int vserver_cap_last(void)
{
	return CAP_LAST_CAP;
}

/*
 * Credentials without some capabilities, and for who goes elsewhere without keys. NULL: no memory. To
 * be passed to commit_creds() or abort_creds().
 */
struct cred *vserver_cred_without(u64 caps, bool leaves)
{
	struct cred *cred = prepare_creds();
	kernel_cap_t drop = { .val = caps };

	if (!cred)
		return NULL;
	cred->cap_effective = cap_drop(cred->cap_effective, drop);
	cred->cap_permitted = cap_drop(cred->cap_permitted, drop);
	cred->cap_inheritable = cap_drop(cred->cap_inheritable, drop);
	cred->cap_bset = cap_drop(cred->cap_bset, drop);
	cred->cap_ambient = cap_drop(cred->cap_ambient, drop);
	if (leaves)
		vserver_keys_leave(cred);
	return cred;
}

/* Whether init_user_ns capability CAP_SYS_ADMIN is held; no audit of a mere question. */
bool vserver_is_admin(void)
{
	return ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN);
}

static bool sees(struct task_struct *task)
{
	return vserver_outside(task) || vserver_task_in_view(task);
}

/* Asks for each process of a pid structure until one is in view. */
bool vserver_pid_in_view(struct pid *pid)
{
	struct task_struct *task;
	enum pid_type type;

	for (type = PIDTYPE_PID; type < PIDTYPE_MAX; type++) {
		/* The callers hold RCU or tasklist_lock; that one's symbol is not exported to check. */
		hlist_for_each_entry_rcu(task, &pid->tasks[type], pid_links[type], true) {
			if (sees(task))
				return true;
			/* A thread's context is its process's: one look is enough. */
			if (type <= PIDTYPE_TGID)
				break;
		}
	}
	return false;
}

/* Whether all tasks of a pid in one of its roles are in view. Under rcu_read_lock(). */
bool vserver_pid_all_in_view(struct pid *pid, enum pid_type type)
{
	struct task_struct *task;

	hlist_for_each_entry_rcu(task, &pid->tasks[type], pid_links[type]) {
		if (!sees(task))
			return false;
	}
	return true;
}

/* Whether the process that a pid names is in view. True when it names none (any more). */
bool vserver_process_in_view(struct pid *pid)
{
	struct task_struct *task;
	bool in_view;

	rcu_read_lock();
	task = pid_task(pid, PIDTYPE_PID);
	in_view = !task || sees(task);
	rcu_read_unlock();
	return in_view;
}

/* Whether a pid stands for a child of the caller: a parent waits for it wherever it went. */
bool vserver_pid_has_child(struct pid *pid)
{
	struct task_struct *task;
	enum pid_type type;
	bool found = false;

	rcu_read_lock();
	for (type = PIDTYPE_PID; type < PIDTYPE_MAX && !found; type++) {
		hlist_for_each_entry_rcu(task, &pid->tasks[type], pid_links[type]) {
			if (same_thread_group(rcu_dereference(task->real_parent), current)) {
				found = true;
				break;
			}
		}
	}
	rcu_read_unlock();
	return found;
}

/*
 * Whether a number is listed in /proc: for the process, or thread, that it names. That a group or
 * a session of the same number has members in view does not bring its dead or distant leader
 * back. A process 1 is shown to everyone.
 */
bool vserver_pid_listed(struct pid *pid)
{
	struct task_struct *task = pid_task(pid, PIDTYPE_PID);

	return task && (sees(task) || vserver_is_shown_init(task));
}

/* A process has descriptors of those in view, and of its children, wherever they went. */
bool vserver_pid_may_have_fd(struct pid *pid)
{
	return vserver_process_in_view(pid) || vserver_pid_has_child(pid);
}

/* Whether the caller is traced or traces. Stable as to the former under vserver_tracers_lock(). */
bool vserver_is_traced(void)
{
	return current->ptrace || !list_empty(&current->ptraced);
}

/* No tracer attaches to the caller until vserver_tracers_unlock(): PTRACE_ATTACH takes it too. */
int vserver_tracers_lock(void)
{
	return mutex_lock_interruptible(&current->signal->cred_guard_mutex) ? -ERESTARTNOINTR : 0;
}

void vserver_tracers_unlock(void)
{
	mutex_unlock(&current->signal->cred_guard_mutex);
}

/* Kernel threads serve everyone, in nobody's context; so do interrupts. */
bool vserver_for_the_kernel(void)
{
	return !in_task() || (current->flags & PF_KTHREAD);
}

/* The task that a number names for the caller, with a reference; NULL: there is none. */
struct task_struct *vserver_get_task(int nr)
{
	struct task_struct *task;

	/* Not find_get_pid(), which also finds children that are out of view. */
	rcu_read_lock();
	task = pid_task(find_vpid(nr), PIDTYPE_PID);
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	return task;
}

/* Frees what kmalloc() gave and what begins with a struct rcu_head, after a grace period. */
struct rcu_first {
	struct rcu_head rcu;
};

void vserver_free_rcu(void *memory)
{
	struct rcu_first *first = memory;

	kfree_rcu(first, rcu);
}

/* The caller is inside an ioctl, so the module cannot be on its way out. */
void vserver_module_get(void)
{
	__module_get(THIS_MODULE);
}

void vserver_module_put(void)
{
	module_put(THIS_MODULE);
}

u64 vserver_random(void)
{
	return get_random_u64();
}

struct file *vserver_anon_file(const struct file_operations *fops, void *private)
{
	return anon_inode_getfile("[vserver]", fops, private, O_RDONLY);
}

/* Where a preempted task cannot be inside a function of ours this is plain RCU. */
void vserver_rcu_tasks_grace_period(void)
{
	synchronize_rcu_tasks();
}
