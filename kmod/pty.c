// SPDX-License-Identifier: GPL-2.0
/*
 * Pseudo-terminals. Each belongs to the context that has opened its master, or to the host. Who is
 * elsewhere does not find it in any mount of its devpts, and cannot open it, whichever way he knows it.
 *
 * A descriptor of the terminal side that somebody has been given, by inheritance or in a message,
 * works; and with it his context may open that terminal again, as programs do with /dev/stderr
 * and /dev/tty: it is on loan. Nobody types for others with it, though.
 *
 * The owner is in the i_private of the terminal's inode, which devpts does not use. Their names are the
 * business of devpts.c.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/major.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>

#include "inside.h"
#include "pty.h"
#include "unexported.h"
#include "wrap.h"

/* Who somebody is: a tag that no other context ever has. Zero: the host. */
static u64 identity(void)
{
	const struct vserver_network *network = vserver_network_inside();

	return network ? vserver_network_tag(network) : 0;
}

static bool is_spectator(void)
{
	const struct vserver_network *network = vserver_network_inside();

	return network && vserver_network_context(network) == VSERVER_SPECTATOR;
}

static u64 owner_of(const struct inode *pty)
{
	return (u64)READ_ONCE(pty->i_private);
}

/* The caller has made it. */
void vserver_pty_own(struct inode *pty)
{
	WRITE_ONCE(pty->i_private, (void *)identity());
}

/* Terminals on loan: each of one terminal to one borrower. Read under RCU, changed under loans_lock. */
struct loan {
	struct hlist_node by_pty;
	struct hlist_node by_borrower;
	struct rcu_head rcu;
	const struct inode *pty;
	u64 borrower;
};

static DEFINE_HASHTABLE(loans_by_pty, 6);
static DEFINE_HASHTABLE(loans_by_borrower, 6);
static DEFINE_SPINLOCK(loans_lock);

static bool is_lent(const struct inode *pty, u64 borrower)
{
	const struct loan *loan;
	bool found = false;

	rcu_read_lock();
	hash_for_each_possible_rcu(loans_by_pty, loan, by_pty, (unsigned long)pty) {
		if (loan->pty == pty && loan->borrower == borrower) {
			found = true;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

/* Under loans_lock. */
static void end_loan(struct loan *loan)
{
	hash_del_rcu(&loan->by_pty);
	hash_del_rcu(&loan->by_borrower);
	kfree_rcu(loan, rcu);
}

/* A terminal has ended. */
void vserver_pty_end_loans_of(const struct inode *pty)
{
	struct hlist_node *next;
	struct loan *loan;

	spin_lock(&loans_lock);
	hash_for_each_possible_safe(loans_by_pty, loan, next, by_pty, (unsigned long)pty) {
		if (loan->pty == pty)
			end_loan(loan);
	}
	spin_unlock(&loans_lock);
}

/* At module exit. */
void vserver_pty_end_all_loans(void)
{
	struct hlist_node *next;
	struct loan *loan;
	int bucket;

	spin_lock(&loans_lock);
	hash_for_each_safe(loans_by_pty, bucket, next, loan, by_pty)
		end_loan(loan);
	spin_unlock(&loans_lock);
}

/* A context has ended. */
void vserver_ptys_end_loans_to(u64 borrower)
{
	struct hlist_node *next;
	struct loan *loan;

	spin_lock(&loans_lock);
	hash_for_each_possible_safe(loans_by_borrower, loan, next, by_borrower, borrower) {
		if (loan->borrower == borrower)
			end_loan(loan);
	}
	spin_unlock(&loans_lock);
}

static bool may_open(const struct inode *pty)
{
	u64 self = identity();

	return owner_of(pty) == self || is_lent(pty, self);
}

/* The spectator finds all that there is. */
bool vserver_pty_is_seen(const struct inode *pty)
{
	return may_open(pty) || is_spectator();
}

/* The side of a pair that programs run on; of another terminal itself. */
static struct tty_struct *terminal_side(struct tty_struct *tty)
{
	bool master = tty->driver->type == TTY_DRIVER_TYPE_PTY &&
		      tty->driver->subtype == PTY_TYPE_MASTER;

	return master ? tty->link : tty;
}

/*
 * The inode of a pair's terminal side; NULL: it is of another kind, or its master is gone, and nobody can do
 * anything with it. Under rcu_read_lock(): the mark that the master has gone is set before the
 * entry is, and the memory of that stays for a grace period.
 */
static const struct inode *pty_of(const struct tty_struct *terminal)
{
	const struct dentry *dentry;

	if (terminal->driver->type != TTY_DRIVER_TYPE_PTY ||
	    terminal->driver->subtype != PTY_TYPE_SLAVE)
		return NULL;
	dentry = READ_ONCE(terminal->driver_data);
	/* Ones with BSD names have no entry. */
	if (!dentry || test_bit_acquire(TTY_OTHER_CLOSED, &terminal->flags))
		return NULL;
	return d_inode_rcu(dentry);
}

/* Of a file of the terminals' driver. */
static struct tty_struct *tty_of(const struct file *file)
{
	return ((const struct tty_file_private *)file->private_data)->tty;
}

/* The caller has been given an open file. Without memory for it he can only not open it again. */
void vserver_pty_borrow(const struct file *file)
{
	const struct inode *pty;
	struct tty_struct *tty;
	struct loan *loan;
	bool needed;
	u64 self;

	/* One that is open as a path only, or that has been hung up, has other operations. */
	if (READ_ONCE(file->f_op)->unlocked_ioctl != (void *)vserver_at_tty_ioctl)
		return;
	tty = tty_of(file);
	/* Who has the master's side is at the other end of the terminal. */
	if (tty != terminal_side(tty))
		return;
	self = identity();
	rcu_read_lock();
	pty = pty_of(tty);
	needed = pty && owner_of(pty) != self && !is_lent(pty, self);
	rcu_read_unlock();
	if (!needed)
		return;
	loan = kmalloc(sizeof(*loan), GFP_KERNEL_ACCOUNT);
	if (!loan)
		return;
	loan->borrower = self;
	spin_lock(&loans_lock);
	/* The master's end sets its mark, and then takes this lock. */
	rcu_read_lock();
	loan->pty = pty_of(tty);
	rcu_read_unlock();
	if (loan->pty && !is_lent(loan->pty, self)) {
		hash_add_rcu(loans_by_pty, &loan->by_pty, (unsigned long)loan->pty);
		hash_add_rcu(loans_by_borrower, &loan->by_borrower, self);
		loan = NULL;
	}
	spin_unlock(&loans_lock);
	kfree(loan);
}

/* All ways to open one come by here, whatever name or descriptor they begin with. */
VSERVER_WRAP(void *, devpts_get_priv, struct dentry *dentry)
{
	void *tty = vserver_orig_devpts_get_priv(dentry);

	if (!tty || may_open(d_inode(dentry)))
		return tty;
	/* The caller passes errors on. */
	return ERR_PTR(is_spectator() ? -EPERM : -ENOENT);
}

/* But for the name of the caller's own terminal, which he can have without having been given it. */
VSERVER_DIVERT(int, tty_open, struct inode *inode, struct file *file);

notrace bool vserver_diverts_tty_open(struct inode *inode, struct file *file)
{
	const struct inode *pty;
	struct tty_struct *tty;
	bool foreign;

	if (likely(inode->i_rdev != MKDEV(TTYAUX_MAJOR, 0)))
		return false;
	tty = get_current_tty();
	if (!tty)
		return false;
	rcu_read_lock();
	pty = pty_of(tty);
	foreign = pty && !may_open(pty);
	rcu_read_unlock();
	tty_kref_put(tty);
	return foreign;
}

notrace int vserver_instead_tty_open(struct inode *inode, struct file *file)
{
	return -ENXIO;
}

/* Whether there are processes of others in the session on a terminal. */
static bool is_in_use_by_others(struct tty_struct *terminal)
{
	struct pid *session;
	bool others;

	spin_lock_irq(&terminal->ctrl.lock);
	session = get_pid(terminal->ctrl.session);
	spin_unlock_irq(&terminal->ctrl.lock);
	rcu_read_lock();
	others = session && !vserver_pid_all_in_view(session, PIDTYPE_SID);
	rcu_read_unlock();
	put_pid(session);
	return others;
}

/* Whether a terminal is another's than this one's. All that are not in pairs are the host's. */
static bool is_foreign(const struct tty_struct *terminal, u64 self)
{
	const struct inode *pty;
	u64 owner;

	rcu_read_lock();
	pty = pty_of(terminal);
	owner = pty ? owner_of(pty) : 0;
	rcu_read_unlock();
	return owner != self;
}

/* A request that has an effect on who else is on a terminal, or on the machine's. */
static bool reaches_too_far(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct tty_struct *tty = tty_of(file);
	struct tty_struct *terminal = tty ? terminal_side(tty) : NULL;
	u64 self = identity();
	bool foreign;

	/* There is nothing that it could reach. */
	if (!terminal)
		return false;
	foreign = is_foreign(terminal, self);
	switch (cmd) {
	case TIOCSTI:
	case TIOCLINUX:
		return foreign;
	case TIOCSCTTY:
		return foreign && arg == 1 && is_in_use_by_others(terminal);
	case TIOCVHANGUP:
		return foreign && is_in_use_by_others(terminal);
	case TIOCCONS:
		return self;
	}
	return false;
}

static __always_inline bool diverts_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case TIOCSTI:
	case TIOCLINUX:
	case TIOCSCTTY:
	case TIOCVHANGUP:
	case TIOCCONS:
		return reaches_too_far(file, cmd, arg);
	}
	return false;
}

VSERVER_DIVERT(long, tty_ioctl, struct file *file, unsigned int cmd, unsigned long arg);

notrace bool vserver_diverts_tty_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return diverts_ioctl(file, cmd, arg);
}

notrace long vserver_instead_tty_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return -EPERM;
}

/* vhangup(2), of the caller's own terminal: for that a capability is enough that gettys have. */
VSERVER_DIVERT(void, tty_vhangup_self, void);

notrace bool vserver_diverts_tty_vhangup_self(void)
{
	struct tty_struct *tty = get_current_tty();
	bool others;

	if (!tty)
		return false;
	others = is_foreign(tty, identity()) && is_in_use_by_others(tty);
	tty_kref_put(tty);
	return others;
}

notrace void vserver_instead_tty_vhangup_self(void)
{
}

#ifdef CONFIG_COMPAT

/* It does not hand all of them on to the other. */
VSERVER_DIVERT(long, tty_compat_ioctl, struct file *file, unsigned int cmd, unsigned long arg);

notrace bool vserver_diverts_tty_compat_ioctl(struct file *file, unsigned int cmd,
					      unsigned long arg)
{
	return diverts_ioctl(file, cmd, arg);
}

notrace long vserver_instead_tty_compat_ioctl(struct file *file, unsigned int cmd,
					      unsigned long arg)
{
	return -EPERM;
}

#endif
