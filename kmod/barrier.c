// SPDX-License-Identifier: GPL-2.0
/*
 * The barrier: a directory whose permission bits are 000 cannot be entered, listed or walked through
 * by any process in a context, whatever its capabilities. The host puts it around the
 * directories of contexts, so that who gets out of his chroot stands before it.
 *
 * The kernel looks for a capability only after the permission bits have said no. So that is the place:
 * a walk through directories that may be walked through meets no hook at all.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/exportfs.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/path.h>
#include <linux/posix_acl.h>

#include "inside.h"
#include "unexported.h"
#include "wrap.h"

static bool is_barrier(const struct inode *inode)
{
	return S_ISDIR(inode->i_mode) && !(inode->i_mode & 0777);
}

/*
 * Whether it is where an overlay makes what it then moves into place: a directory of that mode, which
 * the kernel itself walks through with the rights of who has mounted the overlay, in the caller's
 * name. The one around it is marked as in use; a barrier is not called so.
 */
static bool is_work_of_overlay(struct inode *inode)
{
	const struct dentry *dentry;
	struct inode *around;
	bool work = false;

	if (current_cred() == current_real_cred())
		return false;
	rcu_read_lock();
	spin_lock(&inode->i_lock);
	hlist_for_each_entry(dentry, &inode->i_dentry, d_alias) {
		around = READ_ONCE(READ_ONCE(dentry->d_parent)->d_inode);
		work = around && inode_state_read_once(around) & I_OVL_INUSE &&
		       (!strcmp(dentry->d_name.name, "work") ||
			!strcmp(dentry->d_name.name, "index"));
	}
	spin_unlock(&inode->i_lock);
	rcu_read_unlock();
	return work;
}

static bool stops(const struct inode *inode)
{
	return unlikely(is_barrier(inode)) && vserver_is_inside() &&
	       !is_work_of_overlay((struct inode *)inode);
}

VSERVER_WRAP(bool, capable_wrt_inode_uidgid, struct mnt_idmap *idmap, const struct inode *inode,
	     int cap)
{
	if ((cap == CAP_DAC_READ_SEARCH || cap == CAP_DAC_OVERRIDE) && stops(inode))
		return false;
	return vserver_orig_capable_wrt_inode_uidgid(idmap, inode, cap);
}

/*
 * Its owner may change its permission bits without any capability, and he is called root inside, too. So
 * a directory that somebody inside has made 000 himself stays so, until it is removed.
 */
VSERVER_WRAP(int, chmod_common, const struct path *path, umode_t mode)
{
	int error = -EPERM;

	vserver_inside(1);
	if (!stops(d_inode(path->dentry)))
		error = vserver_orig_chmod_common(path, mode);
	vserver_inside(-1);
	return error;
}

/* An access control list changes them as well. */
VSERVER_WRAP(int, vfs_set_acl, struct mnt_idmap *idmap, struct dentry *dentry,
	     const char *acl_name, struct posix_acl *kacl)
{
	int error = -EPERM;

	vserver_inside(1);
	if (!stops(d_inode(dentry)))
		error = vserver_orig_vfs_set_acl(idmap, dentry, acl_name, kacl);
	vserver_inside(-1);
	return error;
}

/* Something else in its place would not be a barrier. */
VSERVER_WRAP(int, security_sb_mount, const char *dev_name, const struct path *path,
	     const char *type, unsigned long flags, void *data)
{
	int error = -EACCES;

	vserver_inside(1);
	if (!stops(d_inode(path->dentry)))
		error = vserver_orig_security_sb_mount(dev_name, path, type, flags, data);
	vserver_inside(-1);
	return error;
}

VSERVER_WRAP(int, security_move_mount, const struct path *from_path, const struct path *to_path)
{
	int error = -EACCES;

	vserver_inside(1);
	if (!stops(d_inode(to_path->dentry)))
		error = vserver_orig_security_move_mount(from_path, to_path);
	vserver_inside(-1);
	return error;
}

VSERVER_WRAP(int, security_sb_pivotroot, const struct path *old_path, const struct path *new_path)
{
	int error = -EACCES;

	vserver_inside(1);
	if (!stops(d_inode(old_path->dentry)) && !stops(d_inode(new_path->dentry)))
		error = vserver_orig_security_sb_pivotroot(old_path, new_path);
	vserver_inside(-1);
	return error;
}

/*
 * A file handle leads to a file without a walk. Who is inside has no use for those of file systems; the
 * kernel's own that have handles (of processes, of namespaces) say themselves who may open them.
 */
VSERVER_WRAP(struct dentry *, exportfs_decode_fh_raw, struct vfsmount *mnt, struct fid *fid,
	     int fh_len, int fileid_type, unsigned int flags,
	     int (*acceptable)(void *context, struct dentry *dentry), void *context)
{
	const struct export_operations *operations = mnt->mnt_sb->s_export_op;
	struct dentry *dentry = ERR_PTR(-EPERM);

	vserver_inside(1);
	if ((unsigned long)acceptable != vserver_at_vfs_dentry_acceptable ||
	    (operations && operations->permission) || !vserver_is_inside())
		dentry = vserver_orig_exportfs_decode_fh_raw(mnt, fid, fh_len, fileid_type, flags,
							     acceptable, context);
	vserver_inside(-1);
	return dentry;
}
