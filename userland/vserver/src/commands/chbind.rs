// SPDX-License-Identifier: GPL-2.0

//! `chbind`: run a command that can use some of the host's addresses only.

use super::Verb;
use crate::announce::announce;
use crate::columns;
use crate::exec;
use crate::exit_codes;
use crate::exit_codes::Style;
use crate::ipv4root;
use crate::ipv4root::Broadcast;
use crate::ipv4root::Ip;
use crate::ipv4root::Wish;
use crate::report::value;
use crate::wildcard_binds;
use crate::wildcard_binds::Port;
use clap::Parser;
use libvserver::Device;
use std::ffi::OsString;
use std::io;
use std::io::Write;

/// Run a command that can use some of the host's addresses only
///
/// What binds to 0.0.0.0 or :: gets the given addresses, what connects or sends does so from them, and
/// 127.0.0.1 and ::1 are its own. Any user may. The set is for good: afterwards it can only be made
/// smaller, save by root of the host.
#[derive(Debug, Parser)]
#[command(
    name = "chbind",
    max_term_width = 100,
    override_usage = "chbind [--silent | --json] --ip IP[/MASK]|HOST|DEVICE... [--bcast IP|DEVICE] COMMAND...\n       \
                      chbind --who PORT[/tcp|/udp] [--json]",
    after_help = after_help()
)]
pub(crate) struct Chbind {
    /// An address, all addresses of a network (10.0.0.0/24), of a host by name, or of a device
    ///
    /// May be repeated. A mask is the number of bits or, for IPv4, 255.255.255.0; a device, eth0 or
    /// the label eth0:web, has its IPv4 and its global IPv6 addresses.
    #[arg(
        long,
        value_name = "IP[/MASK]|HOST|DEVICE",
        value_parser = value::<Ip>,
        required_unless_present = "who"
    )]
    ip: Vec<Ip>,

    /// The broadcast address that can be bound, or the device whose it is; 0.0.0.0 for none
    ///
    /// Without it, that of the first device or address with a mask.
    #[arg(long, value_name = "IP|DEVICE", value_parser = value::<Broadcast>)]
    bcast: Option<Broadcast>,

    /// Do not print the addresses
    #[arg(long, conflicts_with_all = ["json", "who"])]
    silent: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Tell who holds a port on 0.0.0.0 or ::, and run nothing; 1 when nobody does
    #[arg(long, value_name = "PORT[/tcp|/udp]", conflicts_with_all = ["ip", "bcast", "command"])]
    who: Option<Port>,

    /// The command and its arguments
    #[arg(required_unless_present = "who", trailing_var_arg = true)]
    command: Vec<OsString>,
}

fn after_help() -> String {
    format!(
        "A service inside gets EADDRINUSE (\"Address already in use\")? Then one outside is bound to the \
         host's 0.0.0.0 or ::, so that it has the port on every address. As root on the host, \
         \"chbind --who PORT\" tells which it is. Have it listen on its own address, or run it under \
         chbind as well, and start it again.\n\n{}",
        columns::help(&wildcard_binds::TABLE).replacen("Columns:", "Columns of --who:", 1)
    )
}

impl Verb for Chbind {
    fn style(&self) -> Style {
        match self.who {
            Some(_) => Style::Plain,
            None => Style::Exec,
        }
    }

    fn run(&self) -> anyhow::Result<u8> {
        if let Some(port) = &self.who {
            return self.tell_who(port);
        }
        let device = Device::open()?;
        let wish = Wish::new(&self.ip, self.bcast.as_ref())?;
        let now = wish.confine(&device)?;
        wish.warn("chbind");
        if self.json {
            announce(format_args!("{}", ipv4root::to_json(&now)))?;
        } else if !self.silent {
            announce(format_args!("ipv4root is now {now}"))?;
        }
        Err(exec::exec(&self.command))
    }
}

impl Chbind {
    fn tell_who(&self, port: &Port) -> anyhow::Result<u8> {
        let holders = wildcard_binds::find(port);
        let columns: Vec<_> = wildcard_binds::TABLE.iter().collect();
        let mut out = io::stdout().lock();
        if self.json {
            columns::write_json(&mut out, &columns::to_json("holders", &columns, &holders))?;
        } else if holders.is_empty() {
            writeln!(out, "nobody in sight holds port {port} on 0.0.0.0 or ::")?;
        } else {
            columns::write_text(&mut out, &columns, &holders, true)?;
        }
        out.flush()?;
        if !holders.iter().all(wildcard_binds::Holder::is_known) {
            let _ = writeln!(
                io::stderr(),
                "chbind: not every process can be seen; ask as root on the host"
            );
        }
        Ok(match holders.is_empty() {
            true => exit_codes::FAILURE,
            false => exit_codes::SUCCESS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Chbind, clap::Error> {
        Chbind::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_keeps_all_its_arguments() {
        let parsed = parse("chbind --ip 10.0.0.5 --ip eth0 nginx --ip 10.0.0.6 -- x").unwrap();
        assert_eq!(parsed.ip.len(), 2);
        assert_eq!(parsed.command, ["nginx", "--ip", "10.0.0.6", "--", "x"]);
        assert_eq!(parsed.style(), Style::Exec);
        assert!(!parsed.silent && !parsed.json);
    }

    #[test]
    fn to_ask_who_is_another_use() {
        let parsed = parse("chbind --who 80/tcp --json").unwrap();
        assert!(parsed.command.is_empty() && parsed.json);
        assert_eq!(parsed.style(), Style::Plain);
    }

    #[test]
    fn wrong_usage() {
        for (line, part) in [
            ("chbind", "--ip"),
            ("chbind true", "--ip"),
            ("chbind --ip 10.0.0.5", "COMMAND"),
            (
                "chbind --ip 10.0.0.300 true",
                "\"10.0.0.300\" is not an IP address",
            ),
            ("chbind --ip 10.0.0.5/33 true", "0 to 32 bits"),
            ("chbind --ip 0.0.0.0 true", "stands for any"),
            ("chbind --ip 10.0.0.5 --bcast 127.0.0.1 true", "broadcast"),
            ("chbind --bcast 10.0.0.255 true", "--ip"),
            ("chbind --silent --json --ip 10.0.0.5 true", "--json"),
            ("chbind --who", "--who"),
            ("chbind --who http", "1 to 65535"),
            ("chbind --who 80 true", "cannot be used with"),
            ("chbind --who 80 --ip 10.0.0.5", "cannot be used with"),
            ("chbind --ips 10.0.0.5 true", "--ips"),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(exit_codes::USAGE), "{line}");
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
    }
}
