/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Process 1 of a context: which pid the number 1 means to the caller. Everybody else's number is the
 * machine's.
 */
#ifndef VSERVER_PID_NUMBERS_H
#define VSERVER_PID_NUMBERS_H

#include <linux/jump_label.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>

struct task_struct;

/* On from the first process 1 of a context until the module goes. */
DECLARE_STATIC_KEY_FALSE(vserver_has_inits);

struct pid *vserver_init_of_caller(struct pid_namespace *ns);

/* What has the number 1 for the caller in a pid namespace; NULL: what the kernel says. Under RCU. */
static inline struct pid *vserver_own_init(struct pid_namespace *ns)
{
	return static_branch_unlikely(&vserver_has_inits) ? vserver_init_of_caller(ns) : NULL;
}

/* The same in the caller's own. */
struct pid *vserver_init_in_own_ns(void);

/* The number of a pid in a namespace, as the kernel counts. */
static inline int vserver_raw_nr(const struct pid *pid, const struct pid_namespace *ns)
{
	return ns->level <= pid->level && pid->numbers[ns->level].ns == ns ?
		pid->numbers[ns->level].nr : 0;
}

void vserver_inits_begin(void);

/* The number of the owner of a lock, as the caller knows it; @owner: as the first pid namespace counts. */
pid_t vserver_seen_owner(pid_t owner);

/* task.rs: process 1 of a task's context, or else of the next one around it. Under RCU. */
struct pid *vserver_init_of(const struct task_struct *task);

/* pid_lookup.c */
struct pid *vserver_own_meaning(int nr, struct pid_namespace *ns, struct pid *pid);

/* proc_root.c */
void vserver_proc_roots_begin(void);
void vserver_proc_roots_unmark(void);
void vserver_proc_roots_end(void);

#endif
