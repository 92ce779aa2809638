/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions of the kernel that no header of include/ declares, because they are static or internal to a directory. The
 * kernel's own type information (BTF) is what `make check` compares them with.
 */
#ifndef VSERVER_PROTOTYPES_H
#define VSERVER_PROTOTYPES_H

struct cred;
struct delayed_call;
struct dentry;
struct dir_context;
struct file;
struct fid;
struct filename;
struct iattr;
struct inet6_skb_parm;
struct inode;
struct k_itimer;
struct key;
struct key_user;
struct genl_info;
struct net;
struct netlink_callback;
struct netlink_ext_ack;
struct nlmsghdr;
struct path;
struct pt_regs;
struct qstr;
struct seq_file;
struct sk_buff;
struct sock;
struct timespec64;
struct kstat;
struct mnt_idmap;
struct mnt_namespace;
struct ns_common;
struct nsset;
struct open_flags;
struct path;
struct pid;
struct pid_namespace;
struct qstr;
struct super_block;
struct task_struct;

/* kernel/pid.c */
long __ia32_sys_pidfd_open(const struct pt_regs *regs);
long __x64_sys_pidfd_open(const struct pt_regs *regs);

/* kernel/sys.c */
long __ia32_sys_setdomainname(const struct pt_regs *regs);
long __ia32_sys_sethostname(const struct pt_regs *regs);
long __x64_sys_setdomainname(const struct pt_regs *regs);
long __x64_sys_sethostname(const struct pt_regs *regs);

/* fs/kernfs */
int kernfs_fop_readdir(struct file *file, struct dir_context *ctx);
const char *kernfs_iop_get_link(struct dentry *dentry, struct inode *inode,
				struct delayed_call *done);
int kernfs_iop_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat,
		       u32 request_mask, unsigned int query_flags);
int kernfs_iop_permission(struct mnt_idmap *idmap, struct inode *inode, int mask);
int kernfs_iop_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *iattr);

/* fs/mount.h, fs/namespace.c */
struct mnt_namespace *get_sequential_mnt_ns(struct mnt_namespace *mnt_ns, bool previous);
int mntns_install(struct nsset *nsset, struct ns_common *ns);

/* fs/locks.c */
int locks_show(struct seq_file *f, void *v);

/* fs/namei.c */
struct file *do_file_open(int dfd, struct filename *pathname, const struct open_flags *op);

/* fs/open.c */
int chmod_common(const struct path *path, umode_t mode);

/* fs/proc/array.c */
int children_seq_show(struct seq_file *seq, void *v);

/* kernel/taskstats.c */
int taskstats_user_cmd(struct sk_buff *skb, struct genl_info *info);

/* kernel/time/posix-cpu-timers.c */
int posix_cpu_clock_get(const clockid_t clock, struct timespec64 *tp);
int posix_cpu_clock_getres(const clockid_t which_clock, struct timespec64 *tp);
int posix_cpu_clock_set(const clockid_t clock, const struct timespec64 *tp);
int posix_cpu_nsleep(const clockid_t which_clock, int flags, const struct timespec64 *rqtp);
int posix_cpu_timer_create(struct k_itimer *new_timer);

/* fs/proc */
ssize_t auxv_read(struct file *file, char __user *buf, size_t count, loff_t *ppos);
ssize_t clear_refs_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos);
long do_pagemap_cmd(struct file *file, unsigned int cmd, unsigned long arg);
ssize_t environ_read(struct file *file, char __user *buf, size_t count, loff_t *ppos);
ssize_t mem_read(struct file *file, char __user *buf, size_t count, loff_t *ppos);
ssize_t mem_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos);
ssize_t oom_adj_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos);
ssize_t oom_score_adj_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos);
ssize_t pagemap_read(struct file *file, char __user *buf, size_t count, loff_t *ppos);
int pid_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat,
		u32 request_mask, unsigned int query_flags);
int pid_revalidate(struct inode *dir, const struct qstr *name, struct dentry *dentry,
		   unsigned int flags);
ssize_t proc_coredump_filter_write(struct file *file, const char __user *buf, size_t count,
				   loff_t *ppos);
int proc_fd_permission(struct mnt_idmap *idmap, struct inode *inode, int mask);
int proc_pid_permission(struct mnt_idmap *idmap, struct inode *inode, int mask);
struct dentry *proc_pid_lookup(struct dentry *dentry, unsigned int flags);
int proc_pid_readdir(struct file *file, struct dir_context *ctx);
int proc_reg_open(struct inode *inode, struct file *file);
int proc_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr);
int proc_task_readdir(struct file *file, struct dir_context *ctx);
long procfs_procmap_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
ssize_t sched_autogroup_write(struct file *file, const char __user *buf, size_t count,
			      loff_t *offset);
ssize_t sched_write(struct file *file, const char __user *buf, size_t count, loff_t *offset);
ssize_t timerslack_ns_write(struct file *file, const char __user *buf, size_t count,
			    loff_t *offset);

/* kernel/pid.c, kernel/signal.c */
int do_pidfd_send_signal(struct pid *pid, int sig, enum pid_type type, siginfo_t __user *info,
			 unsigned int flags);
int pidfd_getfd(struct pid *pid, int fd);

/* drivers/tty/tty_io.c */
long tty_compat_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long tty_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int tty_open(struct inode *inode, struct file *filp);

/* fs/proc/base.c */
int pid_revalidate(struct inode *dir, const struct qstr *name, struct dentry *dentry,
		   unsigned int flags);
struct dentry *proc_tgid_base_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags);
int proc_tgid_base_readdir(struct file *file, struct dir_context *ctx);

/* fs/proc/proc_net.c */
struct dentry *proc_tgid_net_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags);
int proc_tgid_net_readdir(struct file *file, struct dir_context *ctx);

/* fs/proc/proc_sysctl.c */
struct dentry *proc_sys_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags);
int proc_sys_permission(struct mnt_idmap *idmap, struct inode *inode, int mask);
int proc_sys_readdir(struct file *file, struct dir_context *ctx);
int proc_sys_revalidate(struct inode *dir, const struct qstr *name, struct dentry *dentry,
			unsigned int flags);

/* net/ipv4/proc.c, net/ipv6/proc.c */
int netstat_seq_show(struct seq_file *seq, void *v);
int snmp6_seq_show(struct seq_file *seq, void *v);
int snmp_seq_show(struct seq_file *seq, void *v);
int sockstat6_seq_show(struct seq_file *seq, void *v);
int sockstat_seq_show(struct seq_file *seq, void *v);

/* net/core, net/ipv4, net/ipv6, net/netlink, net/packet, net/unix: the lines of /proc/net */
int arp_seq_show(struct seq_file *seq, void *v);
int dev_seq_show(struct seq_file *seq, void *v);
int fib_route_seq_show(struct seq_file *seq, void *v);
int fib_trie_seq_show(struct seq_file *seq, void *v);
int if6_seq_show(struct seq_file *seq, void *v);
int ipv6_route_seq_show(struct seq_file *seq, void *v);
int netlink_seq_show(struct seq_file *seq, void *v);
int packet_seq_show(struct seq_file *seq, void *v);
int ping_v4_seq_show(struct seq_file *seq, void *v);
int ping_v6_seq_show(struct seq_file *seq, void *v);
int raw6_seq_show(struct seq_file *seq, void *v);
int raw_seq_show(struct seq_file *seq, void *v);
int tcp4_seq_show(struct seq_file *seq, void *v);
int tcp6_seq_show(struct seq_file *seq, void *v);
int udp4_seq_show(struct seq_file *seq, void *v);
int udp6_seq_show(struct seq_file *seq, void *v);
int unix_seq_show(struct seq_file *seq, void *v);

/* net/netlink/genetlink.c */
int ctrl_dumpfamily(struct sk_buff *skb, struct netlink_callback *cb);
int ctrl_dumppolicy_start(struct netlink_callback *cb);
int ctrl_getfamily(struct sk_buff *skb, struct genl_info *info);
int genl_bind(struct net *net, int group);
int genl_rcv_msg(struct sk_buff *skb, struct nlmsghdr *nlh, struct netlink_ext_ack *extack);

/* net/socket.c */
long compat_sock_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long sock_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
void sock_evict_inode(struct inode *inode);

/* net/ipv4/udp.c, net/ipv6/udp.c */
int udp_v4_get_port(struct sock *sk, unsigned short snum);
int udp_v6_get_port(struct sock *sk, unsigned short snum);
int udpv6_err(struct sk_buff *skb, struct inet6_skb_parm *opt, u8 type, u8 code, int offset, __be32 info);

#ifdef CONFIG_KEYS
/* security/keys */
int call_sbin_request_key(struct key *authkey, void *aux);
struct key *get_user_session_keyring_rcu(const struct cred *cred);
int key_task_permission(const key_ref_t key_ref, const struct cred *cred,
			enum key_need_perm need_perm);
struct key_user *key_user_lookup(kuid_t uid);
long keyctl_get_persistent(uid_t uid, key_serial_t destid);
long keyctl_session_to_parent(void);
int look_up_user_keyrings(struct key **user_keyring, struct key **user_session);
int proc_key_users_show(struct seq_file *m, void *v);
#endif


/* kernel/sys.c, block/ioprio.c, kernel/reboot.c: system calls by their registers */
long __ia32_sys_getpriority(const struct pt_regs *regs);
long __ia32_sys_ioprio_set(const struct pt_regs *regs);
long __ia32_sys_reboot(const struct pt_regs *regs);
long __x64_sys_getpriority(const struct pt_regs *regs);
long __x64_sys_ioprio_set(const struct pt_regs *regs);
long __x64_sys_reboot(const struct pt_regs *regs);
int set_one_prio(struct task_struct *p, int niceval, int error);

/* fs/pidfs.c */
struct dentry *pidfs_fh_to_dentry(struct super_block *sb, struct fid *fid, int fh_len, int fh_type);

/* fs/proc/array.c, fs/proc/proc_net.c */
void *children_seq_start(struct seq_file *seq, loff_t *pos);
struct net *get_proc_task_net(struct inode *dir);
int proc_pid_status(struct seq_file *m, struct pid_namespace *ns, struct pid *pid,
		    struct task_struct *task);

/* kernel/cgroup/cgroup.c */
int cgroup_procs_show(struct seq_file *s, void *v);

#endif
