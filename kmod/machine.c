// SPDX-License-Identifier: GPL-2.0
/*
 * Files that are the machine's: /proc/sys and the other files of /proc that are not a process's,
 * sysfs, control groups. They belong to root, and the kernel asks for no capability beyond that;
 * so root inside would write to them as the host's does, whatever he has given up.
 *
 * Who is in a context writes to none of them, with any capability, but to what is of namespaces of
 * his own. Reading is as ever. This is asked when a file is opened: a descriptor that the host
 * hands in is the host's business.
 */
#include <linux/cred.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/ipc_namespace.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/sysctl.h>
#include <linux/user_namespace.h>
#include <net/net_namespace.h>

#include "inside.h"
#include "machine.h"
#include "pid_numbers.h"
#include "proc_inode.h"
#include "wrap.h"

/* The names of all UTS namespaces have one table (kernel/utsname_sysctl.c). */
static bool is_uts_name(struct inode *inode)
{
	const struct dentry *dentry, *folder;
	bool found = false;

	rcu_read_lock();
	spin_lock(&inode->i_lock);
	hlist_for_each_entry(dentry, &inode->i_dentry, d_alias) {
		folder = READ_ONCE(dentry->d_parent);
		found = !strcmp(folder->d_name.name, "kernel") &&
			(!strcmp(dentry->d_name.name, "hostname") ||
			 !strcmp(dentry->d_name.name, "domainname"));
	}
	spin_unlock(&inode->i_lock);
	rcu_read_unlock();
	return found;
}

/* Whether a setting is of a namespace that is the caller's, and not the machine's. */
static bool is_own_setting(struct inode *inode, const struct vserver_network *network)
{
	const struct ctl_table_header *head = READ_ONCE(vserver_proc_inode(inode)->sysctl);
	const struct nsproxy *own = current->nsproxy;
	struct user_namespace *user_ns = current_user_ns();
	struct pid_namespace *pid_ns = task_active_pid_ns(current);

	if (!own || !head)
		return false;
	/* The spectator has the host's namespaces. */
	if (vserver_network_context(network) != VSERVER_SPECTATOR &&
	    (head->set == &own->ipc_ns->ipc_set || head->set == &own->ipc_ns->mq_set ||
	     is_uts_name(inode)))
		return true;
	if (head->set == &own->net_ns->sysctls)
		return own->net_ns != &init_net &&
		       !vserver_network_confines(network, own->net_ns);
	if (head->set == &user_ns->set)
		return user_ns != &init_user_ns;
	return head->set == &pid_ns->set && pid_ns != &init_pid_ns;
}

VSERVER_WRAP(int, proc_sys_permission, struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	int error = vserver_orig_proc_sys_permission(idmap, inode, mask);
	const struct vserver_network *network;

	if (error || !(mask & MAY_WRITE))
		return error;
	network = vserver_network_inside();
	return network && !is_own_setting(inode, network) ? -EACCES : 0;
}

/* What anybody may write is no privilege: pressure stall triggers. */
VSERVER_WRAP(int, proc_reg_open, struct inode *inode, struct file *file)
{
	int error = -EACCES;

	vserver_inside(1);
	if (!(file->f_mode & FMODE_WRITE) || inode->i_mode & 0002 || !vserver_is_inside())
		error = vserver_orig_proc_reg_open(inode, file);
	vserver_inside(-1);
	return error;
}

/* Whose a file of these is, and who may do what with it, is the same in every mount of it. */
static bool changes_access(const struct iattr *attributes)
{
	return attributes->ia_valid & (ATTR_MODE | ATTR_UID | ATTR_GID) && vserver_is_inside();
}

VSERVER_WRAP(int, proc_setattr, struct mnt_idmap *idmap, struct dentry *dentry,
	     struct iattr *attributes)
{
	int error = -EPERM;

	vserver_inside(1);
	if (!changes_access(attributes))
		error = vserver_orig_proc_setattr(idmap, dentry, attributes);
	vserver_inside(-1);
	return error;
}

VSERVER_WRAP(int, kernfs_iop_setattr, struct mnt_idmap *idmap, struct dentry *dentry,
	     struct iattr *attributes)
{
	int error = -EPERM;

	vserver_inside(1);
	if (!changes_access(attributes))
		error = vserver_orig_kernfs_iop_setattr(idmap, dentry, attributes);
	vserver_inside(-1);
	return error;
}

/*
 * The machine's init is shown in every context, and its files are root's. Nobody inside changes
 * anything of it, nor of a process whose files he has opened before one of them entered.
 */
#define OF_A_PROCESS(name)						\
	VSERVER_WRAP(ssize_t, name, struct file *file, const char __user *text, size_t length, \
		     loff_t *position)					\
	{								\
		ssize_t result = -ESRCH;				\
									\
		vserver_inside(1);					\
		if (vserver_process_in_view(vserver_proc_inode(file_inode(file))->pid)) \
			result = vserver_orig_##name(file, text, length, position); \
		vserver_inside(-1);					\
		return result;						\
	}

OF_A_PROCESS(oom_adj_write)
OF_A_PROCESS(oom_score_adj_write)
OF_A_PROCESS(timerslack_ns_write)
OF_A_PROCESS(sched_write)
#ifdef CONFIG_SCHED_AUTOGROUP
OF_A_PROCESS(sched_autogroup_write)
#endif
#ifdef CONFIG_ELF_CORE
OF_A_PROCESS(proc_coredump_filter_write)
#endif
#ifdef CONFIG_PROC_PAGE_MONITOR
OF_A_PROCESS(clear_refs_write)
#endif

/* Nor does he see which descriptors it has. */
VSERVER_WRAP(int, proc_fd_permission, struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	struct pid *pid = vserver_proc_inode(inode)->pid;
	bool listed;

	if (vserver_process_in_view(pid))
		return vserver_orig_proc_fd_permission(idmap, inode, mask);
	rcu_read_lock();
	listed = vserver_pid_listed(pid);
	rcu_read_unlock();
	return listed ? -EACCES : -ENOENT;
}

/* Locks on files are listed with the numbers of the processes that have them. */
/*
 * In the lines from an offset on, the owners as the caller knows them: their number stands behind
 * the kind of the lock. It never gets longer.
 */
static void renumber_owners(struct seq_file *file, size_t from)
{
	static const char * const kinds[] = { " READ ", " WRITE ", " UNLCK " };
	char *line = file->buf + from, *end = file->buf + file->count;

	while (line < end) {
		char *line_end = memchr(line, '\n', end - line) ?: end, *at = NULL;
		char text[12];
		int owner, length, i;

		for (i = 0; i < ARRAY_SIZE(kinds) && !at; i++) {
			at = strnstr(line, kinds[i], line_end - line);
			if (at)
				at += strlen(kinds[i]);
		}
		if (at && sscanf(at, "%d%n", &owner, &length) == 1) {
			int shown = scnprintf(text, sizeof(text), "%d", vserver_seen_owner(owner));

			if (shown <= length) {
				memcpy(at, text, shown);
				memmove(at + shown, at + length, end - (at + length));
				line_end -= length - shown;
				end -= length - shown;
			}
		}
		line = line_end + 1;
	}
	file->count = end - file->buf;
}

VSERVER_WRAP(int, locks_show, struct seq_file *file, void *value)
{
	const struct file_lock_core *lock = hlist_entry(value, struct file_lock_core, flc_link);
	size_t before = file->count;
	struct pid *pid;
	bool seen;
	int error;

	rcu_read_lock();
	pid = find_pid_ns(lock->flc_pid, &init_pid_ns);
	seen = !pid || vserver_process_in_view(pid);
	rcu_read_unlock();
	if (!seen)
		return 0;
	error = vserver_orig_locks_show(file, value);
	if (static_branch_unlikely(&vserver_has_inits) && !error && !seq_has_overflowed(file))
		renumber_owners(file, before);
	return error;
}

/*
 * Sysfs and control groups are kernfs. The groups that a context is in may be the host's, too, and
 * those of others are beside them: a name is all that keeps a writer to his own.
 *
 * A write to cgroup.procs asks this once more, with the credentials of who has opened it.
 */
bool vserver_kernfs_refuses(const struct inode *inode, int mask)
{
	if (!(mask & MAY_WRITE) || !vserver_is_inside())
		return false;
	return !S_ISREG(inode->i_mode) || mask & (MAY_OPEN | MAY_ACCESS) ||
	       current_cred() == current_real_cred();
}
