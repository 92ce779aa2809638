// SPDX-License-Identifier: GPL-2.0
/*
 * ioctls about devices and their addresses, on sockets of networks that are confined to addresses:
 * they tell of what the network has, and of lo.
 */
#include <linux/compat.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/inetdevice.h>
#include <linux/slab.h>
#include <linux/sockios.h>
#include <net/sock.h>

#include "net.h"
#include "wrap.h"

/* Whether a request begins with the name of a device that it is about. */
static bool names_device(unsigned int cmd)
{
	switch (cmd) {
	case SIOCGIFFLAGS ... SIOCSIFSLAVE:
	case SIOCGIFINDEX ... SIOCSIFHWBROADCAST:
	case SIOCGIFTXQLEN ... SIOCSIFTXQLEN:
	case SIOCETHTOOL ... SIOCWANDEV:
	case SIOCGIFMAP ... SIOCSIFMAP:
	case SIOCBONDENSLAVE ... SIOCGHWTSTAMP:
		return true;
	default:
		return false;
	}
}

/* What lo has inside. */
static const struct in_ifaddr *lo_address(struct in_device *in)
{
	const struct in_ifaddr *address;

	in_dev_for_each_ifa_rcu(address, in) {
		if (address->ifa_local == htonl(INADDR_LOOPBACK))
			return address;
	}
	return NULL;
}

static bool shows(const struct vserver_network *network, const struct in_ifaddr *address)
{
	return vserver_net_has4(network, address->ifa_local) ||
	       address->ifa_local == htonl(INADDR_LOOPBACK);
}

/* The address of a device, by its name or a label: the first one that the network has. */
static int get_address(struct net *net, const struct vserver_network *network, unsigned int cmd,
		       struct ifreq *request)
{
	struct sockaddr_in *result = (struct sockaddr_in *)&request->ifr_addr;
	const struct in_ifaddr *address, *found = NULL;
	char name[IFNAMSIZ], *colon;
	struct net_device *dev;
	struct in_device *in;

	strscpy(name, request->ifr_name);
	colon = strchr(name, ':');
	if (colon)
		*colon = 0;
	rcu_read_lock();
	dev = dev_get_by_name_rcu(net, name);
	if (!dev || !vserver_net_sees(network, dev)) {
		rcu_read_unlock();
		return -ENODEV;
	}
	in = __in_dev_get_rcu(dev);
	if (in && !colon && (dev->flags & IFF_LOOPBACK))
		found = lo_address(in);
	if (in && !found) {
		in_dev_for_each_ifa_rcu(address, in) {
			if (vserver_net_has4(network, address->ifa_local) &&
			    (!colon || !strcmp(address->ifa_label, request->ifr_name))) {
				found = address;
				break;
			}
		}
	}
	if (found) {
		memset(result, 0, sizeof(*result));
		result->sin_family = AF_INET;
		switch (cmd) {
		case SIOCGIFADDR:
			result->sin_addr.s_addr = found->ifa_local;
			break;
		case SIOCGIFBRDADDR:
			result->sin_addr.s_addr = found->ifa_broadcast;
			break;
		case SIOCGIFDSTADDR:
			result->sin_addr.s_addr = found->ifa_address;
			break;
		default:
			result->sin_addr.s_addr = found->ifa_mask;
		}
	}
	rcu_read_unlock();
	return found ? 0 : -EADDRNOTAVAIL;
}

/* Fills in the addresses that the network has; how many there are. */
static unsigned int list_addresses(struct net *net, const struct vserver_network *network,
				   struct ifreq *list, unsigned int room)
{
	const struct in_ifaddr *address;
	struct net_device *dev;
	unsigned int count = 0;
	struct in_device *in;

	rcu_read_lock();
	for_each_netdev_rcu(net, dev) {
		in = __in_dev_get_rcu(dev);
		if (!in)
			continue;
		in_dev_for_each_ifa_rcu(address, in) {
			struct sockaddr_in *to;

			if (!shows(network, address))
				continue;
			if (count < room) {
				memset(&list[count], 0, sizeof(list[count]));
				strscpy(list[count].ifr_name, address->ifa_label);
				to = (struct sockaddr_in *)&list[count].ifr_addr;
				to->sin_family = AF_INET;
				to->sin_addr.s_addr = address->ifa_local;
			}
			count++;
		}
	}
	rcu_read_unlock();
	return count;
}

static int get_list(struct net *net, const struct vserver_network *network, void __user *argument)
{
	size_t size = in_compat_syscall() ? sizeof(struct compat_ifreq) : sizeof(struct ifreq);
	unsigned int count, room = 0, i;
	struct ifreq *list = NULL;
	char __user *to;
	int length, error = 0;

	if (in_compat_syscall()) {
		struct compat_ifconf request;

		if (copy_from_user(&request, argument, sizeof(request)))
			return -EFAULT;
		to = compat_ptr(request.ifcbuf);
		length = request.ifc_len;
	} else {
		struct ifconf request;

		if (copy_from_user(&request, argument, sizeof(request)))
			return -EFAULT;
		to = request.ifc_buf;
		length = request.ifc_len;
	}
	if (length < 0)
		return -EINVAL;
	count = list_addresses(net, network, NULL, 0);
	if (to) {
		room = min_t(size_t, count, length / size);
		list = kvcalloc(room ? : 1, sizeof(*list), GFP_KERNEL);
		if (!list)
			return -ENOMEM;
		count = min(room, list_addresses(net, network, list, room));
	}
	/* The two kinds of the structure begin alike, and have nothing behind an address. */
	for (i = 0; list && i < count && !error; i++) {
		if (copy_to_user(to + i * size, &list[i],
				 offsetof(struct ifreq, ifr_addr) + sizeof(struct sockaddr)) ||
		    clear_user(to + i * size + offsetof(struct ifreq, ifr_addr) +
			       sizeof(struct sockaddr),
			       size - offsetof(struct ifreq, ifr_addr) - sizeof(struct sockaddr)))
			error = -EFAULT;
	}
	kvfree(list);
	/* The length is the first field of both. */
	return error ? : put_user((int)(count * size), (int __user *)argument);
}

static int device_ioctl(struct socket *sock, unsigned int cmd, unsigned long argument)
{
	struct vserver_ops *ops = vserver_ops_of(sock);
	const struct vserver_network *network = ops->network;
	struct net *net = sock_net(sock->sk);
	void __user *user = (void __user *)argument;
	struct net_device *dev;
	struct ifreq request;
	bool seen;
	int error;

	if (!names_device(cmd) && cmd != SIOCGIFNAME)
		return ops->original->ioctl(sock, cmd, argument);
	memset(&request, 0, sizeof(request));
	if (copy_from_user(&request, user, offsetof(struct ifreq, ifr_addr) +
					   sizeof(struct sockaddr)))
		return -EFAULT;
	request.ifr_name[IFNAMSIZ - 1] = 0;
	switch (cmd) {
	case SIOCGIFADDR:
	case SIOCGIFBRDADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFNETMASK:
		/* Of IPv6 sockets these are the tunnels', and of other ones nobody's. */
		if (sock->sk->sk_family != AF_INET)
			break;
		error = get_address(net, network, cmd, &request);
		if (!error && copy_to_user(user, &request, offsetof(struct ifreq, ifr_addr) +
							   sizeof(struct sockaddr)))
			error = -EFAULT;
		return error;
	}
	rcu_read_lock();
	if (cmd == SIOCGIFNAME) {
		dev = dev_get_by_index_rcu(net, request.ifr_ifindex);
	} else {
		strreplace(request.ifr_name, ':', 0);
		dev = dev_get_by_name_rcu(net, request.ifr_name);
	}
	seen = dev && vserver_net_sees(network, dev);
	rcu_read_unlock();
	return seen ? ops->original->ioctl(sock, cmd, argument) : -ENODEV;
}

/* The list is no business of the socket's operations. */
VSERVER_WRAP(int, dev_ifconf, struct net *net, struct ifconf __user *argument)
{
	const struct vserver_network *network = vserver_network_current();
	int error;

	vserver_inside(1);
	if (network && vserver_network_confines(network, net))
		error = get_list(net, network, argument);
	else
		error = vserver_orig_dev_ifconf(net, argument);
	vserver_inside(-1);
	return error;
}

/* In place of the kernel's, when the copy is made. */
void vserver_device_ops(struct vserver_ops *ops)
{
	if (ops->original->ioctl && ops->original->ioctl != sock_no_ioctl)
		ops->ops.ioctl = device_ioctl;
}
