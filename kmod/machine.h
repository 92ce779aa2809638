/* SPDX-License-Identifier: GPL-2.0 */
/* machine.c: files that are the machine's. */
#ifndef VSERVER_MACHINE_H
#define VSERVER_MACHINE_H

#include <linux/types.h>

struct inode;

/* Whether the caller must not open something of kernfs in this way. For net_sysfs.c. */
bool vserver_kernfs_refuses(const struct inode *inode, int mask);

#endif
