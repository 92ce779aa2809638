// SPDX-License-Identifier: GPL-2.0
/*
 * SCTP of processes with addresses of their own. An association has several addresses at each end, and
 * tells the other end those that its socket is bound to. So nothing is ever bound to "any": that is
 * all addresses of the network that devices have, and its loopback, one by one, and who is bound to
 * nothing is bound to them before he connects, listens or sends. The kernel sends from bound
 * addresses, and finds a socket by them.
 *
 * That holds for sockets of IPv4. One of IPv6 may have peers of both protocols, whatever it is bound to, and
 * sends from an address of the host to those of which it has none; so there are none here.
 */
#include <linux/inetdevice.h>
#include <linux/sctp.h>
#include <linux/slab.h>
#include <net/inet_common.h>
#include <net/route.h>

#include "net_inet.h"

/* The operations of SCTP are told from those of streams by this one, as they are in a module. */
bool vserver_is_sctp(const struct proto_ops *original)
{
	return (original->family == PF_INET || original->family == PF_INET6) &&
	       original->listen != sock_no_listen && original->connect != inet_stream_connect;
}

/* A list of socket addresses as SCTP has them: one right behind the other. */
struct list {
	u8 *start;
	size_t length;
	size_t room;
};

static void add(struct list *list, const void *address, size_t size)
{
	if (list->length + size > list->room)
		return;
	if (list->start)
		memcpy(list->start + list->length, address, size);
	list->length += size;
}

static void add4(struct list *list, __be32 address)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = address };

	add(list, &in, sizeof(in));
}

/* What a network has on the devices of the host, and its loopback last. Under RCU. */
static void collect(struct socket *sock, const struct vserver_network *network, struct list *list)
{
	const struct in_ifaddr *one;
	struct net_device *dev;
	struct in_device *in;

	for_each_netdev_rcu(sock_net(sock->sk), dev) {
		in = __in_dev_get_rcu(dev);
		if (!in)
			continue;
		in_dev_for_each_ifa_rcu(one, in) {
			if (vserver_net_has4(network, one->ifa_local))
				add4(list, one->ifa_local);
		}
	}
	if (list->length)
		add4(list, vserver_loopback(vserver_network_loopback(network),
					    VSERVER_LOOPBACK_V4));
}

/* Whether there is an address in a list that somebody has given. */
static bool is_at(const u8 *list, size_t at, size_t length)
{
	return length - at >= sizeof(struct sockaddr_in) &&
	       ((const struct sockaddr_in *)(list + at))->sin_family == AF_INET;
}

/* Binds to all that the network has. */
static int bind_all(struct socket *sock, struct vserver_ops *ops, __be16 port)
{
	const size_t size = sizeof(struct sockaddr_in);
	struct list list = { .room = SIZE_MAX };
	size_t at;
	int error;

	rcu_read_lock();
	collect(sock, ops->network, &list);
	rcu_read_unlock();
	if (!list.length)
		return -EADDRNOTAVAIL;
	/* What comes up meanwhile is not in it, as what comes up later is not. */
	list.room = list.length;
	list.start = kvzalloc(list.room, GFP_KERNEL_ACCOUNT);
	if (!list.start)
		return -ENOMEM;
	list.length = 0;
	rcu_read_lock();
	collect(sock, ops->network, &list);
	rcu_read_unlock();
	error = -EADDRNOTAVAIL;
	if (!list.length)
		goto out;
	((struct sockaddr_in *)list.start)->sin_port = port;
	error = ops->original->bind(sock, (struct sockaddr_unsized *)list.start, size);
	if (error || list.length == size)
		goto out;
	for (at = size; at < list.length; at += size)
		((struct sockaddr_in *)(list.start + at))->sin_port =
			htons(inet_sk(sock->sk)->inet_num);
	error = ops->original->setsockopt(sock, SOL_SCTP, SCTP_SOCKOPT_BINDX_ADD,
					  KERNEL_SOCKPTR(list.start + size), list.length - size);
out:
	kvfree(list.start);
	return error;
}

/*
 * An address that a program binds to, changed to what it is outside. It has to be the host's: from a
 * group or a broadcast address nothing is sent, and the kernel would send from another one.
 */
static int check_bound(struct socket *sock, struct vserver_ops *ops, struct sockaddr_in *in)
{
	int way = vserver_net_bind4(ops->network, &in->sin_addr.s_addr);

	if (way == VSERVER_BIND_EXACT &&
	    inet_addr_type(sock_net(sock->sk), in->sin_addr.s_addr) != RTN_LOCAL)
		return -EADDRNOTAVAIL;
	return way;
}

static int bind_in(struct socket *sock, struct sockaddr_unsized *uaddr, int length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	union vserver_address a = {};
	int way;

	if (length < (int)sizeof(a.in) || uaddr->sa_family != AF_INET)
		return -EINVAL;
	memcpy(&a.in, uaddr, sizeof(a.in));
	way = check_bound(sock, ops, &a.in);
	if (way < 0)
		return way;
	if (way == VSERVER_BIND_ANY)
		return bind_all(sock, ops, a.in.sin_port);
	return ops->original->bind(sock, &a.unsized, sizeof(a.in));
}

static int bind_if_unbound(struct socket *sock, struct vserver_ops *ops)
{
	return vserver_net_unbound(sock) ? bind_all(sock, ops, 0) : 0;
}

/* Where it goes to, in place. */
static int check_dest(struct socket *sock, struct vserver_ops *ops, const void *address,
		      size_t length, struct vserver_way *way)
{
	int error = vserver_find_way(sock->sk, ops, address, length, way);

	if (error)
		return error;
	return way->length ? vserver_check_way(sock, ops->network, way) : -EINVAL;
}

/*
 * A stream to the loopback of its network is bound to that alone: an answer to another source would
 * be of a wider scope than the address that it comes from, which SCTP does not do.
 */
static int bind_for(struct socket *sock, struct vserver_ops *ops, const struct vserver_way *way)
{
	struct sockaddr_in lo = { .sin_family = AF_INET, .sin_addr = way->dest.in.sin_addr };

	if (sock->type != SOCK_STREAM || !vserver_net_unbound(sock) ||
	    vserver_loopback_of(lo.sin_addr.s_addr) != vserver_network_loopback(ops->network))
		return bind_if_unbound(sock, ops);
	return ops->original->bind(sock, (struct sockaddr_unsized *)&lo, sizeof(lo));
}

static int connect_in(struct socket *sock, struct sockaddr_unsized *uaddr, int length, int flags)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct vserver_way way;
	int error;

	if (length < (int)sizeof(uaddr->sa_family) || uaddr->sa_family == AF_UNSPEC)
		return ops->original->connect(sock, uaddr, length, flags);
	error = check_dest(sock, ops, uaddr, length, &way);
	if (!error)
		error = bind_for(sock, ops, &way);
	return error ? : ops->original->connect(sock, &way.dest.unsized, way.length, flags);
}

static int listen_in(struct socket *sock, int backlog)
{
	struct vserver_ops *ops = vserver_ops_of(sock);

	return bind_if_unbound(sock, ops) ? : ops->original->listen(sock, backlog);
}

static int sendmsg_in(struct socket *sock, struct msghdr *message, size_t size)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	void *name = message->msg_name;
	int namelen = message->msg_namelen, error;
	struct vserver_way way;
	struct cmsghdr *cmsg;

	/* More addresses of the other end are for connectx. */
	if (message->msg_controllen && !message->msg_control_is_user) {
		for_each_cmsghdr(cmsg, message) {
			if (!CMSG_OK(message, cmsg))
				return -EINVAL;
			if (cmsg->cmsg_level == IPPROTO_SCTP &&
			    (cmsg->cmsg_type == SCTP_DSTADDRV4 || cmsg->cmsg_type == SCTP_DSTADDRV6))
				return -EPERM;
		}
	}
	if (!name)
		return ops->original->sendmsg(sock, message, size);
	error = check_dest(sock, ops, name, namelen, &way);
	if (!error)
		error = bind_if_unbound(sock, ops);
	if (error)
		return error;
	message->msg_name = &way.dest;
	message->msg_namelen = way.length;
	error = ops->original->sendmsg(sock, message, size);
	message->msg_name = name;
	message->msg_namelen = namelen;
	return error;
}

/* A list of own addresses, or of the other end's, as an option. */
static int set_list(struct socket *sock, struct vserver_ops *ops, int name, sockptr_t value,
		    unsigned int length)
{
	bool binds = name == SCTP_SOCKOPT_BINDX_ADD || name == SCTP_SOCKOPT_BINDX_REM;
	struct vserver_way way;
	int error = -EINVAL;
	size_t at;
	u8 *list;

	if (!length || length > READ_ONCE(sock_net(sock->sk)->core.sysctl_optmem_max))
		return -EINVAL;
	list = memdup_sockptr(value, length);
	if (IS_ERR(list))
		return PTR_ERR(list);
	for (at = 0; is_at(list, at, length); at += sizeof(struct sockaddr_in)) {
		if (binds) {
			error = check_bound(sock, ops, (struct sockaddr_in *)(list + at));
			if (error == VSERVER_BIND_ANY)
				error = -EINVAL;
		} else {
			error = check_dest(sock, ops, list + at, sizeof(struct sockaddr_in), &way);
			if (!error)
				memcpy(list + at, &way.dest.in, sizeof(way.dest.in));
		}
		if (error)
			goto out;
	}
	if (at != length)
		error = -EINVAL;
	if (!error && !binds)
		error = bind_if_unbound(sock, ops);
	if (!error)
		error = ops->original->setsockopt(sock, SOL_SCTP, name, KERNEL_SOCKPTR(list),
						  length);
out:
	kfree(list);
	return error;
}

static int setsockopt_in(struct socket *sock, int level, int name, sockptr_t value,
			 unsigned int length)
{
	if (level == SOL_SCTP) {
		switch (name) {
		case SCTP_SOCKOPT_BINDX_ADD:
		case SCTP_SOCKOPT_BINDX_REM:
		case SCTP_SOCKOPT_CONNECTX_OLD:
		case SCTP_SOCKOPT_CONNECTX:
			return set_list(sock, vserver_ops_of(sock), name, value, length);
		case SCTP_AUTO_ASCONF:
			/* Takes whatever address the host gets. */
			return -EPERM;
		}
	}
	return vserver_inet_setsockopt(sock, level, name, value, length);
}

static int getsockopt_in(struct socket *sock, int level, int name, char __user *value,
			 int __user *length)
{
	/* Programs then take the one without an answer. */
	if (level == SOL_SCTP && name == SCTP_SOCKOPT_CONNECTX3)
		return -ENOPROTOOPT;
	return vserver_inet_getsockopt(sock, level, name, value, length);
}

/* In place of those of vserver_inet_ops(). */
void vserver_sctp_ops(struct vserver_ops *ops)
{
	ops->ops.bind = bind_in;
	ops->ops.connect = connect_in;
	ops->ops.listen = listen_in;
	ops->ops.sendmsg = sendmsg_in;
	ops->ops.recvmsg = vserver_inet_recvmsg;
	ops->ops.setsockopt = setsockopt_in;
	ops->ops.getsockopt = getsockopt_in;
}
