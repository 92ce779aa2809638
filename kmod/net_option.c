// SPDX-License-Identifier: GPL-2.0
/*
 * Options of IPv4 and IPv6 sockets of processes with addresses of their own.
 */
#include <linux/inetdevice.h>
#include <linux/mroute.h>
#include <linux/mroute6.h>
#include <linux/tcp.h>
#include <net/addrconf.h>
#include <net/ip6_route.h>
#include <net/route.h>

#include "net_inet.h"

/* A device that is named by its index; zero names none. */
static int check_index(struct socket *sock, struct vserver_network *network, int index)
{
	return !index || vserver_net_sees_index(network, sock_net(sock->sk), index) ? 0 : -ENODEV;
}

/* The device that a socket is to be bound to: one that the network sees. */
static int check_device(struct socket *sock, struct vserver_network *network, int name,
			sockptr_t value, unsigned int length)
{
	char text[IFNAMSIZ] = {};
	struct net_device *dev;
	int index, error = 0;

	switch (name) {
	case SO_BINDTODEVICE:
		if (copy_from_sockptr(text, value, min_t(size_t, length, sizeof(text) - 1)))
			return -EFAULT;
		if (!text[0])
			return 0;
		rcu_read_lock();
		dev = dev_get_by_name_rcu(sock_net(sock->sk), text);
		break;
	case SO_BINDTOIFINDEX:
		if (length < sizeof(index))
			return 0;
		if (copy_from_sockptr(&index, value, sizeof(index)))
			return -EFAULT;
		if (index <= 0)
			return 0;
		return check_index(sock, network, index);
	default:
		return 0;
	}
	if (!dev || !vserver_net_sees(network, dev))
		error = -ENODEV;
	rcu_read_unlock();
	return error;
}

/* Where an option about groups says which device it means. */
static const struct membership {
	int level;
	int name;
	/* Of the index of the device, and of an IPv4 address of it; -1: there is none. */
	s8 index;
	s8 address;
	/* When it says nothing, the device is that of a source of the network's own. */
	bool chooses;
} memberships[] = {
	{ SOL_IP, IP_ADD_MEMBERSHIP, 8, 4, true },
	{ SOL_IP, IP_DROP_MEMBERSHIP, 8, 4, true },
	{ SOL_IP, IP_ADD_SOURCE_MEMBERSHIP, -1, 4, true },
	{ SOL_IP, IP_DROP_SOURCE_MEMBERSHIP, -1, 4, true },
	{ SOL_IP, IP_BLOCK_SOURCE, -1, 4, true },
	{ SOL_IP, IP_UNBLOCK_SOURCE, -1, 4, true },
	{ SOL_IP, IP_MSFILTER, -1, 4, true },
	{ SOL_IP, MCAST_JOIN_GROUP, 0, -1, true },
	{ SOL_IP, MCAST_LEAVE_GROUP, 0, -1, true },
	{ SOL_IP, MCAST_JOIN_SOURCE_GROUP, 0, -1, true },
	{ SOL_IP, MCAST_LEAVE_SOURCE_GROUP, 0, -1, true },
	{ SOL_IP, MCAST_BLOCK_SOURCE, 0, -1, true },
	{ SOL_IP, MCAST_UNBLOCK_SOURCE, 0, -1, true },
	{ SOL_IP, MCAST_MSFILTER, 0, -1, true },
	{ SOL_IPV6, IPV6_ADD_MEMBERSHIP, 16, -1, true },
	{ SOL_IPV6, IPV6_DROP_MEMBERSHIP, 16, -1, false },
	{ SOL_IPV6, MCAST_JOIN_GROUP, 0, -1, true },
	{ SOL_IPV6, MCAST_LEAVE_GROUP, 0, -1, false },
	{ SOL_IPV6, MCAST_JOIN_SOURCE_GROUP, 0, -1, true },
	{ SOL_IPV6, MCAST_LEAVE_SOURCE_GROUP, 0, -1, true },
	{ SOL_IPV6, MCAST_BLOCK_SOURCE, 0, -1, true },
	{ SOL_IPV6, MCAST_UNBLOCK_SOURCE, 0, -1, true },
	{ SOL_IPV6, MCAST_MSFILTER, 0, -1, true },
};

static const struct membership *membership_of(int level, int name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(memberships); i++) {
		if (memberships[i].level == level && memberships[i].name == name)
			return &memberships[i];
	}
	return NULL;
}

/* The address of a network that a device has; zero: none. Under RCU. */
static __be32 address_at(const struct net_device *dev, const struct vserver_network *network)
{
	struct in_device *in = __in_dev_get_rcu(dev);
	const struct in_ifaddr *one;

	if (!in)
		return 0;
	in_dev_for_each_ifa_rcu(one, in) {
		if (vserver_net_has4(network, one->ifa_local))
			return one->ifa_local;
	}
	return 0;
}

/* Whether a device will do for groups of a protocol, and for IPv4 by which address. Under RCU. */
static bool serves(const struct net_device *dev, const struct vserver_network *network, int level,
		   __be32 *address)
{
	*address = address_at(dev, network);
	return level == SOL_IP ? *address : vserver_net_sees(network, dev);
}

/* The device that the host would choose for a group, with a reference to what it is from. */
static struct dst_entry *host_choice(struct net *net, int level, const void *group)
{
	struct flowi6 flow6 = {};
	struct flowi4 flow4 = {};
	struct rtable *route;

	if (level == SOL_IP) {
		memcpy(&flow4.daddr, group, sizeof(flow4.daddr));
		route = ip_route_output_key(net, &flow4);
		return IS_ERR(route) ? NULL : &route->dst;
	}
	memcpy(&flow6.daddr, group, sizeof(flow6.daddr));
	return ip6_route_output(net, NULL, &flow6);
}

/*
 * The device, by an index and for IPv4 by an address of it, of a membership that leaves it open: the one
 * of the host if the network has an address there, else the first with one, else the loopback.
 */
static int choose_device(struct sock *sk, struct vserver_network *network, int level,
			 const void *group, int *index, __be32 *address)
{
	const unsigned int flags[] = { IFF_UP | IFF_MULTICAST, IFF_UP };
	struct dst_entry *dst = host_choice(sock_net(sk), level, group);
	struct net *net = sock_net(sk);
	struct net_device *dev;
	size_t i;

	rcu_read_lock();
	dev = dst ? dst_dev_rcu(dst) : NULL;
	if (dev && !(dev->flags & IFF_LOOPBACK) && serves(dev, network, level, address))
		goto found;
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		for_each_netdev_rcu(net, dev) {
			if ((dev->flags & (flags[i] | IFF_LOOPBACK)) == flags[i] &&
			    serves(dev, network, level, address))
				goto found;
		}
	}
	dev = net->loopback_dev;
	*address = vserver_net_choose4(network, 0, 0);
	if (level == SOL_IP && !*address)
		dev = NULL;
found:
	*index = dev ? dev->ifindex : 0;
	rcu_read_unlock();
	dst_release(dst);
	return *index ? 0 : -ENODEV;
}

/* The least that an option of IPv4 has: a group, and an address. */
#define MIN_MEMBERSHIP	sizeof(struct ip_mreq)

/*
 * Joining and leaving groups: at devices that the network sees, and where the program leaves that
 * open, at that of its own address, not at the one that the host would choose.
 */
static int set_membership(struct socket *sock, struct vserver_ops *ops,
			  const struct membership *membership, sockptr_t value,
			  unsigned int length)
{
	struct vserver_network *network = ops->network;
	struct net *net = sock_net(sock->sk);
	unsigned int group = 0, least = MIN_MEMBERSHIP;
	bool has_index;
	__be32 address = 0;
	int index = 0, error = 0;
	void *copy;

	/* Where the group is: in a socket address behind the index, or at the start. */
	if (!membership->index) {
		group = (in_compat_syscall() ? sizeof(u32) : sizeof(u64)) +
			(membership->level == SOL_IP ? offsetof(struct sockaddr_in, sin_addr) :
						       offsetof(struct sockaddr_in6, sin6_addr));
		least = group + sizeof(struct in6_addr);
	} else if (membership->level == SOL_IPV6) {
		least = sizeof(struct ipv6_mreq);
	}
	/* What is too short or too long the kernel refuses by an error of its own. */
	if (length < least || length > READ_ONCE(net->core.sysctl_optmem_max))
		return ops->original->setsockopt(sock, membership->level, membership->name, value,
						 length);
	copy = memdup_sockptr(value, length);
	if (IS_ERR(copy))
		return PTR_ERR(copy);
	has_index = membership->index >= 0 && length >= membership->index + sizeof(index);
	if (has_index)
		memcpy(&index, copy + membership->index, sizeof(index));
	if (membership->address >= 0)
		memcpy(&address, copy + membership->address, sizeof(address));
	if (index) {
		error = vserver_net_sees_index(network, net, index) ? 0 : -ENODEV;
	} else if (address) {
		error = vserver_net_source4(network, &address) ? -ENODEV : 0;
	} else if (membership->chooses) {
		error = choose_device(sock->sk, network, membership->level, copy + group, &index,
				      &address);
	}
	if (has_index)
		memcpy(copy + membership->index, &index, sizeof(index));
	if (membership->address >= 0)
		memcpy(copy + membership->address, &address, sizeof(address));
	if (!error)
		error = ops->original->setsockopt(sock, membership->level, membership->name,
						  KERNEL_SOCKPTR(copy), length);
	kfree(copy);
	return error ? : vserver_groups_update(sock, network);
}

/* A sticky source, an option with other addresses in it, or a privilege beyond the network. */
static int check_option(struct socket *sock, struct vserver_ops *ops, int level, int name,
			sockptr_t value, unsigned int length)
{
	int index;

	if (level == SOL_SOCKET)
		return check_device(sock, ops->network, name, value, length);
	if (level == SOL_IP) {
		switch (name) {
		case IP_TRANSPARENT:
		case IP_HDRINCL:
			return -EPERM;
		case IP_OPTIONS:
			return length ? -EPERM : 0;
		}
		if (name >= MRT_BASE && name <= MRT_MAX)
			return -EPERM;
		if (name == IP_MULTICAST_IF && length >= sizeof(struct in_addr)) {
			struct ip_mreqn request = {};

			if (length < sizeof(struct ip_mreq)) {
				if (copy_from_sockptr(&request.imr_address, value,
						      sizeof(struct in_addr)))
					return -EFAULT;
			} else if (copy_from_sockptr(&request, value,
						     min_t(size_t, length, sizeof(request)))) {
				return -EFAULT;
			}
			if (request.imr_address.s_addr &&
			    !vserver_net_has4(ops->network, request.imr_address.s_addr))
				return -EADDRNOTAVAIL;
			return check_index(sock, ops->network, request.imr_ifindex);
		}
		if (name == IP_UNICAST_IF && length >= sizeof(index)) {
			if (copy_from_sockptr(&index, value, sizeof(index)))
				return -EFAULT;
			return check_index(sock, ops->network, ntohl((__force __be32)index));
		}
	} else if (level == SOL_IPV6) {
		switch (name) {
		case IPV6_TRANSPARENT:
		case IPV6_HDRINCL:
		case IPV6_RTHDR:
		case IPV6_2292RTHDR:
		case IPV6_2292PKTOPTIONS:
		case IPV6_ADDRFORM:
		case IPV6_JOIN_ANYCAST:
			return -EPERM;
		case IPV6_MULTICAST_IF:
		case IPV6_UNICAST_IF:
			if (length < sizeof(index))
				return 0;
			if (copy_from_sockptr(&index, value, sizeof(index)))
				return -EFAULT;
			if (name == IPV6_UNICAST_IF)
				index = ntohl((__force __be32)index);
			return check_index(sock, ops->network, index);
		case IPV6_PKTINFO: {
			struct in6_pktinfo info;

			if (length < sizeof(info))
				return 0;
			if (copy_from_sockptr(&info, value, sizeof(info)))
				return -EFAULT;
			if (ipv6_addr_any(&info.ipi6_addr))
				return 0;
			return vserver_net_has6(ops->network, &info.ipi6_addr) ? 0 : -EPERM;
		}
		}
		if (name >= MRT6_BASE && name <= MRT6_MAX)
			return -EPERM;
	}
	return 0;
}

int vserver_inet_setsockopt(struct socket *sock, int level, int name, sockptr_t value,
			    unsigned int length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	const struct membership *membership = membership_of(level, name);
	int error = check_option(sock, ops, level, name, value, length);

	if (error)
		return error;
	if (membership && !(level == SOL_IPV6 && !vserver_is_v6(sock->sk)))
		return set_membership(sock, ops, membership, value, length);
	if (level == SOL_IPV6 && name == IPV6_V6ONLY && vserver_is_v6(sock->sk)) {
		int on;

		if (length < sizeof(on) || inet_sk(sock->sk)->inet_num)
			return -EINVAL;
		if (copy_from_sockptr(&on, value, sizeof(on)))
			return -EFAULT;
		assign_bit(VSERVER_SOCK_V6ONLY, &sock->flags, on);
		return 0;
	}
	/* They come here because of SOCK_CUSTOM_SOCKOPT. */
	if (level == SOL_SOCKET)
		return sock_setsockopt(sock, level, name, value, length);
	error = ops->original->setsockopt(sock, level, name, value, length);
	/* An upper layer protocol brings operations of its own: it gets ours around them. */
	if (!error && level == SOL_TCP && name == TCP_ULP &&
	    READ_ONCE(sock->ops) != &ops->ops)
		error = vserver_net_wrap(sock, ops->network);
	return error;
}

/* The value of an option that is a number. */
static int answer(int number, char __user *value, int __user *length)
{
	int room;

	if (get_user(room, length))
		return -EFAULT;
	if (room < 0)
		return -EINVAL;
	room = min_t(int, room, sizeof(number));
	if (put_user(room, length) || copy_to_user(value, &number, room))
		return -EFAULT;
	return 0;
}

int vserver_inet_getsockopt(struct socket *sock, int level, int name, char __user *value,
			    int __user *length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);

	if (level == SOL_IPV6 && name == IPV6_V6ONLY && vserver_is_v6(sock->sk))
		return answer(test_bit(VSERVER_SOCK_V6ONLY, &sock->flags), value, length);
	/* No program here can set it; when it is set, it is by net_inet.c. */
	if ((level == SOL_IP && name == IP_TRANSPARENT) ||
	    (level == SOL_IPV6 && name == IPV6_TRANSPARENT && vserver_is_v6(sock->sk)))
		return answer(0, value, length);
	return ops->original->getsockopt(sock, level, name, value, length);
}
