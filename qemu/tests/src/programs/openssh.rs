// SPDX-License-Identifier: GPL-2.0

//! sshd with Debian's configuration, each with host keys of its own, and ssh.

use super::*;

const KEY: &str = "etc/ssh/ssh_host_ed25519_key";

/// As who, and without what would make it wait.
const SSH: [&str; 6] = [
    "ssh",
    "-oBatchMode=yes",
    "-oStrictHostKeyChecking=yes",
    "-oUserKnownHostsFile=/root/.ssh/known_hosts",
    "-oConnectTimeout=60",
    "-lroot",
];

fn ssh(place: &Place, address: &str) -> Result<String, String> {
    let command = [address, "cat /etc/name; echo $SSH_CONNECTION"];
    place.run(&[&SSH[..], &command].concat())
}

fn new_key(place: &Place, file: &str) -> Result<String, String> {
    place.run(&[
        "ssh-keygen",
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-f",
        &format!("/{file}"),
    ])?;
    place.read(&format!("{file}.pub"))
}

pub fn run(world: &World) -> Outcome {
    let everybody = || world.contexts.iter().chain([&world.host]);
    for place in everybody() {
        fs::create_dir_all(place.root.join("root/.ssh")).map_err(words)?;
    }
    // Who may come, from wherever.
    let own = new_key(&world.host, "root/.ssh/id_ed25519")?;
    let mut known = String::new();
    for place in &world.contexts {
        let folder = fs::read_dir(place.root.join("etc/ssh")).map_err(words)?;
        for entry in folder.flatten() {
            if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
                fs::remove_file(entry.path()).map_err(words)?;
            }
        }
        let key = new_key(place, KEY)?;
        let Place { ipv4, ipv6, .. } = place;
        let _ = writeln!(known, "{ipv4},{ipv6} {key}");
        let _ = fs::copy(
            world.host.root.join("root/.ssh/id_ed25519"),
            place.root.join("root/.ssh/id_ed25519"),
        );
        place.write("root/.ssh/authorized_keys", &own)?;
        place.write("root/.ssh/known_hosts", &format!("{LO},{LO6} {key}"))?;
        place.write("etc/name", place.name)?;
        fs::create_dir_all(place.root.join("run/sshd")).map_err(words)?;
        place.run(&["/usr/sbin/sshd", "-E", &format!("/{LOG}")])?;
    }
    world.host.write("root/.ssh/known_hosts", &known)?;
    for place in &world.contexts {
        place.until_listening(22)?;
        let Place {
            name, ipv4, ipv6, ..
        } = place;
        for (from, address) in [(&world.host, *ipv4), (&world.host, *ipv6), (place, LO)] {
            let got = ssh(from, address)?;
            // "NAME", and then "CLIENT PORT SERVER PORT".
            let (client, rest) = got
                .strip_prefix(name)
                .and_then(|rest| rest.split_once(' '))
                .ok_or_else(|| format!("{name} at {address} says {got:?}"))?;
            equal("client", client.trim(), address)?;
            let server = rest.split_once(' ').map(|(_, server)| server);
            let expected = format!("{address} 22");
            equal("server", server, Some(expected.as_str()))?;
        }
    }
    refused("the host's", ssh(&world.host, LO), "Connection refused")
}
