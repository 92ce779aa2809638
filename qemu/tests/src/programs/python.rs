// SPDX-License-Identifier: GPL-2.0

//! Python's web server on `::` with IPV6_V6ONLY off, reached by both protocols.

use super::*;

pub fn run(world: &World) -> Outcome {
    for place in &world.contexts {
        place.write("srv/index.html", place.name)?;
        place.start(&[
            "python3",
            "-u",
            "-m",
            "http.server",
            "--bind",
            "::",
            "--directory",
            "/srv",
            "8080",
        ])?;
    }
    for place in &world.contexts {
        place.until_listening(8080)?;
        let Place {
            name, ipv4, ipv6, ..
        } = place;
        for address in [ipv4, &*format!("[{ipv6}]")] {
            let got = world.host.curl(&format!("{address}:8080"));
            same("from the host", got, name)?;
        }
        for address in [LO, "[::1]"] {
            let got = place.curl(&format!("{address}:8080"));
            same("from inside", got, name)?;
        }
        // Who came, as Python saw it.
        let log = place.read(LOG)?;
        let peers: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("\"GET / "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let mapped = format!("::ffff:{ipv4}");
        let expected = [&mapped, *ipv6, "::ffff:127.0.0.1", LO6];
        equal("those who came", peers.as_slice(), &expected)?;
    }
    let got = world.host.curl(&format!("{LO}:8080"));
    refused("the host's", got, "curl: (7)")
}
