// SPDX-License-Identifier: GPL-2.0

//! Two vservers with sysvinit and the same servers, at once, each at its address.

use super::*;
use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
};

pub const TWO: Test = test("init::two_with_servers", 900, two);

/// What nginx at an address says.
fn page(address: &str) -> Result<String, String> {
    let ran = Command::new("wget")
        .args(["-q", "-O", "-", &format!("http://{address}/")])
        .output()
        .map_err(words)?;
    ensure(
        &format!("the page of {address}: {ran:?}"),
        ran.status.success(),
    )?;
    Ok(String::from_utf8_lossy(&ran.stdout).trim_end().to_string())
}

/// What sshd at an address says first.
fn greeting(address: &str) -> Result<String, String> {
    let stream = TcpStream::connect((address, 22)).map_err(words)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(words)?;
    Ok(line)
}

fn two() -> Outcome {
    with_vservers(|| {
        let mut both = Vec::new();
        let addresses = [
            ("one", crate::inet::A, crate::inet::A6),
            ("two", crate::inet::B, crate::inet::B6),
        ];
        for (name, address, address6) in addresses {
            // As Debian packages it, nginx listens on both families.
            let vserver = Vserver::new(name, "sysvinit", &format!("{address} {address6}"), "")?;
            let write = |file: &str, text: &str| fs::write(vserver.root.join(file), text);
            write("var/www/html/index.html", name).map_err(words)?;
            // What cron does first.
            let job = format!("@reboot root echo {name} >/run/cron-was-here\n");
            write("etc/cron.d/here", &job).map_err(words)?;
            both.push((vserver, address));
        }
        let before = Machine::now()?;
        let starts: Vec<_> = both
            .iter()
            .map(|(vserver, _)| {
                Command::new("vserver")
                    .args(["--silent", vserver.name, "start"])
                    .stdin(Stdio::null())
                    .spawn()
            })
            .collect();
        for start in starts {
            let ended = start.and_then(|mut start| start.wait()).map_err(words)?;
            ensure(&format!("a start: {ended}"), ended.success())?;
        }
        for (vserver, address) in &both {
            let name = vserver.name;
            equal("nginx", page(address), Ok(name.to_string()))?;
            let said = greeting(address)?;
            ensure(&said, said.starts_with("SSH-2.0-OpenSSH"))?;
            until("cron has done its job", || {
                let (code, said) = vserver.command(&["exec", "cat", "/run/cron-was-here"])?;
                Ok(code == 0 && said.trim_end() == name)
            })?;
            vserver.exec(&["logger", &format!("this is {name}")])?;
            until("rsyslog has written it down", || {
                let log = vserver.exec(&["cat", "/var/log/syslog"])?;
                Ok(log.contains(&format!("this is {name}")))
            })?;
            vserver.sees_its_own("init [2]")?;
        }
        let [(one, _), (two, at)] = &both[..] else {
            return Err("not two".into());
        };
        let log = two.exec(&["cat", "/var/log/syslog"])?;
        ensure(
            "rsyslog has what is another's",
            !log.contains("this is one"),
        )?;
        // A service comes anew, and the other's same one stays.
        let master = |vserver: &Vserver| vserver.pid("nginx: master");
        let (first, other) = (master(one)?, master(two)?);
        one.exec(&["service", "nginx", "restart"])?;
        ensure("nginx is the old one", master(one)? != first)?;
        equal("the other's nginx", master(two)?, other)?;
        for (vserver, address) in &both {
            equal("nginx", page(address), Ok(vserver.name.to_string()))?;
        }
        // One goes, and the other stays.
        one.ends(&["poweroff"])?;
        equal("nginx of who stays", page(at), Ok("two".to_string()))?;
        ensure("who is gone answers", page(crate::inet::A).is_err())?;
        two.stop(&[
            "INIT: Sending processes configured via /etc/inittab the TERM signal",
            "Stopping nginx",
            "Asking all remaining processes to terminate...done.",
            "Will now halt.",
        ])?;
        before.until_again()
    })
}
