// SPDX-License-Identifier: GPL-2.0
/*
 * Operations of Unix sockets of contexts: abstract names are of the context only. Outside they
 * begin with the context's tag, which is random and told to nobody, so that names of two contexts
 * never meet and none can be guessed.
 *
 * What follows the tag: the number of zero bytes at the name's end, then the name without them; of
 * a name that is too long for that 0xff and its hash.
 */
#include <linux/net.h>
#include <linux/once.h>
#include <linux/random.h>
#include <linux/siphash.h>
#include <linux/socket.h>
#include <linux/un.h>
#include <net/af_unix.h>

#include "net.h"

#define PATH_AT		((int)offsetof(struct sockaddr_un, sun_path))
#define TAG		sizeof(u64)
/* Path bytes before the name: the zero of every abstract name, the tag, the count. */
#define BEFORE		(1 + TAG + 1)
#define HASHED		0xff

static siphash_key_t keys[2] __read_mostly;

static bool is_abstract(const struct sockaddr_un *address, int length)
{
	return length > PATH_AT && length <= (int)sizeof(*address) &&
	       address->sun_family == AF_UNIX && !address->sun_path[0];
}

/* From a name inside to one outside; the length of the address. */
static int outward(const struct vserver_network *network, const struct sockaddr_un *from,
		   int length, struct sockaddr_un *to)
{
	const char *name = from->sun_path + 1;
	int count = length - PATH_AT - 1, stripped = count;
	u64 tag = vserver_network_tag(network), hash;

	memset(to, 0, sizeof(*to));
	to->sun_family = AF_UNIX;
	memcpy(to->sun_path + 1, &tag, TAG);
	while (stripped && !name[stripped - 1])
		stripped--;
	if (stripped <= (int)(sizeof(to->sun_path) - BEFORE)) {
		to->sun_path[1 + TAG] = count - stripped;
		memcpy(to->sun_path + BEFORE, name, stripped);
		return PATH_AT + BEFORE + stripped;
	}
	get_random_once(keys, sizeof(keys));
	to->sun_path[1 + TAG] = HASHED;
	hash = siphash(name, count, &keys[0]);
	memcpy(to->sun_path + BEFORE, &hash, sizeof(hash));
	hash = siphash(name, count, &keys[1]);
	memcpy(to->sun_path + BEFORE + sizeof(hash), &hash, sizeof(hash));
	return PATH_AT + BEFORE + 2 * sizeof(hash);
}

/* And back, in place. Names that are not of this context are none that one could use. */
int vserver_unix_inward(const struct vserver_network *network, struct sockaddr_un *address,
			int length)
{
	u64 tag = vserver_network_tag(network);
	int zeros, count;

	if (!is_abstract(address, length) || length == PATH_AT)
		return length;
	count = length - PATH_AT - (int)BEFORE;
	if (count < 0 || memcmp(address->sun_path + 1, &tag, TAG))
		return PATH_AT;
	zeros = (u8)address->sun_path[1 + TAG];
	memmove(address->sun_path + 1, address->sun_path + BEFORE, count);
	if (zeros == HASHED || count + zeros > (int)sizeof(address->sun_path) - 1)
		zeros = 0;
	memset(address->sun_path + 1 + count, 0, zeros);
	return PATH_AT + 1 + count + zeros;
}

/* The kernel's choice of a name, among the context's. */
static int autobind(struct socket *sock, struct vserver_ops *ops)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX }, outside;
	u32 number = get_random_u32(), tries;
	int length, error = -ENOSPC;
	char digits[8];

	if (smp_load_acquire(&unix_sk(sock->sk)->addr))
		return 0;
	for (tries = 0; tries <= 0xfffff; tries++, number++) {
		snprintf(digits, sizeof(digits), "%05x", number & 0xfffff);
		memcpy(name.sun_path + 1, digits, 5);
		length = outward(ops->network, &name, PATH_AT + 6, &outside);
		error = ops->original->bind(sock, (struct sockaddr_unsized *)&outside, length);
		if (error != -EADDRINUSE)
			break;
		cond_resched();
	}
	/* Somebody else has bound it meanwhile. */
	return error == -EINVAL && unix_sk(sock->sk)->addr ? 0 : error;
}

static int unix_bind_in(struct socket *sock, struct sockaddr_unsized *uaddr, int length)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct sockaddr_un *name = (struct sockaddr_un *)uaddr, outside;

	if (length == PATH_AT && name->sun_family == AF_UNIX)
		return autobind(sock, ops);
	if (!is_abstract(name, length))
		return ops->original->bind(sock, uaddr, length);
	length = outward(ops->network, name, length, &outside);
	return ops->original->bind(sock, (struct sockaddr_unsized *)&outside, length);
}

/* SO_PASSCRED and the like have the kernel name a sender that has no name. */
static int name_sender(struct socket *sock, struct vserver_ops *ops)
{
	const struct sock *sk = sock->sk;

	if ((!sk->sk_scm_credentials && !sk->sk_scm_pidfd) || unix_sk(sk)->addr)
		return 0;
	return autobind(sock, ops);
}

static int unix_connect_in(struct socket *sock, struct sockaddr_unsized *uaddr, int length,
			   int flags)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	struct sockaddr_un *name = (struct sockaddr_un *)uaddr, outside;
	int error = name_sender(sock, ops);

	if (error)
		return error;
	if (!is_abstract(name, length))
		return ops->original->connect(sock, uaddr, length, flags);
	length = outward(ops->network, name, length, &outside);
	return ops->original->connect(sock, (struct sockaddr_unsized *)&outside, length, flags);
}

static int unix_getname_in(struct socket *sock, struct sockaddr *uaddr, int peer)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	int length = ops->original->getname(sock, uaddr, peer);

	return length < 0 ? length : vserver_unix_inward(ops->network, (struct sockaddr_un *)uaddr,
						      length);
}

static int unix_sendmsg_in(struct socket *sock, struct msghdr *message, size_t size)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	void *name = message->msg_name;
	int length = message->msg_namelen, error;
	struct sockaddr_un outside;

	error = name_sender(sock, ops);
	if (error)
		return error;
	if (!name || !is_abstract(name, length))
		return ops->original->sendmsg(sock, message, size);
	message->msg_namelen = outward(ops->network, name, length, &outside);
	message->msg_name = &outside;
	error = ops->original->sendmsg(sock, message, size);
	message->msg_name = name;
	message->msg_namelen = length;
	return error;
}

static int unix_recvmsg_in(struct socket *sock, struct msghdr *message, size_t size, int flags)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	int result = ops->original->recvmsg(sock, message, size, flags);

	if (result >= 0 && message->msg_name)
		message->msg_namelen = vserver_unix_inward(ops->network, message->msg_name,
							   message->msg_namelen);
	return result;
}

/* In place of the kernel's, when the copy is made. */
void vserver_unix_ops(struct vserver_ops *ops)
{
	ops->ops.bind = unix_bind_in;
	ops->ops.connect = unix_connect_in;
	ops->ops.getname = unix_getname_in;
	/* A stream's messages have no names. */
	if (ops->original->listen == sock_no_listen)
		ops->ops.sendmsg = unix_sendmsg_in;
	ops->ops.recvmsg = unix_recvmsg_in;
}
