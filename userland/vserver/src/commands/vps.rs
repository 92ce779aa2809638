// SPDX-License-Identifier: GPL-2.0

//! `vps`: ps that sees every context.

use super::Verb;
use crate::columns;
use crate::columns::Column;
use crate::exec;
use crate::exit_codes;
use crate::output::Output;
use crate::output::Shown;
use crate::processes;
use crate::processes::Process;
use crate::processes::Reader;
use crate::processes::ROOT_NAME;
use anyhow::Context;
use clap::Parser;
use libvserver::uapi::CONTEXT_ROOT;
use libvserver::Device;
use libvserver::Names;
use libvserver::Spectator;
use std::ffi::OsString;
use std::io;
use std::io::Read;
use std::io::Write;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::process::Stdio;

/// Show the processes of every context
///
/// Runs ps in context 1 and adds two columns after the PID: the number of the context and the name
/// of the vserver. With --json, --no-legend or -o with columns of its own, in capitals, before anything else, a table of
/// its own, without ps. Only root in context 0 may.
#[derive(Debug, Parser)]
#[command(
    name = "vps",
    max_term_width = 100,
    disable_help_flag = true,
    override_usage = "vps [ARGUMENTS OF ps]\n       vps [--json | --no-legend] [-o COLUMNS]",
    after_help = columns::help(&TABLE)
)]
pub(crate) struct Vps {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    /// Print JSON, without ps
    #[arg(long)]
    json: bool,

    /// Print the same table without its heading, without ps
    #[arg(long, conflicts_with = "json")]
    no_legend: bool,

    /// Options and arguments for ps
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// The table without ps.
const TABLE: [Column<Process>; 9] = [
    processes::PID,
    processes::CTX,
    processes::NAME,
    processes::PPID,
    processes::USER,
    processes::TTY,
    processes::STAT,
    processes::TIME,
    processes::COMMAND,
];

/// What may follow --json and --no-legend.
#[derive(Debug, Parser)]
#[command(name = "vps", max_term_width = 100, after_help = columns::help(&TABLE))]
struct Own {
    #[command(flatten)]
    output: Output<Processes>,
}

/// The table of this command.
#[derive(Clone, Debug)]
struct Processes;

impl Shown for Processes {
    const JSON: &'static str = "Print JSON";
    const COLUMNS: &'static str = "Print only these columns, in this order";

    fn column_name(name: &str) -> Result<String, String> {
        columns::select(&TABLE, Some(&[name.to_owned()])).map(|_| name.to_owned())
    }
}

impl Vps {
    /// Whether the table without ps is meant. ps itself has no columns in capitals.
    fn is_own(&self) -> bool {
        let mut args = self.args.iter().filter_map(|arg| arg.to_str());
        let columns = match args.next() {
            Some("-o") => args.next(),
            Some(first) => first.strip_prefix("-o"),
            None => None,
        };
        let is_ours = |name| TABLE.iter().any(|column| column.name == name);
        self.json
            || self.no_legend
            || columns.is_some_and(|columns| columns.split(',').all(is_ours))
    }

    fn without_ps(&self) -> anyhow::Result<u8> {
        let mut output =
            match Own::try_parse_from([&OsString::from("vps")].into_iter().chain(&self.args)) {
                Ok(Own { output })
                    if self.json && output.no_legend || self.no_legend && output.json =>
                {
                    anyhow::bail!(
                        "--json has no heading that --no-legend could leave out; give one of them"
                    )
                }
                Ok(own) => own.output,
                Err(error) => {
                    let _ = error.print();
                    return Ok(u8::try_from(error.exit_code()).unwrap_or(exit_codes::USAGE));
                }
            };
        let columns =
            columns::select(&TABLE, output.columns.as_deref()).map_err(anyhow::Error::msg)?;
        // They may come before -o as well as after it.
        output.json |= self.json;
        output.no_legend |= self.no_legend;
        let reader = Reader::new();
        let spectator = Spectator::enter(Device::open()?)?;
        let rows = reader.all(&spectator)?;
        let mut out = io::stdout().lock();
        output.write(&mut out, "processes", &columns, &rows)?;
        out.flush()?;
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for Vps {
    fn run(&self) -> anyhow::Result<u8> {
        if self.is_own() {
            return self.without_ps();
        }
        let names = Names::load();
        let spectator = Spectator::enter(Device::open()?)?;
        let mut ps = Command::new("ps")
            .args(&self.args)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| exec::failed("ps".as_ref(), error))?;
        let mut text = Vec::new();
        if let Some(mut output) = ps.stdout.take() {
            output
                .read_to_end(&mut text)
                .context("cannot read the output of ps")?;
        }
        // Before ps is waited for: until then its own line has a context too.
        let decorated = decorate(&text, &names, |pid| spectator.context_of(pid))?;
        let status = ps.wait().context("cannot wait for ps")?;
        let mut out = io::stdout().lock();
        out.write_all(&decorated)?;
        out.flush()?;
        let code = status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ok(u8::try_from(code).unwrap_or(u8::MAX))
    }
}

/// Add the columns to the output of ps. Output without a PID column stays as it is.
fn decorate<E>(
    text: &[u8],
    names: &Names,
    context_of: impl Fn(i32) -> Result<Option<i32>, E>,
) -> Result<Vec<u8>, E> {
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    let Some(header) = lines.first().and_then(|line| Header::parse(line)) else {
        return Ok(text.to_vec());
    };

    let mut cells = Vec::with_capacity(lines.len());
    for line in &lines {
        cells.push(if trim(line) == trim(lines[0]) {
            Cell {
                end: header.pid.end,
                context: "CTX".to_owned(),
                name: "NAME".to_owned(),
            }
        } else if let Some((pid, end)) = header.pid_of(line) {
            let context = context_of(pid)?;
            Cell {
                end,
                // Gone meanwhile: the line stays, its context is not known.
                context: context.map_or_else(|| "-".to_owned(), |context| context.to_string()),
                name: context
                    .map_or("", |context| name_of(names, context))
                    .to_owned(),
            }
        } else {
            // A thread's line has "-" there; any other line without a pid is left alone.
            let has_column = words(line).any(|word| word.end == header.pid.end);
            Cell {
                end: if has_column { header.pid.end } else { 0 },
                context: String::new(),
                name: String::new(),
            }
        });
    }
    // Where most pids end: under the heading, or, when the heading is aligned otherwise, the farthest.
    let aligned = cells[1..].iter().any(|cell| cell.end == header.pid.end);
    let farthest = cells.iter().map(|cell| cell.end).max().unwrap_or(0);
    let at = if aligned { header.pid.end } else { farthest };
    let name_width = cells
        .iter()
        .map(|cell| cell.name.chars().count())
        .max()
        .unwrap_or(0);

    let mut out = Vec::with_capacity(text.len() + lines.len() * (8 + name_width));
    for (line, cell) in lines.iter().zip(&cells) {
        if cell.end == 0 {
            out.extend_from_slice(line);
            continue;
        }
        let position = insertion_point(line, cell.end, at);
        let (left, right) = line.split_at(position);
        out.extend_from_slice(left);
        let added = format!(" {:>5} {:<name_width$}", cell.context, cell.name);
        if right.iter().all(u8::is_ascii_whitespace) {
            out.extend_from_slice(added.trim_end().as_bytes());
        } else {
            out.extend_from_slice(added.as_bytes());
        }
        out.extend_from_slice(right);
    }
    Ok(out)
}

fn name_of(names: &Names, context: i32) -> &str {
    match context {
        CONTEXT_ROOT => ROOT_NAME,
        context => names.get(context).unwrap_or(""),
    }
}

struct Cell {
    /// Where the pid ends in this line.
    end: usize,
    context: String,
    name: String,
}

/// Where the PID column is.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    pid: Range<usize>,
    word: usize,
}

impl Header {
    fn parse(line: &[u8]) -> Option<Self> {
        let (word, pid) = words(line)
            .enumerate()
            .find(|(_, word)| &line[word.clone()] == b"PID")?;
        Some(Self { pid, word })
    }

    /// The pid in a line, and where it ends. ps aligns numbers to the right, under the end of the
    /// heading; counting words is for lines that were pushed to the right by a long value, and for
    /// a ps that aligns otherwise.
    fn pid_of(&self, line: &[u8]) -> Option<(i32, usize)> {
        let number = |word: Range<usize>| {
            let pid: i32 = std::str::from_utf8(&line[word.clone()])
                .ok()?
                .parse()
                .ok()?;
            Some((pid, word.end))
        };
        words(line)
            .find(|word| word.end == self.pid.end)
            .and_then(number)
            .or_else(|| words(line).nth(self.word).and_then(number))
    }
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut position = 0;
    std::iter::from_fn(move || {
        let start = position
            + line[position..]
                .iter()
                .position(|byte| !byte.is_ascii_whitespace())?;
        let length = line[start..].iter().position(u8::is_ascii_whitespace);
        position = length.map_or(line.len(), |length| start + length);
        Some(start..position)
    })
}

fn trim(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

/// The place for the new columns: at the common position if there is only space up to there, else
/// right after the pid.
fn insertion_point(line: &[u8], end: usize, at: usize) -> usize {
    let length = trim(line).len();
    let end = end.min(length);
    let at = at.min(length);
    let spaces = line[end..].iter().take_while(|byte| **byte == b' ').count();
    // One space must remain before the next word.
    at.clamp(end, end + spaces.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> String {
        let contexts = |pid| {
            Ok::<_, ()>(match pid {
                1 => Some(0),
                1234 => Some(49152),
                _ => None,
            })
        };
        String::from_utf8(decorate(text.as_bytes(), &Names::default(), contexts).unwrap()).unwrap()
    }

    #[test]
    fn our_options_stand_first() {
        let parse = |line: &str| Vps::try_parse_from(line.split(' ')).unwrap();
        let own = parse("vps --json -o pid,ctx");
        assert!(own.json && own.args == ["-o", "pid,ctx"]);
        let of_ps = parse("vps -ef --json");
        assert!(!of_ps.json && of_ps.args == ["-ef", "--json"]);
        assert!(Own::try_parse_from(["vps", "-o", "nope"]).is_err());
        assert!(parse("vps -o CTX,NAME").is_own() && parse("vps -oPID").is_own());
        for of_ps in [
            "vps -o pid,args",
            "vps -o PID,args",
            "vps -ef",
            "vps -e -o CTX",
            "vps -o",
        ] {
            assert!(!parse(of_ps).is_own(), "{of_ps}");
        }
    }

    #[test]
    fn plain_ps_output() {
        assert_eq!(
            run(
                "    PID TTY          TIME CMD\n      1 ?        00:00:01 init\n   1234 pts/0    00:00:00 sh\n   9999 pts/0    00:00:00 ps\n"
            ),
            "    PID   CTX NAME TTY          TIME CMD\n      1     0 MAIN ?        00:00:01 init\n   1234 49152      pts/0    00:00:00 sh\n   9999     -      pts/0    00:00:00 ps\n"
        );
    }

    #[test]
    fn the_pid_need_not_come_first() {
        assert_eq!(
            run("COMMAND             PID\ntmux: server       1234\ninit                  1\n"),
            "COMMAND             PID   CTX NAME\ntmux: server       1234 49152\ninit                  1     0 MAIN\n"
        );
        assert_eq!(
            run("USER         PID %CPU\nroot           1  0.0\na_long_user_name_x 1234  0.0\n"),
            "USER         PID   CTX NAME %CPU\nroot           1     0 MAIN  0.0\na_long_user_name_x 1234 49152       0.0\n"
        );
    }

    #[test]
    fn busybox_aligns_the_heading_to_the_left() {
        assert_eq!(
            run("PID   USER     COMMAND\n    1 root     init\n 1234 root     sh\n"),
            "PID     CTX NAME USER     COMMAND\n    1     0 MAIN root     init\n 1234 49152      root     sh\n"
        );
    }

    #[test]
    fn lines_without_a_pid() {
        assert_eq!(
            run("  PID CMD\n    1 init\n    - -\nwarning\n"),
            "  PID   CTX NAME CMD\n    1     0 MAIN init\n    -            -\nwarning\n"
        );
    }

    #[test]
    fn other_output_is_left_alone() {
        for text in [
            "",
            "COMMAND\ninit\n",
            "Usage:\n ps [options]\n",
            "1 init\n",
            "PPID\n1\n",
        ] {
            assert_eq!(run(text), text);
        }
    }

    #[test]
    fn all_arguments_are_for_ps() {
        let vps = Vps::try_parse_from(["vps", "-o", "pid,comm", "--no-headers", "-h"]).unwrap();
        assert_eq!(vps.args, ["-o", "pid,comm", "--no-headers", "-h"]);
    }
}
