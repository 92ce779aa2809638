// SPDX-License-Identifier: GPL-2.0
/*
 * Operations of IPv4 and IPv6 sockets of processes with addresses of their own. They translate
 * addresses on the way in and out, by decisions of network.rs, and call the kernel's operations.
 *
 * A socket bound to "any" is bound to the loopback address of its network instead, where it
 * stands in nobody's way, and marked: packets to the network's addresses find it by
 * net_lookup.c. IPv6 sockets are bound to an IPv4 loopback address mapped into IPv6, as IPv6 has only
 * one loopback address. For that they have to take IPv4, so IPV6_V6ONLY is kept apart.
 */
#include <linux/icmpv6.h>
#include <linux/inetdevice.h>
#include <linux/mroute.h>
#include <linux/mroute6.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/addrconf.h>
#include <net/compat.h>
#include <net/inet_hashtables.h>
#include <net/inet_sock.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/sock.h>

#include "net.h"
#include "unexported.h"

union address {
	struct sockaddr any;
	struct sockaddr_unsized unsized;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static bool is_v6(const struct sock *sk)
{
	return sk->sk_family == AF_INET6;
}

/* Sockets that are found by their port: the others take any source and have no "any". */
static bool has_ports(const struct sock *sk)
{
	return sk->sk_type != SOCK_RAW &&
	       (sk->sk_protocol == IPPROTO_TCP || sk->sk_protocol == IPPROTO_UDP);
}

/* What it sends from, unless a message says otherwise: the only address there is. */
static void preset_source(struct sock *sk, struct vserver_network *network)
{
	inet_sk(sk)->inet_saddr = vserver_net_only4(network);
	if (is_v6(sk))
		vserver_net_only6(network, &inet6_sk(sk)->saddr);
}

/* The socket has been bound to the loopback of its network, in place of "any". */
static void mark_any(struct socket *sock, struct vserver_network *network)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	if (sk->sk_type == SOCK_DGRAM)
		preset_source(sk, network);
	WRITE_ONCE(sk->sk_user_data, (void *)((uintptr_t)network | SK_USER_DATA_NOCOPY));
	if (is_v6(sk) && test_bit(VSERVER_SOCK_V6ONLY, &sock->flags))
		set_bit(VSERVER_SK_V6ONLY, &sk->sk_flags);
	/* After the others: who finds it under RCU looks at it first. */
	smp_mb__before_atomic();
	set_bit(VSERVER_SK_ANY, &sk->sk_flags);
	set_bit(VSERVER_SOCK_ANY, &sock->flags);
	release_sock(sk);
}

void vserver_inet_unmark(struct sock *sk)
{
	if (!test_bit(VSERVER_SK_ANY, &sk->sk_flags))
		return;
	lock_sock(sk);
	clear_bit(VSERVER_SK_ANY, &sk->sk_flags);
	clear_bit(VSERVER_SK_V6ONLY, &sk->sk_flags);
	WRITE_ONCE(sk->sk_user_data, NULL);
	release_sock(sk);
}

/* Binds to "any" in the sense of the network: to its loopback, found by its addresses. */
static int bind_any(struct socket *sock, struct vserver_ops *ops, __be16 port)
{
	union address a = {};
	struct sock *sk = sock->sk;
	int loopback = vserver_network_loopback(ops->network);
	bool v6only = test_bit(VSERVER_SOCK_V6ONLY, &sock->flags);
	int error;

	if (port && !sk->sk_reuseport &&
	    vserver_port_taken(sk, ops->network, port, is_v6(sk), v6only))
		return -EADDRINUSE;
	if (is_v6(sk)) {
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_port = port;
		ipv6_addr_set_v4mapped(vserver_loopback(loopback, VSERVER_LOOPBACK_V6),
				       &a.in6.sin6_addr);
		error = ops->original->bind(sock, &a.unsized, sizeof(a.in6));
	} else {
		a.in.sin_family = AF_INET;
		a.in.sin_port = port;
		a.in.sin_addr.s_addr = vserver_loopback(loopback, VSERVER_LOOPBACK_V4);
		error = ops->original->bind(sock, &a.unsized, sizeof(a.in));
	}
	if (!error)
		mark_any(sock, ops->network);
	return error;
}

static int inet_bind_in(struct socket *sock, struct sockaddr_unsized *uaddr, int length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct sock *sk = sock->sk;
	union address a = {};
	__be16 port;
	int way;

	if (is_v6(sk)) {
		if (length < SIN6_LEN_RFC2133 || uaddr->sa_family != AF_INET6)
			return ops->original->bind(sock, uaddr, length);
		length = min_t(int, length, sizeof(a.in6));
		memcpy(&a, uaddr, length);
		way = vserver_net_bind6(ops->network, &a.in6.sin6_addr,
					test_bit(VSERVER_SOCK_V6ONLY, &sock->flags));
		port = a.in6.sin6_port;
	} else {
		if (length < (int)sizeof(a.in) ||
		    (uaddr->sa_family != AF_INET && uaddr->sa_family != AF_UNSPEC))
			return ops->original->bind(sock, uaddr, length);
		length = sizeof(a.in);
		memcpy(&a, uaddr, length);
		if (a.any.sa_family == AF_UNSPEC && a.in.sin_addr.s_addr)
			return -EAFNOSUPPORT;
		way = vserver_net_bind4(ops->network, &a.in.sin_addr.s_addr);
		port = a.in.sin_port;
	}
	if (way < 0)
		return way;
	/* No stream comes to a group; with one's own as a source it would come from anywhere. */
	if (sk->sk_type == SOCK_STREAM && !is_v6(sk) && a.in.sin_addr.s_addr &&
	    inet_addr_type(sock_net(sk), a.in.sin_addr.s_addr) != RTN_LOCAL)
		return -EADDRNOTAVAIL;
	if (way == VSERVER_BIND_ANY) {
		if (has_ports(sk))
			return bind_any(sock, ops, port);
		/* Its source is chosen message by message, or was when it was made. */
		if (sk->sk_type != SOCK_RAW)
			return ops->original->bind(sock, uaddr, length);
		return 0;
	}
	return ops->original->bind(sock, &a.unsized, length);
}

/* The source for a destination that the rules leave to routing. */
static int route4(struct sock *sk, struct vserver_network *network, __be32 dest, __be32 *source)
{
	struct flowi4 flow = {
		.flowi4_oif = sk->sk_bound_dev_if,
		.flowi4_proto = sk->sk_protocol,
		.daddr = dest,
	};
	struct rtable *route;

	*source = vserver_net_only4(network);
	if (*source)
		return 0;
	if (ipv4_is_multicast(dest) && !flow.flowi4_oif)
		flow.flowi4_oif = READ_ONCE(inet_sk(sk)->mc_index);
	route = ip_route_output_key(sock_net(sk), &flow);
	if (!IS_ERR(route))
		ip_rt_put(route);
	/* Without a route the kernel says so itself, whatever the source is. */
	*source = vserver_net_choose4(network, dest, IS_ERR(route) ? 0 : flow.saddr);
	return *source ? 0 : -EADDRNOTAVAIL;
}

static int route6(struct sock *sk, struct vserver_network *network, const struct in6_addr *dest,
		  int scope, struct in6_addr *source)
{
	struct flowi6 flow = {
		.flowi6_oif = sk->sk_bound_dev_if ? : scope,
		.flowi6_proto = sk->sk_protocol,
		.daddr = *dest,
	};
	struct dst_entry *dst;

	vserver_net_only6(network, source);
	if (!ipv6_addr_any(source))
		return 0;
	dst = ip6_route_output(sock_net(sk), NULL, &flow);
	dst_release(dst);
	vserver_net_choose6(network, dest, &flow.saddr, source);
	return ipv6_addr_any(source) ? -EADDRNOTAVAIL : 0;
}

/* Binds to a source address without a port, to be undone by a disconnect. */
static int bind_source(struct socket *sock, struct vserver_ops *ops, union address *source,
		       int length)
{
	struct sock *sk = sock->sk;
	bool had = inet_test_bit(BIND_ADDRESS_NO_PORT, sk);
	int error;

	inet_set_bit(BIND_ADDRESS_NO_PORT, sk);
	error = ops->original->bind(sock, &source->unsized, length);
	if (!had)
		inet_clear_bit(BIND_ADDRESS_NO_PORT, sk);
	if (error)
		return error;
	lock_sock(sk);
	sk->sk_userlocks &= ~SOCK_BINDADDR_LOCK;
	release_sock(sk);
	return 0;
}

/* A stream bound to "any" and a port is about to connect: it leaves "any" for good. */
static int move_stream(struct socket *sock, const union address *source)
{
	struct sock *sk = sock->sk;
	__be32 v4 = source->in.sin_addr.s_addr;
	int error;

	vserver_inet_unmark(sk);
	clear_bit(VSERVER_SOCK_ANY, &sock->flags);
	lock_sock(sk);
	error = -EINVAL;
	if (sk->sk_state == TCP_CLOSE) {
		if (source->any.sa_family == AF_INET6 &&
		    ipv6_addr_v4mapped(&source->in6.sin6_addr))
			v4 = source->in6.sin6_addr.s6_addr32[3];
		if (source->any.sa_family == AF_INET6 &&
		    !ipv6_addr_v4mapped(&source->in6.sin6_addr)) {
			error = vserver_call_inet_bhash2_update_saddr(sk,
					(void *)&source->in6.sin6_addr, AF_INET6);
		} else {
			/* Of an IPv6 socket, too, the mapped address follows. */
			error = vserver_call_inet_bhash2_update_saddr(sk, &v4, AF_INET);
			if (!error && is_v6(sk))
				ipv6_addr_set_v4mapped(v4, &inet6_sk(sk)->saddr);
		}
	}
	release_sock(sk);
	return error;
}

/* After a datagram socket bound to "any" has got a peer: it is found by its source address only. */
static void settle_dgram(struct socket *sock, __be32 v4, const struct in6_addr *v6)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	if (sk->sk_state == TCP_ESTABLISHED) {
		inet_sk(sk)->inet_saddr = v4;
		WRITE_ONCE(inet_sk(sk)->inet_rcv_saddr, v4);
		if (is_v6(sk)) {
			inet6_sk(sk)->saddr = *v6;
			sk->sk_v6_rcv_saddr = *v6;
		}
		sk->sk_prot->rehash(sk);
	}
	release_sock(sk);
}

/* And after it has lost it: back to "any". */
static void unsettle_dgram(struct socket *sock, struct vserver_ops *ops)
{
	int loopback = vserver_network_loopback(ops->network);
	struct sock *sk = sock->sk;
	__be32 v4;

	lock_sock(sk);
	if (inet_sk(sk)->inet_num) {
		v4 = vserver_loopback(loopback, is_v6(sk) ? VSERVER_LOOPBACK_V6 :
							    VSERVER_LOOPBACK_V4);
		WRITE_ONCE(inet_sk(sk)->inet_rcv_saddr, v4);
		if (is_v6(sk))
			ipv6_addr_set_v4mapped(v4, &sk->sk_v6_rcv_saddr);
		preset_source(sk, ops->network);
		sk->sk_prot->rehash(sk);
	}
	release_sock(sk);
}

static int disconnect(struct socket *sock, struct vserver_ops *ops, struct sockaddr_unsized *uaddr,
		      int length, int flags)
{
	int error = ops->original->connect(sock, uaddr, length, flags);

	if (!error && sock->sk->sk_type == SOCK_DGRAM && test_bit(VSERVER_SOCK_ANY, &sock->flags))
		unsettle_dgram(sock, ops);
	return error;
}

/* Destination and source of a connect() or a message; length 0: the kernel says what is wrong. */
struct way {
	union address dest;
	int length;
	union address source;
	/* The source as both kinds of addresses. */
	__be32 source4;
	struct in6_addr source6;
};

static int find_way(struct sock *sk, struct vserver_network *network, const void *name, int length,
		    struct way *way)
{
	const struct sockaddr *any = name;
	int error;

	memset(way, 0, sizeof(*way));
	if (length < (int)sizeof(struct sockaddr_in))
		return 0;
	if (any->sa_family == AF_INET6 && is_v6(sk)) {
		if (length < SIN6_LEN_RFC2133)
			return 0;
		way->length = min_t(int, length, sizeof(way->dest.in6));
		memcpy(&way->dest, name, way->length);
		error = vserver_net_dest6(network, &way->dest.in6.sin6_addr, &way->source6);
		if (!error && ipv6_addr_any(&way->source6)) {
			if (ipv6_addr_v4mapped(&way->dest.in6.sin6_addr)) {
				error = route4(sk, network,
					       way->dest.in6.sin6_addr.s6_addr32[3],
					       &way->source4);
				ipv6_addr_set_v4mapped(way->source4, &way->source6);
			} else {
				error = route6(sk, network, &way->dest.in6.sin6_addr,
					       way->length == sizeof(way->dest.in6) ?
					       way->dest.in6.sin6_scope_id : 0, &way->source6);
				way->source.in6.sin6_scope_id = way->dest.in6.sin6_scope_id;
			}
		} else {
			way->source4 = way->source6.s6_addr32[3];
		}
	} else if (any->sa_family == AF_INET || any->sa_family == AF_UNSPEC) {
		way->length = sizeof(way->dest.in);
		memcpy(&way->dest, name, way->length);
		error = vserver_net_dest4(network, &way->dest.in.sin_addr.s_addr, &way->source4);
		if (!error && !way->source4)
			error = route4(sk, network, way->dest.in.sin_addr.s_addr, &way->source4);
		ipv6_addr_set_v4mapped(way->source4, &way->source6);
	} else {
		return 0;
	}
	if (is_v6(sk)) {
		way->source.in6.sin6_family = AF_INET6;
		way->source.in6.sin6_addr = way->source6;
	} else {
		way->source.in.sin_family = AF_INET;
		way->source.in.sin_addr.s_addr = way->source4;
	}
	/* LOOPBACK4_IPV6: what the kernel has as the IPv4 address of one that has none. */
	if (!ipv6_addr_v4mapped(&way->source6))
		way->source4 = htonl(0x7f000006);
	return error;
}

/* Whether a socket is bound to an address, not to "any". */
static bool is_bound(const struct socket *sock)
{
	return READ_ONCE(inet_sk(sock->sk)->inet_rcv_saddr) &&
	       !test_bit(VSERVER_SOCK_ANY, &sock->flags);
}

/* Whether it sends from there because it is bound: not so to a group, or a broadcast address. */
static bool has_source(const struct socket *sock, const struct way *way)
{
	const struct sock *sk = sock->sk;

	if (!is_bound(sock))
		return false;
	if (ipv6_addr_v4mapped(&way->source6))
		return READ_ONCE(inet_sk(sk)->inet_saddr);
	return is_v6(sk) && !ipv6_addr_any(&inet6_sk(sk)->saddr);
}

static void set_source(struct sock *sk, const struct way *way)
{
	lock_sock(sk);
	inet_sk(sk)->inet_saddr = way->source4;
	if (is_v6(sk))
		inet6_sk(sk)->saddr = way->source6;
	release_sock(sk);
}

/*
 * Whether a way leads where the socket or the rules do not let it: from the loopback to anywhere
 * but the network itself, or by UDP to a socket of the host that takes what comes to any address.
 */
static int check_way(struct socket *sock, struct vserver_network *network, const struct way *way)
{
	int loopback = vserver_network_loopback(network);
	struct sock *sk = sock->sk;
	bool inside;
	__be32 dest;

	if (way->dest.any.sa_family == AF_INET6) {
		if (!ipv6_addr_v4mapped(&way->dest.in6.sin6_addr))
			return 0;
		dest = way->dest.in6.sin6_addr.s6_addr32[3];
	} else {
		dest = way->dest.in.sin_addr.s_addr;
	}
	inside = vserver_loopback_of(dest) == loopback;
	if (is_bound(sock) && !inside && !vserver_net_has4(network, dest) &&
	    vserver_loopback_of(inet_sk(sk)->inet_rcv_saddr) == loopback)
		return -EINVAL;
	if (inside && sk->sk_protocol == IPPROTO_UDP &&
	    vserver_leads_out(sk, dest, way->dest.in.sin_port))
		return -ECONNREFUSED;
	return 0;
}

static int inet_connect_in(struct socket *sock, struct sockaddr_unsized *uaddr, int length,
			   int flags)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct sock *sk = sock->sk;
	bool stream = sk->sk_type == SOCK_STREAM;
	struct way way;
	int error;

	if (length < (int)sizeof(uaddr->sa_family) || uaddr->sa_family == AF_UNSPEC)
		return disconnect(sock, ops, uaddr, length, flags);
	/* Under way or done: the kernel's own answer. */
	if (stream && (sock->state != SS_UNCONNECTED || sk->sk_state != TCP_CLOSE))
		return ops->original->connect(sock, uaddr, length, flags);
	error = find_way(sk, ops->network, uaddr, length, &way);
	if (error)
		return error;
	if (!way.length)
		return ops->original->connect(sock, uaddr, length, flags);
	error = check_way(sock, ops->network, &way);
	if (error)
		return error;
	/* What waits to be sent would get addresses from the route to the new peer. */
	if (sk->sk_type == SOCK_DGRAM && sk->sk_protocol == IPPROTO_UDP &&
	    READ_ONCE(udp_sk(sk)->pending))
		return -EINVAL;

	if (test_bit(VSERVER_SOCK_ANY, &sock->flags)) {
		if (stream) {
			error = move_stream(sock, &way.source);
			if (error)
				return error;
		} else {
			set_source(sk, &way);
		}
	} else if (is_bound(sock)) {
		if (!has_source(sock, &way))
			set_source(sk, &way);
	} else {
		/* Neither bound nor connected. */
		error = bind_source(sock, ops, &way.source,
				    is_v6(sk) ? sizeof(way.source.in6) : sizeof(way.source.in));
		/* A port already, of those that are not found by it: the source is enough. */
		if (error && has_ports(sk))
			return error;
		if (error)
			set_source(sk, &way);
	}
	error = ops->original->connect(sock, &way.dest.unsized, way.length, flags);
	if (!stream && test_bit(VSERVER_SOCK_ANY, &sock->flags)) {
		if (!error)
			settle_dgram(sock, way.source4, &way.source6);
		else
			unsettle_dgram(sock, ops);
	}
	return error;
}

static int inet_listen_in(struct socket *sock, int backlog)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	int error;

	if (vserver_net_unbound(sock) && has_ports(sock->sk)) {
		error = bind_any(sock, ops, 0);
		if (error)
			return error;
	}
	return ops->original->listen(sock, backlog);
}

static void inward(struct socket *sock, struct vserver_network *network, union address *a)
{
	if (a->any.sa_family == AF_INET)
		vserver_net_inward4(network, &a->in.sin_addr.s_addr);
	else if (a->any.sa_family == AF_INET6)
		vserver_net_inward6(network, &a->in6.sin6_addr);
}

static int inet_getname_in(struct socket *sock, struct sockaddr *uaddr, int peer)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	union address *a = (union address *)uaddr;
	int length = ops->original->getname(sock, uaddr, peer);

	if (length <= 0)
		return length;
	if (!peer && test_bit(VSERVER_SOCK_ANY, &sock->flags) &&
	    vserver_loopback_of(inet_sk(sock->sk)->inet_rcv_saddr) ==
	    vserver_network_loopback(ops->network) &&
	    sock->sk->sk_state != TCP_ESTABLISHED) {
		if (a->any.sa_family == AF_INET)
			a->in.sin_addr.s_addr = 0;
		else
			memset(&a->in6.sin6_addr, 0, sizeof(a->in6.sin6_addr));
		return length;
	}
	inward(sock, ops->network, a);
	return length;
}

/*
 * A message's own choice of a source. -EPERM: it is not among the addresses. The kernel takes zero
 * for "as routing has it", which is source4 here. v4: what leaves is IPv4, and of the choices for
 * IPv6 it takes one, and none at a socket of IPv4.
 */
static int check_control(const struct sock *sk, struct vserver_network *network,
			 struct msghdr *message, bool v4, __be32 source4, bool *chosen)
{
	struct cmsghdr *cmsg;
	int error = 0;

	for_each_cmsghdr(cmsg, message) {
		if (!CMSG_OK(message, cmsg))
			return -EINVAL;
		if (cmsg->cmsg_level == SOL_IP && cmsg->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo *info = CMSG_DATA(cmsg);

			if (cmsg->cmsg_len != CMSG_LEN(sizeof(*info)))
				return -EINVAL;
			if (info->ipi_spec_dst.s_addr)
				error = vserver_net_source4(network, &info->ipi_spec_dst.s_addr);
			else
				info->ipi_spec_dst.s_addr = source4;
			*chosen |= v4;
		} else if (cmsg->cmsg_level == SOL_IP && cmsg->cmsg_type == IP_RETOPTS) {
			error = -EPERM;
		} else if (cmsg->cmsg_level == SOL_IPV6 &&
			   (cmsg->cmsg_type == IPV6_PKTINFO ||
			    cmsg->cmsg_type == IPV6_2292PKTINFO)) {
			struct in6_pktinfo *info = CMSG_DATA(cmsg);

			if (cmsg->cmsg_len < CMSG_LEN(sizeof(*info)))
				return -EINVAL;
			if (!ipv6_addr_any(&info->ipi6_addr)) {
				error = vserver_net_source6(network, &info->ipi6_addr);
				*chosen |= !v4 || (is_v6(sk) && cmsg->cmsg_type == IPV6_PKTINFO);
			}
		} else if (cmsg->cmsg_level == SOL_IPV6 &&
			   (cmsg->cmsg_type == IPV6_RTHDR ||
			    cmsg->cmsg_type == IPV6_2292RTHDR)) {
			error = -EPERM;
		}
		if (error)
			return error;
	}
	return 0;
}

/* A control message that names the source, before those that the program gave. */
static size_t name_source(const struct way *way, void *room)
{
	struct cmsghdr *cmsg = room;

	if (ipv6_addr_v4mapped(&way->source6)) {
		struct in_pktinfo info = { .ipi_spec_dst.s_addr = way->source4 };

		cmsg->cmsg_level = SOL_IP;
		cmsg->cmsg_type = IP_PKTINFO;
		cmsg->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	} else {
		struct in6_pktinfo info = { .ipi6_addr = way->source6 };

		cmsg->cmsg_level = SOL_IPV6;
		cmsg->cmsg_type = IPV6_PKTINFO;
		cmsg->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	}
}

#define ROOM	CMSG_SPACE(sizeof(struct in6_pktinfo))

/* Whether the socket sends from there anyway. */
static bool sends_from(const struct sock *sk, const struct way *way)
{
	if (ipv6_addr_v4mapped(&way->source6))
		return READ_ONCE(inet_sk(sk)->inet_saddr) == way->source4;
	return is_v6(sk) && ipv6_addr_equal(&inet6_sk(sk)->saddr, &way->source6);
}

static int send_datagram(struct socket *sock, struct vserver_ops *ops, struct msghdr *message,
			 size_t size)
{
	struct vserver_network *network = ops->network;
	void *name = message->msg_name, *control = message->msg_control, *copy = NULL;
	size_t controllen = message->msg_controllen;
	bool is_user = message->msg_control_is_user;
	u8 room[ROOM] __aligned(sizeof(long));
	int namelen = message->msg_namelen;
	struct sock *sk = sock->sk;
	bool chosen = false;
	struct way way = {};
	int error;

	if (name) {
		error = find_way(sk, network, name, namelen, &way);
		if (!error && way.length)
			error = check_way(sock, network, &way);
		if (error)
			return error;
	}
	if (controllen && !is_user) {
		/* Ours to change: a message may be sent again as it was. */
		copy = kzalloc(ROOM + controllen, GFP_KERNEL);
		if (!copy)
			return -ENOMEM;
		memcpy(copy + ROOM, control, controllen);
		message->msg_control = copy + ROOM;
		error = check_control(sk, network, message, ipv6_addr_v4mapped(&way.source6),
				      way.length && !has_source(sock, &way) ?
				      way.source4 : READ_ONCE(inet_sk(sk)->inet_saddr),
				      &chosen);
		if (error)
			goto out;
	}
	if (has_ports(sk) && vserver_net_unbound(sock)) {
		error = bind_any(sock, ops, 0);
		if (error && error != -EINVAL)
			goto out;
	}
	if (way.length) {
		message->msg_name = &way.dest;
		message->msg_namelen = way.length;
		if (!chosen && !has_source(sock, &way) && !sends_from(sk, &way)) {
			void *start = copy ? copy : (void *)room;
			size_t used;

			memset(room, 0, sizeof(room));
			used = name_source(&way, copy ? (void *)room : start);
			if (copy) {
				/* Just before the program's own. */
				start = copy + ROOM - used;
				memcpy(start, room, used);
			}
			message->msg_control = start;
			message->msg_controllen = used + (copy ? controllen : 0);
			message->msg_control_is_user = false;
		}
	}
	error = ops->original->sendmsg(sock, message, size);
out:
	message->msg_name = name;
	message->msg_namelen = namelen;
	message->msg_control = control;
	message->msg_controllen = controllen;
	message->msg_control_is_user = is_user;
	kfree(copy);
	return error;
}

static int inet_sendmsg_in(struct socket *sock, struct msghdr *message, size_t size)
{
	struct vserver_ops *ops = vserver_ops_of(sock);

	if (!message->msg_name && !message->msg_controllen)
		return ops->original->sendmsg(sock, message, size);
	return send_datagram(sock, ops, message, size);
}

/* A stream is bound and connected by a message in one case only: TCP Fast Open. */
static int stream_sendmsg_in(struct socket *sock, struct msghdr *message, size_t size)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	void *name = message->msg_name;
	int namelen = message->msg_namelen;
	struct sock *sk = sock->sk;
	struct way way;
	int error;

	if (likely(!(message->msg_flags & MSG_FASTOPEN)) || !name ||
	    sock->state != SS_UNCONNECTED || sk->sk_state != TCP_CLOSE)
		return ops->original->sendmsg(sock, message, size);
	error = find_way(sk, ops->network, name, namelen, &way);
	if (!error && way.length)
		error = check_way(sock, ops->network, &way);
	if (error)
		return error;
	if (way.length && vserver_net_unbound(sock)) {
		error = bind_source(sock, ops, &way.source,
				    is_v6(sk) ? sizeof(way.source.in6) : sizeof(way.source.in));
		if (error)
			return error;
	} else if (way.length && test_bit(VSERVER_SOCK_ANY, &sock->flags)) {
		error = move_stream(sock, &way.source);
		if (error)
			return error;
	}
	if (way.length) {
		message->msg_name = &way.dest;
		message->msg_namelen = way.length;
	}
	error = ops->original->sendmsg(sock, message, size);
	message->msg_name = name;
	message->msg_namelen = namelen;
	return error;
}

/* The addresses in control messages that have just been written for the program. */
static void translate_control(struct vserver_network *network, void __user *start, size_t length)
{
	struct cmsghdr head;
	size_t at = 0;

	while (at + sizeof(head) <= length) {
		if (copy_from_user(&head, start + at, sizeof(head)) ||
		    head.cmsg_len < sizeof(head) || head.cmsg_len > length - at)
			return;
		if (head.cmsg_level == SOL_IP && head.cmsg_type == IP_PKTINFO &&
		    head.cmsg_len >= CMSG_LEN(sizeof(struct in_pktinfo))) {
			struct in_pktinfo info;
			void __user *data = start + at + CMSG_LEN(0);

			if (copy_from_user(&info, data, sizeof(info)))
				return;
			vserver_net_inward4(network, &info.ipi_spec_dst.s_addr);
			vserver_net_inward4(network, &info.ipi_addr.s_addr);
			if (copy_to_user(data, &info, sizeof(info)))
				return;
		} else if (head.cmsg_level == SOL_IPV6 &&
			   (head.cmsg_type == IPV6_PKTINFO ||
			    head.cmsg_type == IPV6_2292PKTINFO) &&
			   head.cmsg_len >= CMSG_LEN(sizeof(struct in6_pktinfo))) {
			struct in6_pktinfo info;
			void __user *data = start + at + CMSG_LEN(0);

			if (copy_from_user(&info, data, sizeof(info)))
				return;
			vserver_net_inward6(network, &info.ipi6_addr);
			if (copy_to_user(data, &info, sizeof(info)))
				return;
		} else if ((head.cmsg_level == SOL_IP && head.cmsg_type == IP_ORIGDSTADDR) ||
			   (head.cmsg_level == SOL_IPV6 && head.cmsg_type == IPV6_ORIGDSTADDR)) {
			union address a;
			size_t size = head.cmsg_len - CMSG_LEN(0);
			void __user *data = start + at + CMSG_LEN(0);

			memset(&a, 0, sizeof(a));
			size = min(size, sizeof(a));
			if (copy_from_user(&a, data, size))
				return;
			inward(NULL, network, &a);
			if (copy_to_user(data, &a, size))
				return;
		}
		at += CMSG_ALIGN(head.cmsg_len);
	}
}

static int inet_recvmsg_in(struct socket *sock, struct msghdr *message, size_t size, int flags)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	void __user *control = message->msg_control_user;
	size_t controllen = message->msg_controllen;
	int result = ops->original->recvmsg(sock, message, size, flags);

	if (result < 0)
		return result;
	if (message->msg_name && message->msg_namelen >= (int)sizeof(struct sockaddr_in))
		inward(sock, ops->network, message->msg_name);
	if (controllen && message->msg_control_is_user && !(flags & MSG_CMSG_COMPAT) &&
	    controllen > message->msg_controllen)
		translate_control(ops->network, control, controllen - message->msg_controllen);
	return result;
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
		rcu_read_lock();
		dev = dev_get_by_index_rcu(sock_net(sock->sk), index);
		break;
	default:
		return 0;
	}
	if (!dev || !vserver_net_sees(network, dev))
		error = -ENODEV;
	rcu_read_unlock();
	return error;
}

/* A sticky source, an option with other addresses in it, or a privilege beyond the network. */
static int check_option(struct socket *sock, struct vserver_ops *ops, int level, int name,
			sockptr_t value, unsigned int length)
{
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
		}
	} else if (level == SOL_IPV6) {
		switch (name) {
		case IPV6_TRANSPARENT:
		case IPV6_HDRINCL:
		case IPV6_RTHDR:
		case IPV6_2292RTHDR:
		case IPV6_2292PKTOPTIONS:
		case IPV6_ADDRFORM:
			return -EPERM;
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

static int inet_setsockopt_in(struct socket *sock, int level, int name, sockptr_t value,
			      unsigned int length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	int error = check_option(sock, ops, level, name, value, length);

	if (error)
		return error;
	if (level == SOL_IPV6 && name == IPV6_V6ONLY && is_v6(sock->sk)) {
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

static int inet_getsockopt_in(struct socket *sock, int level, int name, char __user *value,
			      int __user *length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);

	if (level == SOL_IPV6 && name == IPV6_V6ONLY && is_v6(sock->sk)) {
		int on = test_bit(VSERVER_SOCK_V6ONLY, &sock->flags), room;

		if (get_user(room, length))
			return -EFAULT;
		if (room < 0)
			return -EINVAL;
		room = min_t(int, room, sizeof(on));
		if (put_user(room, length) || copy_to_user(value, &on, room))
			return -EFAULT;
		return 0;
	}
	return ops->original->getsockopt(sock, level, name, value, length);
}

/* In place of the kernel's, when the copy is made. */
void vserver_inet_ops(struct vserver_ops *ops)
{
	bool stream = ops->original->listen != sock_no_listen;

	ops->ops.bind = inet_bind_in;
	ops->ops.connect = inet_connect_in;
	ops->ops.getname = inet_getname_in;
	if (stream)
		ops->ops.listen = inet_listen_in;
	ops->ops.sendmsg = stream ? stream_sendmsg_in : inet_sendmsg_in;
	if (!stream)
		ops->ops.recvmsg = inet_recvmsg_in;
	ops->ops.setsockopt = inet_setsockopt_in;
	if (ops->original->getsockopt)
		ops->ops.getsockopt = inet_getsockopt_in;
}

/* A raw socket receives and sends by one address, from the start. */
static int raw_born(struct socket *sock, struct vserver_network *network)
{
	struct in6_addr none = {};
	union address a = {};
	int length, error;

	/* With headers of its own it would send from where it likes. */
	if (inet_test_bit(HDRINCL, sock->sk))
		return -EPERM;
	if (is_v6(sock->sk)) {
		vserver_net_choose6(network, &none, &none, &a.in6.sin6_addr);
		if (ipv6_addr_any(&a.in6.sin6_addr))
			return -EADDRNOTAVAIL;
		a.in6.sin6_family = AF_INET6;
		length = sizeof(a.in6);
	} else {
		a.in.sin_addr.s_addr = vserver_net_choose4(network, 0, 0);
		if (!a.in.sin_addr.s_addr)
			return -EADDRNOTAVAIL;
		a.in.sin_family = AF_INET;
		length = sizeof(a.in);
	}
	error = vserver_ops_of(sock)->original->bind(sock, &a.unsized, length);
	if (error)
		return error;
	/* So that it keeps an address when it gives up a peer. */
	lock_sock(sock->sk);
	sock->sk->sk_userlocks |= SOCK_BINDADDR_LOCK;
	release_sock(sock->sk);
	return 0;
}

/* A socket that is new to the network: what it cannot be, and what is set from the start. */
int vserver_inet_born(struct socket *sock, struct vserver_network *network,
		      const struct vserver_ops *previous)
{
	struct sock *sk = sock->sk;

	/* Also the options of every socket are to come to inet_setsockopt_in(). */
	set_bit(SOCK_CUSTOM_SOCKOPT, &sock->flags);
	if (sk->sk_type == SOCK_RAW)
		return raw_born(sock, network);
	switch (sk->sk_protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		break;
	default:
		/* Others may carry addresses in ways that are not known here. */
		return -EPROTONOSUPPORT;
	}
	/* What the program has set is kept apart already when it comes from such a network. */
	if (is_v6(sk) && !(previous && previous->ops.setsockopt == inet_setsockopt_in)) {
		assign_bit(VSERVER_SOCK_V6ONLY, &sock->flags, sk->sk_ipv6only);
		sk->sk_ipv6only = 0;
	}
	return 0;
}
