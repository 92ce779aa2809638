// SPDX-License-Identifier: GPL-2.0
/*
 * Root directories. In a context nobody leaves his by way of a process that has more than he has, as one
 * that has just entered has, nor by a link of /proc to what is not below it, nor by way of a mount
 * namespace, of which the root is the host's.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/mount.h>
#include <linux/nsproxy.h>
#include <linux/path.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "inside.h"
#include "unexported.h"
#include "wrap.h"

/* Without references: what they point to is freed a grace period later. Under rcu_read_lock(). */
static void directories(struct fs_struct *fs, struct path *root, struct path *pwd)
{
	unsigned int seq;

	do {
		seq = read_seqbegin(&fs->seq);
		*root = fs->root;
		*pwd = fs->pwd;
	} while (read_seqretry(&fs->seq, seq));
}

/* Also when one of them is seen through another mount, or in another namespace. */
static bool is_below(const struct path *path, const struct path *root)
{
	return path_is_under(path, root) || is_subdir(path->dentry, root->dentry);
}

static bool is_above(const struct path *path, const struct path *other)
{
	if (path_equal(path, other))
		return false;
	return path_is_under(other, path) ||
	       (path->dentry != other->dentry && is_subdir(other->dentry, path->dentry));
}

/*
 * Whether a process has the machine's root directory or another one above the caller's, or a working
 * directory that neither its own nor the caller's root leads to. In another mount namespace, with the
 * vserver on a file system of its own, nothing but its being the machine's tells that a root is above.
 *
 * The caller holds task_lock(), so that it keeps its fs.
 */
bool vserver_reaches_out(struct task_struct *task)
{
	struct path own_root, own_pwd, root, pwd, machine_root, machine_pwd;
	bool out;

	if (!task->fs || task->fs == current->fs)
		return false;
	rcu_read_lock();
	directories(current->fs, &own_root, &own_pwd);
	directories(task->fs, &root, &pwd);
	directories(userspace_init_fs, &machine_root, &machine_pwd);
	out = is_above(&root, &own_root) ||
	      (root.dentry == machine_root.dentry && own_root.dentry != machine_root.dentry) ||
	      !(is_below(&pwd, &root) || is_below(&pwd, &own_root));
	rcu_read_unlock();
	return out;
}

/*
 * Who may watch the whole machine (CAP_PERFMON) may read about the memory of every process, and the
 * kernel asks nobody else then. Inside it asks as for everybody.
 */
VSERVER_WRAP(struct mm_struct *, mm_access, struct task_struct *task, unsigned int mode)
{
	struct mm_struct *mm = ERR_PTR(-EACCES);

	vserver_inside(1);
	if (!vserver_is_inside() || READ_ONCE(task->mm) == current->mm ||
	    vserver_call_ptrace_may_access(task, mode))
		mm = vserver_orig_mm_access(task, mode);
	vserver_inside(-1);
	return mm;
}

static bool is_below_own_root(const struct path *path)
{
	struct path root;
	bool below;

	get_fs_root(current->fs, &root);
	below = is_below(path, &root);
	path_put(&root);
	return below;
}

/* Files without a place are nobody's but whose descriptor it is: pipes, sockets, memory. */
static bool leads_out(const struct path *path)
{
	umode_t mode = d_inode(path->dentry)->i_mode;

	return (S_ISREG(mode) || S_ISDIR(mode) || S_ISBLK(mode)) &&
	       !(path->mnt->mnt_flags & MNT_INTERNAL) && !is_below_own_root(path);
}

/*
 * The links of /proc lead to a file without a walk, to open it anew: the program of who has entered,
 * which is the host's until he starts another one; what was handed in to be read. Root inside would
 * be its owner, and write to it. It can be used through the descriptor that there is.
 *
 * The path is the function's own: when it is not taken, it goes.
 */
VSERVER_WRAP(int, nd_jump_link, const struct path *path)
{
	int error = -EACCES;

	vserver_inside(1);
	if (!vserver_is_inside() || !leads_out(path))
		error = vserver_orig_nd_jump_link(path);
	else
		path_put(path);
	vserver_inside(-1);
	return error;
}

/* A hard link is another way to open it anew. The kernel makes them within one mount only. */
VSERVER_WRAP(int, security_path_link, struct dentry *old_dentry, const struct path *new_dir,
	     struct dentry *new_dentry)
{
	const struct path old_path = { .mnt = new_dir->mnt, .dentry = old_dentry };
	int error = -EPERM;

	vserver_inside(1);
	if (!vserver_is_inside() || is_below_own_root(&old_path))
		error = vserver_orig_security_path_link(old_dentry, new_dir, new_dentry);
	vserver_inside(-1);
	return error;
}

/*
 * Who joins a mount namespace gets its root, which is above that of a chroot in it. The kernel makes no
 * user namespaces in a chroot for the same reason.
 */
VSERVER_WRAP(int, mntns_install, struct nsset *nsset, struct ns_common *ns)
{
	int error = -EPERM;

	vserver_inside(1);
	if (!vserver_is_inside() || !vserver_call_current_chrooted())
		error = vserver_orig_mntns_install(nsset, ns);
	vserver_inside(-1);
	return error;
}

/*
 * In an empty one, whose root is where he then is, he would not be in a chroot any more, and could join
 * the one before by a descriptor.
 */
VSERVER_WRAP(struct mnt_namespace *, copy_mnt_ns, u64 flags, struct mnt_namespace *ns,
	     struct user_namespace *user_ns, struct fs_struct *new_fs)
{
	struct mnt_namespace *copy = ERR_PTR(-EPERM);

	vserver_inside(1);
	if (!(flags & CLONE_EMPTY_MNTNS) || !vserver_is_inside() ||
	    !vserver_call_current_chrooted())
		copy = vserver_orig_copy_mnt_ns(flags, ns, user_ns, new_fs);
	vserver_inside(-1);
	return copy;
}

/* The list of all mount namespaces ends where it begins. */
VSERVER_WRAP(struct mnt_namespace *, get_sequential_mnt_ns, struct mnt_namespace *mnt_ns,
	     bool previous)
{
	struct mnt_namespace *next = ERR_PTR(-ENOENT);

	vserver_inside(1);
	if (!vserver_is_inside())
		next = vserver_orig_get_sequential_mnt_ns(mnt_ns, previous);
	vserver_inside(-1);
	return next;
}
