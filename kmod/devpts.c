// SPDX-License-Identifier: GPL-2.0
/*
 * The names of pseudo-terminals, in every mount of devpts: those of others are neither listed nor found.
 * Names are looked up in the kernel's cache alone there, so the entries get a d_revalidate, which
 * is asked each time. Whose they are is the business of pty.c.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <linux/module.h>

#include "helpers.h"
#include "net.h"
#include "pty.h"
#include "wrap.h"

struct pts_fs_info;

static int revalidate(struct inode *dir, const struct qstr *name, struct dentry *dentry,
		      unsigned int flags)
{
	const struct inode *pty = d_inode_rcu(dentry);

	return !pty || vserver_pty_is_seen(pty) ? 1 : -ENOENT;
}

static const struct dentry_operations entry_operations = {
	.d_revalidate = revalidate,
};

/* Under the entry's lock. */
static void mark(struct dentry *entry)
{
	if (!entry->d_op) {
		entry->d_op = &entry_operations;
		/* Who sees the flag calls it. */
		smp_store_release(&entry->d_flags, entry->d_flags | DCACHE_OP_REVALIDATE);
	}
}

VSERVER_WRAP(struct dentry *, devpts_pty_new, struct pts_fs_info *fsi, int index, void *priv)
{
	struct dentry *dentry;

	vserver_inside(1);
	dentry = vserver_orig_devpts_pty_new(fsi, index, priv);
	/* The caller holds the terminal's lock: nobody opens it yet. */
	if (!IS_ERR(dentry)) {
		vserver_pty_own(d_inode(dentry));
		spin_lock(&dentry->d_lock);
		mark(dentry);
		spin_unlock(&dentry->d_lock);
	}
	vserver_inside(-1);
	return dentry;
}

VSERVER_WRAP(void, devpts_pty_kill, struct dentry *dentry)
{
	vserver_inside(1);
	vserver_pty_end_loans_of(d_inode(dentry));
	vserver_orig_devpts_pty_kill(dentry);
	vserver_inside(-1);
}

/* A reader of a devpts who is not told all of it. */
struct narrow_context {
	struct dir_context context;
	struct dir_context *reader;
	struct dentry *root;
};

static bool is_hidden(struct dentry *root, const char *name, int length)
{
	struct qstr entry = QSTR_INIT(name, length);
	struct dentry *dentry;
	bool hidden;

	entry.hash = full_name_hash(root, name, length);
	dentry = d_lookup(root, &entry);
	/* Without operations it is no terminal, but the file to make some. */
	hidden = dentry && dentry->d_op == &entry_operations && !vserver_pty_is_seen(d_inode(dentry));
	dput(dentry);
	return hidden;
}

static bool tell(struct dir_context *context, const char *name, int length, loff_t offset,
		 u64 inode, unsigned int type)
{
	struct narrow_context *narrow = container_of(context, struct narrow_context, context);

	narrow->reader->pos = context->pos;
	if (is_hidden(narrow->root, name, length))
		return true;
	return narrow->reader->actor(narrow->reader, name, length, offset, inode, type);
}

VSERVER_DIVERT(int, dcache_readdir, struct file *file, struct dir_context *context);

notrace bool vserver_diverts_dcache_readdir(struct file *file, struct dir_context *context)
{
	return file_inode(file)->i_sb->s_magic == DEVPTS_SUPER_MAGIC;
}

notrace int vserver_instead_dcache_readdir(struct file *file, struct dir_context *context)
{
	struct narrow_context narrow = {
		.context = *context,
		.reader = context,
		.root = file_dentry(file),
	};
	int error;

	vserver_inside(1);
	narrow.context.actor = tell;
	error = vserver_orig_dcache_readdir(file, &narrow.context);
	context->pos = narrow.context.pos;
	vserver_inside(-1);
	return error;
}

/* What is done to the entry of each terminal that there is. */
typedef void entry_action(struct dentry *entry);

static void act_on_instance(struct super_block *instance, void *data)
{
	entry_action *act = *(entry_action **)data;
	struct dentry *entry;

	spin_lock(&instance->s_root->d_lock);
	hlist_for_each_entry(entry, &instance->s_root->d_children, d_sib) {
		spin_lock_nested(&entry->d_lock, DENTRY_D_LOCK_NESTED);
		act(entry);
		spin_unlock(&entry->d_lock);
	}
	spin_unlock(&instance->s_root->d_lock);
}

static void for_each_entry(entry_action *act)
{
	struct file_system_type *devpts = get_fs_type("devpts");

	if (!devpts)
		return;
	iterate_supers_type(devpts, act_on_instance, &act);
	module_put(devpts->owner);
}

static void mark_terminal(struct dentry *entry)
{
	const struct inode *inode = d_inode(entry);

	if (inode && MAJOR(inode->i_rdev) == UNIX98_PTY_SLAVE_MAJOR)
		mark(entry);
}

static void unmark(struct dentry *entry)
{
	if (entry->d_op == &entry_operations) {
		entry->d_flags &= ~DCACHE_OP_REVALIDATE;
		if (d_inode(entry))
			WRITE_ONCE(d_inode(entry)->i_private, NULL);
	}
}

static void forget(struct dentry *entry)
{
	if (entry->d_op == &entry_operations)
		entry->d_op = NULL;
}

/* The hooks are attached: those that were there before are the host's. */
void vserver_ptys_begin(void)
{
	for_each_entry(mark_terminal);
}

/*
 * The hooks are not attached any more, and nobody is inside them. Nobody asks the entries for anything a
 * grace period of Tasks RCU after this; an instance that is just going has no terminals any more.
 */
void vserver_ptys_unmark(void)
{
	for_each_entry(unmark);
}

/* After that grace period. After one more, nobody looks at the entries' operations. */
void vserver_ptys_end(void)
{
	for_each_entry(forget);
	vserver_pty_end_all_loans();
}
