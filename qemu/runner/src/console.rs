// SPDX-License-Identifier: GPL-2.0

//! The watch on a guest's console: which lines are complaints of its kernel.

use std::time::Instant;

/// How a complaint of the kernel begins, after the time that begins each of its lines.
const ALARMS: [&str; 16] = [
    "Kernel panic",
    "PANIC: ",
    "Oops: ",
    "BUG: ",
    // Of the slab allocator: the name of the cache follows.
    "BUG ",
    "[ BUG: ",
    "kernel BUG at ",
    "WARNING: ",
    "UBSAN: ",
    "INFO: rcu",
    "INFO: task ",
    "INFO: trying to register non-static key",
    "unreferenced object",
    "refcount_t: ",
    "list_add corruption",
    "list_del corruption",
];

/// Subsystems that write their name first, and what in such a line is a complaint.
const ALARMS_OF: [(&str, &str); 6] = [
    ("rcu: ", "INFO: "),
    ("watchdog: ", "soft lockup"),
    ("watchdog: ", "hard LOCKUP"),
    ("traps: ", "PANIC: double fault"),
    ("kmemleak: ", "unreferenced object"),
    ("kmemleak: ", "suspected memory leaks"),
];

/// What follows `NAME[PID]`, a program's name and number, where the kernel reports a program's fault
/// (`show_unhandled_signals`). The program has chosen its name: it may be "Oops".
const FAULTS: [&str; 6] = [
    ": segfault at ",
    " control protection ip:",
    " overflowed sigaltstack",
    " bad frame in ",
    " vsyscall",
    ": potentially unexpected fatal signal ",
];

/// So many lines from the first alarm on are shown.
const COMPLAINT_LINES: usize = 40;

/// The kernel's messages in a line: what follows each `[   12.345678] `. A program that writes to the console may
/// have left an unfinished line before it. A line without a time is one message.
fn messages(line: &str) -> Vec<&str> {
    let starts: Vec<usize> = line
        .match_indices("] ")
        .filter(|(end, _)| {
            line[..*end].rfind('[').is_some_and(|start| {
                let time = line[start + 1..*end].trim_start();
                time.split_once('.').is_some_and(|(seconds, fraction)| {
                    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                    !seconds.is_empty()
                        && digits(seconds)
                        && fraction.len() == 6
                        && digits(fraction)
                })
            })
        })
        .map(|(end, separator)| end + separator.len())
        .collect();
    if starts.is_empty() {
        return vec![line];
    }
    starts.into_iter().map(|start| &line[start..]).collect()
}

/// Whether the kernel reports a fault of a program.
fn is_of_a_program(message: &str) -> bool {
    let numbered = |after: &str| {
        message.match_indices(after).any(|(at, _)| {
            // The last form has no number.
            after.starts_with(": potentially") || message[..at].ends_with(']')
        })
    };
    // `traps: NAME[PID] general protection fault ip:…`, `umip: NAME[PID] ip:…`.
    let trap = |subsystem| message.starts_with(subsystem) && message.contains("] ");
    trap("traps: ") || trap("umip: ") || FAULTS.into_iter().any(numbered)
}

fn is_alarm(line: &str) -> bool {
    messages(line).into_iter().any(|message| {
        let own = ALARMS.iter().any(|start| message.starts_with(start));
        let named = ALARMS_OF
            .iter()
            .any(|(start, what)| message.starts_with(start) && message.contains(what));
        (own || named) && !is_of_a_program(message)
    })
}

/// Looks for a kernel's complaints in the console's lines.
#[derive(Default)]
pub struct ConsoleWatch {
    test: Option<String>,
    /// When the first came, and its line.
    pub first: Option<(Instant, String)>,
    /// From the first on, with the test that ran.
    pub complaint: Vec<String>,
}

impl ConsoleWatch {
    /// Takes the next line.
    pub fn line(&mut self, line: &str) {
        // The guest's init writes this line to the kernel log before each test.
        if let Some((_, name)) = line.split_once("] test ") {
            self.test = Some(name.to_string());
        }
        if self.first.is_none() && is_alarm(line) {
            self.first = Some((Instant::now(), line.trim().to_string()));
            if let Some(test) = &self.test {
                self.complaint.push(format!("in the test {test}:"));
            }
        }
        if self.first.is_some() && self.complaint.len() < COMPLAINT_LINES {
            self.complaint.push(line.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_the_kernel() {
        for line in [
            "[    1.000000] Oops: general protection fault, probably for non-canonical address 0x6b6b: 0000 [#1] SMP NOPTI",
            "[    1.000000] Oops: Oops: 0002 [#1] PREEMPT SMP",
            "[    1.000000] Oops: invalid opcode: 0000 [#1] SMP",
            "[    1.000000] Oops: int3: 0000 [#1] SMP",
            "[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "[    1.000000] BUG: KFENCE: use-after-free read in f+0x1/0x2",
            "[    1.000000] BUG kmalloc-64 (Tainted: G           OE      ): Poison overwritten",
            "[    1.000000] [ BUG: Invalid wait context ]",
            "[    1.000000] kernel BUG at mm/slub.c:563!",
            "[    1.000000] WARNING: possible circular locking dependency detected",
            "[    1.000000] WARNING: lib/refcount.c:28 at refcount_warn_saturate+0xbe/0x110, CPU#1: rmmod/77",
            "[    1.000000] refcount_t: underflow; use-after-free.",
            "[    1.000000] list_del corruption, ffff888 -> next is LIST_POISON1",
            "[    1.000000] UBSAN: array-index-out-of-bounds in net/core/sock.c:1:2",
            "[  247.123456] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [kworker/0:1:12]",
            "[  247.123456] watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 0",
            "[  247.123456] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[  247.123456] INFO: rcu_tasks detected stalls on tasks:",
            "[  247.123456] INFO: task rmmod:77 blocked for more than 120 seconds.",
            "[  247.123456] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "[  247.123456] Kernel panic - not syncing: Attempted to kill init!",
            "[  247.123456] traps: PANIC: double fault, error_code: 0x0",
            "an unfinished line of a program[    1.000000] BUG: unable to handle page fault",
        ] {
            assert!(is_alarm(line), "{line}");
        }
    }

    #[test]
    fn faults_of_programs() {
        for line in [
            "[    1.000000] traps: prctl10[123] general protection fault ip:401136 sp:7ffe error:0 in prctl10[401000+1000]",
            "[    1.000000] traps: guest-tests[9] trap invalid opcode ip:4 sp:7 error:0 in guest-tests[4,400000+1]",
            "[    1.000000] traps: Oops: x[12] trap divide error ip:4 sp:7 error:0",
            "[    1.000000] traps: a] PANIC: b[1] trap int3 ip:4 sp:7 error:0",
            "[    1.000000] Oops: x[12]: segfault at 0 ip 0000000000000000 sp 00007ffe error 14 likely on CPU 0 (core 0, socket 0)",
            "[    1.000000] BUG: x[12] control protection ip:401 sp:7 ssp:7 error:3(near ret)",
            "[    1.000000] WARNING: x[12] overflowed sigaltstack",
            "[    1.000000] BUG: x[12] bad frame in rt_sigreturn frame:000 ip:4 sp:7 orax:f",
            "[    1.000000] Oops: potentially unexpected fatal signal 11.",
            "[    1.000000] umip: BUG[12] ip:401 sp:7: SGDT instruction cannot be used by applications.",
            "[    1.000000] Code: Unable to access opcode bytes at 0xffffffffffffffd6.",
            "[    1.000000] NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
            "[    1.000000] test fakeinit::BUG: no name",
            "systemd[1]: Oops: general protection fault",
        ] {
            assert!(!is_alarm(line), "{line}");
        }
    }

    #[test]
    fn a_complaint_names_its_test_and_begins_with_its_alarm() {
        let mut watch = ConsoleWatch::default();
        for line in [
            "[    1.000000] test one::first",
            "[    2.000000] traps: a[1] general protection fault ip:1 sp:1 error:0",
            "[    2.500000] test one::second",
            "[    3.000000] ------------[ cut here ]------------",
            "[    3.000001] WARNING: kernel/fork.c:1 at f+0x1/0x2, CPU#0: a/1",
            "[    3.000002] Call Trace:",
        ] {
            watch.line(line);
        }
        assert_eq!(
            watch.complaint,
            [
                "in the test one::second:",
                "[    3.000001] WARNING: kernel/fork.c:1 at f+0x1/0x2, CPU#0: a/1",
                "[    3.000002] Call Trace:",
            ]
        );
        let first = watch.first.map(|(_, line)| line);
        assert_eq!(first.as_deref(), Some(watch.complaint[1].as_str()));
    }
}
