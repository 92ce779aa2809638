// SPDX-License-Identifier: GPL-2.0
/*
 * News by netlink that are not about the network: of processes, of devices, of the audit. They know
 * no contexts, and go to whoever listens. So who is in a context gets sockets of these protocols only
 * where that does no harm, and the processes of contexts are not in the news.
 */
#include <linux/connector.h>
#include <linux/cn_proc.h>
#include <linux/netlink.h>
#include <linux/taskstats.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "inside.h"
#include "wrap.h"

/*
 * Whether a protocol of netlink is for contexts. Not here are those by which processes talk to each
 * other (NETLINK_USERSOCK), those of the machine's own business (audit, iSCSI, RDMA, SELinux), the
 * news of processes (NETLINK_CONNECTOR), and whatever may come.
 */
bool vserver_netlink_is_for_contexts(int protocol)
{
	switch (protocol) {
	case NETLINK_ROUTE:
	case NETLINK_SOCK_DIAG:
	case NETLINK_GENERIC:
	case NETLINK_NETFILTER:
	case NETLINK_XFRM:
	case NETLINK_CRYPTO:
	case NETLINK_KOBJECT_UEVENT:
		return true;
	default:
		return false;
	}
}

/*
 * Who waits for devices hears nothing, as in a network namespace that no device comes to: many
 * programs listen that get on very well without. In a namespace made inside it is the kernel that
 * sends what is of that namespace only.
 */
static bool is_deaf(const struct socket *sock)
{
	return sock->sk->sk_protocol == NETLINK_KOBJECT_UEVENT &&
	       sock_net(sock->sk)->user_ns == &init_user_ns;
}

static int netlink_bind_in(struct socket *sock, struct sockaddr_unsized *address, int length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	union {
		struct sockaddr_unsized unsized;
		struct sockaddr_nl nl;
	} copy;

	if (!is_deaf(sock) || length < (int)sizeof(copy.nl))
		return ops->original->bind(sock, address, length);
	memcpy(&copy.nl, address, sizeof(copy.nl));
	copy.nl.nl_groups = 0;
	return ops->original->bind(sock, &copy.unsized, sizeof(copy.nl));
}

static int netlink_setsockopt_in(struct socket *sock, int level, int name, sockptr_t value,
				 unsigned int length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);

	if (level == SOL_NETLINK && name == NETLINK_ADD_MEMBERSHIP && is_deaf(sock))
		return 0;
	return ops->original->setsockopt(sock, level, name, value, length);
}

/* In place of the kernel's, when the copy is made for a context. */
void vserver_event_ops(struct vserver_ops *ops)
{
	ops->ops.bind = netlink_bind_in;
	ops->ops.setsockopt = netlink_setsockopt_in;
}

#ifdef CONFIG_PROC_EVENTS
/* Each task sends its own news. Other groups are sent to from any context, also by who may sleep there. */
VSERVER_WRAP(int, cn_netlink_send_mult, struct cn_msg *message, u16 length, u32 port, u32 group,
	     gfp_t gfp, netlink_filter_fn filter, void *data)
{
	int error = 0;

	vserver_inside(1);
	if (group != CN_IDX_PROC || !in_task() || !vserver_is_inside())
		error = vserver_orig_cn_netlink_send_mult(message, length, port, group, gfp,
							  filter, data);
	vserver_inside(-1);
	return error;
}
#endif

#ifdef CONFIG_TASKSTATS
/* Who registers is told of every task that ends. To ask for one by its number is another matter. */
VSERVER_WRAP(int, taskstats_user_cmd, struct sk_buff *skb, struct genl_info *info)
{
	int error = -EPERM;

	vserver_inside(1);
	if (!info->attrs[TASKSTATS_CMD_ATTR_REGISTER_CPUMASK] || !vserver_is_inside())
		error = vserver_orig_taskstats_user_cmd(skb, info);
	vserver_inside(-1);
	return error;
}
#endif
