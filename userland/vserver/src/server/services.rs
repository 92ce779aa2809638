// SPDX-License-Identifier: GPL-2.0

//! How a guest manages its services: by what is found in its files.

use anyhow::bail;
use libvserver::init_system::InitSystem;
use libvserver::Config;
use libvserver::Guest;
use std::collections::BTreeMap;

/// Who manages the services of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// `systemctl`
    Systemd,
    /// `rc-service` and `rc-update`
    OpenRc,
    /// `sv`
    Runit,
    /// Scripts in `/etc/init.d`, by Debian's `update-rc.d`.
    UpdateRcd,
    /// Scripts in `/etc/init.d`, by a `chkconfig` of its own.
    Chkconfig,
    /// Scripts in `/etc/init.d`, and nothing that knows about run levels.
    Scripts,
}

/// Where programs of the system are.
const PROGRAMS: [&str; 4] = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"];

/// The run levels that `chkconfig` shows.
const LEVELS: [char; 7] = ['0', '1', '2', '3', '4', '5', '6'];

fn program(guest: &Guest, name: &str) -> Option<String> {
    PROGRAMS
        .iter()
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| guest.is_regular(path))
}

impl Manager {
    /// Who it is.
    pub(crate) fn find(guest: &Guest, config: &Config) -> anyhow::Result<Self> {
        let has = |name| program(guest, name).is_some();
        let system = InitSystem::find(guest, &config.init);
        Ok(match system {
            Some(InitSystem::Systemd) if has("systemctl") => Self::Systemd,
            Some(InitSystem::Runit) if has("sv") => Self::Runit,
            _ if has("rc-service") && has("rc-update") => Self::OpenRc,
            _ if has("chkconfig") => Self::Chkconfig,
            _ if has("update-rc.d") => Self::UpdateRcd,
            _ if guest.exists("/etc/init.d") => Self::Scripts,
            _ if has("sv") => Self::Runit,
            _ => bail!(
                "no manager of services that is known is inside (systemctl, rc-service, sv, /etc/init.d); \
                 run its own command with \"exec\""
            ),
        })
    }

    /// The command that does something with a service now. It is looked for inside.
    pub(crate) fn act(
        self,
        guest: &Guest,
        service: &str,
        action: &str,
    ) -> anyhow::Result<Vec<String>> {
        check(service)?;
        let script = format!("/etc/init.d/{service}");
        let words: Vec<&str> = match self {
            Self::Systemd => vec!["systemctl", action, service],
            Self::OpenRc => vec!["rc-service", service, action],
            Self::Runit
                if !guest.is_regular(&script) || guest.exists(&format!("/etc/sv/{service}")) =>
            {
                vec!["sv", action, service]
            }
            _ if !guest.is_regular(&script) => bail!(
                "there is no service {service} inside: no {script}; those that are there are {}",
                listed(guest.names("/etc/init.d"))
            ),
            _ => vec![&script, action],
        };
        Ok(words.into_iter().map(str::to_owned).collect())
    }

    /// The command that turns a service on or off for the next starts.
    pub(crate) fn turn(self, service: &str, on: bool) -> anyhow::Result<Vec<String>> {
        check(service)?;
        let pick = |yes, no| if on { yes } else { no };
        let words: Vec<String> = match self {
            Self::Systemd => words(&["systemctl", pick("enable", "disable"), service]),
            Self::OpenRc => words(&["rc-update", pick("add", "del"), service, "default"]),
            Self::Chkconfig => words(&["chkconfig", service, pick("on", "off")]),
            Self::UpdateRcd => {
                // A service that has no links yet has nothing to be enabled.
                let script = "update-rc.d \"$1\" defaults && exec update-rc.d \"$1\" \"$2\"";
                words(&["sh", "-c", script, "sh", service, pick("enable", "disable")])
            }
            Self::Runit => {
                let script = match on {
                    true => "ln -sfn /etc/sv/\"$1\" /etc/service/\"$1\"",
                    false => "rm -f /etc/service/\"$1\"",
                };
                words(&["sh", "-c", script, "sh", service])
            }
            Self::Scripts => bail!(
                "nothing inside turns services on and off (chkconfig, update-rc.d, rc-update); \
                 make or remove the link in /etc/rc?.d with \"exec\""
            ),
        };
        Ok(words)
    }

    /// In which run levels each service is on, by its files; `None`: only a command inside tells.
    pub(crate) fn levels(self, guest: &Guest) -> Option<BTreeMap<String, Vec<char>>> {
        let mut found: BTreeMap<String, Vec<char>> = BTreeMap::new();
        match self {
            Self::Systemd | Self::Chkconfig => return None,
            Self::OpenRc | Self::Runit => {
                let (all, on) = match self {
                    Self::OpenRc => ("/etc/init.d", "/etc/runlevels/default"),
                    _ => ("/etc/sv", "/etc/service"),
                };
                let on = guest.names(on);
                for name in guest.names(all) {
                    let levels = match on.contains(&name) {
                        true => LEVELS[2..6].to_vec(),
                        false => Vec::new(),
                    };
                    found.insert(name, levels);
                }
            }
            Self::UpdateRcd | Self::Scripts => {
                for name in guest.names("/etc/init.d") {
                    found.insert(name, Vec::new());
                }
                for level in LEVELS {
                    for link in guest.names(&format!("/etc/rc{level}.d")) {
                        let service = link.strip_prefix('S').and_then(|rest| rest.get(2..));
                        if let Some(levels) = service.and_then(|service| found.get_mut(service)) {
                            levels.push(level);
                        }
                    }
                }
            }
        }
        found.retain(|name, _| name != "README" && name != "functions" && name != "skeleton");
        Some(found)
    }
}

/// A line of `chkconfig --list`.
pub(crate) fn line(service: &str, on: &[char]) -> String {
    let levels = LEVELS.map(|level| {
        let state = if on.contains(&level) { "on" } else { "off" };
        format!("{level}:{state}")
    });
    format!("{service:<15}\t{}", levels.join("\t"))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn listed(mut names: Vec<String>) -> String {
    names.sort();
    names.truncate(30);
    names.join(" ")
}

/// It becomes a part of paths inside, and an argument there.
fn check(service: &str) -> anyhow::Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+:-".contains(&byte);
    if service.is_empty() || service.starts_with(['-', '.']) || !service.bytes().all(plain) {
        bail!("\"{service}\" is not the name of a service");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str, files: &[&str]) -> (Self, Guest) {
            let place = std::env::temp_dir()
                .join(format!("vserver-services-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&place);
            for file in files {
                let path = place.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            let guest = Guest::open(&place).unwrap();
            (Self(place), guest)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn joined(words: anyhow::Result<Vec<String>>) -> String {
        words.map_or_else(|error| format!("{error:#}"), |words| words.join(" "))
    }

    #[test]
    fn debian_without_systemd() {
        let files = [
            "usr/sbin/update-rc.d",
            "etc/init.d/ssh",
            "etc/init.d/cron",
            "etc/rc2.d/S01cron",
            "etc/rc0.d/K01cron",
        ];
        let (_place, guest) = Place::new("debian", &files);
        let manager = Manager::find(&guest, &Config::default()).unwrap();
        assert_eq!(manager, Manager::UpdateRcd);
        assert_eq!(
            joined(manager.act(&guest, "ssh", "restart")),
            "/etc/init.d/ssh restart"
        );
        let missing = joined(manager.act(&guest, "sshd", "restart"));
        assert!(
            missing.ends_with("those that are there are cron ssh"),
            "{missing}"
        );
        assert!(joined(manager.turn("ssh", false)).ends_with("sh ssh disable"));
        let levels = manager.levels(&guest).unwrap();
        assert_eq!(levels["cron"], ['2']);
        assert_eq!(
            line("cron", &levels["cron"]),
            "cron           \t0:off\t1:off\t2:on\t3:off\t4:off\t5:off\t6:off"
        );
    }

    #[test]
    fn others_by_their_programs() {
        let (_place, guest) = Place::new(
            "openrc",
            &[
                "sbin/rc-service",
                "sbin/rc-update",
                "etc/init.d/sshd",
                "etc/runlevels/default/sshd",
            ],
        );
        let manager = Manager::find(&guest, &Config::default()).unwrap();
        assert_eq!(manager, Manager::OpenRc);
        assert_eq!(
            joined(manager.act(&guest, "sshd", "stop")),
            "rc-service sshd stop"
        );
        assert_eq!(
            joined(manager.turn("sshd", true)),
            "rc-update add sshd default"
        );
        assert_eq!(
            manager.levels(&guest).unwrap()["sshd"],
            ['2', '3', '4', '5']
        );
        let (_place, guest) = Place::new("redhat", &["sbin/chkconfig", "etc/init.d/httpd"]);
        assert_eq!(
            Manager::find(&guest, &Config::default()).unwrap(),
            Manager::Chkconfig
        );
        let (_place, guest) = Place::new("none", &["etc/passwd"]);
        assert!(Manager::find(&guest, &Config::default()).is_err());
    }

    #[test]
    fn a_service_is_a_word() {
        for name in ["", "-x", "..", "a/b", "a b", "a;b", "$(x)"] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(check("getty@tty1.service").is_ok());
    }
}
