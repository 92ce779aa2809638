// SPDX-License-Identifier: GPL-2.0
/*
 * SCTP of processes with addresses of their own. An association has several addresses at each end, and
 * tells the other end those that its socket is bound to. So nothing is ever bound to "any": that is
 * all addresses of the network that devices have, and its loopback, one by one, and who is bound to
 * nothing is bound to them before he connects, listens or sends. The kernel sends from bound
 * addresses only, and finds a socket by them.
 */
#include <linux/inetdevice.h>
#include <linux/sctp.h>
#include <linux/slab.h>
#include <net/addrconf.h>
#include <net/if_inet6.h>
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

static void add6(struct list *list, const struct in6_addr *address)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = *address };

	add(list, &in6, sizeof(in6));
}

/* What a network has on the devices of the host, and its loopback last. Under RCU. */
static void collect(struct socket *sock, const struct vserver_network *network, struct list *list)
{
	bool v6 = vserver_is_v6(sock->sk);
	bool v4 = !v6 || !test_bit(VSERVER_SOCK_V6ONLY, &sock->flags);
	int loopback = vserver_network_loopback(network);
	const struct inet6_ifaddr *one6;
	const struct in_ifaddr *one4;
	struct net_device *dev;
	struct inet6_dev *in6;
	struct in_device *in;

	for_each_netdev_rcu(sock_net(sock->sk), dev) {
		in = __in_dev_get_rcu(dev);
		if (v4 && in) {
			in_dev_for_each_ifa_rcu(one4, in) {
				if (vserver_net_has4(network, one4->ifa_local))
					add4(list, one4->ifa_local);
			}
		}
		in6 = __in6_dev_get(dev);
		if (v6 && in6) {
			list_for_each_entry_rcu(one6, &in6->addr_list, if_list) {
				if (!(one6->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) &&
				    !(ipv6_addr_type(&one6->addr) & IPV6_ADDR_LINKLOCAL) &&
				    vserver_net_has6(network, &one6->addr))
					add6(list, &one6->addr);
			}
		}
	}
	if (!list->length)
		return;
	if (v4)
		add4(list, vserver_loopback(loopback, VSERVER_LOOPBACK_V4));
	if (v6)
		add4(list, vserver_loopback(loopback, VSERVER_LOOPBACK_V6));
}

static size_t size_of(const void *address)
{
	switch (((const struct sockaddr *)address)->sa_family) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	default:
		return 0;
	}
}

/* The next address of a list that somebody has given; its size, zero when it is none. */
static size_t size_at(const u8 *list, size_t at, size_t length)
{
	size_t size;

	if (length - at < sizeof(sa_family_t))
		return 0;
	size = size_of(list + at);
	return size <= length - at ? size : 0;
}

/* Binds to all that the network has. */
static int bind_all(struct socket *sock, struct vserver_ops *ops, __be16 port)
{
	struct list list = { .room = SIZE_MAX };
	struct sock *sk = sock->sk;
	size_t first, at, size;
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
	first = size_at(list.start, 0, list.length);
	if (!first)
		goto out;
	/* The port is at the same place in both kinds. */
	((struct sockaddr_in *)list.start)->sin_port = port;
	error = ops->original->bind(sock, (struct sockaddr_unsized *)list.start, first);
	if (error)
		goto out;
	port = htons(inet_sk(sk)->inet_num);
	for (at = first; (size = size_at(list.start, at, list.length)); at += size)
		((struct sockaddr_in *)(list.start + at))->sin_port = port;
	if (at > first)
		error = ops->original->setsockopt(sock, SOL_SCTP, SCTP_SOCKOPT_BINDX_ADD,
						  KERNEL_SOCKPTR(list.start + first), at - first);
out:
	kvfree(list.start);
	return error;
}

/*
 * An address that a program binds to, changed to what it is outside. It has to be the host's: from a
 * group or a broadcast address nothing is sent, and the kernel would send from another one.
 */
static int check_bound(struct socket *sock, struct vserver_ops *ops, void *address)
{
	struct net *net = sock_net(sock->sk);
	struct sockaddr_in6 *in6 = address;
	struct sockaddr_in *in = address;
	int way;

	if (in->sin_family == AF_INET) {
		way = vserver_net_bind4(ops->network, &in->sin_addr.s_addr);
		if (way == VSERVER_BIND_EXACT &&
		    inet_addr_type(net, in->sin_addr.s_addr) != RTN_LOCAL)
			return -EADDRNOTAVAIL;
		return way;
	}
	way = vserver_net_bind6(ops->network, &in6->sin6_addr,
				test_bit(VSERVER_SOCK_V6ONLY, &sock->flags));
	if (way != VSERVER_BIND_EXACT)
		return way;
	if (ipv6_addr_v4mapped(&in6->sin6_addr))
		return inet_addr_type(net, in6->sin6_addr.s6_addr32[3]) == RTN_LOCAL ?
		       way : -EADDRNOTAVAIL;
	return ipv6_chk_addr(net, &in6->sin6_addr, NULL, 0) ? way : -EADDRNOTAVAIL;
}

static int bind_in(struct socket *sock, struct sockaddr_unsized *uaddr, int length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	union vserver_address a = {};
	int way;

	if (length < (int)sizeof(a.in) || size_of(uaddr) > (size_t)length ||
	    (size_of(uaddr) == sizeof(a.in6) && !vserver_is_v6(sock->sk)) || !size_of(uaddr))
		return -EINVAL;
	memcpy(&a, uaddr, size_of(uaddr));
	way = check_bound(sock, ops, &a);
	if (way < 0)
		return way;
	if (way == VSERVER_BIND_ANY)
		return bind_all(sock, ops, a.in.sin_port);
	return ops->original->bind(sock, &a.unsized, size_of(&a));
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
	int loopback = vserver_network_loopback(ops->network);
	struct sockaddr_in lo = { .sin_family = AF_INET };
	bool v4 = way->dest.any.sa_family == AF_INET;
	__be32 dest = v4 ? way->dest.in.sin_addr.s_addr : way->dest.in6.sin6_addr.s6_addr32[3];

	if (sock->type != SOCK_STREAM || !vserver_net_unbound(sock) ||
	    !(v4 || ipv6_addr_v4mapped(&way->dest.in6.sin6_addr)) ||
	    vserver_loopback_of(dest) != loopback)
		return bind_if_unbound(sock, ops);
	lo.sin_addr.s_addr = dest;
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
	size_t at, size;
	u8 *list;

	if (!length || length > READ_ONCE(sock_net(sock->sk)->core.sysctl_optmem_max))
		return -EINVAL;
	list = memdup_sockptr(value, length);
	if (IS_ERR(list))
		return PTR_ERR(list);
	for (at = 0; (size = size_at(list, at, length)); at += size) {
		if (size == sizeof(struct sockaddr_in6) && !vserver_is_v6(sock->sk)) {
			error = -EINVAL;
			goto out;
		}
		if (binds) {
			error = check_bound(sock, ops, list + at);
			if (error == VSERVER_BIND_ANY)
				error = -EINVAL;
		} else {
			error = check_dest(sock, ops, list + at, size, &way);
			if (!error)
				memcpy(list + at, &way.dest, min_t(size_t, size, way.length));
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
