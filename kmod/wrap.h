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

/*
 * For a function that may sleep for as long as it likes, or that is called often and seldom concerns
 * us: nothing of ours is on the stack while it runs. vserver_diverts_NAME(...) says, soon, whether
 * vserver_instead_NAME(...) runs in its place. Up to four arguments, all of them numbers or pointers.
 */
#define VSERVER_DIVERT(type, name, ...)					\
	extern type vserver_orig_##name(__VA_ARGS__);			\
	bool vserver_diverts_##name(__VA_ARGS__);			\
	type vserver_instead_##name(__VA_ARGS__);			\
	extern __noendbr void vserver_wrap_##name(void);			\
	ANNOTATE_NOENDBR_SYM(vserver_wrap_##name);			\
	asm(".pushsection .text, \"ax\"\n"				\
	    ".globl vserver_wrap_" #name "\n"				\
	    ".type vserver_wrap_" #name ", @function\n"			\
	    "vserver_wrap_" #name ":\n"					\
	    "pushq %rdi\n"						\
	    "pushq %rsi\n"						\
	    "pushq %rdx\n"						\
	    "pushq %rcx\n"						\
	    "call vserver_diverts_" #name "\n"				\
	    "popq %rcx\n"						\
	    "popq %rdx\n"						\
	    "popq %rsi\n"						\
	    "popq %rdi\n"						\
	    "testb %al, %al\n"						\
	    "jz vserver_orig_" #name "\n"				\
	    "jmp vserver_instead_" #name "\n"				\
	    ".size vserver_wrap_" #name ", .-vserver_wrap_" #name "\n"	\
	    ".popsection\n")

#endif
