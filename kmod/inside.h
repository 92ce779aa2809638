/* SPDX-License-Identifier: GPL-2.0 */
/* Whether the caller is in a context: what most hooks in C begin with. */
#ifndef VSERVER_INSIDE_H
#define VSERVER_INSIDE_H

#include <linux/sched.h>

#include "helpers.h"
#include "net.h"

/* The network of a caller who is in a context, the spectator's included; else NULL. */
static inline const struct vserver_network *vserver_network_inside(void)
{
	const struct vserver_network *network;

	if (PF_IN_CONTEXT && likely(!(current->flags & PF_IN_CONTEXT)))
		return NULL;
	network = vserver_network_current();
	return network && vserver_network_context(network) ? network : NULL;
}

static inline bool vserver_is_inside(void)
{
	return vserver_network_inside();
}

#endif
