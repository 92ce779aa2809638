/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The network of a process: which of the host's addresses it has, its own loopback, its context.
 * The object is Rust's (network.rs), and so are the decisions; the C files net_*.c are what cannot
 * be said in Rust: they work on the kernel's sockets with its inline functions and macros.
 */
#ifndef VSERVER_NET_H
#define VSERVER_NET_H

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/net.h>
#include <linux/types.h>

struct net;
struct net_device;
struct sk_buff;
struct sock;
struct sockaddr_un;
struct vserver_network;

/* The context that sees everything. */
#define VSERVER_SPECTATOR	1

/* Operations of the sockets of one network: a copy of the kernel's with ours in their places. */
struct vserver_ops {
	struct proto_ops ops;
	const struct proto_ops *original;
	struct module *original_owner;
	struct vserver_network *network;
	struct vserver_ops *next;
	/* Of a socket that came from another network: what it had there. See vserver_net_adopt(). */
	struct vserver_ops *previous;
	/* Whether they are for the network namespace that the network is confined in. */
	bool confined;
	/* What 127.0.0.1 inside is outside, and so the source for it: asked for once. */
	__be32 localhost;
};

/* Bits of socket.flags that the kernel does not use. */
enum {
	VSERVER_SOCK_OURS = 24,		/* holds a reference to its network */
	VSERVER_SOCK_MOVED,		/* holds one to each network before, too */
	VSERVER_SOCK_ANY,		/* bound to "any": what the network has */
	VSERVER_SOCK_V6ONLY,		/* IPV6_V6ONLY as the program sees it */
};

/* Bits of sock.sk_flags that the kernel does not use: a socket bound to "any" can be found ... */
enum {
	VSERVER_SK_ANY = 48,		/* ... by the addresses of its network (in sk_user_data) ... */
	VSERVER_SK_V6ONLY,		/* ... but not by IPv4 ones */
	VSERVER_SK_MEMBER,		/* gets what comes to groups, see net_groups.c */
};

/* The ways of vserver_net_bind4() and vserver_net_bind6(). */
enum {
	VSERVER_BIND_EXACT = 0,
	VSERVER_BIND_ANY = 1,
};

/* net_sockets.c */
int vserver_net_adopt(struct socket *sock, int family, struct vserver_network *network);
int vserver_net_wrap(struct socket *sock, struct vserver_network *network);
struct vserver_network *vserver_net_of_socket(const struct socket *sock);
int vserver_adopt_files(void);
void vserver_ops_free(struct vserver_ops *ops);
bool vserver_net_unbound(const struct socket *sock);
u64 vserver_net_namespace(void);
bool vserver_net_is_namespace(const struct net *net, u64 ns);

static inline struct vserver_ops *vserver_ops_of(const struct socket *sock)
{
	return container_of(READ_ONCE(sock->ops), struct vserver_ops, ops);
}

/* net_inet.c: operations of sockets of IPv4 and IPv6. */
void vserver_inet_ops(struct vserver_ops *ops);
int vserver_inet_born(struct socket *sock, struct vserver_network *network,
		      const struct vserver_ops *previous);
void vserver_inet_unmark(struct sock *sk);

/* net_unix.c: operations of Unix sockets. */
void vserver_unix_ops(struct vserver_ops *ops);
int vserver_unix_inward(const struct vserver_network *network, struct sockaddr_un *address,
			int length);

/* net_events.c: news that are not about the network. */
bool vserver_netlink_is_for_contexts(int protocol);
void vserver_event_ops(struct vserver_ops *ops);

/* net_netlink.c, net_device.c: what one may ask for. */
void vserver_netlink_ops(struct vserver_ops *ops);
void vserver_device_ops(struct vserver_ops *ops);

/* net_owner.c: the contexts of sockets. */
int vserver_owner_set(struct socket *sock, int context);
void vserver_owner_clear(struct socket *sock);
int vserver_owner_of(unsigned long inode);
void vserver_owner_destroy(void);

/* net_list.c: whose sockets and devices are seen by whom. */
bool vserver_sees_socket(const struct vserver_network *viewer, const struct net *net,
			 unsigned long inode, const struct in6_addr *local);
bool vserver_net_sees(const struct vserver_network *network, const struct net_device *dev);
bool vserver_net_sees_name(const struct vserver_network *network, struct net *net,
			   const char *name, size_t length);
bool vserver_net_sees_index(const struct vserver_network *network, struct net *net, int index);

/* net_lookup.c: whose is an address? Prefixes of IPv4 count as of mapped addresses: 96 bits more. */
int vserver_map_add(u64 ns, const struct in6_addr *address, u8 prefix, u16 loopback);
void vserver_map_del(u64 ns, const struct in6_addr *address, u8 prefix, u16 loopback);
void vserver_map_destroy(void);
/* Whether some network has an address. */
bool vserver_address_taken(const struct net *net, const struct in6_addr *address);
int vserver_loopback_take(void);
void vserver_loopback_give(int loopback);
bool vserver_leads_out(struct sock *sk, __be32 dest, __be16 port);
bool vserver_port_taken_at(struct sock *sk, const struct in6_addr *address, __be16 port,
			   int loopback);

/* network.rs */
void vserver_network_get(struct vserver_network *network);
void vserver_network_put(struct vserver_network *network);
struct vserver_ops **vserver_network_ops(struct vserver_network *network);
struct vserver_network *vserver_network_current(void);
/* A reference to one of the host as a whole. NULL: nobody else has a network. */
struct vserver_network *vserver_network_of_host(void);
int vserver_network_context(const struct vserver_network *network);
u64 vserver_network_tag(const struct vserver_network *network);
/* Whether it is confined to addresses, in this network namespace. */
bool vserver_network_confines(const struct vserver_network *network, const struct net *net);
int vserver_network_loopback(const struct vserver_network *network);
void vserver_inside(int change);

/* Whether a port is in use on any address of a network, so that "any" cannot have it. */
bool vserver_port_taken(struct sock *sk, const struct vserver_network *network, __be16 port,
			bool v6, bool v6only);

/*
 * Decisions. Addresses are changed in place: to what they are outside, or back. Negative: an errno.
 * dest4 and dest6 also give the source if it follows from the destination, else zero.
 */
int vserver_net_bind4(const struct vserver_network *network, __be32 *address);
int vserver_net_bind6(const struct vserver_network *network, struct in6_addr *address, bool v6only);
int vserver_net_dest4(const struct vserver_network *network, __be32 *dest, __be32 *source);
int vserver_net_dest6(const struct vserver_network *network, struct in6_addr *dest,
		      struct in6_addr *source);
int vserver_net_source4(const struct vserver_network *network, __be32 *source);
int vserver_net_source6(const struct vserver_network *network, struct in6_addr *source);
bool vserver_net_has4(const struct vserver_network *network, __be32 address);
bool vserver_net_has6(const struct vserver_network *network, const struct in6_addr *address);
/* As has6, or ::1 where there is one. */
bool vserver_net_shows6(const struct vserver_network *network, const struct in6_addr *address);
/* The one to send from: the proposed one if it is among them, else the nearest to the destination. */
__be32 vserver_net_choose4(const struct vserver_network *network, __be32 dest, __be32 proposed);
void vserver_net_choose6(const struct vserver_network *network, const struct in6_addr *dest,
			 const struct in6_addr *proposed, struct in6_addr *chosen);
/* The only one, or zero when there are several to choose from, or none. */
__be32 vserver_net_only4(const struct vserver_network *network);
void vserver_net_only6(const struct vserver_network *network, struct in6_addr *only);
/* The broadcast address, or zero. */
__be32 vserver_net_broadcast(const struct vserver_network *network);
void vserver_net_inward4(const struct vserver_network *network, __be32 *address);
void vserver_net_inward6(const struct vserver_network *network, struct in6_addr *address);

/*
 * The loopbacks of networks: 127.0.0.0/8 without 127.0.0.0/16. Each has 256 addresses.
 */
#define VSERVER_LOOPBACK_V4	1	/* the last byte of what is 127.0.0.1 inside */
#define VSERVER_LOOPBACK_V6	255	/* the last byte of what is ::1 inside, mapped */

static inline __be32 vserver_loopback(int loopback, u8 last)
{
	return htonl(INADDR_LOOPBACK & 0xff000000) | htonl((loopback + 256) << 8 | last);
}

/* The loopback that an address belongs to; negative: none. */
static inline int vserver_loopback_of(__be32 address)
{
	u32 host = ntohl(address);

	return (host >> 24) == 127 ? (int)((host >> 8) & 0xffff) - 256 : -1;
}

#endif
