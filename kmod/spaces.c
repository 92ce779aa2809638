// SPDX-License-Identifier: GPL-2.0
/*
 * The namespaces that a context has for itself: host and domain names, and IPC (System V and POSIX
 * message queues). They are the kernel's own, so that no path of IPC meets a hook; a context holds
 * them, gives them to each process that enters, and lets go of them when it ends.
 */
#include <linux/cred.h>
#include <linux/ipc_namespace.h>
#include <linux/nsproxy.h>
#include <linux/sched/task.h>
#include <linux/sem.h>
#include <linux/shm.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>
#include <linux/utsname.h>

#include "helpers.h"
#include "unexported.h"

struct vserver_spaces {
	struct uts_namespace *uts;
	struct ipc_namespace *ipc;
};

static void put_uts(struct uts_namespace *uts)
{
	if (ns_ref_put(uts))
		vserver_call_free_uts_ns(uts);
}

/* With the caller's names, and nothing in them. An ERR_PTR: no memory, or the user has too many. */
struct vserver_spaces *vserver_spaces_new(void)
{
	struct vserver_spaces *spaces = kmalloc(sizeof(*spaces), GFP_KERNEL_ACCOUNT);
	struct nsproxy *own = current->nsproxy;
	long error;

	if (!spaces)
		return ERR_PTR(-ENOMEM);
	spaces->uts = vserver_call_copy_utsname(CLONE_NEWUTS, current_user_ns(), own->uts_ns);
	if (IS_ERR(spaces->uts)) {
		error = PTR_ERR(spaces->uts);
		goto free;
	}
	spaces->ipc = vserver_call_copy_ipcs(CLONE_NEWIPC, current_user_ns(), own->ipc_ns);
	if (!IS_ERR(spaces->ipc))
		return spaces;
	error = PTR_ERR(spaces->ipc);
	put_uts(spaces->uts);
free:
	kfree(spaces);
	return ERR_PTR(error);
}

/* In process context. What is in them goes with the last process that uses them. */
void vserver_spaces_free(struct vserver_spaces *spaces)
{
	put_uts(spaces->uts);
	vserver_call_put_ipc_ns(spaces->ipc);
	kfree(spaces);
}

/*
 * Gives the caller a set of namespaces of its own, of the same namespaces (see
 * vserver_shares_nsproxy()), but for those of a context. What it has attached of System V memory
 * stays attached; its undo lists end, as when it exits.
 */
int vserver_own_nsproxy(struct vserver_spaces *spaces)
{
	struct nsproxy *own = vserver_call_create_new_namespaces(0, current, current_user_ns(),
								 current->fs);

	if (IS_ERR(own))
		return PTR_ERR(own);
	if (spaces) {
		/* Nobody else knows the set yet. */
		put_uts(own->uts_ns);
		get_uts_ns(spaces->uts);
		own->uts_ns = spaces->uts;
		vserver_call_put_ipc_ns(own->ipc_ns);
		own->ipc_ns = get_ipc_ns(spaces->ipc);
		vserver_call_exit_sem(current);
		vserver_call_exit_shm(current);
		shm_init_task(current);
	}
	vserver_call_switch_task_namespaces(current, own);
	return 0;
}
