// SPDX-License-Identifier: GPL-2.0
/*
 * Devices in sysfs: the entries of /sys/class/net and of the folders that these lead to. Who is
 * confined to addresses does not find those of devices that his network does not see. That is
 * said of the entries, not of the way to them: the kernel's cache of names stays everybody's.
 */
#include <linux/fs.h>
#include <linux/kernfs.h>
#include <linux/nsproxy.h>
#include <net/net_namespace.h>

#include "machine.h"
#include "net.h"
#include "wrap.h"

/* The network of a caller who does not see all devices of a namespace, given its tag; else NULL. */
static const struct vserver_network *narrow(const struct ns_common *tag)
{
	struct net *net = current->nsproxy ? current->nsproxy->net_ns : NULL;
	const struct vserver_network *network;

	if (!tag || !net || tag != &net->ns)
		return NULL;
	network = vserver_network_current();
	return network && vserver_network_confines(network, net) ? network : NULL;
}

/* Only entries that belong to one network namespace have its tag; they are called as the devices. */
static bool is_hidden(const struct inode *inode)
{
	const struct kernfs_node *node = inode->i_private;
	const struct vserver_network *network = narrow(node->ns);
	const char *name;
	bool hidden;

	if (!network)
		return false;
	rcu_read_lock();
	name = rcu_dereference(node->name);
	hidden = !vserver_net_sees_name(network, current->nsproxy->net_ns, name, strlen(name));
	rcu_read_unlock();
	return hidden;
}

VSERVER_WRAP(int, kernfs_iop_permission, struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	int error;

	vserver_inside(1);
	error = vserver_orig_kernfs_iop_permission(idmap, inode, mask);
	if (!error && is_hidden(inode))
		error = -ENOENT;
	if (!error && vserver_kernfs_refuses(inode, mask))
		error = -EACCES;
	vserver_inside(-1);
	return error;
}

VSERVER_WRAP(int, kernfs_iop_getattr, struct mnt_idmap *idmap, const struct path *path,
	     struct kstat *stat, u32 request_mask, unsigned int query_flags)
{
	int error = -ENOENT;

	vserver_inside(1);
	if (!is_hidden(d_inode(path->dentry)))
		error = vserver_orig_kernfs_iop_getattr(idmap, path, stat, request_mask,
							query_flags);
	vserver_inside(-1);
	return error;
}

VSERVER_WRAP(const char *, kernfs_iop_get_link, struct dentry *dentry, struct inode *inode,
	     struct delayed_call *done)
{
	const char *link = ERR_PTR(-ENOENT);

	vserver_inside(1);
	/* Without the entry it cannot sleep, and comes back with it. */
	if (!dentry || !is_hidden(inode))
		link = vserver_orig_kernfs_iop_get_link(dentry, inode, done);
	vserver_inside(-1);
	return link;
}

/* A reader of a folder who is not told all of it. */
struct narrow_context {
	struct dir_context context;
	struct dir_context *reader;
	const struct vserver_network *network;
};

static bool tell(struct dir_context *context, const char *name, int length, loff_t offset,
		 u64 inode, unsigned int type)
{
	struct narrow_context *narrow = container_of(context, struct narrow_context, context);
	bool dots = name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));

	narrow->reader->pos = context->pos;
	if (!dots && !vserver_net_sees_name(narrow->network, current->nsproxy->net_ns, name, length))
		return true;
	return narrow->reader->actor(narrow->reader, name, length, offset, inode, type);
}

VSERVER_WRAP(int, kernfs_fop_readdir, struct file *file, struct dir_context *context)
{
	const struct kernfs_node *node = file_inode(file)->i_private;
	struct narrow_context narrowed = {
		.context = *context,
		.reader = context,
	};
	int error;

	vserver_inside(1);
	/* What else is in there is of another namespace, and is not listed anyway. */
	if (kernfs_ns_enabled((struct kernfs_node *)node) && current->nsproxy)
		narrowed.network = narrow(&current->nsproxy->net_ns->ns);
	if (narrowed.network) {
		narrowed.context.actor = tell;
		error = vserver_orig_kernfs_fop_readdir(file, &narrowed.context);
		context->pos = narrowed.context.pos;
	} else {
		error = vserver_orig_kernfs_fop_readdir(file, context);
	}
	vserver_inside(-1);
	return error;
}
