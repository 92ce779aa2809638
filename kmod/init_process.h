/* SPDX-License-Identifier: GPL-2.0 */
/* Process 1 of a context: between init_process.c and fakeinit.rs. */
#ifndef VSERVER_INIT_PROCESS_H
#define VSERVER_INIT_PROCESS_H

#include <linux/types.h>

struct pid;
struct task_struct;

struct pid *vserver_get_own_pid(void);
void vserver_put_pid(struct pid *pid);
int vserver_pid_number(struct pid *pid);
bool vserver_is_own_pid(const struct pid *pid);
void vserver_become_init(const void *context);
unsigned int vserver_signal_processes(const void *context, int signal, int nr, bool but_own);
int vserver_signal_init(struct pid *pid, int signal);
void vserver_kill_own(void);
struct task_struct *vserver_reaper_or(struct task_struct *reaper);

/* The numbers of kmod/uapi. */
#define VSERVER_REBOOT_RESTART		1
#define VSERVER_REBOOT_HALT		2
#define VSERVER_REBOOT_POWER_OFF	3

/* Rust, called from C. */
void vserver_process_exits(int status);
bool vserver_context_has_init(void);
long vserver_reboot_context(int what);
bool vserver_task_is_within(struct task_struct *task, const void *context);

#endif
