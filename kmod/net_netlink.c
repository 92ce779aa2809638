// SPDX-License-Identifier: GPL-2.0
/*
 * What netlink sockets of contexts are told: of devices, addresses, routes and neighbours only what
 * a network that is confined to addresses has, whether asked for or as news; of sockets the
 * context's own. Each message is received into a buffer of ours, and what is not to be seen is
 * left out of the copy that the program gets. Sockets of others are not concerned.
 */
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/netconf.h>
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/sock_diag.h>
#include <linux/uio.h>
#include <linux/un.h>
#include <linux/unix_diag.h>
#include <net/ipv6.h>
#include <net/netlink.h>
#include <net/sock.h>

#include "net.h"

/* Who is told. */
struct reader {
	const struct vserver_network *network;
	struct net *net;
	/* By what the kernel addresses it. */
	u32 port;
};

static bool sees_address(const struct reader *r, u8 family, const struct nlattr *address)
{
	if (family == AF_INET && nla_len(address) >= (int)sizeof(__be32))
		return vserver_net_has4(r->network, nla_get_in_addr(address)) ||
		       nla_get_in_addr(address) == htonl(INADDR_LOOPBACK);
	if (family == AF_INET6 && nla_len(address) >= (int)sizeof(struct in6_addr))
		return vserver_net_shows6(r->network, nla_data(address));
	return false;
}

static const struct nlattr *attribute(const struct nlmsghdr *head, int size, int type)
{
	if (head->nlmsg_len < NLMSG_LENGTH(size))
		return NULL;
	return nlmsg_find_attr(head, size, type);
}

static bool sees_route(const struct reader *r, const struct nlmsghdr *head)
{
	const struct rtmsg *route = nlmsg_data(head);
	const struct nlattr *out = attribute(head, sizeof(*route), RTA_OIF);
	const struct nlattr *dest = attribute(head, sizeof(*route), RTA_DST);
	const struct nlattr *source = attribute(head, sizeof(*route), RTA_PREFSRC);
	const struct nlattr *several = attribute(head, sizeof(*route), RTA_MULTIPATH);

	/* Routes to addresses themselves are what makes them the host's. */
	if (route->rtm_type == RTN_LOCAL || route->rtm_type == RTN_ANYCAST)
		return dest && sees_address(r, route->rtm_family, dest);
	if (route->rtm_type == RTN_BROADCAST && source)
		return sees_address(r, route->rtm_family, source);
	if (out)
		return vserver_net_sees_index(r->network, r->net, nla_get_u32(out));
	if (several) {
		const struct rtnexthop *hop = nla_data(several);
		int left = nla_len(several);

		while (left >= (int)sizeof(*hop) && hop->rtnh_len >= sizeof(*hop) &&
		       hop->rtnh_len <= left) {
			if (vserver_net_sees_index(r->network, r->net, hop->rtnh_ifindex))
				return true;
			left -= NLA_ALIGN(hop->rtnh_len);
			hop = (void *)hop + NLA_ALIGN(hop->rtnh_len);
		}
		return false;
	}
	/* Unreachable, prohibited and the like: of no device. */
	return true;
}

/* Whether something may be told. All messages are at least as long as their fixed part. */
static bool sees_message(const struct reader *r, const struct nlmsghdr *head)
{
	const void *data = nlmsg_data(head);
	int length = nlmsg_len(head);

#define AT_LEAST(type)	(length >= (int)sizeof(type))
	switch (head->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return AT_LEAST(struct ifinfomsg) &&
		       vserver_net_sees_index(r->network, r->net, ((const struct ifinfomsg *)data)->ifi_index);
	case RTM_NEWADDR:
	case RTM_DELADDR: {
		const struct ifaddrmsg *message = data;
		const struct nlattr *address;

		if (!AT_LEAST(*message))
			return false;
		address = attribute(head, sizeof(*message), IFA_LOCAL);
		if (!address)
			address = attribute(head, sizeof(*message), IFA_ADDRESS);
		return address && sees_address(r, message->ifa_family, address);
	}
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return AT_LEAST(struct rtmsg) && sees_route(r, head);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return AT_LEAST(struct ndmsg) &&
		       vserver_net_sees_index(r->network, r->net, ((const struct ndmsg *)data)->ndm_ifindex);
	case RTM_NEWSTATS:
		return AT_LEAST(struct if_stats_msg) &&
		       vserver_net_sees_index(r->network, r->net, ((const struct if_stats_msg *)data)->ifindex);
	case RTM_NEWNETCONF:
	case RTM_DELNETCONF: {
		const struct nlattr *index = attribute(head, sizeof(struct netconfmsg),
						       NETCONFA_IFINDEX);

		return index && ((int)nla_get_u32(index) <= 0 ||
				 vserver_net_sees_index(r->network, r->net, nla_get_u32(index)));
	}
	case RTM_NEWPREFIX:
		return AT_LEAST(struct prefixmsg) &&
		       vserver_net_sees_index(r->network, r->net,
					      ((const struct prefixmsg *)data)->prefix_ifindex);
	case RTM_NEWQDISC ... RTM_GETTFILTER:
	case RTM_NEWCHAIN ... RTM_GETCHAIN:
		return AT_LEAST(struct tcmsg) &&
		       vserver_net_sees_index(r->network, r->net, ((const struct tcmsg *)data)->tcm_ifindex);
	case RTM_GETMULTICAST:
	case RTM_GETANYCAST:
		return AT_LEAST(struct ifaddrmsg) &&
		       vserver_net_sees_index(r->network, r->net, ((const struct ifaddrmsg *)data)->ifa_index);
	case RTM_NEWRULE:
	case RTM_DELRULE:
	case RTM_NEWNEIGHTBL:
	case RTM_NEWADDRLABEL:
	case RTM_DELADDRLABEL:
		return true;
	default:
		/* Whatever else there is, or will be, may be about anything. */
		return false;
	}
#undef AT_LEAST
}

static void inward(const struct reader *r, u8 family, __be32 *address)
{
	if (family == AF_INET)
		vserver_net_inward4(r->network, address);
	else
		vserver_net_inward6(r->network, (struct in6_addr *)address);
}

/* An abstract name as the context has it; as long as before, so that nothing has to move. */
static void correct_name(const struct reader *r, const struct nlmsghdr *head)
{
	const struct nlattr *name = attribute(head, sizeof(struct unix_diag_msg), UNIX_DIAG_NAME);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int length;

	if (!name || nla_len(name) > (int)sizeof(address.sun_path) || !nla_len(name))
		return;
	length = nla_len(name);
	memcpy(address.sun_path, nla_data(name), length);
	if (address.sun_path[0])
		return;
	vserver_unix_inward(r->network, &address,
			    offsetof(struct sockaddr_un, sun_path) + length);
	memcpy(nla_data(name), address.sun_path, length);
}

static bool sees_diag(const struct reader *r, const struct nlmsghdr *head)
{
	void *data = nlmsg_data(head);
	int length = nlmsg_len(head);

	if (length < 1)
		return false;
	switch (*(u8 *)data) {
	case AF_INET:
	case AF_INET6: {
		struct inet_diag_msg *socket = data;
		struct in6_addr local;

		if (length < (int)sizeof(*socket))
			return false;
		if (socket->idiag_family == AF_INET)
			ipv6_addr_set_v4mapped(socket->id.idiag_src[0], &local);
		else
			memcpy(&local, socket->id.idiag_src, sizeof(local));
		if (!vserver_sees_socket(r->network, r->net, socket->idiag_inode, &local))
			return false;
		if (vserver_network_confines(r->network, r->net)) {
			inward(r, socket->idiag_family, socket->id.idiag_src);
			inward(r, socket->idiag_family, socket->id.idiag_dst);
		}
		return true;
	}
	case AF_UNIX: {
		struct unix_diag_msg *socket = data;

		if (length < (int)sizeof(*socket) ||
		    !vserver_sees_socket(r->network, r->net, socket->udiag_ino, NULL))
			return false;
		correct_name(r, head);
		return true;
	}
	case AF_NETLINK:
		return length >= (int)sizeof(struct netlink_diag_msg) &&
		       vserver_sees_socket(r->network, r->net,
					   ((struct netlink_diag_msg *)data)->ndiag_ino, NULL);
	case AF_PACKET:
		return length >= (int)sizeof(struct packet_diag_msg) &&
		       vserver_sees_socket(r->network, r->net,
					   ((struct packet_diag_msg *)data)->pdiag_ino, NULL);
	default:
		/* Of other kinds nobody knows whose they are. */
		return !vserver_network_context(r->network);
	}
}

/* In place of the answer to a question about a single thing. News are addressed to nobody. */
static size_t not_there(struct nlmsghdr *to, const struct nlmsghdr *head)
{
	struct nlmsgerr error = { .error = -ENODEV, .msg = *head };

	to->nlmsg_len = NLMSG_LENGTH(sizeof(error));
	to->nlmsg_type = NLMSG_ERROR;
	to->nlmsg_flags = NLM_F_CAPPED;
	memcpy(nlmsg_data(to), &error, sizeof(error));
	return NLMSG_ALIGN(to->nlmsg_len);
}

/* Leaves out of some messages what is not to be seen; the length that is left. */
static size_t strike(const struct reader *r, bool diag, void *buffer, size_t length)
{
	size_t from = 0, to = 0;

	while (length - from >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr *head = buffer + from;
		size_t size = NLMSG_ALIGN(head->nlmsg_len);

		if (head->nlmsg_len < sizeof(*head) || head->nlmsg_len > length - from)
			break;
		size = min(size, length - from);
		if (head->nlmsg_type < NLMSG_MIN_TYPE ||
		    (diag ? sees_diag(r, head) : sees_message(r, head))) {
			memmove(buffer + to, head, size);
			to += size;
		} else if (head->nlmsg_pid == r->port && !(head->nlmsg_flags & NLM_F_MULTI) &&
			   size >= NLMSG_SPACE(sizeof(struct nlmsgerr))) {
			struct nlmsghdr copy = *head;

			to += not_there(buffer + to, &copy);
		}
		from += size;
	}
	return to;
}

/* As large as the messages that the kernel makes, unless a program asks for larger ones. */
#define BUFFER	SZ_64K

/* One message, whole; the result is its length, which may be more than fits. */
static int receive(struct socket *sock, const struct proto_ops *original, struct msghdr *message,
		   void *buffer, size_t room, int flags)
{
	struct kvec vector = { .iov_base = buffer, .iov_len = room };
	struct iov_iter program = message->msg_iter;
	int result;

	iov_iter_kvec(&message->msg_iter, ITER_DEST, &vector, 1, room);
	result = original->recvmsg(sock, message, room, flags | MSG_TRUNC);
	message->msg_iter = program;
	return result;
}

static int netlink_recvmsg_in(struct socket *sock, struct msghdr *message, size_t size, int flags)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct reader r = { .network = ops->network, .net = sock_net(sock->sk) };
	bool diag = sock->sk->sk_protocol == NETLINK_SOCK_DIAG;
	void __user *control = message->msg_control_user;
	size_t controllen = message->msg_controllen, room = max_t(size_t, BUFFER, min(size, SZ_1M));
	struct sockaddr_storage name = {};
	void *buffer;
	int result;

	if ((!diag && sock->sk->sk_protocol != NETLINK_ROUTE) ||
	    (!diag && !vserver_network_confines(r.network, r.net)) ||
	    vserver_network_context(r.network) == VSERVER_SPECTATOR)
		return ops->original->recvmsg(sock, message, size, flags);
	buffer = kvmalloc(room, GFP_KERNEL);
	if (!buffer)
		return -ENOMEM;
	if (ops->original->getname(sock, (struct sockaddr *)&name, 0) > 0)
		r.port = ((struct sockaddr_nl *)&name)->nl_pid;
	for (;;) {
		message->msg_flags &= ~MSG_TRUNC;
		result = receive(sock, ops->original, message, buffer, room, flags);
		if (result <= 0)
			break;
		result = strike(&r, diag, buffer, min_t(size_t, result, room));
		if (result)
			break;
		/* Nothing is left of it: the next one. One that was only looked at is in the way. */
		if (flags & MSG_PEEK) {
			message->msg_control_user = control;
			message->msg_controllen = controllen;
			result = receive(sock, ops->original, message, buffer, room,
					 (flags & ~MSG_PEEK) | MSG_DONTWAIT);
			if (result < 0 && result != -EAGAIN)
				break;
		}
		message->msg_control_user = control;
		message->msg_controllen = controllen;
		cond_resched();
	}
	if (result > 0) {
		size_t copied = min_t(size_t, result, size);

		message->msg_flags &= ~MSG_TRUNC;
		if (copied < result)
			message->msg_flags |= MSG_TRUNC;
		if (copy_to_iter(buffer, copied, &message->msg_iter) != copied)
			result = -EFAULT;
		else if (!(flags & MSG_TRUNC))
			result = copied;
	}
	kvfree(buffer);
	return result;
}

/* A context may end connections of its own: those of its addresses. The spectator may end any. */
static int check_request(const struct reader *r, const struct nlmsghdr *head)
{
	const struct inet_diag_req_v2 *request = nlmsg_data(head);
	int context = vserver_network_context(r->network);
	struct in6_addr local;
	bool own;

	if (head->nlmsg_type != SOCK_DESTROY || context == VSERVER_SPECTATOR)
		return 0;
	if (nlmsg_len(head) < (int)sizeof(*request))
		return -EINVAL;
	if (request->sdiag_family == AF_INET)
		ipv6_addr_set_v4mapped(request->id.idiag_src[0], &local);
	else
		memcpy(&local, request->id.idiag_src, sizeof(local));
	if (!context && !vserver_network_confines(r->network, r->net))
		own = !vserver_address_taken(r->net, &local);
	else
		own = vserver_net_has6(r->network, &local);
	return own ? 0 : -EPERM;
}

static int diag_sendmsg_in(struct socket *sock, struct msghdr *message, size_t size)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct reader r = { .network = ops->network, .net = sock_net(sock->sk) };
	struct iov_iter program = message->msg_iter;
	struct kvec vector;
	size_t at = 0;
	void *buffer;
	int error;

	if (sock->sk->sk_protocol != NETLINK_SOCK_DIAG)
		return ops->original->sendmsg(sock, message, size);
	if (size > SZ_64K)
		return -EMSGSIZE;
	/* What is checked is what is sent. */
	buffer = kvmalloc(size ? : 1, GFP_KERNEL);
	if (!buffer)
		return -ENOMEM;
	error = copy_from_iter(buffer, size, &message->msg_iter) == size ? 0 : -EFAULT;
	while (!error && size - at >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *head = buffer + at;

		if (head->nlmsg_len < sizeof(*head) || head->nlmsg_len > size - at)
			break;
		error = check_request(&r, head);
		at += min_t(size_t, NLMSG_ALIGN(head->nlmsg_len), size - at);
	}
	if (!error) {
		vector = (struct kvec) { .iov_base = buffer, .iov_len = size };
		iov_iter_kvec(&message->msg_iter, ITER_SOURCE, &vector, 1, size);
		error = ops->original->sendmsg(sock, message, size);
	}
	message->msg_iter = program;
	kvfree(buffer);
	return error;
}

/* In place of the kernel's, when the copy is made. */
void vserver_netlink_ops(struct vserver_ops *ops)
{
	ops->ops.recvmsg = netlink_recvmsg_in;
	ops->ops.sendmsg = diag_sendmsg_in;
}
