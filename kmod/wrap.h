/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How C says what is called in place of a kernel function: VSERVER_WRAP(type, name, arguments) {...},
 * with vserver_orig_NAME(...) for the function itself. The names stand in ftrace_glue.c.
 *
 * They are reached by direct jumps only, so they need no ENDBR, and are not traced themselves.
 */
#ifndef VSERVER_WRAP_H
#define VSERVER_WRAP_H

#include <linux/ftrace.h>
#include <linux/objtool.h>
#include <asm/ibt.h>

#define VSERVER_WRAP(type, name, ...)					\
	extern type vserver_orig_##name(__VA_ARGS__);			\
	__noendbr type vserver_wrap_##name(__VA_ARGS__);		\
	ANNOTATE_NOENDBR_SYM(vserver_wrap_##name);			\
	notrace __noendbr type vserver_wrap_##name(__VA_ARGS__)

#endif
