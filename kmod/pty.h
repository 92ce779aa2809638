/* SPDX-License-Identifier: GPL-2.0 */
/* pty.c: whose is a pseudo-terminal. For devpts.c. */
#ifndef VSERVER_PTY_H
#define VSERVER_PTY_H

#include <linux/types.h>

struct inode;

void vserver_pty_own(struct inode *pty);
/* Whether its name is there for the caller. */
bool vserver_pty_is_seen(const struct inode *pty);
void vserver_pty_end_loans_of(const struct inode *pty);
void vserver_pty_end_all_loans(void);

#endif
