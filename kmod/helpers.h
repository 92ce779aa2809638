/* SPDX-License-Identifier: GPL-2.0 */
/* What helpers.c and ftrace_glue.c offer to Rust, and what they call there. */
#ifndef VSERVER_HELPERS_H
#define VSERVER_HELPERS_H

#include <linux/pid_types.h>
#include <linux/sched.h>
#include <linux/types.h>

/*
 * In the stock lane a task in a context has this bit of its flags. The kernel does not use it: the
 * name goes when it does, and then this does not compile. A task sets it in ENTER, its children
 * inherit it, nobody takes it away. So the question whether anybody is in a context at all, which
 * is asked far more often than any other, needs no look-up.
 */
#ifndef CONFIG_SECURITY_VSERVER
#define PF_IN_CONTEXT PF__HOLE__40000000
#else
#define PF_IN_CONTEXT 0
#endif

/*
 * Whether the task shares the caller's set of namespaces, and so its context: ENTER gives each task
 * a set of its own (vserver_own_nsproxy()), and its children share it. The other way round nothing
 * follows. Only compared, so that it does not matter when it is changing.
 */
static __always_inline bool vserver_shares_nsproxy(const struct task_struct *task)
{
	return READ_ONCE(task->nsproxy) == current->nsproxy;
}

/* Whether neither the caller nor the task is in a context: then nothing stands between them. */
static __always_inline bool vserver_outside(const struct task_struct *task)
{
	return PF_IN_CONTEXT &&
	       !((READ_ONCE(current->flags) | READ_ONCE(task->flags)) & PF_IN_CONTEXT);
}

struct cred;
struct pid;
struct task_struct;

unsigned long vserver_map_lock(void);
void vserver_map_unlock(unsigned long flags);
int vserver_idr_take(void *context, int number);
int vserver_idr_next_free(void *context, int first, int last);
void *vserver_idr_find(int number);
void *vserver_idr_after(int *number);
void vserver_idr_remove(int number);
void vserver_idr_destroy(void);
void vserver_reap_later(void);
void vserver_reap_flush(void);
bool vserver_single_threaded(void);
unsigned int vserver_threads(void);
unsigned long vserver_rlimit_nproc(void);
bool vserver_is_shown_init(struct task_struct *task);
void vserver_mark(struct task_struct *task);
bool vserver_same_process(struct task_struct *a, struct task_struct *b);
u64 vserver_boottime_ns(void);
unsigned int vserver_cap_last(void);
struct cred *vserver_cred_without(u64 caps, bool leaves);

/* spaces.c */
struct vserver_spaces;
struct vserver_spaces *vserver_spaces_new(void);
void vserver_spaces_free(struct vserver_spaces *spaces);
/* NULL: all namespaces stay the same. */
int vserver_own_nsproxy(struct vserver_spaces *spaces);

/* pty.c */
struct file;
void vserver_pty_borrow(const struct file *file);
void vserver_ptys_end_loans_to(u64 borrower);

/* devpts.c */
void vserver_ptys_begin(void);
void vserver_ptys_unmark(void);
void vserver_ptys_end(void);

bool vserver_is_entangled(void);		/* shared.c */
bool vserver_reaches_out(struct task_struct *task); /* roots.c */

bool vserver_is_admin(void);
bool vserver_pid_in_view(struct pid *pid);
bool vserver_pid_all_in_view(struct pid *pid, enum pid_type type);
bool vserver_process_in_view(struct pid *pid);
bool vserver_pid_has_child(struct pid *pid);
bool vserver_pid_listed(struct pid *pid);
bool vserver_pid_may_have_fd(struct pid *pid);
bool vserver_is_traced(void);
bool vserver_for_the_kernel(void);
int vserver_tracers_lock(void);
void vserver_tracers_unlock(void);
struct task_struct *vserver_get_task(int nr);
void vserver_rcu_tasks_grace_period(void);

void vserver_free_rcu(void *memory);
void vserver_module_get(void);
void vserver_module_put(void);
u64 vserver_random(void);
struct file_operations;
struct file *vserver_anon_file(const struct file_operations *fops, void *private);

/* ftrace_helpers.c, stock lane only. */
struct inode;
struct pt_regs;
struct dentry;
struct path;
struct scm_cookie;
struct inode *vserver_dentry_inode(struct dentry *dentry);
struct inode *vserver_path_inode(const struct path *path);
struct dentry *vserver_pidfs_dentry(struct dentry *dentry);
int vserver_scm_check(struct scm_cookie *cookie);
struct task_struct *vserver_proc_task(struct inode *inode);
long vserver_getpriority(const struct pt_regs *regs, bool ia32);
long vserver_ioprio_set(const struct pt_regs *regs, bool ia32);
bool vserver_pid_signalable(struct pid *pid);
bool vserver_kills_all(void);

int vserver_attach(void);
int vserver_attach_inits(void);
void vserver_detach(void);
unsigned int vserver_hooks_attached(void);
unsigned int vserver_hooks_total(void);

/* Rust, called from C. */
void vserver_reap(void);
bool vserver_task_in_view(struct task_struct *task);
bool vserver_same_context(struct task_struct *a, struct task_struct *b);

#endif
