// SPDX-License-Identifier: GPL-2.0
/*
 * What leads out of a root directory without a walk. A process inside may come by a file of the host
 * that is not below its root: as the program that it was started by (/proc/PID/exe), as a descriptor
 * that was handed in, as the root of a process that has just entered. Being called root, it
 * would be its owner. So
 *
 * - the links of /proc do not lead to files and directories that are not below the caller's root: what
 *   was handed in can be used, and not be opened anew, to be written to;
 * - hard links are not made of them;
 * - a process is not looked into by one whose root is below its own.
 *
 * Who is not in a context is not concerned, nor who has the root of the machine.
 */
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/mount.h>
#include <linux/path.h>
#include <linux/sched/task.h>

#include "inside.h"
#include "wrap.h"

/*
 * Whether what is at a path is at or below what is at another one: in one tree of mounts, or, as each
 * mount namespace has a tree of its own, in one file system.
 */
static bool is_below(const struct path *path, const struct path *top)
{
	return path_is_under(path, top) ||
	       (path->dentry->d_sb == top->dentry->d_sb && is_subdir(path->dentry, top->dentry));
}

static bool is_below_root(const struct path *path)
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
	       !(path->mnt->mnt_flags & MNT_INTERNAL) && !is_below_root(path);
}

/* Called without a reference to spare: the path goes when it is not taken. */
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

VSERVER_WRAP(int, security_path_link, struct dentry *old_dentry, const struct path *new_dir,
	     struct dentry *new_dentry)
{
	/* The kernel links within one mount only. */
	const struct path old_path = { .mnt = new_dir->mnt, .dentry = old_dentry };
	int error = -EPERM;

	vserver_inside(1);
	if (!vserver_is_inside() || is_below_root(&old_path))
		error = vserver_orig_security_path_link(old_dentry, new_dir, new_dentry);
	vserver_inside(-1);
	return error;
}

/* Without a reference: under rcu_read_lock(), and not at its end. */
static struct path root_of(struct fs_struct *fs)
{
	struct path root;
	unsigned int seq;

	do {
		seq = read_seqbegin(&fs->seq);
		root = fs->root;
	} while (read_seqretry(&fs->seq, seq));
	return root;
}

/*
 * Whether a task has a root directory around the caller's. The kernel holds task_lock() of it, so that
 * it keeps its own.
 */
bool vserver_root_is_wider(struct task_struct *task)
{
	struct path own, other;
	bool wider = false;

	rcu_read_lock();
	if (task->fs && current->fs && task->fs != current->fs) {
		own = root_of(current->fs);
		other = root_of(task->fs);
		wider = own.dentry != other.dentry && is_below(&own, &other);
	}
	rcu_read_unlock();
	return wider;
}
