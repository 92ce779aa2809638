// SPDX-License-Identifier: GPL-2.0
/*
 * Keys: each belongs to the context that it was made in, and to others it is not there. The kernel
 * has them for the whole machine, and asks who the user is; root is called so everywhere.
 *
 * The keyrings of users are found by the number of the user, so a context has its own ones. A process
 * loses those of its session, its process and its threads when it enters; therefore who possesses a
 * key (who has a keyring of his own that leads to it) may be believed, also when the kernel
 * searches keyrings of its own, or starts a helper of the host for a key that somebody inside asks for.
 *
 * What the kernel does in a caller's name with other credentials than his (the caches of NFS and
 * DNS) is the machine's.
 */
#ifdef CONFIG_KEYS

#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/key.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "inside.h"
#include "keys.h"
#include "wrap.h"

/* As security/keys/internal.h has it: the permissions of the keyrings of users. */
#define USER_KEYRING	((KEY_POS_ALL & ~KEY_POS_SETATTR) | KEY_USR_ALL)

/* A key that was made in a context. One that has none is the host's. */
struct owned {
	struct hlist_node node;
	struct rcu_head rcu;
	const struct key *key;
	u64 tag;
};

/* The keyrings of a user of a user namespace in a context. Holds references to the keys only. */
struct user_keys {
	struct hlist_node node;
	struct rcu_head rcu;
	u64 tag;
	u64 user_ns;
	kuid_t uid;
	struct key *user;
	struct key *session;
};

static DEFINE_HASHTABLE(owned, 8);
static DEFINE_SPINLOCK(owned_lock);

static DEFINE_HASHTABLE(users, 6);
static DEFINE_MUTEX(users_mutex);

/* The tag of the caller's context; zero for who is, or sees, the host. */
static u64 own_tag(void)
{
	const struct vserver_network *network = vserver_network_inside();

	if (!network || vserver_network_context(network) == VSERVER_SPECTATOR ||
	    current_cred() != current_real_cred())
		return 0;
	return vserver_network_tag(network);
}

static struct owned *find_owned(const struct key *key)
{
	struct owned *found;

	hash_for_each_possible_rcu(owned, found, node, (unsigned long)key,
				   lockdep_is_held(&owned_lock)) {
		if (found->key == key)
			return found;
	}
	return NULL;
}

static u64 tag_of(const struct key *key)
{
	const struct owned *found;
	u64 tag;

	rcu_read_lock();
	found = find_owned(key);
	tag = found ? found->tag : 0;
	rcu_read_unlock();
	return tag;
}

VSERVER_WRAP(int, security_key_alloc, struct key *key, const struct cred *cred,
	     unsigned long flags)
{
	struct owned *new = NULL;
	u64 tag = own_tag();
	int error;

	vserver_inside(1);
	if (tag) {
		new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
		error = -ENOMEM;
		if (!new)
			goto out;
		new->key = key;
		new->tag = tag;
	}
	error = vserver_orig_security_key_alloc(key, cred, flags);
	if (error) {
		kfree(new);
		goto out;
	}
	if (new) {
		spin_lock(&owned_lock);
		hash_add_rcu(owned, &new->node, (unsigned long)key);
		spin_unlock(&owned_lock);
	}
out:
	vserver_inside(-1);
	return error;
}

VSERVER_WRAP(void, security_key_free, struct key *key)
{
	struct owned *found;

	spin_lock(&owned_lock);
	found = find_owned(key);
	if (found)
		hash_del_rcu(&found->node);
	spin_unlock(&owned_lock);
	if (found)
		kfree_rcu(found, rcu);
	vserver_orig_security_key_free(key);
}

VSERVER_WRAP(int, key_task_permission, const key_ref_t key_ref, const struct cred *cred,
	     enum key_need_perm need_perm)
{
	if (!is_key_possessed(key_ref) && current_cred() == current_real_cred() &&
	    tag_of(key_ref_to_ptr(key_ref)) != own_tag())
		return -ENOKEY;
	return vserver_orig_key_task_permission(key_ref, cred, need_perm);
}

static struct user_keys *find_user_keys(u64 tag, const struct cred *cred)
{
	struct user_keys *found;

	hash_for_each_possible_rcu(users, found, node, tag, lockdep_is_held(&users_mutex)) {
		if (found->tag == tag && found->user_ns == cred->user_ns->ns.ns_id &&
		    uid_eq(found->uid, cred->user->uid))
			return found;
	}
	return NULL;
}

static void free_user(struct rcu_head *rcu)
{
	struct user_keys *keys = container_of(rcu, struct user_keys, rcu);

	key_put(keys->session);
	key_put(keys->user);
	kfree(keys);
}

static struct key *user_keyring(const char *name, const struct cred *cred)
{
	char description[24];

	snprintf(description, sizeof(description), "%s.%u", name,
		 from_kuid(cred->user_ns, cred->user->uid));
	return keyring_alloc(description, cred->user->uid, INVALID_GID, cred, USER_KEYRING,
			     KEY_ALLOC_UID_KEYRING | KEY_ALLOC_IN_QUOTA, NULL, NULL);
}

static struct user_keys *new_user(u64 tag, const struct cred *cred)
{
	struct user_keys *keys = kzalloc(sizeof(*keys), GFP_KERNEL_ACCOUNT);
	int error;

	if (!keys)
		return ERR_PTR(-ENOMEM);
	keys->tag = tag;
	keys->user_ns = cred->user_ns->ns.ns_id;
	keys->uid = cred->user->uid;
	keys->user = user_keyring("_uid", cred);
	if (IS_ERR(keys->user)) {
		error = PTR_ERR(keys->user);
		goto free;
	}
	keys->session = user_keyring("_uid_ses", cred);
	if (IS_ERR(keys->session)) {
		error = PTR_ERR(keys->session);
		goto put;
	}
	error = key_link(keys->session, keys->user);
	if (!error)
		return keys;
	key_put(keys->session);
put:
	key_put(keys->user);
free:
	kfree(keys);
	return ERR_PTR(error);
}

/* As the kernel's, but in the caller's context. */
static int own_user_keyrings(u64 tag, struct key **user, struct key **session)
{
	const struct cred *cred = current_cred();
	struct user_keys *keys;
	int error = 0;

	mutex_lock(&users_mutex);
	keys = find_user_keys(tag, cred);
	if (keys && (key_validate(keys->user) || key_validate(keys->session))) {
		/* Revoked: nobody has a use for them any more. */
		hash_del_rcu(&keys->node);
		call_rcu(&keys->rcu, free_user);
		keys = NULL;
	}
	if (!keys) {
		keys = new_user(tag, cred);
		if (IS_ERR(keys)) {
			error = PTR_ERR(keys);
			goto out;
		}
		hash_add_rcu(users, &keys->node, tag);
	}
	if (user)
		*user = key_get(keys->user);
	if (session)
		*session = key_get(keys->session);
out:
	mutex_unlock(&users_mutex);
	return error;
}

VSERVER_WRAP(int, look_up_user_keyrings, struct key **user, struct key **session)
{
	u64 tag = own_tag();
	int error;

	vserver_inside(1);
	error = tag ? own_user_keyrings(tag, user, session) :
		      vserver_orig_look_up_user_keyrings(user, session);
	vserver_inside(-1);
	return error;
}

/* Under rcu_read_lock(). It is not made here. */
VSERVER_WRAP(struct key *, get_user_session_keyring_rcu, const struct cred *cred)
{
	const struct user_keys *keys;
	u64 tag = own_tag();

	if (!tag)
		return vserver_orig_get_user_session_keyring_rcu(cred);
	keys = find_user_keys(tag, cred);
	return keys && refcount_inc_not_zero(&keys->session->usage) ? keys->session : NULL;
}

/* The parent may be the host's. */
VSERVER_WRAP(long, keyctl_session_to_parent, void)
{
	long error = -EPERM;
	bool near;

	vserver_inside(1);
	rcu_read_lock();
	near = vserver_task_in_view(rcu_dereference(current->real_parent));
	rcu_read_unlock();
	if (near)
		error = vserver_orig_keyctl_session_to_parent();
	vserver_inside(-1);
	return error;
}

/* Nobody inside has a helper of the host started for what he asks for. */
VSERVER_WRAP(struct key *, request_key_and_link, struct key_type *type, const char *description,
	     struct key_tag *domain_tag, const void *callout_info, size_t callout_len, void *aux,
	     struct key *dest_keyring, unsigned long flags)
{
	struct key *key;

	vserver_inside(1);
	if (own_tag()) {
		callout_info = NULL;
		callout_len = 0;
	}
	key = vserver_orig_request_key_and_link(type, description, domain_tag, callout_info,
						callout_len, aux, dest_keyring, flags);
	vserver_inside(-1);
	return key;
}

#ifdef CONFIG_PERSISTENT_KEYRINGS
/*
 * They would outlive the context. Kerberos knows kernels that have none, and takes the keyring of
 * the user.
 */
VSERVER_WRAP(long, keyctl_get_persistent, uid_t uid, key_serial_t destination)
{
	long result = -EOPNOTSUPP;

	vserver_inside(1);
	if (!own_tag())
		result = vserver_orig_keyctl_get_persistent(uid, destination);
	vserver_inside(-1);
	return result;
}
#endif

/* How many keys each user of the machine has. */
VSERVER_WRAP(int, proc_key_users_show, struct seq_file *file, void *value)
{
	return own_tag() ? 0 : vserver_orig_proc_key_users_show(file, value);
}

/* At the end of a context. */
void vserver_keys_forget(u64 tag)
{
	struct user_keys *keys;
	struct hlist_node *next;

	mutex_lock(&users_mutex);
	hash_for_each_possible_safe(users, keys, next, node, tag) {
		if (keys->tag != tag)
			continue;
		hash_del_rcu(&keys->node);
		call_rcu(&keys->rcu, free_user);
	}
	mutex_unlock(&users_mutex);
}

/* At module exit, when no context is left: the keys that are still there are nobody's. */
void vserver_keys_destroy(void)
{
	struct hlist_node *next;
	struct owned *key;
	int bucket;

	hash_for_each_safe(owned, bucket, next, key, node) {
		hash_del(&key->node);
		kfree(key);
	}
}

/* From credentials that are not in force yet. */
void vserver_keys_leave(struct cred *cred)
{
	key_put(cred->session_keyring);
	key_put(cred->process_keyring);
	key_put(cred->thread_keyring);
	key_put(cred->request_key_auth);
	cred->session_keyring = NULL;
	cred->process_keyring = NULL;
	cred->thread_keyring = NULL;
	cred->request_key_auth = NULL;
}

#endif
