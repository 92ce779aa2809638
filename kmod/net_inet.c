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
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/inet_hashtables.h>
#include <net/route.h>

#include "net_inet.h"
#include "unexported.h"

/*
 * Whenever a socket gets a source. The kernel checks whether that is the host's each time it looks
 * for a route, and for one of 127.0.0.0/8 that no device has, as all of a loopback are, it does that by
 * a second search for a route. IP_TRANSPARENT says that it need not. It is for these only, and the
 * program does not see it (vserver_inet_getsockopt()).
 */
static void trust_source(struct sock *sk, const struct vserver_ops *ops, __be32 source)
{
	inet_assign_bit(TRANSPARENT, sk, vserver_is_own_loopback(ops, source));
}

/* What it sends from, unless a message says otherwise: the only address there is. */
static void preset_source(struct sock *sk, struct vserver_network *network)
{
	inet_sk(sk)->inet_saddr = vserver_net_only4(network);
	if (vserver_is_v6(sk))
		vserver_net_only6(network, &inet6_sk(sk)->saddr);
}

/* The socket has been bound to the loopback of its network, in place of "any". */
static void mark_any(struct socket *sock, struct vserver_network *network)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	inet_clear_bit(TRANSPARENT, sk);
	if (sk->sk_type == SOCK_DGRAM)
		preset_source(sk, network);
	WRITE_ONCE(sk->sk_user_data, (void *)((uintptr_t)network | SK_USER_DATA_NOCOPY));
	if (vserver_is_v6(sk) && test_bit(VSERVER_SOCK_V6ONLY, &sock->flags))
		set_bit(VSERVER_SK_V6ONLY, &sk->sk_flags);
	/* After the others: who finds it under RCU looks at it first. */
	smp_mb__before_atomic();
	set_bit(VSERVER_SK_ANY, &sk->sk_flags);
	set_bit(VSERVER_SOCK_ANY, &sock->flags);
	release_sock(sk);
}

void vserver_inet_unmark(struct sock *sk)
{
	vserver_groups_leave(sk);
	if (!test_bit(VSERVER_SK_ANY, &sk->sk_flags))
		return;
	lock_sock(sk);
	clear_bit(VSERVER_SK_ANY, &sk->sk_flags);
	clear_bit(VSERVER_SK_V6ONLY, &sk->sk_flags);
	WRITE_ONCE(sk->sk_user_data, NULL);
	release_sock(sk);
}

/* Binds to "any" in the sense of the network: to its loopback, found by its addresses. */
int vserver_bind_any(struct socket *sock, struct vserver_ops *ops, __be16 port)
{
	union vserver_address a = {};
	struct sock *sk = sock->sk;
	int loopback = vserver_network_loopback(ops->network);
	bool v6only = test_bit(VSERVER_SOCK_V6ONLY, &sock->flags);
	int error;

	if (port && !sk->sk_reuseport &&
	    vserver_port_taken(sk, ops->network, port, vserver_is_v6(sk), v6only))
		return -EADDRINUSE;
	if (vserver_is_v6(sk)) {
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
	if (error)
		return error;
	mark_any(sock, ops->network);
	return vserver_groups_update(sock, ops->network);
}

static int inet_bind_in(struct socket *sock, struct sockaddr_unsized *uaddr, int length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct sock *sk = sock->sk;
	union vserver_address a = {};
	int way, error;
	__be16 port;

	if (vserver_is_v6(sk)) {
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
	if (sk->sk_type == SOCK_STREAM && !vserver_is_v6(sk) && a.in.sin_addr.s_addr &&
	    inet_addr_type(sock_net(sk), a.in.sin_addr.s_addr) != RTN_LOCAL)
		return -EADDRNOTAVAIL;
	if (way == VSERVER_BIND_ANY) {
		if (vserver_has_ports(sk))
			return vserver_bind_any(sock, ops, port);
		/* Its source is chosen message by message, or was when it was made. */
		if (sk->sk_type != SOCK_RAW)
			return ops->original->bind(sock, uaddr, length);
		return 0;
	}
	trust_source(sk, ops, 0);
	error = ops->original->bind(sock, &a.unsized, length);
	trust_source(sk, ops, inet_sk(sk)->inet_saddr);
	return error;
}

/* What a bind without a port does, but for asking whether the source is the host's. */
static int take_source(struct sock *sk, __be32 source)
{
	struct inet_sock *inet = inet_sk(sk);
	int error = -EINVAL;

	lock_sock(sk);
	if (sk->sk_state == TCP_CLOSE && !inet->inet_num) {
		inet->inet_saddr = source;
		WRITE_ONCE(inet->inet_rcv_saddr, source);
		sk_dst_reset(sk);
		error = 0;
	}
	release_sock(sk);
	return error;
}

/* Binds to a source address without a port, to be undone by a disconnect. */
int vserver_bind_source(struct socket *sock, struct vserver_ops *ops, struct vserver_way *way)
{
	struct sock *sk = sock->sk;
	bool had = inet_test_bit(BIND_ADDRESS_NO_PORT, sk);
	int error;

	trust_source(sk, ops, way->source4);
	if (!vserver_is_v6(sk) && vserver_is_own_loopback(ops, way->source4))
		return take_source(sk, way->source4);
	inet_set_bit(BIND_ADDRESS_NO_PORT, sk);
	error = ops->original->bind(sock, &way->source.unsized,
				    vserver_is_v6(sk) ? sizeof(way->source.in6) :
							sizeof(way->source.in));
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
int vserver_move_stream(struct socket *sock, const union vserver_address *source)
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
			if (!error && vserver_is_v6(sk))
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
		if (vserver_is_v6(sk)) {
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
		v4 = vserver_loopback(loopback, vserver_is_v6(sk) ? VSERVER_LOOPBACK_V6 :
							    VSERVER_LOOPBACK_V4);
		WRITE_ONCE(inet_sk(sk)->inet_rcv_saddr, v4);
		if (vserver_is_v6(sk))
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

	if (error)
		return error;
	if (sock->sk->sk_type == SOCK_DGRAM && test_bit(VSERVER_SOCK_ANY, &sock->flags))
		unsettle_dgram(sock, ops);
	trust_source(sock->sk, ops, inet_sk(sock->sk)->inet_saddr);
	return 0;
}

static int inet_connect_in(struct socket *sock, struct sockaddr_unsized *uaddr, int length,
			   int flags)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct sock *sk = sock->sk;
	bool stream = sk->sk_type == SOCK_STREAM;
	struct vserver_way way;
	int error;

	if (length < (int)sizeof(uaddr->sa_family) || uaddr->sa_family == AF_UNSPEC)
		return disconnect(sock, ops, uaddr, length, flags);
	/* Under way or done: the kernel's own answer. */
	if (stream && (sock->state != SS_UNCONNECTED || sk->sk_state != TCP_CLOSE))
		return ops->original->connect(sock, uaddr, length, flags);
	error = vserver_find_way(sk, ops, uaddr, length, &way);
	if (error)
		return error;
	if (!way.length)
		return ops->original->connect(sock, uaddr, length, flags);
	error = vserver_check_way(sock, ops->network, &way);
	if (error)
		return error;
	/* What waits to be sent would get addresses from the route to the new peer. */
	if (sk->sk_type == SOCK_DGRAM && sk->sk_protocol == IPPROTO_UDP &&
	    READ_ONCE(udp_sk(sk)->pending))
		return -EINVAL;

	if (test_bit(VSERVER_SOCK_ANY, &sock->flags)) {
		if (stream) {
			error = vserver_move_stream(sock, &way.source);
			if (error)
				return error;
		} else {
			vserver_set_source(sk, &way);
		}
	} else if (vserver_is_bound(sock)) {
		if (!vserver_has_source(sock, &way))
			vserver_set_source(sk, &way);
	} else if (stream && inet_sk(sk)->inet_num) {
		/* It has a port from an attempt that has failed. */
		error = vserver_move_stream(sock, &way.source);
		if (error)
			return error;
	} else {
		/* Neither bound nor connected. */
		error = vserver_bind_source(sock, ops, &way);
		/* A port already, of those that are not found by it: the source is enough. */
		if (error && vserver_has_ports(sk))
			return error;
		if (error)
			vserver_set_source(sk, &way);
	}
	error = ops->original->connect(sock, &way.dest.unsized, way.length, flags);
	if (!stream && test_bit(VSERVER_SOCK_ANY, &sock->flags)) {
		if (!error)
			settle_dgram(sock, way.source4, &way.source6);
		else
			unsettle_dgram(sock, ops);
	}
	/* It may have lost its source. */
	if (error && error != -EINPROGRESS)
		trust_source(sk, ops, inet_sk(sk)->inet_saddr);
	return error;
}

static int inet_listen_in(struct socket *sock, int backlog)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	int error;

	if (vserver_net_unbound(sock) && vserver_has_ports(sock->sk)) {
		error = vserver_bind_any(sock, ops, 0);
		if (error)
			return error;
	}
	return ops->original->listen(sock, backlog);
}

void vserver_inward(const struct vserver_ops *ops, union vserver_address *a)
{
	if (a->any.sa_family == AF_INET) {
		if (a->in.sin_addr.s_addr == ops->localhost)
			a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		else
			vserver_net_inward4(ops->network, &a->in.sin_addr.s_addr);
	} else if (a->any.sa_family == AF_INET6) {
		vserver_net_inward6(ops->network, &a->in6.sin6_addr);
	}
}

static int inet_getname_in(struct socket *sock, struct sockaddr *uaddr, int peer)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	union vserver_address *a = (union vserver_address *)uaddr;
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
	vserver_inward(ops, a);
	return length;
}

/* In place of the kernel's, when the copy is made. */
void vserver_inet_ops(struct vserver_ops *ops)
{
	bool stream = ops->original->listen != sock_no_listen;
	__be32 source;

	ops->localhost = htonl(INADDR_LOOPBACK);
	vserver_net_dest4(ops->network, &ops->localhost, &source);
	ops->ops.bind = inet_bind_in;
	ops->ops.connect = inet_connect_in;
	ops->ops.getname = inet_getname_in;
	if (stream)
		ops->ops.listen = inet_listen_in;
	ops->ops.sendmsg = stream ? vserver_stream_sendmsg : vserver_inet_sendmsg;
	if (!stream)
		ops->ops.recvmsg = vserver_inet_recvmsg;
	ops->ops.setsockopt = vserver_inet_setsockopt;
	if (ops->original->getsockopt)
		ops->ops.getsockopt = vserver_inet_getsockopt;
	if (vserver_is_sctp(ops->original))
		vserver_sctp_ops(ops);
}

/* A raw socket receives and sends by one address, from the start. */
static int raw_born(struct socket *sock, struct vserver_network *network)
{
	struct in6_addr none = {};
	union vserver_address a = {};
	int length, error;

	/* With headers of its own it would send from where it likes. */
	if (inet_test_bit(HDRINCL, sock->sk))
		return -EPERM;
	if (vserver_is_v6(sock->sk)) {
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

	/* Also the options of every socket are to come to vserver_inet_setsockopt(). */
	set_bit(SOCK_CUSTOM_SOCKOPT, &sock->flags);
	if (sk->sk_type == SOCK_RAW)
		return raw_born(sock, network);
	switch (sk->sk_protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		break;
	case IPPROTO_SCTP:
		/* See net_sctp.c. */
		if (vserver_is_v6(sk))
			return -EAFNOSUPPORT;
		if (vserver_is_sctp(vserver_ops_of(sock)->original))
			break;
		return -EPROTONOSUPPORT;
	default:
		/* Others may carry addresses in ways that are not known here. */
		return -EPROTONOSUPPORT;
	}
	/* What the program has set is kept apart already when it comes from such a network. */
	if (vserver_is_v6(sk) && !(previous && previous->ops.setsockopt == vserver_inet_setsockopt)) {
		assign_bit(VSERVER_SOCK_V6ONLY, &sock->flags, sk->sk_ipv6only);
		sk->sk_ipv6only = 0;
	}
	return 0;
}
