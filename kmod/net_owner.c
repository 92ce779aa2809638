// SPDX-License-Identifier: GPL-2.0
/*
 * The context of each socket that is in one, by the number of its inode. The kernel hands out these
 * numbers one after the other, so they are kept in blocks: of a great many sockets only one needs
 * memory. The newest block stays when it is empty, or a program that has one socket at a time would
 * need it each time.
 *
 * Blocks are read under RCU; changes are made under owner_lock, a leaf.
 */
#include <linux/hashtable.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <net/sock.h>

#include "net.h"

/* So few that sockets whose numbers lie far apart do not cost much more than they do themselves. */
#define BLOCK	128

struct block {
	struct hlist_node node;
	struct rcu_head rcu;
	/* All inodes whose number divided by BLOCK is this one. */
	unsigned long number;
	unsigned int used;
	u16 contexts[BLOCK];
};

static DEFINE_HASHTABLE(blocks, 10);
static struct block *newest;
static DEFINE_SPINLOCK(owner_lock);

static struct block *find(unsigned long inode)
{
	struct block *block;

	hash_for_each_possible_rcu(blocks, block, node, inode / BLOCK,
				   lockdep_is_held(&owner_lock)) {
		if (block->number == inode / BLOCK)
			return block;
	}
	return NULL;
}

static void give_back(struct block *block)
{
	hash_del_rcu(&block->node);
	kfree_rcu(block, rcu);
}

static void add(struct block *block)
{
	hash_add_rcu(blocks, &block->node, block->number);
	if (newest && !newest->used)
		give_back(newest);
	newest = block;
}

int vserver_owner_set(struct socket *sock, int context)
{
	unsigned long inode = SOCK_INODE(sock)->i_ino;
	struct block *block, *new = NULL;

	spin_lock(&owner_lock);
	block = find(inode);
	if (unlikely(!block)) {
		spin_unlock(&owner_lock);
		new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
		if (!new)
			return -ENOMEM;
		new->number = inode / BLOCK;
		spin_lock(&owner_lock);
		block = find(inode);
		if (!block) {
			block = new;
			new = NULL;
			add(block);
		}
	}
	/* A socket that comes from another context has been counted. */
	if (!block->contexts[inode % BLOCK])
		block->used++;
	WRITE_ONCE(block->contexts[inode % BLOCK], context);
	spin_unlock(&owner_lock);
	kfree(new);
	return 0;
}

void vserver_owner_clear(struct socket *sock)
{
	unsigned long inode = SOCK_INODE(sock)->i_ino;
	struct block *block;

	spin_lock(&owner_lock);
	block = find(inode);
	if (block && block->contexts[inode % BLOCK]) {
		WRITE_ONCE(block->contexts[inode % BLOCK], 0);
		if (!--block->used && block != newest)
			give_back(block);
	}
	spin_unlock(&owner_lock);
}

/* Zero when it is in none. */
int vserver_owner_of(unsigned long inode)
{
	struct block *block;
	int context;

	rcu_read_lock();
	block = find(inode);
	context = block ? READ_ONCE(block->contexts[inode % BLOCK]) : 0;
	rcu_read_unlock();
	return context;
}

/* At module exit, when no socket is in a context. */
void vserver_owner_destroy(void)
{
	kfree(newest);
}
