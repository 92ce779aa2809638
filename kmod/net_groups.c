// SPDX-License-Identifier: GPL-2.0
/*
 * Datagrams to groups and broadcast addresses, for sockets that are bound to "any" in a network
 * (net_inet.c): these are bound to the network's loopback, so the kernel does not hand them such
 * datagrams. One socket of the kernel's own receives at an address and a port, a receiver, for all
 * that want to have what comes there, and hands each a copy. There are receivers only while
 * there are such sockets, and nobody else pays for them.
 *
 * groups_mutex is held by who makes and ends receivers and members. It may sleep; socket locks and
 * the locks of a bind come below it. In softirq both are read under RCU. A member goes before its
 * socket is released, a receiver with its last member; so both go before their network namespace.
 */
#include <linux/cred.h>
#include <linux/filter.h>
#include <linux/hashtable.h>
#include <linux/igmp.h>
#include <linux/jhash.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/udp.h>
#include <net/addrconf.h>
#include <net/if_inet6.h>
#include <net/ip.h>
#include <net/udp.h>

#include "net_inet.h"
#include "unexported.h"

struct receiver {
	struct hlist_node node;
	/* IPv4 mapped. */
	struct in6_addr address;
	__be16 port;
	struct socket *socket;
	struct hlist_head members;
	struct rcu_head rcu;
};

struct member {
	/* Among the receiver's. */
	struct hlist_node node;
	/* Among those of all sockets, by socket. */
	struct hlist_node by_socket;
	struct sock *sk;
	struct receiver *receiver;
	/* Of the round of vserver_groups_update(). */
	bool wanted;
	struct rcu_head rcu;
};

/* The memberships of a socket, under RCU. */
#define for_each_group4(sk, mc)						\
	for (mc = rcu_dereference(inet_sk(sk)->mc_list); mc; mc = rcu_dereference(mc->next_rcu))
#define for_each_group6(sk, mc)						\
	for (mc = rcu_dereference(inet6_sk(sk)->ipv6_mc_list); mc; mc = rcu_dereference(mc->next))

static DEFINE_MUTEX(groups_mutex);
static DEFINE_HASHTABLE(receivers, 8);
static DEFINE_HASHTABLE(members, 8);

static bool is_v4(const struct receiver *receiver)
{
	return ipv6_addr_v4mapped(&receiver->address);
}

/* Whether a socket has joined an IPv4 group at a device, and takes that sender. */
static bool joined_v4(const struct sock *sk, __be32 group, __be32 sender, int device)
{
	const struct ip_mc_socklist *mc;

	for_each_group4(sk, mc) {
		if (mc->multi.imr_multiaddr.s_addr == group && mc->multi.imr_ifindex == device)
			return vserver_call_ip_mc_sf_allow(sk, group, sender, device, 0);
	}
	return false;
}

static bool joined_v6(const struct sock *sk, const struct in6_addr *group,
		      const struct in6_addr *sender)
{
	const struct ipv6_mc_socklist *mc;

	for_each_group6(sk, mc) {
		if (ipv6_addr_equal(&mc->addr, group))
			return vserver_call_inet6_mc_check(sk, group, sender);
	}
	return false;
}

/* Whether a datagram, which came by a device, is for a member. */
static bool takes(const struct receiver *receiver, const struct sock *sk, struct sk_buff *skb)
{
	__be32 v4 = receiver->address.s6_addr32[3];
	int device = skb->dev ? skb->dev->ifindex : 0;
	const struct vserver_network *network;

	/* One that has a peer is bound to one address. */
	if (!test_bit_acquire(VSERVER_SK_ANY, &sk->sk_flags) || sk->sk_state == TCP_ESTABLISHED ||
	    inet_sk(sk)->inet_sport != receiver->port)
		return false;
	if (sk->sk_bound_dev_if && sk->sk_bound_dev_if != device)
		return false;
	if (!is_v4(receiver))
		return joined_v6(sk, &receiver->address, &ipv6_hdr(skb)->saddr);
	if (test_bit(VSERVER_SK_V6ONLY, &sk->sk_flags))
		return false;
	if (ipv4_is_multicast(v4))
		return joined_v4(sk, v4, ip_hdr(skb)->saddr, device);
	network = vserver_inet_network(sk);
	return network && skb->dev && vserver_net_sees(network, skb->dev);
}

/* The rest of what the kernel does for who receives a datagram; it has done its part already. */
static void hand_to(struct sock *sk, struct sk_buff *skb)
{
	enum skb_drop_reason reason;

	/* A filter sees the header. */
	skb_push(skb, sizeof(struct udphdr));
	reason = sk_filter_trim_cap(sk, skb, sizeof(struct udphdr));
	if (reason) {
		sk_skb_reason_drop(sk, skb, reason);
		return;
	}
	skb_pull(skb, sizeof(struct udphdr));
	if (vserver_call___udp_enqueue_schedule_skb(sk, skb) < 0)
		kfree_skb(skb);
}

/* In softirq: something is in a receiver's queue. */
static void arrived(struct sock *sk)
{
	int device, offset = 0, error = 0;
	struct receiver *receiver;
	struct member *member;
	struct sk_buff *skb, *copy;

	rcu_read_lock();
	receiver = rcu_dereference_sk_user_data(sk);
	while ((skb = __skb_recv_udp(sk, MSG_DONTWAIT, &offset, &error))) {
		if (!receiver || udp_lib_checksum_complete(skb)) {
			kfree_skb(skb);
			continue;
		}
		/* Its place had another use in the queue. */
		device = is_v4(receiver) ? PKTINFO_SKB_CB(skb)->ipi_ifindex : inet6_iif(skb);
		skb->dev = dev_get_by_index_rcu(sock_net(sk), device);
		hlist_for_each_entry_rcu(member, &receiver->members, node) {
			if (!takes(receiver, member->sk, skb))
				continue;
			copy = skb_clone(skb, GFP_ATOMIC);
			if (copy)
				hand_to(member->sk, copy);
		}
		consume_skb(skb);
	}
	rcu_read_unlock();
}

static u32 hash(const struct net *net, const struct in6_addr *address, __be16 port)
{
	return jhash2((const u32 *)address, sizeof(*address) / sizeof(u32),
		      (u32)net->net_cookie ^ (__force u32)port);
}

/* Binds the kernel's socket. The port is the program's already: it need not be allowed to have it. */
static int bind_receiver(struct receiver *receiver)
{
	union vserver_address a = {};
	const struct cred *before;
	struct cred *cred;
	int error;

	if (is_v4(receiver)) {
		a.in.sin_family = AF_INET;
		a.in.sin_port = receiver->port;
		a.in.sin_addr.s_addr = receiver->address.s6_addr32[3];
	} else {
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_port = receiver->port;
		a.in6.sin6_addr = receiver->address;
	}
	cred = prepare_kernel_cred(&init_task);
	if (!cred)
		return -ENOMEM;
	before = override_creds(cred);
	error = READ_ONCE(receiver->socket->ops)->bind(receiver->socket, &a.unsized,
						       is_v4(receiver) ? sizeof(a.in) :
									 sizeof(a.in6));
	put_cred(revert_creds(before));
	return error;
}

static struct receiver *new_receiver(struct net *net, const struct in6_addr *address, __be16 port)
{
	struct receiver *receiver = kzalloc(sizeof(*receiver), GFP_KERNEL_ACCOUNT);
	struct sock *sk;
	int error;

	if (!receiver)
		return ERR_PTR(-ENOMEM);
	receiver->address = *address;
	receiver->port = port;
	error = sock_create_kern(net, is_v4(receiver) ? PF_INET : PF_INET6, SOCK_DGRAM,
				 IPPROTO_UDP, &receiver->socket);
	if (error)
		goto free;
	sk = receiver->socket->sk;
	lock_sock(sk);
	sk->sk_reuse = SK_CAN_REUSE;
	sk->sk_ipv6only = !is_v4(receiver);
	/* Never waits for a device. */
	WRITE_ONCE(sk->sk_ll_usec, 0);
	/* So that the kernel notes by which device a datagram came. */
	inet_set_bit(PKTINFO, sk);
	rcu_assign_sk_user_data(sk, receiver);
	WRITE_ONCE(sk->sk_data_ready, arrived);
	release_sock(sk);
	error = bind_receiver(receiver);
	if (!error) {
		hash_add(receivers, &receiver->node, hash(net, address, port));
		return receiver;
	}
	sock_release(receiver->socket);
free:
	/* arrived() may have seen it. */
	kfree_rcu(receiver, rcu);
	return ERR_PTR(error);
}

static struct receiver *find_receiver(struct net *net, const struct in6_addr *address, __be16 port)
{
	struct receiver *receiver;

	hash_for_each_possible(receivers, receiver, node, hash(net, address, port)) {
		if (sock_net(receiver->socket->sk) == net && receiver->port == port &&
		    ipv6_addr_equal(&receiver->address, address))
			return receiver;
	}
	return new_receiver(net, address, port);
}

static void leave(struct member *member)
{
	struct receiver *receiver = member->receiver;

	hash_del(&member->by_socket);
	hlist_del_rcu(&member->node);
	kfree_rcu(member, rcu);
	if (!hlist_empty(&receiver->members))
		return;
	hash_del(&receiver->node);
	sock_release(receiver->socket);
	kfree_rcu(receiver, rcu);
}

/* Lets a socket have what comes to an address. */
static int want(struct sock *sk, const struct in6_addr *address)
{
	struct receiver *receiver;
	struct member *member;

	hash_for_each_possible(members, member, by_socket, (unsigned long)sk) {
		if (member->sk == sk && member->receiver->port == inet_sk(sk)->inet_sport &&
		    ipv6_addr_equal(&member->receiver->address, address)) {
			member->wanted = true;
			return 0;
		}
	}
	member = kzalloc(sizeof(*member), GFP_KERNEL_ACCOUNT);
	if (!member)
		return -ENOMEM;
	receiver = find_receiver(sock_net(sk), address, inet_sk(sk)->inet_sport);
	if (IS_ERR(receiver)) {
		kfree(member);
		/* Somebody has that address and port for himself alone: it is he who gets it all. */
		return PTR_ERR(receiver) == -EADDRINUSE ? 0 : PTR_ERR(receiver);
	}
	member->sk = sk;
	member->receiver = receiver;
	member->wanted = true;
	hash_add(members, &member->by_socket, (unsigned long)sk);
	hlist_add_head_rcu(&member->node, &receiver->members);
	set_bit(VSERVER_SK_MEMBER, &sk->sk_flags);
	return 0;
}

/* The groups that a socket has joined; the caller frees them. */
static struct in6_addr *groups_of(struct sock *sk, unsigned int *count)
{
	const struct ipv6_mc_socklist *mc6;
	const struct ip_mc_socklist *mc;
	struct in6_addr *groups;
	unsigned int room = 0;

	*count = 0;
	/* Who joins and leaves holds it, too. */
	lock_sock(sk);
	rcu_read_lock();
	for_each_group4(sk, mc)
		room++;
	if (vserver_is_v6(sk))
		for_each_group6(sk, mc6)
			room++;
	rcu_read_unlock();
	groups = kvcalloc(room + 1, sizeof(*groups), GFP_KERNEL_ACCOUNT);
	if (groups) {
		rcu_read_lock();
		for_each_group4(sk, mc)
			ipv6_addr_set_v4mapped(mc->multi.imr_multiaddr.s_addr,
					       &groups[(*count)++]);
		if (vserver_is_v6(sk))
			for_each_group6(sk, mc6)
				groups[(*count)++] = mc6->addr;
		rcu_read_unlock();
	}
	release_sock(sk);
	return groups;
}

/*
 * A socket has been bound to "any", or has joined or left groups: it is to have what comes to them,
 * and if it is bound to a port that its program has chosen, what comes to broadcast addresses.
 */
int vserver_groups_update(struct socket *sock, struct vserver_network *network)
{
	__be32 broadcast = vserver_net_broadcast(network);
	struct sock *sk = sock->sk;
	struct hlist_node *next;
	struct member *member;
	struct in6_addr *groups, address;
	unsigned int count, i;
	int error = 0;

	if (sk->sk_type != SOCK_DGRAM || sk->sk_protocol != IPPROTO_UDP ||
	    !test_bit(VSERVER_SOCK_ANY, &sock->flags))
		return 0;
	mutex_lock(&groups_mutex);
	groups = groups_of(sk, &count);
	if (!groups) {
		mutex_unlock(&groups_mutex);
		return -ENOMEM;
	}
	hash_for_each_possible(members, member, by_socket, (unsigned long)sk) {
		if (member->sk == sk)
			member->wanted = false;
	}
	if (broadcast && (sk->sk_userlocks & SOCK_BINDPORT_LOCK) &&
	    !test_bit(VSERVER_SK_V6ONLY, &sk->sk_flags)) {
		ipv6_addr_set_v4mapped(broadcast, &address);
		error = want(sk, &address);
		ipv6_addr_set_v4mapped(htonl(INADDR_BROADCAST), &address);
		if (!error)
			error = want(sk, &address);
	}
	for (i = 0; !error && i < count; i++)
		error = want(sk, &groups[i]);
	hash_for_each_possible_safe(members, member, next, by_socket, (unsigned long)sk) {
		if (member->sk == sk && !member->wanted)
			leave(member);
	}
	mutex_unlock(&groups_mutex);
	kvfree(groups);
	return error;
}

/* A socket is about to be released. */
void vserver_groups_leave(struct sock *sk)
{
	struct hlist_node *next;
	struct member *member;

	if (!test_bit(VSERVER_SK_MEMBER, &sk->sk_flags))
		return;
	mutex_lock(&groups_mutex);
	hash_for_each_possible_safe(members, member, next, by_socket, (unsigned long)sk) {
		if (member->sk == sk)
			leave(member);
	}
	clear_bit(VSERVER_SK_MEMBER, &sk->sk_flags);
	mutex_unlock(&groups_mutex);
}
