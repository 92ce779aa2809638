/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions of the kernel that are not exported. vserver_call_NAME(...) is NAME(...), once
 * vserver_resolve() has found them all, and vserver_at_NAME where it is.
 */
#ifndef VSERVER_UNEXPORTED_H
#define VSERVER_UNEXPORTED_H

#include <linux/types.h>

struct dentry;
struct file;
struct fs_struct;
struct ftrace_func_entry;
struct ftrace_hash;
struct ftrace_ops;
struct ipc_namespace;
struct in6_addr;
struct nsproxy;
struct sighand_struct;
struct sk_buff;
struct sock;
struct task_struct;
struct user_namespace;
struct uts_namespace;

#ifdef CONFIG_IO_URING
#define VSERVER_UNEXPORTED_URING(U)					\
	U(io_is_uring_fops, bool, (struct file *file))
#else
#define VSERVER_UNEXPORTED_URING(U)
#endif

#define VSERVER_UNEXPORTED(U)						\
	U(kallsyms_lookup_name, unsigned long, (const char *name))	\
	U(ftrace_location, unsigned long, (unsigned long address))	\
	U(alloc_ftrace_hash, struct ftrace_hash *, (int size_bits))	\
	U(free_ftrace_hash, void, (struct ftrace_hash *hash))		\
	U(add_ftrace_hash_entry_direct, struct ftrace_func_entry *,	\
	  (struct ftrace_hash *hash, unsigned long ip, unsigned long direct)) \
	U(update_ftrace_direct_add, int, (struct ftrace_ops *ops, struct ftrace_hash *hash)) \
	U(update_ftrace_direct_del, int, (struct ftrace_ops *ops, struct ftrace_hash *hash)) \
	U(create_new_namespaces, struct nsproxy *,			\
	  (u64 flags, struct task_struct *tsk, struct user_namespace *user_ns, \
	   struct fs_struct *new_fs))					\
	U(copy_utsname, struct uts_namespace *,				\
	  (u64 flags, struct user_namespace *user_ns, struct uts_namespace *old_ns)) \
	U(free_uts_ns, void, (struct uts_namespace *ns))			\
	U(copy_ipcs, struct ipc_namespace *,				\
	  (u64 flags, struct user_namespace *user_ns, struct ipc_namespace *ns)) \
	U(put_ipc_ns, void, (struct ipc_namespace *ns))			\
	U(exit_sem, void, (struct task_struct *tsk))			\
	U(exit_shm, void, (struct task_struct *task))			\
	U(switch_task_namespaces, void, (struct task_struct *p, struct nsproxy *new)) \
	U(current_is_single_threaded, bool, (void))			\
	U(current_chrooted, bool, (void))				\
	VSERVER_UNEXPORTED_URING(U)					\
	U(inet_bhash2_update_saddr, int, (struct sock *sk, void *saddr, int family)) \
	U(ip_mc_sf_allow, int,						\
	  (const struct sock *sk, __be32 loc_addr, __be32 rmt_addr, int dif, int sdif)) \
	U(inet6_mc_check, bool,						\
	  (const struct sock *sk, const struct in6_addr *mc_addr,	\
	   const struct in6_addr *src_addr))				\
	U(__udp_enqueue_schedule_skb, int, (struct sock *sk, struct sk_buff *skb)) \
	U(tty_ioctl, long, (struct file *file, unsigned int cmd, unsigned long arg)) \
	U(ptrace_may_access, bool, (struct task_struct *task, unsigned int mode)) \
	U(vfs_dentry_acceptable, int, (void *context, struct dentry *dentry)) \
	U(lock_task_sighand, struct sighand_struct *,			\
	  (struct task_struct *task, unsigned long *flags))		\
	U(walk_process_tree, void,					\
	  (struct task_struct *top, int (*visitor)(struct task_struct *task, void *data), void *data)) \
	U(udp_rcv, int, (struct sk_buff *skb))				\
	U(udpv6_rcv, int, (struct sk_buff *skb))

#define U(name, type, arguments)					\
	extern unsigned long vserver_at_##name;				\
	type vserver_call_##name arguments;
VSERVER_UNEXPORTED(U)
#undef U

/* Finds them. -ENOENT, with its name in the log, when the kernel lacks one. */
int vserver_resolve(void);

#endif
