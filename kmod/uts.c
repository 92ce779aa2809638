// SPDX-License-Identifier: GPL-2.0
/*
 * The host and the domain name of a context are its own, so its root sets them, without a capability
 * that reaches further; by the files in /proc/sys he may anyway (machine.c).
 */
#include <linux/cred.h>
#include <linux/nsproxy.h>
#include <linux/uidgid.h>
#include <linux/utsname.h>

#include "inside.h"
#include "wrap.h"

static bool is_root_of_own_names(void)
{
	const struct vserver_network *network = vserver_network_inside();
	const struct uts_namespace *names = current->nsproxy->uts_ns;

	/* The spectator has the host's. Those of a user namespace have rules of their own. */
	return network && vserver_network_context(network) != VSERVER_SPECTATOR &&
	       names != &init_uts_ns && names->user_ns == &init_user_ns &&
	       uid_eq(current_euid(), GLOBAL_ROOT_UID);
}

/* With the capability that the call asks for, for as long as it takes. */
static long with_right(long (*call)(const struct pt_regs *regs), const struct pt_regs *regs)
{
	struct cred *cred = prepare_creds();
	const struct cred *own;
	long result;

	if (!cred)
		return -ENOMEM;
	cap_raise(cred->cap_effective, CAP_SYS_ADMIN);
	own = override_creds(cred);
	result = call(regs);
	revert_creds(own);
	abort_creds(cred);
	return result;
}

#define WRAP_CALL(name)								\
	VSERVER_DIVERT(long, name, const struct pt_regs *regs);			\
	notrace bool vserver_diverts_##name(const struct pt_regs *regs)		\
	{									\
		return is_root_of_own_names();					\
	}									\
	static long call_##name(const struct pt_regs *regs)			\
	{									\
		return vserver_orig_##name(regs);				\
	}									\
	notrace long vserver_instead_##name(const struct pt_regs *regs)		\
	{									\
		long result;							\
										\
		vserver_inside(1);						\
		result = with_right(call_##name, regs);				\
		vserver_inside(-1);						\
		return result;							\
	}

WRAP_CALL(__x64_sys_sethostname)
WRAP_CALL(__x64_sys_setdomainname)
#ifdef CONFIG_IA32_EMULATION
WRAP_CALL(__ia32_sys_sethostname)
WRAP_CALL(__ia32_sys_setdomainname)
#endif
