// SPDX-License-Identifier: GPL-2.0
/*
 * Which /proc/1 is meant. A mount of proc has one cache of names for all who use it, and there may be as many
 * processes 1 as contexts; the number of such a process outside is nobody's inside. So the root of each
 * mount gets a d_compare: an entry that is not the caller's has another name.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/proc_fs.h>

#include "helpers.h"
#include "pid_numbers.h"
#include "proc_inode.h"
#include "wrap.h"

/* 0: the entry has that name. In RCU path walks, too. */
static int compare(const struct dentry *dentry, unsigned int length, const char *name,
		   const struct qstr *wanted)
{
	struct inode *inode = d_inode_rcu(dentry);
	struct pid_namespace *ns;
	struct pid *pid, *init;
	bool is_own, is_one;

	if (length != wanted->len || memcmp(name, wanted->name, length))
		return 1;
	/* One that is just being looked up is compared again after that. */
	pid = inode ? READ_ONCE(vserver_proc_inode(inode)->pid) : NULL;
	if (!pid)
		return 0;
	ns = proc_pid_ns(dentry->d_sb);
	is_one = length == 1 && *name == '1';
	rcu_read_lock();
	init = vserver_own_init(ns);
	if (init)
		is_own = is_one == (pid == init);
	else
		is_own = !is_one || vserver_raw_nr(pid, ns) == 1;
	rcu_read_unlock();
	return !is_own;
}

static const struct dentry_operations root_operations = {
	.d_compare = compare,
};

static void mark(struct dentry *root)
{
	if (likely(READ_ONCE(root->d_op) == &root_operations))
		return;
	spin_lock(&root->d_lock);
	if (!root->d_op) {
		root->d_op = &root_operations;
		/* Who sees the flag calls it. */
		smp_store_release(&root->d_flags, root->d_flags | DCACHE_OP_COMPARE);
	}
	spin_unlock(&root->d_lock);
}

/* What is mounted later is marked before a number is found there for the first time. */
VSERVER_DIVERT(struct dentry *, proc_pid_lookup, struct dentry *dentry, unsigned int flags);

notrace bool vserver_diverts_proc_pid_lookup(struct dentry *dentry, unsigned int flags)
{
	mark(dentry->d_sb->s_root);
	return false;
}

notrace struct dentry *vserver_instead_proc_pid_lookup(struct dentry *dentry, unsigned int flags)
{
	return vserver_orig_proc_pid_lookup(dentry, flags);
}

VSERVER_DIVERT(int, proc_pid_readdir, struct file *file, struct dir_context *context);

notrace bool vserver_diverts_proc_pid_readdir(struct file *file, struct dir_context *context)
{
	mark(file_inode(file)->i_sb->s_root);
	return false;
}

notrace int vserver_instead_proc_pid_readdir(struct file *file, struct dir_context *context)
{
	return vserver_orig_proc_pid_readdir(file, context);
}

static void act_on_instance(struct super_block *instance, void *data)
{
	void (*act)(struct dentry *root) = *(void (**)(struct dentry *))data;

	act(instance->s_root);
}

static void for_each_root(void (*act)(struct dentry *root))
{
	struct file_system_type *proc = get_fs_type("proc");

	if (!proc)
		return;
	iterate_supers_type(proc, act_on_instance, &act);
	module_put(proc->owner);
}

static void unmark(struct dentry *root)
{
	spin_lock(&root->d_lock);
	if (root->d_op == &root_operations)
		root->d_flags &= ~DCACHE_OP_COMPARE;
	spin_unlock(&root->d_lock);
}

static void forget(struct dentry *root)
{
	spin_lock(&root->d_lock);
	if (root->d_op == &root_operations)
		root->d_op = NULL;
	spin_unlock(&root->d_lock);
}

/* The hooks are attached. */
void vserver_proc_roots_begin(void)
{
	for_each_root(mark);
}

/* The hooks are not attached any more, and nobody is inside them: as vserver_ptys_unmark(). */
void vserver_proc_roots_unmark(void)
{
	for_each_root(unmark);
}

/* A grace period of Tasks RCU after that, and one before the module's memory goes. */
void vserver_proc_roots_end(void)
{
	for_each_root(forget);
}
