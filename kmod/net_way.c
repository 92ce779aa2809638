// SPDX-License-Identifier: GPL-2.0
/*
 * From where to where something goes that a process with addresses of its own sends.
 */
#include <linux/udp.h>
#include <net/ip6_route.h>
#include <net/route.h>
#include <net/transp_v6.h>

#include "net_inet.h"

/* The source for a destination that the rules leave to routing. */
int vserver_route4(struct sock *sk, struct vserver_network *network, __be32 dest, __be32 *source)
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

int vserver_route6(struct sock *sk, struct vserver_network *network, const struct in6_addr *dest,
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

int vserver_find_way(struct sock *sk, struct vserver_ops *ops, const void *name, int length,
		     struct vserver_way *way)
{
	struct vserver_network *network = ops->network;
	const struct sockaddr *any = name;
	int error;

	memset(way, 0, sizeof(*way));
	if (length < (int)sizeof(struct sockaddr_in))
		return 0;
	if (any->sa_family == AF_INET6 && vserver_is_v6(sk)) {
		if (length < SIN6_LEN_RFC2133)
			return 0;
		way->length = min_t(int, length, sizeof(way->dest.in6));
		memcpy(&way->dest, name, way->length);
		error = vserver_net_dest6(network, &way->dest.in6.sin6_addr, &way->source6);
		if (!error && ipv6_addr_any(&way->source6)) {
			if (ipv6_addr_v4mapped(&way->dest.in6.sin6_addr)) {
				error = vserver_route4(sk, network,
					       way->dest.in6.sin6_addr.s6_addr32[3],
					       &way->source4);
				ipv6_addr_set_v4mapped(way->source4, &way->source6);
			} else {
				error = vserver_route6(sk, network, &way->dest.in6.sin6_addr,
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
		if (way->dest.in.sin_addr.s_addr == htonl(INADDR_LOOPBACK)) {
			way->dest.in.sin_addr.s_addr = ops->localhost;
			way->source4 = ops->localhost;
			error = 0;
		} else {
			error = vserver_net_dest4(network, &way->dest.in.sin_addr.s_addr,
						  &way->source4);
		}
		if (!error && !way->source4)
			error = vserver_route4(sk, network, way->dest.in.sin_addr.s_addr, &way->source4);
		ipv6_addr_set_v4mapped(way->source4, &way->source6);
	} else {
		return 0;
	}
	if (vserver_is_v6(sk)) {
		way->source.in6.sin6_family = AF_INET6;
		way->source.in6.sin6_addr = way->source6;
	} else {
		way->source.in.sin_family = AF_INET;
		way->source.in.sin_addr.s_addr = way->source4;
	}
	/* LOOPBACK4_IPV6: what the kernel has as the IPv4 address of one that has none. */
	if (!ipv6_addr_v4mapped(&way->source6))
		way->source4 = LOOPBACK4_IPV6;
	return error;
}

/* Whether a socket is bound to an address, not to "any". */
bool vserver_is_bound(const struct socket *sock)
{
	return READ_ONCE(inet_sk(sock->sk)->inet_rcv_saddr) &&
	       !test_bit(VSERVER_SOCK_ANY, &sock->flags);
}

/* Whether it sends from there because it is bound: not so to a group, or a broadcast address. */
bool vserver_has_source(const struct socket *sock, const struct vserver_way *way)
{
	const struct sock *sk = sock->sk;

	if (!vserver_is_bound(sock))
		return false;
	if (ipv6_addr_v4mapped(&way->source6))
		return READ_ONCE(inet_sk(sk)->inet_saddr);
	return vserver_is_v6(sk) && !ipv6_addr_any(&inet6_sk(sk)->saddr);
}

void vserver_set_source(struct sock *sk, const struct vserver_way *way)
{
	lock_sock(sk);
	inet_sk(sk)->inet_saddr = way->source4;
	if (vserver_is_v6(sk))
		inet6_sk(sk)->saddr = way->source6;
	release_sock(sk);
}

/*
 * Whether a way leads where the socket or the rules do not let it: from the loopback to anywhere
 * but the network itself, or by UDP to a socket of the host that takes what comes to any address.
 */
int vserver_check_way(struct socket *sock, struct vserver_network *network,
		      const struct vserver_way *way)
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
	/*
	 * An IPv6 socket that is bound to an IPv6 address has none of IPv4. The kernel would send from
	 * 127.0.0.6, by which it notes that, and take that for what a stream is bound to.
	 */
	if (vserver_is_v6(sk) && vserver_is_bound(sock) &&
	    inet_sk(sk)->inet_rcv_saddr == LOOPBACK4_IPV6)
		return -ENETUNREACH;
	inside = vserver_loopback_of(dest) == loopback;
	if (vserver_is_bound(sock) && !inside && !vserver_net_has4(network, dest) &&
	    vserver_loopback_of(inet_sk(sk)->inet_rcv_saddr) == loopback)
		return -EINVAL;
	if (inside && sk->sk_protocol == IPPROTO_UDP &&
	    vserver_leads_out(sk, dest, way->dest.in.sin_port))
		return -ECONNREFUSED;
	return 0;
}
