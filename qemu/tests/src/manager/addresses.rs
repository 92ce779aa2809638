// SPDX-License-Identifier: GPL-2.0

//! The addresses of vservers on devices: added at the start, taken off at the stop, and nobody else's are touched.

use super::*;

pub const ON_DEVICES: Test = test("manager::addresses", 300, on_devices);
pub const OF_ONE_NETWORK: Test = test("manager::addresses_of_one_network", 300, of_one_network);
pub const WRONG: Test = test("manager::wrong_addresses", 60, wrong);

fn ip(line: &str) -> Result<String, String> {
    ends(
        0,
        &[&["/bin/ip"][..], &line.split(' ').collect::<Vec<_>>()].concat(),
    )
}

/// A device for the test alone, gone when dropped.
pub(crate) struct Device(&'static str);

impl Device {
    pub(crate) fn new(name: &'static str, addresses: &[&str]) -> Result<Self, String> {
        let _ = run(&["/bin/ip", "link", "delete", name]);
        ip(&format!("link add {name} type dummy"))?;
        let device = Self(name);
        // No address by itself, which would come a little later.
        let generated = format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode");
        fs::write(generated, "1").map_err(words)?;
        ip(&format!("link set {name} up"))?;
        for address in addresses {
            ip(&format!("address add {address} dev {name}"))?;
        }
        Ok(device)
    }

    /// Its addresses, each with its length, and the label when it has one of its own.
    pub(crate) fn addresses(&self) -> Result<Vec<String>, String> {
        let text = ip(&format!("-o address show dev {}", self.0))?;
        let mut found: Vec<String> = text
            .lines()
            .filter_map(|line| {
                let words: Vec<&str> = line
                    .trim_end_matches('\\')
                    .split(['\\', ' '])
                    .filter(|word| !word.is_empty())
                    .collect();
                let at = words.iter().position(|word| word.starts_with("inet"))?;
                let label = words
                    .iter()
                    .find(|word| word.starts_with(&format!("{}:", self.0)))
                    .filter(|word| !word.ends_with(':'));
                let address = words.get(at + 1)?.to_string();
                Some(match label {
                    Some(label) => format!("{address} {label}"),
                    None => address,
                })
            })
            .filter(|address| !address.starts_with("fe80"))
            .collect();
        found.sort();
        Ok(found)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = run(&["/bin/ip", "link", "delete", self.0]);
    }
}

fn on_devices() -> Outcome {
    with_vservers(|| {
        let device = Device::new("vsmgr", &["10.81.0.1/24", "10.81.0.9/24"])?;
        let web = Vserver::new(
            "web",
            "busybox",
            "vsmgr:10.81.0.5/24 fd81::5/64 10.81.0.9/24",
            "IPROOTDEV=vsmgr",
        )?;
        let db = Vserver::new("db", "busybox", "vsmgr:10.81.0.5/24 vsmgr:10.81.0.6", "")?;
        let before = Machine::now()?;
        web.start(&[])?;
        let host = ["10.81.0.1/24", "10.81.0.9/24"];
        let with = |others: &[&str]| {
            let mut all: Vec<String> = [&host[..], others]
                .concat()
                .iter()
                .map(ToString::to_string)
                .collect();
            all.sort();
            Ok(all)
        };
        equal(
            "with one",
            device.addresses(),
            with(&["10.81.0.5/24 vsmgr:web", "fd81::5/64"]),
        )?;
        // At once, also that of IPv6.
        let inside = web.exec(&["sh", "-c", "ip -o address | grep -c vsmgr"])?;
        equal("seen inside", inside.as_str(), "3")?;
        web.exec(&["sh", "-c", "httpd -f -p [fd81::5]:4000 & sleep 1; kill $!"])?;
        db.start(&[])?;
        equal(
            "with both",
            device.addresses(),
            with(&[
                "10.81.0.5/24 vsmgr:web",
                "10.81.0.6/32 vsmgr:db",
                "fd81::5/64",
            ]),
        )?;
        web.stop(&[])?;
        equal(
            "what the other one needs",
            device.addresses(),
            with(&["10.81.0.5/24 vsmgr:web", "10.81.0.6/32 vsmgr:db"]),
        )?;
        // A reboot keeps them, and a keeper that is killed leaves them until somebody stops what runs.
        db.reboots(&["reboot"])?;
        super::killed::kill_keeper("db")?;
        let status = db.good(&["status"])?;
        contains(&status, &["alone", "its keeper is gone"])?;
        let (code, _) = db.command(&["stop"])?;
        equal("stop", code, 0)?;
        equal("as before", device.addresses(), with(&[]))?;
        before.until_again()
    })
}

/// The kernel takes all of a network off with its first address.
fn of_one_network() -> Outcome {
    with_vservers(|| {
        let device = Device::new("vsmgr", &[])?;
        let one = Vserver::new("one", "busybox", "vsmgr:10.81.0.5/24", "")?;
        let two = Vserver::new("two", "busybox", "vsmgr:10.81.0.6/24", "")?;
        one.start(&[])?;
        two.start(&[])?;
        ip("address add 10.81.0.7/24 dev vsmgr")?;
        one.stop(&[])?;
        let left = ["10.81.0.6/24 vsmgr:two", "10.81.0.7/24"]
            .map(str::to_string)
            .to_vec();
        equal("those that stay", device.addresses(), Ok(left))?;
        two.stop(&[])?;
        equal(
            "the host's own",
            device.addresses(),
            Ok(vec!["10.81.0.7/24".to_string()]),
        )
    })
}

fn wrong() -> Outcome {
    with_vservers(|| {
        let device = Device::new("vsmgr", &["10.81.0.1/24"])?;
        let web = Vserver::new("web", "busybox", "", "")?;
        let before = Machine::now()?;
        for (address, said) in [
            (
                "vsnone:10.81.0.5",
                "/etc/vservers/web.conf: there is no device vsnone for the address 10.81.0.5",
            ),
            (
                "lo:10.81.0.1",
                "the address 10.81.0.1 is on vsmgr and not on lo; write vsmgr:10.81.0.1",
            ),
        ] {
            let text = format!("IPROOT={address}\n");
            fs::write(format!("{CONFIGURATION}/web.conf"), text).map_err(words)?;
            let (code, text) = web.command(&["start"])?;
            equal("code", code, 1)?;
            contains(&text, &[said])?;
        }
        equal(
            "untouched",
            device.addresses(),
            Ok(vec!["10.81.0.1/24".to_string()]),
        )?;
        before.until_again()
    })
}
