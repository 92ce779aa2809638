/* SPDX-License-Identifier: GPL-2.0 */
/* keys.c: what enters and what ends, for its keys. */
#ifndef VSERVER_KEYS_H
#define VSERVER_KEYS_H

#include <linux/types.h>

struct cred;

#ifdef CONFIG_KEYS
void vserver_keys_forget(u64 tag);
void vserver_keys_destroy(void);
void vserver_keys_leave(struct cred *cred);
#else
static inline void vserver_keys_forget(u64 tag) { }
static inline void vserver_keys_destroy(void) { }
static inline void vserver_keys_leave(struct cred *cred) { }
#endif

#endif
