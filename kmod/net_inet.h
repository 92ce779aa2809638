/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files about sockets of IPv4 and IPv6 (net_inet.c, net_way.c, net_message.c,
 * net_option.c, net_groups.c) have in common.
 */
#ifndef VSERVER_NET_INET_H
#define VSERVER_NET_INET_H

#include <linux/net.h>
#include <linux/sockptr.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>
#include <net/sock.h>

#include "net.h"

union vserver_address {
	struct sockaddr any;
	struct sockaddr_unsized unsized;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static inline bool vserver_is_v6(const struct sock *sk)
{
	return sk->sk_family == AF_INET6;
}

/* Sockets that are found by their port: the others take any source and have no "any". */
static inline bool vserver_has_ports(const struct sock *sk)
{
	return sk->sk_type != SOCK_RAW &&
	       (sk->sk_protocol == IPPROTO_TCP || sk->sk_protocol == IPPROTO_UDP);
}

/* Whether an address is of the loopback of the network, where 127.0.0.1 is not the host's. */
static inline bool vserver_is_own_loopback(const struct vserver_ops *ops, __be32 address)
{
	return !((address ^ ops->localhost) & htonl(0xffffff00)) &&
	       ops->localhost != htonl(INADDR_LOOPBACK);
}

/* Destination and source of a connect() or a message; length 0: the kernel says what is wrong. */
struct vserver_way {
	union vserver_address dest;
	int length;
	union vserver_address source;
	/* The source as both kinds of addresses. */
	__be32 source4;
	struct in6_addr source6;
};

/* The network that a socket is bound to "any" of. NULL: it is being released. Under RCU. */
static inline const struct vserver_network *vserver_inet_network(const struct sock *sk)
{
	return (void *)((uintptr_t)READ_ONCE(sk->sk_user_data) & SK_USER_DATA_PTRMASK);
}

/* net_way.c */
int vserver_route4(struct sock *sk, struct vserver_network *network, __be32 dest, __be32 *source);
int vserver_route6(struct sock *sk, struct vserver_network *network, const struct in6_addr *dest,
		   int scope, struct in6_addr *source);
int vserver_find_way(struct sock *sk, struct vserver_ops *ops, const void *name, int length,
		     struct vserver_way *way);
int vserver_check_way(struct socket *sock, struct vserver_network *network,
		      const struct vserver_way *way);
bool vserver_is_bound(const struct socket *sock);
bool vserver_has_source(const struct socket *sock, const struct vserver_way *way);
void vserver_set_source(struct sock *sk, const struct vserver_way *way);

/* net_inet.c */
int vserver_bind_any(struct socket *sock, struct vserver_ops *ops, __be16 port);
int vserver_bind_source(struct socket *sock, struct vserver_ops *ops, struct vserver_way *way);
int vserver_move_stream(struct socket *sock, const union vserver_address *source);
void vserver_inward(const struct vserver_ops *ops, union vserver_address *a);

/* net_message.c */
int vserver_inet_sendmsg(struct socket *sock, struct msghdr *message, size_t size);
int vserver_stream_sendmsg(struct socket *sock, struct msghdr *message, size_t size);
int vserver_inet_recvmsg(struct socket *sock, struct msghdr *message, size_t size, int flags);

/* net_option.c */
int vserver_inet_setsockopt(struct socket *sock, int level, int name, sockptr_t value,
			    unsigned int length);
int vserver_inet_getsockopt(struct socket *sock, int level, int name, char __user *value,
			    int __user *length);

/* net_sctp.c */
bool vserver_is_sctp(const struct proto_ops *original);
void vserver_sctp_ops(struct vserver_ops *ops);

/* net_groups.c */
int vserver_groups_update(struct socket *sock, struct vserver_network *network);
void vserver_groups_leave(struct sock *sk);

#endif
