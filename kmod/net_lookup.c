// SPDX-License-Identifier: GPL-2.0
/*
 * Packets for sockets that are bound to "any" in a network (net_inet.c): they are bound to the
 * network's loopback, so the kernel does not find them by the addresses of the network. Here it
 * is asked a second time, with the loopback, when it has found nobody: for TCP when a connection
 * comes in, for UDP when it is about to report an unreachable port. Who is found the first time
 * pays nothing.
 *
 * The map from addresses to loopbacks is read under RCU, in softirq; its writers hold map_lock, a
 * leaf.
 */
#include <linux/hashtable.h>
#include <linux/icmpv6.h>
#include <linux/idr.h>
#include <linux/jhash.h>
#include <linux/rculist.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/udp.h>
#include <net/icmp.h>
#include <net/inet_hashtables.h>
#include <net/inet6_hashtables.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/snmp.h>
#include <net/udp.h>

#include "net_inet.h"
#include "unexported.h"
#include "wrap.h"

/* Blocks of 256 addresses in 127.1.0.0 to 127.255.255.255. */
#define LOOPBACKS	(255 * 256)

static DEFINE_IDA(loopbacks);
/* The same for who must not take a lock. */
static DECLARE_BITMAP(in_use, LOOPBACKS);

int vserver_loopback_take(void)
{
	int loopback = ida_alloc_max(&loopbacks, LOOPBACKS - 1, GFP_KERNEL);

	if (loopback >= 0)
		set_bit(loopback, in_use);
	return loopback;
}

/* Callable from softirq. */
void vserver_loopback_give(int loopback)
{
	clear_bit(loopback, in_use);
	ida_free(&loopbacks, loopback);
}

/* An address, or all that begin with a prefix, of the networks with a loopback. */
struct entry {
	struct hlist_node node;
	struct rcu_head rcu;
	u64 ns;
	struct in6_addr address;
	unsigned int references;
	u16 loopback;
	u8 prefix;
};

static DEFINE_HASHTABLE(addresses, 12);
static HLIST_HEAD(prefixes);
static DEFINE_SPINLOCK(map_lock);

static u32 hash(u64 ns, const struct in6_addr *address)
{
	return jhash2((const u32 *)address, sizeof(*address) / sizeof(u32), (u32)ns);
}

static struct hlist_head *list_for(u64 ns, const struct in6_addr *address, u8 prefix)
{
	return prefix == 128 ? &addresses[hash_min(hash(ns, address), HASH_BITS(addresses))] :
			       &prefixes;
}

static struct entry *find(struct hlist_head *list, u64 ns, const struct in6_addr *address,
			  u8 prefix, u16 loopback)
{
	struct entry *entry;

	hlist_for_each_entry(entry, list, node) {
		if (entry->ns == ns && entry->prefix == prefix && entry->loopback == loopback &&
		    ipv6_addr_equal(&entry->address, address))
			return entry;
	}
	return NULL;
}

int vserver_map_add(u64 ns, const struct in6_addr *address, u8 prefix, u16 loopback)
{
	struct hlist_head *list = list_for(ns, address, prefix);
	struct entry *new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT), *old;

	if (!new)
		return -ENOMEM;
	new->ns = ns;
	new->address = *address;
	new->prefix = prefix;
	new->loopback = loopback;
	new->references = 1;
	spin_lock_bh(&map_lock);
	old = find(list, ns, address, prefix, loopback);
	if (old)
		old->references++;
	else
		hlist_add_head_rcu(&new->node, list);
	spin_unlock_bh(&map_lock);
	if (old)
		kfree(new);
	return 0;
}

void vserver_map_del(u64 ns, const struct in6_addr *address, u8 prefix, u16 loopback)
{
	struct hlist_head *list = list_for(ns, address, prefix);
	struct entry *entry;

	spin_lock_bh(&map_lock);
	entry = find(list, ns, address, prefix, loopback);
	if (entry && !--entry->references) {
		hlist_del_rcu(&entry->node);
		kfree_rcu(entry, rcu);
	}
	spin_unlock_bh(&map_lock);
}

/* At module exit, when nothing is in the map. */
void vserver_map_destroy(void)
{
	ida_destroy(&loopbacks);
	vserver_owner_destroy();
}

/* The loopbacks that have an address, one after the other: NULL at first, NULL at the end. */
static struct entry *next_of(struct entry *last, u64 ns, const struct in6_addr *address)
{
	struct hlist_node *node;
	struct entry *entry;

	if (!last) {
		node = rcu_dereference(hlist_first_rcu(list_for(ns, address, 128)));
	} else {
		node = rcu_dereference(hlist_next_rcu(&last->node));
		if (last->prefix != 128)
			goto in_prefixes;
	}
	for (; node; node = rcu_dereference(hlist_next_rcu(node))) {
		entry = hlist_entry(node, struct entry, node);
		if (entry->ns == ns && ipv6_addr_equal(&entry->address, address))
			return entry;
	}
	node = rcu_dereference(hlist_first_rcu(&prefixes));
in_prefixes:
	for (; node; node = rcu_dereference(hlist_next_rcu(node))) {
		entry = hlist_entry(node, struct entry, node);
		if (entry->ns == ns && ipv6_prefix_equal(&entry->address, address, entry->prefix))
			return entry;
	}
	return NULL;
}

bool vserver_address_taken(const struct net *net, const struct in6_addr *address)
{
	int loopback = ipv6_addr_v4mapped(address) ?
		       vserver_loopback_of(address->s6_addr32[3]) : -1;
	bool taken;

	rcu_read_lock();
	taken = (loopback >= 0 && test_bit(loopback, in_use)) ||
		next_of(NULL, net->net_cookie, address);
	rcu_read_unlock();
	return taken;
}

/* Whether a socket is bound to "any" of a network that has the address. */
static bool takes(const struct sock *sk, const struct in6_addr *address)
{
	const struct vserver_network *network;
	__be32 v4 = address->s6_addr32[3];

	if (!sk || !test_bit_acquire(VSERVER_SK_ANY, &sk->sk_flags))
		return false;
	network = vserver_inet_network(sk);
	/* Being released. Otherwise it holds the network, which goes a grace period later. */
	if (!network)
		return false;
	if (!ipv6_addr_v4mapped(address))
		return vserver_net_has6(network, address);
	if (test_bit(VSERVER_SK_V6ONLY, &sk->sk_flags))
		return false;
	return vserver_net_has4(network, v4) ||
	       vserver_loopback_of(v4) == vserver_network_loopback(network);
}

static struct udp_hslot *slot4(const struct net *net, __be32 address, __be16 port)
{
	return udp_hashslot2(net->ipv4.udp_table, ipv4_portaddr_hash(net, address, ntohs(port)));
}

/*
 * Whether a socket of UDP is bound to a port of an address (zero: of any). To be asked before
 * __udp4_lib_lookup(), which, when it finds nobody, goes on to all that have the port, of whatever
 * address: in a thousand networks they are a thousand.
 */
static bool is_taken4(const struct net *net, __be32 address, __be16 port)
{
	struct sock *sk;

	udp_portaddr_for_each_entry_rcu(sk, &slot4(net, address, port)->head) {
		if (udp_sk(sk)->udp_port_hash == ntohs(port) && sk->sk_rcv_saddr == address &&
		    net_eq(sock_net(sk), net))
			return true;
	}
	return false;
}

/* The same for an address of IPv6. */
static bool is_taken6(const struct net *net, const struct in6_addr *address, __be16 port)
{
	struct udp_hslot *slot = udp_hashslot2(net->ipv4.udp_table,
					       ipv6_portaddr_hash(net, address, ntohs(port)));
	struct sock *sk;

	udp_portaddr_for_each_entry_rcu(sk, &slot->head) {
		if (udp_sk(sk)->udp_port_hash == ntohs(port) &&
		    ipv6_addr_equal(&sk->sk_v6_rcv_saddr, address) && net_eq(sock_net(sk), net))
			return true;
	}
	return false;
}

/* What a lookup is about. */
struct query {
	const struct net *net;
	struct sk_buff *skb;
	int doff;
	__be32 saddr;
	__be16 sport;
	__be16 dport;
	int dif;
	int sdif;
	bool udp;
	struct in6_addr address;
};

struct sock *vserver_orig___inet_lookup_listener(const struct net *net, struct sk_buff *skb,
						 int doff, const __be32 saddr, __be16 sport,
						 const __be32 daddr, const unsigned short hnum,
						 const int dif, const int sdif);

static struct sock *look_at(const struct query *q, __be32 place)
{
	struct sock *sk;

	if (q->udp && !is_taken4(q->net, place, q->dport))
		return NULL;
	if (q->udp)
		sk = __udp4_lib_lookup(q->net, q->saddr, q->sport, place, q->dport, q->dif,
				       q->sdif, q->skb);
	else
		sk = vserver_orig___inet_lookup_listener(q->net, q->skb, q->doff, q->saddr,
							 q->sport, place, ntohs(q->dport), q->dif,
							 q->sdif);
	return sk && sk->sk_rcv_saddr == place && takes(sk, &q->address) ? sk : NULL;
}

static struct sock *look_in(const struct query *q, int loopback)
{
	struct sock *sk = NULL;

	if (ipv6_addr_v4mapped(&q->address))
		sk = look_at(q, vserver_loopback(loopback, VSERVER_LOOPBACK_V4));
	return sk ? : look_at(q, vserver_loopback(loopback, VSERVER_LOOPBACK_V6));
}

/* Under RCU: who takes what nobody is bound to. */
static struct sock *look_again(const struct query *q)
{
	struct entry *entry = NULL;
	struct sock *sk;
	int loopback;

	if (ipv6_addr_v4mapped(&q->address)) {
		loopback = vserver_loopback_of(q->address.s6_addr32[3]);
		if (loopback >= 0)
			return look_in(q, loopback);
	}
	while ((entry = next_of(entry, q->net->net_cookie, &q->address))) {
		sk = look_in(q, entry->loopback);
		if (sk)
			return sk;
	}
	return NULL;
}

/*
 * Whether a socket was found that has no business with the address: one of the host, of any address,
 * for a network's own loopback.
 */
static bool is_foreign(const struct sock *sk, __be32 daddr)
{
	int loopback = vserver_loopback_of(daddr);

	return loopback >= 0 && !sk->sk_rcv_saddr && test_bit(loopback, in_use);
}

VSERVER_WRAP(struct sock *, __inet_lookup_listener, const struct net *net, struct sk_buff *skb,
	     int doff, const __be32 saddr, __be16 sport, const __be32 daddr,
	     const unsigned short hnum, const int dif, const int sdif)
{
	struct sock *sk = vserver_orig___inet_lookup_listener(net, skb, doff, saddr, sport, daddr,
							      hnum, dif, sdif);
	struct query q = {
		.net = net, .skb = skb, .doff = doff, .saddr = saddr, .sport = sport,
		.dport = htons(hnum), .dif = dif, .sdif = sdif,
	};

	if (sk && likely(!is_foreign(sk, daddr)))
		return sk;
	ipv6_addr_set_v4mapped(daddr, &q.address);
	return look_again(&q);
}

VSERVER_WRAP(struct sock *, inet6_lookup_listener, const struct net *net, struct sk_buff *skb,
	     int doff, const struct in6_addr *saddr, const __be16 sport,
	     const struct in6_addr *daddr, const unsigned short hnum, const int dif,
	     const int sdif)
{
	struct sock *sk = vserver_orig_inet6_lookup_listener(net, skb, doff, saddr, sport, daddr,
							     hnum, dif, sdif);
	/* Sockets of one port that share it are told apart by the ports alone. */
	struct query q = {
		.net = net, .doff = doff, .sport = sport, .dport = htons(hnum), .dif = dif,
		.sdif = sdif, .address = *daddr,
	};

	return sk ? : look_again(&q);
}

/* Gives a packet that nobody took to a socket, the way that it came. */
static bool pass_on(struct sk_buff *skb, const struct query *q, int (*receive)(struct sk_buff *skb))
{
	struct sk_buff *copy;
	struct sock *sk;

	rcu_read_lock();
	sk = look_again(q);
	if (!sk || !refcount_inc_not_zero(&sk->sk_refcnt)) {
		rcu_read_unlock();
		return false;
	}
	copy = skb_clone(skb, GFP_ATOMIC);
	if (!copy) {
		sock_put(sk);
		rcu_read_unlock();
		return true;
	}
	skb_orphan(copy);
	copy->sk = sk;
	copy->destructor = sock_edemux;
	/* As the caller does with the original: a positive answer asks for another protocol. */
	if (receive(copy) > 0)
		kfree_skb(copy);
	rcu_read_unlock();
	return true;
}

/*
 * Whether the caller is the reception of UDP, which is at the UDP header. A firewall that refuses a
 * packet is at the IP header.
 */
static bool comes_from_udp(const struct sk_buff *skb)
{
	return skb_transport_header_was_set(skb) && !skb_transport_offset(skb) &&
	       skb->pkt_type == PACKET_HOST && skb->dev && skb_dst(skb) &&
	       skb_headlen(skb) >= sizeof(struct udphdr);
}

static bool pass_on_v4(struct sk_buff *skb)
{
	const struct iphdr *ip = ip_hdr(skb);
	struct query q;

	if (!comes_from_udp(skb) || ip->protocol != IPPROTO_UDP)
		return false;
	q = (struct query) {
		.net = dev_net(skb->dev), .skb = skb, .saddr = ip->saddr,
		.sport = udp_hdr(skb)->source, .dport = udp_hdr(skb)->dest, .dif = inet_iif(skb),
		.sdif = inet_sdif(skb), .udp = true,
	};
	ipv6_addr_set_v4mapped(ip->daddr, &q.address);
	if (!pass_on(skb, &q, vserver_call_udp_rcv))
		return false;
	/* It has been counted as one for nobody. */
	this_cpu_dec(q.net->mib.udp_statistics->mibs[UDP_MIB_NOPORTS]);
	return true;
}

VSERVER_WRAP(void, __icmp_send, struct sk_buff *skb, int type, int code, __be32 info,
	     const struct inet_skb_parm *parm)
{
	if (type == ICMP_DEST_UNREACH && code == ICMP_PORT_UNREACH && pass_on_v4(skb))
		return;
	vserver_orig___icmp_send(skb, type, code, info, parm);
}

static bool pass_on_v6(struct sk_buff *skb)
{
	struct query q;

	if (!comes_from_udp(skb))
		return false;
	q = (struct query) {
		.net = dev_net(skb->dev), .sport = udp_hdr(skb)->source,
		.dport = udp_hdr(skb)->dest, .dif = inet6_iif(skb), .sdif = inet6_sdif(skb),
		.udp = true, .address = ipv6_hdr(skb)->daddr,
	};
	if (!pass_on(skb, &q, vserver_call_udpv6_rcv))
		return false;
	this_cpu_dec(q.net->mib.udp_stats_in6->mibs[UDP_MIB_NOPORTS]);
	return true;
}

VSERVER_WRAP(void, icmp6_send, struct sk_buff *skb, u8 type, u8 code, __u32 info,
	     const struct in6_addr *force_saddr, const struct inet6_skb_parm *parm)
{
	/* TCP has no unreachable ports; of the extension headers none leads here from UDP's. */
	if (type == ICMPV6_DEST_UNREACH && code == ICMPV6_PORT_UNREACH && pass_on_v6(skb))
		return;
	vserver_orig_icmp6_send(skb, type, code, info, force_saddr, parm);
}

/*
 * Whether what is sent by UDP to a network's loopback would come to a socket of the host. (The
 * reception of UDP is not asked about that: everybody would pay for it.)
 */
bool vserver_leads_out(struct sock *sk, __be32 dest, __be16 port)
{
	struct sock *other;
	bool out;

	/* Nobody has the port of any address: so it is nearly always. */
	if (hlist_empty(&slot4(sock_net(sk), 0, port)->head))
		return false;
	rcu_read_lock();
	other = __udp4_lib_lookup(sock_net(sk), inet_sk(sk)->inet_rcv_saddr,
				  inet_sk(sk)->inet_sport, dest, port,
				  sock_net(sk)->loopback_dev->ifindex, 0, NULL);
	out = other && is_foreign(other, dest);
	rcu_read_unlock();
	return out;
}

/* Whether a socket stands in the way of one that is to be bound to the same port. */
static bool conflicts(const struct sock *sk, const struct sock *other, const struct in6_addr *at)
{
	if (!other || other == sk)
		return false;
	if (ipv6_addr_v4mapped(at) ? other->sk_rcv_saddr != at->s6_addr32[3] :
				     !ipv6_addr_equal(&other->sk_v6_rcv_saddr, at))
		return false;
	return sk->sk_protocol == IPPROTO_TCP || !sk->sk_reuse || !other->sk_reuse;
}

static bool taken_exactly(const struct sock *sk, const struct in6_addr *at, __be16 port)
{
	const struct net *net = sock_net(sk);
	struct in6_addr none = {};
	struct sock *other;

	if (sk->sk_protocol == IPPROTO_UDP &&
	    !(ipv6_addr_v4mapped(at) ? is_taken4(net, at->s6_addr32[3], port) :
				       is_taken6(net, at, port)))
		return false;
	if (ipv6_addr_v4mapped(at)) {
		if (sk->sk_protocol == IPPROTO_UDP)
			other = __udp4_lib_lookup(net, 0, 0, at->s6_addr32[3], port, 0, 0, NULL);
		else
			other = vserver_orig___inet_lookup_listener(net, NULL, 0, 0, 0,
								    at->s6_addr32[3],
								    ntohs(port), 0, 0);
	} else if (sk->sk_protocol == IPPROTO_UDP) {
		other = __udp6_lib_lookup(net, &none, 0, at, port, 0, 0, NULL);
	} else {
		other = vserver_orig_inet6_lookup_listener(net, NULL, 0, &none, 0, at,
							   ntohs(port), 0, 0);
	}
	return conflicts(sk, other, at);
}

/*
 * Whether a port of an address is in use: by who is bound to that, or to "any" in another network
 * that has it too. loopback: of the network that asks.
 */
bool vserver_port_taken_at(struct sock *sk, const struct in6_addr *address, __be16 port,
			   int loopback)
{
	struct entry *entry = NULL;
	struct query q = {
		.net = sock_net(sk), .dport = port, .udp = sk->sk_protocol == IPPROTO_UDP,
		.address = *address,
	};
	struct sock *other;
	bool taken;

	rcu_read_lock();
	taken = taken_exactly(sk, address, port);
	if (ipv6_addr_v4mapped(address) &&
	    vserver_loopback_of(address->s6_addr32[3]) == loopback) {
		/* Its own: the other one of "any". */
		other = look_in(&q, loopback);
		taken = taken || (other && other != sk &&
				  (!q.udp || !sk->sk_reuse || !other->sk_reuse));
	}
	while (!taken && (entry = next_of(entry, q.net->net_cookie, address))) {
		if (entry->loopback == loopback)
			continue;
		other = look_in(&q, entry->loopback);
		taken = other && (!q.udp || !sk->sk_reuse || !other->sk_reuse);
	}
	rcu_read_unlock();
	return taken;
}
