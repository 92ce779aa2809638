/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions of the kernel that are not exported: vserver_call_NAME(...) is NAME(...), see attach/kallsyms.rs.
 */
#ifndef VSERVER_UNEXPORTED_H
#define VSERVER_UNEXPORTED_H

#include <linux/types.h>
#include <linux/uidgid_types.h>
#include <linux/user_namespace.h>

struct dentry;
struct file;
struct fs_struct;
struct ftrace_func_entry;
struct ftrace_hash;
struct ftrace_ops;
struct ipc_namespace;
struct in6_addr;
struct ns_common;
struct ns_tree_root;
struct nsproxy;
struct open_flags;
struct path;
struct proc_ns_operations;
struct sighand_struct;
struct sk_buff;
struct sock;
struct task_struct;
struct ucounts;
struct user_namespace;
struct user_struct;
struct uts_namespace;
struct work_struct;

void vserver_call___ns_common_free(struct ns_common *ns);
int vserver_call___ns_common_init(struct ns_common *ns, u32 ns_type,
	const struct proc_ns_operations *ops, int inum);
void vserver_call___ns_tree_add_raw(struct ns_common *ns, struct ns_tree_root *ns_tree);
u64 vserver_call___ns_tree_gen_id(struct ns_common *ns, u64 id);
int vserver_call___udp_enqueue_schedule_skb(struct sock *sk, struct sk_buff *skb);
struct ftrace_func_entry *vserver_call_add_ftrace_hash_entry_direct(struct ftrace_hash *hash,
	unsigned long ip, unsigned long direct);
struct ftrace_hash *vserver_call_alloc_ftrace_hash(int size_bits);
struct ucounts *vserver_call_alloc_ucounts(struct user_namespace *ns, kuid_t uid);
struct user_struct *vserver_call_alloc_uid(kuid_t uid);
struct ipc_namespace *vserver_call_copy_ipcs(u64 flags, struct user_namespace *user_ns,
	struct ipc_namespace *ns);
struct uts_namespace *vserver_call_copy_utsname(u64 flags, struct user_namespace *user_ns,
	struct uts_namespace *old_ns);
struct nsproxy *vserver_call_create_new_namespaces(u64 flags, struct task_struct *tsk,
	struct user_namespace *user_ns, struct fs_struct *new_fs);
bool vserver_call_current_chrooted(void);
bool vserver_call_current_is_single_threaded(void);
bool vserver_call_dec_rlimit_ucounts(struct ucounts *ucounts, enum rlimit_type type, long v);
struct file *vserver_call_do_file_open_root(const struct path *root, const char *name,
	const struct open_flags *op);
void vserver_call_exit_sem(struct task_struct *tsk);
void vserver_call_exit_shm(struct task_struct *task);
void vserver_call_free_ftrace_hash(struct ftrace_hash *hash);
void vserver_call_free_user_ns(struct work_struct *work);
void vserver_call_free_uts_ns(struct uts_namespace *ns);
unsigned long vserver_call_ftrace_location(unsigned long address);
long vserver_call_inc_rlimit_ucounts(struct ucounts *ucounts, enum rlimit_type type, long v);
bool vserver_call_inet6_mc_check(const struct sock *sk, const struct in6_addr *mc_addr,
	const struct in6_addr *src_addr);
int vserver_call_inet_bhash2_update_saddr(struct sock *sk, void *saddr, int family);
int vserver_call_ip_mc_sf_allow(const struct sock *sk, __be32 loc_addr, __be32 rmt_addr,
	int dif, int sdif);
unsigned long vserver_call_kallsyms_lookup_name(const char *name);
struct sighand_struct *vserver_call_lock_task_sighand(struct task_struct *task,
	unsigned long *flags);
bool vserver_call_ptrace_may_access(struct task_struct *task, unsigned int mode);
void vserver_call_put_ipc_ns(struct ipc_namespace *ns);
void vserver_call_put_ucounts(struct ucounts *ucounts);
bool vserver_call_setup_userns_sysctls(struct user_namespace *ns);
void vserver_call_switch_task_namespaces(struct task_struct *p, struct nsproxy *new);
long vserver_call_tty_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int vserver_call_udp_rcv(struct sk_buff *skb);
int vserver_call_udpv6_rcv(struct sk_buff *skb);
int vserver_call_update_ftrace_direct_add(struct ftrace_ops *ops, struct ftrace_hash *hash);
int vserver_call_update_ftrace_direct_del(struct ftrace_ops *ops, struct ftrace_hash *hash);
int vserver_call_vfs_dentry_acceptable(void *context, struct dentry *dentry);
void vserver_call_walk_process_tree(struct task_struct *top,
	int (*visitor)(struct task_struct *task, void *data), void *data);
#ifdef CONFIG_IO_URING
bool vserver_call_io_is_uring_fops(struct file *file);
#endif

#endif
