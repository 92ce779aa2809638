// SPDX-License-Identifier: GPL-2.0
/*
 * How sockets get operations of ours: only those made in a context or by a process with addresses
 * of its own, so that all others are as fast as ever. No policy here.
 *
 * A socket holds its network; the operations are part of that. One that is accepted begins with
 * the operations of its listener and gets its reference in accept(); VSERVER_SOCK_OURS says whether
 * it has come so far when it is released.
 */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/net.h>
#include <linux/nsproxy.h>
#include <linux/slab.h>
#include <net/inet_sock.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "helpers.h"
#include "net.h"
#include "wrap.h"

static int released(struct socket *sock)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct vserver_network *network = ops->network;
	const struct proto_ops *original = ops->original;
	bool ours = test_and_clear_bit(VSERVER_SOCK_OURS, &sock->flags);
	bool moved = test_and_clear_bit(VSERVER_SOCK_MOVED, &sock->flags);
	struct vserver_ops *previous = moved ? ops->previous : NULL;
	int error;

	/* The network, and with it the module, may go before we return. */
	vserver_inside(1);
	if (sock->sk)
		vserver_inet_unmark(sock->sk);
	if (ours && vserver_network_context(network))
		vserver_owner_clear(sock);
	error = original->release(sock);
	while (previous) {
		struct vserver_network *before = previous->network;

		previous = previous->previous;
		vserver_network_put(before);
	}
	if (ours)
		vserver_network_put(network);
	vserver_inside(-1);
	return error;
}

/* Notes whose socket it is, for those who list them. */
static int own(struct socket *sock, const struct vserver_network *network)
{
	int context = vserver_network_context(network);

	return context ? vserver_owner_set(sock, context) : 0;
}

static int accepted(struct socket *sock, struct socket *newsock, struct proto_accept_arg *arg)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	int error = own(newsock, ops->network);

	/* Before, as it is released with our operations when this fails. */
	vserver_network_get(ops->network);
	set_bit(VSERVER_SOCK_OURS, &newsock->flags);
	if (test_bit(SOCK_CUSTOM_SOCKOPT, &sock->flags))
		set_bit(SOCK_CUSTOM_SOCKOPT, &newsock->flags);
	return error ? : ops->original->accept(sock, newsock, arg);
}

/* Whether the operations are those of some network. */
static bool are_ours(const struct proto_ops *ops)
{
	return ops && ops->release == released;
}

/* The network of a socket, NULL when it has none. The caller holds the socket. */
struct vserver_network *vserver_net_of_socket(const struct socket *sock)
{
	const struct proto_ops *ops = READ_ONCE(sock->ops);

	return are_ours(ops) ? container_of(ops, struct vserver_ops, ops)->network : NULL;
}

static struct vserver_ops *ops_for(struct vserver_network *network,
				   const struct proto_ops *original, const struct net *net,
				   struct vserver_ops *previous)
{
	struct vserver_ops **list = vserver_network_ops(network);
	struct vserver_ops *first = smp_load_acquire(list), *ops;
	bool confined = vserver_network_confines(network, net);

	for (ops = first; ops && !previous; ops = ops->next) {
		if (ops->original != original || ops->previous)
			continue;
		if (ops->confined == confined)
			return ops;
	}
	ops = kzalloc(sizeof(*ops), GFP_KERNEL_ACCOUNT);
	if (!ops)
		return NULL;
	/* The copy may stay when no socket is left that keeps the module of a protocol. */
	__module_get(original->owner);
	ops->ops = *original;
	ops->original = original;
	ops->original_owner = original->owner;
	ops->network = network;
	ops->previous = previous;
	ops->confined = confined;
	ops->ops.release = released;
	if (original->accept && original->accept != sock_no_accept)
		ops->ops.accept = accepted;
	if (original->family == PF_UNIX && vserver_network_context(network))
		vserver_unix_ops(ops);
	else if (original->family == PF_NETLINK)
		vserver_netlink_ops(ops);
	else if (confined && (original->family == PF_INET || original->family == PF_INET6))
		vserver_inet_ops(ops);
	if (confined)
		vserver_device_ops(ops);
	if (original->family == PF_NETLINK && vserver_network_context(network))
		vserver_event_ops(ops);
	/* Twice the same does no harm. */
	do {
		first = READ_ONCE(*list);
		ops->next = first;
	} while (cmpxchg(list, first, ops) != first);
	return ops;
}

/*
 * Puts a socket that is not bound to anything under a network. The socket holds it from then on; one
 * that comes from another network goes on holding that, as somebody may be in its operations.
 */
int vserver_net_adopt(struct socket *sock, int family, struct vserver_network *network)
{
	const struct proto_ops *now = READ_ONCE(sock->ops), *original = now;
	struct vserver_ops *previous = NULL, *ops;
	int error;

	switch (family) {
	case PF_UNIX:
	case PF_PACKET:
	case PF_NETLINK:
	case PF_INET:
	case PF_INET6:
		break;
	default:
		return 0;
	}
	if (are_ours(now)) {
		previous = container_of(now, struct vserver_ops, ops);
		original = previous->original;
	}
	ops = ops_for(network, original, sock_net(sock->sk), previous);
	if (!ops)
		return -ENOMEM;
	error = own(sock, network);
	if (error)
		return error;
	vserver_network_get(network);
	if (cmpxchg(&sock->ops, now, &ops->ops) != now) {
		/* Somebody else was faster. */
		vserver_network_put(network);
		return 0;
	}
	if (previous)
		set_bit(VSERVER_SOCK_MOVED, &sock->flags);
	set_bit(VSERVER_SOCK_OURS, &sock->flags);
	if (!ops->confined || (family != PF_INET && family != PF_INET6))
		return 0;
	/* On failure the caller lets the socket go, and released() the network. */
	return vserver_inet_born(sock, network, previous);
}

/* Puts ours around operations that a socket of a network has just been given. */
int vserver_net_wrap(struct socket *sock, struct vserver_network *network)
{
	const struct proto_ops *now = READ_ONCE(sock->ops);
	struct vserver_ops *ops;

	if (are_ours(now))
		return 0;
	ops = ops_for(network, now, sock_net(sock->sk), NULL);
	if (!ops)
		return -ENOMEM;
	cmpxchg(&sock->ops, now, &ops->ops);
	return 0;
}

/* With the network itself, when nobody can have them any more. */
void vserver_ops_free(struct vserver_ops *ops)
{
	while (ops) {
		struct vserver_ops *next = ops->next;

		module_put(ops->original_owner);
		kfree(ops);
		ops = next;
	}
}

/* Whether a socket of IPv4 or IPv6 has neither an address nor a port. */
bool vserver_net_unbound(const struct socket *sock)
{
	return sock->sk && !inet_sk(sock->sk)->inet_num &&
	       !READ_ONCE(inet_sk(sock->sk)->inet_rcv_saddr);
}

/* The network namespace of the caller, by a number that no other ever has. */
u64 vserver_net_namespace(void)
{
	return current->nsproxy->net_ns->net_cookie;
}

bool vserver_net_is_namespace(const struct net *net, u64 ns)
{
	return net->net_cookie == ns;
}

/* Whether a socket can still be put under a network: nothing of it is the host's yet. */
static bool is_free(const struct socket *sock)
{
	const struct sock *sk = sock->sk;

	if (!sk)
		return false;
	switch (sk->sk_family) {
	case AF_UNIX:
		/* A stream that is connected or listens has no use for names any more. */
		return sock->type == SOCK_DGRAM ||
		       (sock->state == SS_UNCONNECTED && sk->sk_state == TCP_CLOSE);
	case AF_INET:
	case AF_INET6:
		return vserver_net_unbound(sock);
	default:
		return false;
	}
}

static int adopt_file(const struct file *file, struct vserver_network *network)
{
	struct socket *sock = sock_from_file((struct file *)file);

	if (!sock || !is_free(sock) || vserver_net_of_socket(sock) == network)
		return 0;
	return vserver_net_adopt(sock, sock->sk->sk_family, network);
}

int vserver_adopt_files(void)
{
	struct vserver_network *network = vserver_network_current();
	unsigned int fd = 0;
	struct file *file;
	int error = 0, one;

	while (network && (file = fget_task_next(current, &fd))) {
		one = adopt_file(file, network);
		if (one)
			error = one;
		vserver_pty_borrow(file);
		fput(file);
		fd++;
	}
	return error;
}

/* The network of the caller, without a look-up when it is plain that there is none. */
static struct vserver_network *network_of_caller(void)
{
	if (PF_IN_CONTEXT && likely(!(current->flags & PF_IN_CONTEXT)))
		return NULL;
	return vserver_network_current();
}

/* A socket that the caller has just made. */
static int made(struct socket *sock, int family)
{
	struct vserver_network *network = network_of_caller();
	int error;

	if (!network) {
		/* The host does not see the sockets of others either. */
		if (family != PF_NETLINK || sock->sk->sk_protocol != NETLINK_SOCK_DIAG)
			return 0;
		network = vserver_network_of_host();
		if (!network)
			return 0;
		error = vserver_net_adopt(sock, family, network);
		vserver_network_put(network);
		return error;
	}
	if (family == PF_NETLINK && vserver_network_context(network) &&
	    !vserver_netlink_is_for_contexts(sock->sk->sk_protocol))
		return -EPROTONOSUPPORT;
	if (vserver_network_confines(network, sock_net(sock->sk))) {
		switch (family) {
		case PF_UNIX:
		case PF_INET:
		case PF_INET6:
		case PF_NETLINK:
		case PF_ALG:
			break;
		case PF_PACKET:
			/* Sends what it likes, from whom it likes. */
			return -EPERM;
		default:
			/* Others have addresses that these rules know nothing of. */
			return -EAFNOSUPPORT;
		}
	}
	return vserver_net_adopt(sock, family, network);
}

VSERVER_WRAP(int, security_socket_post_create, struct socket *sock, int family, int type,
	     int protocol, int kern)
{
	int error;

	vserver_inside(1);
	error = vserver_orig_security_socket_post_create(sock, family, type, protocol, kern);
	if (!error && !kern)
		error = made(sock, family);
	vserver_inside(-1);
	return error;
}

/*
 * The caller binds or connects a socket that may be another's: made before it was confined, or
 * passed to it. It keeps what it has; it gets nothing new but from the caller's network.
 */
static int touched(struct socket *sock, bool connects)
{
	struct vserver_network *network = network_of_caller();
	struct sock *sk = sock->sk;

	if (!network || !sk || vserver_net_of_socket(sock) == network)
		return 0;
	if (is_free(sock))
		return vserver_net_adopt(sock, sk->sk_family, network);
	if ((sk->sk_family != AF_INET && sk->sk_family != AF_INET6) ||
	    !vserver_network_confines(network, sock_net(sk)))
		return 0;
	/* One that has a port already: the kernel's own answer. */
	if (!connects && inet_sk(sk)->inet_num && sk->sk_type != SOCK_RAW)
		return 0;
	return -EPERM;
}

VSERVER_WRAP(int, security_socket_bind, struct socket *sock, struct sockaddr *address, int length)
{
	int error;

	vserver_inside(1);
	error = vserver_orig_security_socket_bind(sock, address, length);
	if (!error)
		error = touched(sock, false);
	vserver_inside(-1);
	return error;
}

VSERVER_WRAP(int, security_socket_connect, struct socket *sock, struct sockaddr *address,
	     int length)
{
	int error;

	vserver_inside(1);
	error = vserver_orig_security_socket_connect(sock, address, length);
	/* To give up a peer is no way anywhere. */
	if (!error && !(length >= (int)sizeof(address->sa_family) &&
			address->sa_family == AF_UNSPEC))
		error = touched(sock, true);
	vserver_inside(-1);
	return error;
}

/* A descriptor comes from elsewhere: by SCM_RIGHTS, or by pidfd_getfd(). */
VSERVER_WRAP(int, security_file_receive, struct file *file)
{
	struct vserver_network *network;
	int error;

	vserver_inside(1);
	error = vserver_orig_security_file_receive(file);
	network = network_of_caller();
	if (!error && network)
		error = adopt_file(file, network);
	if (!error)
		vserver_pty_borrow(file);
	vserver_inside(-1);
	return error;
}
