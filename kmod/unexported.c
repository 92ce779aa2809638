// SPDX-License-Identifier: GPL-2.0
/*
 * How functions that the kernel does not export are found and called.
 *
 * They are entered behind their ENDBR by a return, as it may be sealed: that is valid with IBT,
 * and the return thunk keeps the machine's return mitigations.
 */
#include <linux/kprobes.h>
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/ibt.h>

#include "unexported.h"

#define U(name, type, arguments)					\
	unsigned long vserver_at_##name;				\
	asm(".pushsection .text, \"ax\"\n"				\
	    ".globl vserver_call_" #name "\n"				\
	    ".type vserver_call_" #name ", @function\n"			\
	    "vserver_call_" #name ":\n"					\
	    ASM_ENDBR							\
	    "pushq vserver_at_" #name "(%rip)\n"			\
	    ASM_RET							\
	    ".size vserver_call_" #name ", .-vserver_call_" #name "\n"	\
	    ".popsection\n");						\
	STACK_FRAME_NON_STANDARD(vserver_call_##name);
VSERVER_UNEXPORTED(U)
#undef U

static const struct unexported {
	const char *name;
	unsigned long *address;
} unexported[] = {
#define U(fn, type, arguments) { .name = #fn, .address = &vserver_at_##fn },
	VSERVER_UNEXPORTED(U)
#undef U
};

int vserver_resolve(void)
{
	struct kprobe probe = { .symbol_name = unexported[0].name };
	int error = register_kprobe(&probe);
	size_t i;

	if (error) {
		pr_err("vserver: %s cannot be found (error %d): the kernel needs CONFIG_KPROBES and CONFIG_KALLSYMS\n",
		       unexported[0].name, error);
		return error;
	}
	*unexported[0].address = (unsigned long)probe.addr;
	unregister_kprobe(&probe);

	for (i = 1; i < ARRAY_SIZE(unexported); i++) {
		*unexported[i].address = vserver_call_kallsyms_lookup_name(unexported[i].name);
		if (!*unexported[i].address) {
			pr_err("vserver: this kernel has no %s\n", unexported[i].name);
			return -ENOENT;
		}
	}
	return 0;
}
