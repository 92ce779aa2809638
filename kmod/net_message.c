// SPDX-License-Identifier: GPL-2.0
/*
 * Messages of IPv4 and IPv6 sockets of processes with addresses of their own: the source that they go
 * out with, and the addresses that are told of those that come in.
 */
#include <linux/icmpv6.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "net_inet.h"

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
				*chosen |= !v4 || (vserver_is_v6(sk) && cmsg->cmsg_type == IPV6_PKTINFO);
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
static size_t name_source(const struct vserver_way *way, void *room)
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
static bool sends_from(const struct sock *sk, const struct vserver_way *way)
{
	if (ipv6_addr_v4mapped(&way->source6))
		return READ_ONCE(inet_sk(sk)->inet_saddr) == way->source4;
	return vserver_is_v6(sk) && ipv6_addr_equal(&inet6_sk(sk)->saddr, &way->source6);
}

static noinline int send_datagram(struct socket *sock, struct vserver_ops *ops,
				  struct msghdr *message, size_t size)
{
	struct vserver_network *network = ops->network;
	void *name = message->msg_name, *control = message->msg_control, *copy = NULL;
	size_t controllen = message->msg_controllen;
	bool is_user = message->msg_control_is_user;
	u8 room[ROOM] __aligned(sizeof(long));
	int namelen = message->msg_namelen;
	struct sock *sk = sock->sk;
	bool chosen = false;
	struct vserver_way way = {};
	int error;

	if (name) {
		error = vserver_find_way(sk, ops, name, namelen, &way);
		if (!error && way.length)
			error = vserver_check_way(sock, network, &way);
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
				      way.length && !vserver_has_source(sock, &way) ?
				      way.source4 : READ_ONCE(inet_sk(sk)->inet_saddr),
				      &chosen);
		if (error)
			goto out;
	}
	if (vserver_has_ports(sk) && vserver_net_unbound(sock)) {
		error = vserver_bind_any(sock, ops, 0);
		if (error && error != -EINVAL)
			goto out;
	}
	if (way.length) {
		message->msg_name = &way.dest;
		message->msg_namelen = way.length;
		if (!chosen && !vserver_has_source(sock, &way) && !sends_from(sk, &way)) {
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

/* Whether an IPv4 socket that is bound to the loopback of its network sends to 127.0.0.1. */
static bool stays_on_loopback(const struct socket *sock, const struct vserver_ops *ops,
			      const struct msghdr *message)
{
	const struct sockaddr_in *dest = message->msg_name;
	__be32 bound = READ_ONCE(inet_sk(sock->sk)->inet_rcv_saddr);

	return ops->original->family == PF_INET && !message->msg_controllen &&
	       message->msg_namelen >= (int)sizeof(*dest) && dest->sin_family == AF_INET &&
	       dest->sin_addr.s_addr == htonl(INADDR_LOOPBACK) &&
	       vserver_is_own_loopback(ops, bound) && !test_bit(VSERVER_SOCK_ANY, &sock->flags);
}

/* Then there is nothing to choose, and the message has a short way. */
static noinline int send_on_loopback(struct socket *sock, struct vserver_ops *ops,
				     struct msghdr *message, size_t size)
{
	struct sockaddr_in *dest = message->msg_name;
	struct sock *sk = sock->sk;
	int error;

	if (sk->sk_protocol == IPPROTO_UDP &&
	    vserver_leads_out(sk, ops->localhost, dest->sin_port))
		return -ECONNREFUSED;
	dest->sin_addr.s_addr = ops->localhost;
	error = ops->original->sendmsg(sock, message, size);
	/* It may be sent again as it was. */
	dest->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return error;
}

int vserver_inet_sendmsg(struct socket *sock, struct msghdr *message, size_t size)
{
	struct vserver_ops *ops = vserver_ops_of(sock);

	if (!message->msg_name && !message->msg_controllen)
		return ops->original->sendmsg(sock, message, size);
	if (stays_on_loopback(sock, ops, message))
		return send_on_loopback(sock, ops, message, size);
	return send_datagram(sock, ops, message, size);
}

static noinline int send_fast_open(struct socket *sock, struct vserver_ops *ops,
				   struct msghdr *message, size_t size)
{
	void *name = message->msg_name;
	int namelen = message->msg_namelen;
	struct sock *sk = sock->sk;
	struct vserver_way way;
	int error;

	if (!name || sock->state != SS_UNCONNECTED || sk->sk_state != TCP_CLOSE)
		return ops->original->sendmsg(sock, message, size);
	error = vserver_find_way(sk, ops, name, namelen, &way);
	if (!error && way.length)
		error = vserver_check_way(sock, ops->network, &way);
	if (error)
		return error;
	if (way.length && vserver_net_unbound(sock)) {
		error = vserver_bind_source(sock, ops, &way);
		if (error)
			return error;
	} else if (way.length && test_bit(VSERVER_SOCK_ANY, &sock->flags)) {
		error = vserver_move_stream(sock, &way.source);
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

/* A stream is bound and connected by a message in one case only: TCP Fast Open. */
int vserver_stream_sendmsg(struct socket *sock, struct msghdr *message, size_t size)
{
	struct vserver_ops *ops = vserver_ops_of(sock);

	if (likely(!(message->msg_flags & MSG_FASTOPEN)))
		return ops->original->sendmsg(sock, message, size);
	return send_fast_open(sock, ops, message, size);
}

/* The addresses in control messages that have just been written for the program. */
static void translate_control(const struct vserver_ops *ops, void __user *start, size_t length)
{
	const struct vserver_network *network = ops->network;
	struct cmsghdr head;
	size_t at = 0;
	__be32 own;

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
			/* Of a group: the host's, on the way to the sender. */
			own = info.ipi_spec_dst.s_addr;
			if (own && vserver_net_source4(network, &own))
				info.ipi_spec_dst.s_addr =
					vserver_net_choose4(network, info.ipi_addr.s_addr, 0);
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
			union vserver_address a;
			size_t size = head.cmsg_len - CMSG_LEN(0);
			void __user *data = start + at + CMSG_LEN(0);

			memset(&a, 0, sizeof(a));
			size = min(size, sizeof(a));
			if (copy_from_user(&a, data, size))
				return;
			vserver_inward(ops, &a);
			if (copy_to_user(data, &a, size))
				return;
		}
		at += CMSG_ALIGN(head.cmsg_len);
	}
}

static noinline int receive_control(struct socket *sock, struct vserver_ops *ops,
				    struct msghdr *message, size_t size, int flags)
{
	void __user *control = message->msg_control_user;
	size_t controllen = message->msg_controllen;
	int result = ops->original->recvmsg(sock, message, size, flags);

	if (result < 0)
		return result;
	if (message->msg_name && message->msg_namelen >= (int)sizeof(struct sockaddr_in))
		vserver_inward(ops, message->msg_name);
	if (message->msg_control_is_user && !(flags & MSG_CMSG_COMPAT) &&
	    controllen > message->msg_controllen)
		translate_control(ops, control, controllen - message->msg_controllen);
	return result;
}

int vserver_inet_recvmsg(struct socket *sock, struct msghdr *message, size_t size, int flags)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	int result;

	if (message->msg_controllen)
		return receive_control(sock, ops, message, size, flags);
	if (!message->msg_name)
		return ops->original->recvmsg(sock, message, size, flags);
	result = ops->original->recvmsg(sock, message, size, flags);
	if (result >= 0 && message->msg_namelen >= (int)sizeof(struct sockaddr_in))
		vserver_inward(ops, message->msg_name);
	return result;
}
