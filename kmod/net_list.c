// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/net: each context sees its own sockets, context 0 too, and context 1 all of them; who is
 * confined to addresses sees the devices that have one of them, and what belongs to these.
 *
 * The kernel's functions write a line for something, or several; they are called, and what they
 * have written is taken back or corrected.
 */
#include <linux/etherdevice.h>
#include <linux/if_packet.h>
#include <linux/inet.h>
#include <linux/inetdevice.h>
#include <linux/seq_file.h>
#include <linux/seq_file_net.h>
#include <net/addrconf.h>
#include <net/af_unix.h>
#include <net/if_inet6.h>
#include <net/inet_sock.h>
#include <net/ip6_fib.h>
#include <net/ipv6.h>
#include <net/sock.h>

#include "net.h"
#include "wrap.h"

/*
 * Whether a context sees a socket: by the number of its inode, or, when no process has it any more,
 * by its local address.
 */
bool vserver_sees_socket(const struct vserver_network *viewer, const struct net *net,
			 unsigned long inode, const struct in6_addr *local)
{
	int context = viewer ? vserver_network_context(viewer) : 0;

	if (context == VSERVER_SPECTATOR)
		return true;
	if (inode)
		return vserver_owner_of(inode) == context;
	if (!local)
		return !context;
	if (viewer && vserver_network_confines(viewer, net))
		return ipv6_addr_v4mapped(local) ?
		       vserver_net_has4(viewer, local->s6_addr32[3]) ||
		       vserver_loopback_of(local->s6_addr32[3]) ==
		       vserver_network_loopback(viewer) :
		       vserver_net_has6(viewer, local);
	return !context && !vserver_address_taken(net, local);
}

static void local_address(const struct sock *sk, struct in6_addr *local)
{
	if (sk->sk_family == AF_INET6)
		*local = sk->sk_v6_rcv_saddr;
	else
		ipv6_addr_set_v4mapped(sk->sk_rcv_saddr, local);
}

static bool sees(struct seq_file *seq, const struct sock *sk)
{
	bool full = sk->sk_state != TCP_TIME_WAIT && sk->sk_state != TCP_NEW_SYN_RECV;
	struct in6_addr local;

	local_address(sk, &local);
	return vserver_sees_socket(vserver_network_current(), seq_file_net(seq),
				   full ? sock_i_ino((struct sock *)sk) : 0, &local);
}

/* An address as these files have it: words of eight hexadecimal digits, of the host's byte order. */
static void correct_v4(const struct vserver_network *network, char *text, bool any)
{
	char digits[9] = {};
	u32 address;

	memcpy(digits, text, 8);
	if (kstrtou32(digits, 16, &address))
		return;
	vserver_net_inward4(network, (__be32 *)&address);
	snprintf(digits, sizeof(digits), "%08X", any ? 0 : address);
	memcpy(text, digits, 8);
}

static void correct_v6(const struct vserver_network *network, char *text, bool any)
{
	struct in6_addr address;
	char digits[9] = {};
	u32 word;
	int i;

	for (i = 0; i < 4; i++) {
		memcpy(digits, text + 8 * i, 8);
		if (kstrtou32(digits, 16, &word))
			return;
		address.s6_addr32[i] = (__force __be32)word;
	}
	vserver_net_inward6(network, &address);
	for (i = 0; i < 4; i++) {
		snprintf(digits, sizeof(digits), "%08X",
			 any ? 0 : (__force u32)address.s6_addr32[i]);
		memcpy(text + 8 * i, digits, 8);
	}
}

/* "  0: 0100007F:1538 00000000:0000 0A ..." as the network has it. */
static void correct(struct seq_file *seq, size_t start, const struct sock *sk, bool v6)
{
	const struct vserver_network *network = vserver_network_current();
	size_t digits = v6 ? 32 : 8;
	char *text, *end = seq->buf + seq->count;
	bool any;

	if (!network || !vserver_network_confines(network, seq_file_net(seq)))
		return;
	any = sk->sk_state != TCP_TIME_WAIT && sk->sk_state != TCP_NEW_SYN_RECV &&
	      test_bit(VSERVER_SK_ANY, &sk->sk_flags) &&
	      vserver_loopback_of(sk->sk_rcv_saddr) == vserver_network_loopback(network);
	text = memchr(seq->buf + start, ':', seq->count - start);
	if (!text || text + 2 + 2 * (digits + 6) > end)
		return;
	text += 2;
	if (v6) {
		correct_v6(network, text, any);
		correct_v6(network, text + digits + 6, false);
	} else {
		correct_v4(network, text, any);
		correct_v4(network, text + digits + 6, false);
	}
}

#define SOCKETS(name, v6)						\
VSERVER_WRAP(int, name, struct seq_file *seq, void *v)			\
{									\
	size_t start = seq->count;					\
	int result;							\
									\
	if (v == SEQ_START_TOKEN)					\
		return vserver_orig_##name(seq, v);			\
	if (!sees(seq, v))						\
		return SEQ_SKIP;					\
	result = vserver_orig_##name(seq, v);				\
	if (!result && !seq_has_overflowed(seq))			\
		correct(seq, start, v, v6);				\
	return result;							\
}

SOCKETS(tcp4_seq_show, false)
SOCKETS(tcp6_seq_show, true)
SOCKETS(udp4_seq_show, false)
SOCKETS(udp6_seq_show, true)
SOCKETS(raw_seq_show, false)
SOCKETS(raw6_seq_show, true)
SOCKETS(ping_v4_seq_show, false)
SOCKETS(ping_v6_seq_show, true)

/* Sockets without addresses of the network. */
static bool sees_other(struct seq_file *seq, struct sock *sk)
{
	return vserver_sees_socket(vserver_network_current(), seq_file_net(seq), sock_i_ino(sk),
				   NULL);
}

VSERVER_WRAP(int, unix_seq_show, struct seq_file *seq, void *v)
{
	const struct vserver_network *network = vserver_network_current();
	struct unix_address *address;
	struct sockaddr_un name;
	int result, length, i;

	if (v == SEQ_START_TOKEN)
		return vserver_orig_unix_seq_show(seq, v);
	if (!sees_other(seq, v))
		return SEQ_SKIP;
	result = vserver_orig_unix_seq_show(seq, v);
	address = smp_load_acquire(&unix_sk((struct sock *)v)->addr);
	if (result || seq_has_overflowed(seq) || !address || !network ||
	    address->name->sun_path[0])
		return result;
	/* An abstract name: "@", the rest, the end of the line. */
	length = address->len;
	if (seq->count < length - offsetof(struct sockaddr_un, sun_path) + 1)
		return result;
	seq->count -= length - offsetof(struct sockaddr_un, sun_path) + 1;
	memset(&name, 0, sizeof(name));
	memcpy(&name, address->name, length);
	length = vserver_unix_inward(network, &name, length);
	for (i = 0; i < length - (int)offsetof(struct sockaddr_un, sun_path); i++)
		seq_putc(seq, name.sun_path[i] ? : '@');
	seq_putc(seq, '\n');
	return 0;
}

VSERVER_WRAP(int, packet_seq_show, struct seq_file *seq, void *v)
{
	if (v != SEQ_START_TOKEN && !sees_other(seq, sk_entry(v)))
		return SEQ_SKIP;
	return vserver_orig_packet_seq_show(seq, v);
}

VSERVER_WRAP(int, netlink_seq_show, struct seq_file *seq, void *v)
{
	if (v && v != SEQ_START_TOKEN && !sees_other(seq, v))
		return SEQ_SKIP;
	return vserver_orig_netlink_seq_show(seq, v);
}

/* The network of a reader who does not see all devices; NULL: he does. */
static const struct vserver_network *narrow(struct seq_file *seq)
{
	const struct vserver_network *network = vserver_network_current();

	return network && vserver_network_confines(network, seq_file_net(seq)) ? network : NULL;
}

/* Whether a network sees a device: one that has an address of it, or the loopback. Under RCU. */
bool vserver_net_sees(const struct vserver_network *network, const struct net_device *dev)
{
	const struct inet6_ifaddr *v6;
	const struct in_ifaddr *v4;
	struct inet6_dev *in6;
	struct in_device *in;

	if (dev->flags & IFF_LOOPBACK)
		return true;
	in = __in_dev_get_rcu(dev);
	if (in) {
		in_dev_for_each_ifa_rcu(v4, in) {
			if (vserver_net_has4(network, v4->ifa_local))
				return true;
		}
	}
	in6 = __in6_dev_get(dev);
	if (in6) {
		list_for_each_entry_rcu(v6, &in6->addr_list, if_list) {
			if (vserver_net_has6(network, &v6->addr))
				return true;
		}
	}
	return false;
}

bool vserver_net_sees_index(const struct vserver_network *network, struct net *net, int index)
{
	struct net_device *dev;
	bool seen;

	rcu_read_lock();
	dev = dev_get_by_index_rcu(net, index);
	seen = dev && vserver_net_sees(network, dev);
	rcu_read_unlock();
	return seen;
}

bool vserver_net_sees_name(const struct vserver_network *network, struct net *net,
			   const char *name, size_t length)
{
	char copy[IFNAMSIZ] = {};
	struct net_device *dev;
	bool seen;

	if (length >= sizeof(copy))
		return false;
	memcpy(copy, name, length);
	rcu_read_lock();
	dev = dev_get_by_name_rcu(net, copy);
	seen = dev && vserver_net_sees(network, dev);
	rcu_read_unlock();
	return seen;
}

VSERVER_WRAP(int, dev_seq_show, struct seq_file *seq, void *v)
{
	const struct vserver_network *network = narrow(seq);

	if (v != SEQ_START_TOKEN && network && !vserver_net_sees(network, v))
		return SEQ_SKIP;
	return vserver_orig_dev_seq_show(seq, v);
}

/* Takes back the lines whose device is not seen; it is their first word, or the last one. */
static void strike_lines(struct seq_file *seq, size_t start, const struct vserver_network *network,
			 bool last)
{
	char *from = seq->buf + start, *to = from, *end = seq->buf + seq->count;

	while (from < end) {
		char *stop = memchr(from, '\n', end - from), *word = from, *after;

		stop = stop ? stop + 1 : end;
		if (last) {
			for (after = stop; after > from && isspace(after[-1]); after--)
				;
			for (word = after; word > from && !isspace(word[-1]); word--)
				;
		} else {
			for (after = from; after < stop && !isspace(*after); after++)
				;
		}
		if (vserver_net_sees_name(network, seq_file_net(seq), word, after - word)) {
			memmove(to, from, stop - from);
			to += stop - from;
		}
		from = stop;
	}
	seq->count = to - seq->buf;
}

VSERVER_WRAP(int, fib_route_seq_show, struct seq_file *seq, void *v)
{
	const struct vserver_network *network = narrow(seq);
	size_t start = seq->count;
	int result = vserver_orig_fib_route_seq_show(seq, v);

	if (network && v != SEQ_START_TOKEN && !result && !seq_has_overflowed(seq))
		strike_lines(seq, start, network, false);
	return result;
}

VSERVER_WRAP(int, arp_seq_show, struct seq_file *seq, void *v)
{
	const struct vserver_network *network = narrow(seq);
	size_t start = seq->count;
	int result = vserver_orig_arp_seq_show(seq, v);

	if (network && v != SEQ_START_TOKEN && !result && !seq_has_overflowed(seq))
		strike_lines(seq, start, network, true);
	return result;
}

/* The tree of routes: of its leaves those that are routes to networks, or one's own addresses. */
VSERVER_WRAP(int, fib_trie_seq_show, struct seq_file *seq, void *v)
{
	const struct vserver_network *network = narrow(seq);
	size_t start = seq->count;
	int result = vserver_orig_fib_trie_seq_show(seq, v);
	char *leaf, *node, text[16] = {};
	__be32 address;

	if (!network || result || seq_has_overflowed(seq))
		return result;
	leaf = strnstr(seq->buf + start, "|-- ", seq->count - start);
	node = strnstr(seq->buf + start, "+-- ", seq->count - start);
	if (leaf) {
		strscpy(text, leaf + 4, min_t(size_t, sizeof(text),
					      seq->buf + seq->count - leaf - 4 + 1));
		text[strcspn(text, "\n")] = 0;
		if (in4_pton(text, -1, (u8 *)&address, -1, NULL) &&
		    (vserver_net_has4(network, address) || address == htonl(INADDR_LOOPBACK) ||
		     strnstr(leaf, " UNICAST", seq->buf + seq->count - leaf)))
			return 0;
		node = leaf;
	}
	if (node) {
		/* With its indentation; a heading before it stays. */
		while (node > seq->buf + start && node[-1] != '\n')
			node--;
		seq->count = node - seq->buf;
	}
	return 0;
}

VSERVER_WRAP(int, if6_seq_show, struct seq_file *seq, void *v)
{
	const struct vserver_network *network = narrow(seq);
	const struct inet6_ifaddr *address = v;

	if (network && !vserver_net_shows6(network, &address->addr))
		return SEQ_SKIP;
	return vserver_orig_if6_seq_show(seq, v);
}

VSERVER_WRAP(int, ipv6_route_seq_show, struct seq_file *seq, void *v)
{
	const struct vserver_network *network = narrow(seq);
	const struct fib6_info *route = v;
	bool struck = network && (route->fib6_type == RTN_LOCAL ||
				  route->fib6_type == RTN_ANYCAST) &&
		      !vserver_net_shows6(network, &route->fib6_dst.addr);
	size_t start = seq->count;
	/* Asked for in any case: it notes how far the reader has come. */
	int result = vserver_orig_ipv6_route_seq_show(seq, v);

	if (!network || result || seq_has_overflowed(seq))
		return result;
	if (struck)
		seq->count = start;
	else
		strike_lines(seq, start, network, true);
	return 0;
}
