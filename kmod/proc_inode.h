/* SPDX-License-Identifier: GPL-2.0 */
/*
 * struct proc_inode as fs/proc/internal.h of this series has it: that header refuses to be
 * included by a module. The guest tests of /proc fail at once if the layout moves.
 */
#ifndef VSERVER_PROC_INODE_H
#define VSERVER_PROC_INODE_H

#include <linux/fs.h>

struct ctl_table;
struct ctl_table_header;
struct pid;
struct proc_dir_entry;
struct proc_ns_operations;

struct proc_inode_layout {
	struct pid *pid;
	unsigned int fd;
	void *op;
	struct proc_dir_entry *pde;
	struct ctl_table_header *sysctl;
	const struct ctl_table *sysctl_entry;
	struct hlist_node sibling_inodes;
	const struct proc_ns_operations *ns_ops;
	struct inode vfs_inode;
};

#endif
