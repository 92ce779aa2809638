// SPDX-License-Identifier: GPL-2.0
/*
 * What a process may not bring along when it enters, because somebody who stays outside acts through
 * it, or it through him: memory, a table of descriptors or directories that are shared, and instances
 * of io_uring. Those act with credentials that were registered before, or as the process that a thread
 * of theirs belongs to, and hold files that nobody sees.
 */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs_struct.h>
#include <linux/io_uring_types.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "helpers.h"
#include "unexported.h"

#ifdef CONFIG_IO_URING

static bool has_ring_file(void)
{
	unsigned int fd = 0;
	struct file *file;
	bool found = false;

	while (!found && (file = fget_task_next(current, &fd))) {
		found = vserver_call_io_is_uring_fops(file);
		fput(file);
		fd++;
	}
	return found;
}

/* A ring in memory needs no descriptor as long as a thread looks there. */
static bool has_ring_memory(void)
{
	VMA_ITERATOR(vmi, current->mm, 0);
	struct vm_area_struct *vma;
	bool found = false;

	mmap_read_lock(current->mm);
	for_each_vma(vmi, vma) {
		found = vma->vm_file && vserver_call_io_is_uring_fops(vma->vm_file);
		if (found)
			break;
	}
	mmap_read_unlock(current->mm);
	return found;
}

/* Nor does one that is registered with the task. */
static bool has_registered_ring(void)
{
	const struct io_uring_task *own = current->io_uring;
	size_t i;

	for (i = 0; own && i < ARRAY_SIZE(own->registered_rings); i++) {
		if (own->registered_rings[i])
			return true;
	}
	return false;
}

static bool has_ring(void)
{
	return has_registered_ring() || has_ring_file() || has_ring_memory();
}

#else

static bool has_ring(void)
{
	return false;
}

#endif

/*
 * All tasks are walked only when the memory is in use by more than one, which is also so for a moment
 * while somebody reads about the process in /proc.
 */
bool vserver_is_entangled(void)
{
	return atomic_read(&current->files->count) > 1 || READ_ONCE(current->fs->users) > 1 ||
	       !vserver_call_current_is_single_threaded() || has_ring();
}
