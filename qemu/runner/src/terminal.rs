// SPDX-License-Identifier: GPL-2.0

//! The user's terminal as the terminal of a guest.
//!
//! QEMU could take the terminal itself, but what is typed before the guest listens would be lost:
//! here it waits.

use anyhow::{Context, Result};
use nix::sys::termios::{self, SetArg, Termios};
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    process::Child,
    sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// The prompt of the guest's shell: `qemu/init` sets it.
const PROMPT: &[u8] = b"host# ";

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;

/// A guest that has not written anything for so long is taken to wait for input.
const QUIET: Duration = Duration::from_secs(2);

/// The terminal, as long as it is the guest's; dropped, it is as it was before.
pub struct Terminal {
    before: Termios,
}

enum Event {
    Typed(Vec<u8>),
    Written { prompts: usize },
}

impl Terminal {
    /// Connects it with a QEMU whose standard input and output are pipes.
    pub fn lend(child: &mut Child) -> Result<Self> {
        let input = child.stdin.take().context("QEMU has no input")?;
        let output = child.stdout.take().context("QEMU has no output")?;
        let before = termios::tcgetattr(io::stdin()).context("not a terminal")?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        let terminal = Self { before };
        let (events, received) = channel();
        let typed = events.clone();
        // They end with the process, or when QEMU does.
        thread::spawn(move || keyboard(&typed));
        thread::spawn(move || screen(output, &events));
        let before = terminal.before.clone();
        thread::spawn(move || feed(&received, input, &before));
        Ok(terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore(&self.before);
    }
}

fn restore(before: &Termios) {
    let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
}

/// Rows and columns, for the guest's `stty`.
pub fn size() -> Option<(u16, u16)> {
    let answer = std::process::Command::new("stty")
        .arg("size")
        .stdin(std::process::Stdio::inherit())
        .output()
        .ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let (rows, columns) = text.trim().split_once(' ')?;
    let (rows, columns) = (rows.parse().ok()?, columns.parse().ok()?);
    (rows > 0 && columns > 0).then_some((rows, columns))
}

fn keyboard(events: &Sender<Event>) {
    let mut room = [0; 4096];
    while let Ok(count @ 1..) = io::stdin().read(&mut room) {
        if events.send(Event::Typed(room[..count].to_vec())).is_err() {
            return;
        }
    }
}

fn screen(mut output: impl Read, events: &Sender<Event>) {
    let mut search = Search::default();
    let mut room = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut room) {
        let mut out = io::stdout();
        let _ = out.write_all(&room[..count]).and_then(|()| out.flush());
        let prompts = search.count(&room[..count]);
        if events.send(Event::Written { prompts }).is_err() {
            return;
        }
    }
}

/// Looks for prompts in a stream.
#[derive(Default)]
struct Search(Vec<u8>);

impl Search {
    /// How many have become whole with these bytes.
    fn count(&mut self, bytes: &[u8]) -> usize {
        let tail = &mut self.0;
        tail.extend_from_slice(bytes);
        let found = tail.windows(PROMPT.len()).filter(|part| *part == PROMPT);
        let count = found.count();
        tail.drain(..tail.len() - tail.len().min(PROMPT.len() - 1));
        count
    }
}

/// What has been typed and not been passed on yet.
///
/// Text waits for the first prompt only. A Ctrl-D waits until the shell has answered every line with a
/// prompt, or nothing is happening: while a command that does not read runs, as when all that is typed
/// comes from a pipe, the guest would lose it.
#[derive(Default)]
struct Queue {
    bytes: VecDeque<u8>,
    prompted: bool,
    unanswered: usize,
}

impl Queue {
    fn typed(&mut self, bytes: &[u8]) {
        let early = !self.prompted;
        // A Ctrl-D typed before the terminal was ours is a zero byte in its buffer.
        let mapped = bytes.iter().map(|&byte| match byte {
            0 if early => CTRL_D,
            byte => byte,
        });
        self.bytes.extend(mapped);
    }

    fn prompts(&mut self, count: usize) {
        self.prompted |= count > 0;
        self.unanswered = self.unanswered.saturating_sub(count);
    }

    /// What can be passed on now; `quiet`: the guest has not written anything for a while.
    fn ready(&mut self, quiet: bool) -> Vec<u8> {
        let mut ready = Vec::new();
        if !self.prompted {
            return ready;
        }
        if quiet {
            self.unanswered = 0;
        }
        while let Some(&byte) = self.bytes.front() {
            if byte == CTRL_D && self.unanswered > 0 {
                break;
            }
            self.bytes.pop_front();
            self.unanswered += usize::from(matches!(byte, b'\r' | b'\n'));
            ready.push(byte);
        }
        ready
    }
}

fn feed(events: &Receiver<Event>, mut input: impl Write, before: &Termios) {
    let mut queue = Queue::default();
    let mut written = Instant::now();
    loop {
        match events.recv_timeout(QUIET) {
            Ok(Event::Typed(bytes)) => {
                if !queue.prompted && bytes.contains(&CTRL_C) {
                    restore(before);
                    // QEMU goes with us.
                    std::process::exit(130);
                }
                queue.typed(&bytes);
            }
            Ok(Event::Written { prompts }) => {
                written = Instant::now();
                queue.prompts(prompts);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let ready = queue.ready(written.elapsed() >= QUIET);
        if input
            .write_all(&ready)
            .and_then(|()| input.flush())
            .is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_found_wherever_they_are_cut() {
        let stream = b"# echo host#\nhost# ls\nhost# ";
        for cut in 0..stream.len() {
            let mut search = Search::default();
            let count = search.count(&stream[..cut]) + search.count(&stream[cut..]);
            assert_eq!(count, 2, "{cut}");
        }
    }

    #[test]
    fn what_is_typed_early_waits_for_the_prompt() {
        let mut queue = Queue::default();
        queue.typed(b"vps\n\0");
        assert_eq!(queue.ready(true), b"");
        queue.prompts(1);
        assert_eq!(queue.ready(false), b"vps\n");
        assert_eq!(queue.ready(false), b"");
        queue.prompts(1);
        assert_eq!(queue.ready(false), [CTRL_D]);
    }

    #[test]
    fn a_program_that_reads_gets_its_end_of_file() {
        let mut queue = Queue::default();
        queue.prompts(1);
        queue.typed(b"cat\r\0x\r\x04");
        assert_eq!(queue.ready(false), b"cat\r\0x\r");
        assert_eq!(queue.ready(true), [CTRL_D]);
    }
}
