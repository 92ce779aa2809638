// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's inline functions and macros as functions, for Rust, as rust/helpers/ in the kernel.
 * One call or macro each: `make check` reads what a compiler makes of this.
 */
#include "bindings.h"

bool vserver_inline_in_compat_syscall(void) { return in_compat_syscall(); }
bool vserver_inline_in_ia32_syscall(void) { return in_ia32_syscall(); }
bool vserver_inline_in_task(void) { return in_task(); }
int vserver_inline_cond_resched(void) { return cond_resched(); }
void vserver_inline_smp_mb__before_atomic(void) { smp_mb__before_atomic(); }
void vserver_inline_synchronize_rcu_tasks(void) { synchronize_rcu_tasks(); }
u32 vserver_inline_gen_endbr(void) { return gen_endbr(); }
unsigned long vserver_inline_ftrace_jmp_set(unsigned long addr) { return ftrace_jmp_set(addr); }
u64 vserver_inline_siphash(const void *data, size_t length, const siphash_key_t *key)
{ return siphash(data, length, key); }
void vserver_inline_idr_init(struct idr *idr) { idr_init(idr); }
void vserver_inline_init_work(struct work_struct *work, work_func_t run) { INIT_WORK(work, run); }
bool vserver_inline_schedule_work(struct work_struct *work) { return schedule_work(work); }
void vserver_inline_init_delayed_work(struct delayed_work *work, work_func_t run)
{ INIT_DELAYED_WORK(work, run); }
bool vserver_inline_mod_delayed_work(struct delayed_work *work, unsigned long delay)
{ return mod_delayed_work(system_long_wq, work, delay); }
void vserver_inline_this_cpu_dec(unsigned long __percpu *count) { this_cpu_dec(*count); }
bool vserver_inline_test_bit_acquire(unsigned long bit, const unsigned long *word)
{ return test_bit_acquire(bit, word); }

int vserver_inline_mutex_lock_interruptible(struct mutex *lock)
{ return mutex_lock_interruptible(lock); }
void vserver_inline_read_lock_irq(rwlock_t *lock) { read_lock_irq(lock); }
void vserver_inline_read_unlock_irq(rwlock_t *lock) { read_unlock_irq(lock); }
unsigned int vserver_inline_read_seqbegin(const seqlock_t *lock) { return read_seqbegin(lock); }
bool vserver_inline_read_seqretry(const seqlock_t *lock, unsigned int start)
{ return read_seqretry(lock, start); }
void vserver_inline_spin_lock_nested(spinlock_t *lock, int class) { spin_lock_nested(lock, class); }
void vserver_inline_spin_lock_bh(spinlock_t *lock) { spin_lock_bh(lock); }
void vserver_inline_spin_unlock_bh(spinlock_t *lock) { spin_unlock_bh(lock); }
void vserver_inline_spin_lock_irq(spinlock_t *lock) { spin_lock_irq(lock); }
void vserver_inline_spin_unlock_irq(spinlock_t *lock) { spin_unlock_irq(lock); }
void vserver_inline_spin_lock_irqsave(spinlock_t *lock, unsigned long *flags)
{ spin_lock_irqsave(lock, *flags); }
void vserver_inline_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{ spin_unlock_irqrestore(lock, flags); }

struct ipc_namespace *vserver_inline_get_ipc_ns(struct ipc_namespace *ns) { return get_ipc_ns(ns); }
struct pid *vserver_inline_get_pid(struct pid *pid) { return get_pid(pid); }
struct ucounts *vserver_inline_get_ucounts(struct ucounts *count) { return get_ucounts(count); }
struct user_struct *vserver_inline_get_uid(struct user_struct *user) { return get_uid(user); }
struct user_namespace *vserver_inline_get_user_ns(struct user_namespace *ns)
{ return get_user_ns(ns); }
void vserver_inline_get_uts_ns(struct uts_namespace *ns) { get_uts_ns(ns); }
void vserver_inline_put_user_ns(struct user_namespace *ns) { put_user_ns(ns); }
bool vserver_inline_uts_ref_put(struct uts_namespace *ns) { return ns_ref_put(ns); }
#ifdef CONFIG_KEYS
const char *vserver_inline_key_description(const struct key *key) { return key->description; }
struct key *vserver_inline_key_get(struct key *key) { return key_get(key); }
u64 vserver_inline_user_ns_id(const struct user_namespace *ns) { return ns->ns.ns_id; }
#endif

const struct cred *vserver_inline_override_creds(const struct cred *cred)
{ return override_creds(cred); }
void vserver_inline_get_fs_root(struct fs_struct *fs, struct path *root) { get_fs_root(fs, root); }
struct pid_namespace *vserver_inline_proc_pid_ns(struct super_block *sb) { return proc_pid_ns(sb); }
const char *vserver_inline_filename(const struct filename *name) { return name->name; }
unsigned long vserver_inline_sb_nouser(void) { return SB_NOUSER; }
/* user_ns_tree, which is not exported: its list begins with the first user namespace. */
struct ns_tree_root *vserver_inline_user_ns_tree(void)
{ return list_entry(init_user_ns.ns.ns_tree_node.ns_list_entry.prev,
		    struct ns_tree_root, ns_list_head); }
void vserver_inline_scm_destroy(struct scm_cookie *cookie) { scm_destroy(cookie); }
struct net *vserver_inline_seq_file_net(struct seq_file *seq) { return seq_file_net(seq); }
void vserver_inline_shm_init_task(struct task_struct *task) { shm_init_task(task); }
bool vserver_inline_sig_fatal(struct task_struct *task, int sig) { return sig_fatal(task, sig); }
bool vserver_inline_sigismember(sigset_t *set, int sig) { return sigismember(set, sig); }
struct pid *vserver_inline_task_pid_type(struct task_struct *task, enum pid_type type)
{ return task_pid_type(task, type); }
struct pt_regs *vserver_inline_task_pt_regs(struct task_struct *task) { return task_pt_regs(task); }
bool vserver_inline_thread_group_empty(struct task_struct *task)
{ return thread_group_empty(task); }

size_t vserver_inline_copy_from_iter(void *data, size_t length, struct iov_iter *iter)
{ return copy_from_iter(data, length, iter); }
size_t vserver_inline_copy_to_iter(const void *data, size_t length, struct iov_iter *iter)
{ return copy_to_iter(data, length, iter); }
int vserver_inline_copy_from_sockptr(void *to, sockptr_t from, size_t size)
{ return copy_from_sockptr(to, from, size); }
sockptr_t vserver_inline_kernel_sockptr(void *value) { return KERNEL_SOCKPTR(value); }
void *vserver_inline_memdup_sockptr(sockptr_t from, size_t n) { return memdup_sockptr(from, n); }

struct net_device *vserver_inline_dst_dev(const struct dst_entry *dst) { return dst_dev_rcu(dst); }
int vserver_inline_inet_iif(const struct sk_buff *skb) { return inet_iif(skb); }
int vserver_inline_inet_sdif(const struct sk_buff *skb) { return inet_sdif(skb); }
int vserver_inline_inet6_iif(const struct sk_buff *skb) { return inet6_iif(skb); }
int vserver_inline_inet6_sdif(const struct sk_buff *skb) { return inet6_sdif(skb); }
struct iphdr *vserver_inline_ip_hdr(const struct sk_buff *skb) { return ip_hdr(skb); }
struct ipv6hdr *vserver_inline_ipv6_hdr(const struct sk_buff *skb) { return ipv6_hdr(skb); }
struct udphdr *vserver_inline_udp_hdr(const struct sk_buff *skb) { return udp_hdr(skb); }
const struct dst_entry *vserver_inline_skb_dst(const struct sk_buff *skb) { return skb_dst(skb); }
void vserver_inline_skb_orphan(struct sk_buff *skb) { skb_orphan(skb); }
bool vserver_inline_skb_transport_header_was_set(const struct sk_buff *skb)
{ return skb_transport_header_was_set(skb); }
int vserver_inline_skb_transport_offset(const struct sk_buff *skb)
{ return skb_transport_offset(skb); }
unsigned int vserver_inline_udp_lib_checksum_complete(struct sk_buff *skb)
{ return udp_lib_checksum_complete(skb); }

u32 vserver_inline_inet_bhashfn(const struct net *net, __u16 port, u32 size)
{ return inet_bhashfn(net, port, size); }
bool vserver_inline_inet_is_local_reserved_port(const struct net *net, unsigned short port)
{ return inet_is_local_reserved_port(net, port); }
u32 vserver_inline_ipv4_portaddr_hash(const struct net *net, __be32 address, unsigned int port)
{ return ipv4_portaddr_hash(net, address, port); }
struct udp_hslot *vserver_inline_udp_hashslot(struct udp_table *table, struct net *net, u32 port)
{ return udp_hashslot(table, net, port); }
struct udp_hslot *vserver_inline_udp_hashslot2(struct udp_table *table, unsigned int hash)
{ return udp_hashslot2(table, hash); }

struct sock *vserver_inline_sk_of_bind_node(struct hlist_node *node)
{ return hlist_entry(node, struct sock, sk_bind_node); }
struct sock *vserver_inline_sk_of_node(struct hlist_node *node)
{ return hlist_entry(node, struct sock, sk_node); }
struct sock *vserver_inline_sk_of_portaddr_node(struct hlist_node *node)
{ return hlist_entry(node, struct sock, __sk_common.skc_portaddr_node); }
void vserver_inline_sk_dst_reset(struct sock *sk) { sk_dst_reset(sk); }
unsigned long *vserver_inline_sk_flags(struct sock *sk) { return &sk->sk_flags; }
unsigned short vserver_inline_sk_num(const struct sock *sk) { return sk->sk_num; }
__be32 vserver_inline_sk_daddr(const struct sock *sk) { return READ_ONCE(sk->sk_daddr); }
__be32 vserver_inline_sk_rcv_saddr(const struct sock *sk) { return READ_ONCE(sk->sk_rcv_saddr); }
void vserver_inline_set_rcv_saddr(struct sock *sk, __be32 to) { WRITE_ONCE(sk->sk_rcv_saddr, to); }
u16 vserver_inline_udp_port_hash(const struct udp_sock *sk) { return sk->udp_port_hash; }
void vserver_inline_sock_put(struct sock *sk) { sock_put(sk); }
bool vserver_inline_refcount_inc_not_zero(refcount_t *r) { return refcount_inc_not_zero(r); }
const struct unix_address *vserver_inline_unix_address(const struct unix_sock *sk)
{ return smp_load_acquire(&sk->addr); }
#ifdef CONFIG_LOCKDEP
void vserver_inline_sock_lock_init_class(struct sock *sk, struct lock_class_key *slock,
					 struct lock_class_key *lock)
{ sock_lock_init_class_and_name(sk, "slock-vserver", slock, "sk_lock-vserver", lock); }
#endif
