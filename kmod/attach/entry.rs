// SPDX-License-Identifier: GPL-2.0

//! The code that a call of a hooked function comes by: where it enters, and how it goes on into the kernel. One of the
//! files that may contain `unsafe`.

/// The kernel's `ASM_RET`: a return by the thunk where the kernel has return mitigations.
#[cfg(CONFIG_MITIGATION_RETHUNK)]
macro_rules! ret {
    () => {
        "jmp __x86_return_thunk\n"
    };
}
/// The kernel's `ASM_RET`: without return mitigations, a return that nothing runs past.
#[cfg(not(CONFIG_MITIGATION_RETHUNK))]
macro_rules! ret {
    () => {
        "ret\nint3\n"
    };
}
pub(crate) use ret;

/// The kernel's `ASM_ENDBR`: what an indirect call lands on where the kernel checks that.
#[cfg(CONFIG_X86_KERNEL_IBT)]
macro_rules! endbr {
    () => {
        "endbr64\n"
    };
}
/// The kernel's `ASM_ENDBR`: nothing.
#[cfg(not(CONFIG_X86_KERNEL_IBT))]
macro_rules! endbr {
    () => {
        ""
    };
}
pub(crate) use endbr;

/// A function that goes on at the address in a place, with all registers and the stack as they are. That place is `ADDRESS` in
/// the module that this is used in.
///
/// That address may be in the middle of a function, or be an ENDBR that the kernel has sealed. So it is reached by a return, not
/// by an indirect jump: that is valid with IBT, and the return thunk keeps the machine's return mitigations.
macro_rules! jump_through {
    ([$($code:tt)*], [$($place:tt)*], [$($first:tt)*]) => {
        ::core::arch::global_asm!(
            concat!(
                ".pushsection .bss, \"aw\"\n",
                ".balign 8\n",
                ".globl ", $($place)*, "\n",
                $($place)*, ": .skip 8\n",
                ".popsection\n",
                ".pushsection .text, \"ax\"\n",
                ".globl ", $($code)*, "\n",
                ".type ", $($code)*, ", @function\n",
                $($code)*, ":\n",
                $($first)*,
                "pushq ", $($place)*, "(%rip)\n",
                $crate::attach::entry::ret!(),
                ".size ", $($code)*, ", .-", $($code)*, "\n",
                ".popsection\n",
                ".pushsection .discard.func_stack_frame_non_standard, \"aw\"\n",
                ".quad ", $($code)*, "\n",
                ".popsection\n",
            ),
            options(att_syntax)
        );
        extern "C" {
            #[link_name = concat!($($place)*)]
            pub(super) static mut ADDRESS: usize;
        }
    };
}
pub(crate) use jump_through;

/// `vserver_orig_NAME`: the kernel's function behind the jump to the hook. It is called directly only, and needs no ENDBR.
macro_rules! trampoline {
    ($name:ident) => {
        $crate::attach::entry::jump_through!(
            ["vserver_orig_", stringify!($name)],
            ["vserver_addr_", stringify!($name)],
            [""]
        );
    };
}
pub(crate) use trampoline;

/// The entry of a hook of that kind, `vserver_wrap_NAME`, if it is not one that rustc makes.
///
/// It is reached by a direct jump, so it needs no ENDBR. Callers without the mark go on at once. For the others it calls
/// something with the arguments of the kernel's function, which come back unchanged after it.
macro_rules! entry {
    (mediate $name:ident) => { $crate::attach::entry::entry!(@verdict $name); };
    (answer $name:ident) => { $crate::attach::entry::entry!(@verdict $name); };
    (instead $name:ident) => { $crate::attach::entry::entry!(@verdict $name); };

    // The verdict is the answer, or goes on into the kernel's function.
    (@verdict $name:ident) => {
        $crate::attach::entry::entry!(
            $name,
            ["vserver_check_", stringify!($name)],
            ["movq %rdx, %r10\n"],
            ["testq %r10, %r10\n", "jz vserver_orig_", stringify!($name), "\n", $crate::attach::entry::ret!()]
        );
    };

    // Those in a context go on into the hook's function, others into the kernel's.
    (wrap_inside $name:ident) => {
        $crate::attach::entry::entry!(
            $name,
            ["vserver_caller_is_inside"],
            ["movq %rdx, %r10\n"],
            [
                "testq %r10, %r10\n", "jz vserver_orig_", stringify!($name), "\n",
                "jmp vserver_instead_", stringify!($name), "\n"
            ]
        );
    };

    // The result is the first argument.
    (redirect $name:ident) => {
        $crate::attach::entry::entry!(
            $name,
            ["vserver_check_", stringify!($name)],
            [""],
            ["movq %rax, %rdi\n", "jmp vserver_orig_", stringify!($name), "\n"]
        );
    };

    ($kind:ident $name:ident) => {};

    ($name:ident, [$($called:tt)*], [$($kept:tt)*], [$($go_on:tt)*]) => {
        ::core::arch::global_asm!(
            concat!(
                ".pushsection .text, \"ax\"\n",
                // ftrace keeps a mark of its own in the lowest bit of the address.
                ".balign 16\n",
                ".globl vserver_wrap_", stringify!($name), "\n",
                ".type vserver_wrap_", stringify!($name), ", @function\n",
                "vserver_wrap_", stringify!($name), ":\n",
                "movq %gs:const_current_task(%rip), %rax\n",
                "testl ${bit}, {flags}(%rax)\n",
                "jz vserver_orig_", stringify!($name), "\n",
                "pushq %rdi\n", "pushq %rsi\n", "pushq %rdx\n", "pushq %rcx\n", "pushq %r8\n", "pushq %r9\n",
                "call ", $($called)*, "\n",
                $($kept)*,
                "popq %r9\n", "popq %r8\n", "popq %rcx\n", "popq %rdx\n", "popq %rsi\n", "popq %rdi\n",
                $($go_on)*,
                ".size vserver_wrap_", stringify!($name), ", .-vserver_wrap_", stringify!($name), "\n",
                ".popsection\n",
                ".pushsection .discard.annotate_insn, \"M\", @progbits, 8\n",
                ".long vserver_wrap_", stringify!($name), " - ., 1\n",
                ".popsection\n",
            ),
            bit = const $crate::attach::PF_IN_CONTEXT,
            flags = const ::core::mem::offset_of!($crate::bindings::task_struct, flags),
            options(att_syntax)
        );
        extern "C" {
            #[link_name = concat!("vserver_wrap_", stringify!($name))]
            pub(super) fn entry();
        }
    };
}
pub(crate) use entry;
