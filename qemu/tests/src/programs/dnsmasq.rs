// SPDX-License-Identifier: GPL-2.0

//! dnsmasq, bound to 0.0.0.0:53 and [::]:53, and dig, whose sockets are connected: an answer from
//! another address than the one that it has asked is none.

use super::*;

fn dig(place: &Place, address: &str, by: &str) -> Result<String, String> {
    let server = format!("@{address}");
    let words = ["+short", "+time=10", "+tries=2", by, "who.test"];
    place.run(&[&["dig", &server], &words[..]].concat())
}

pub fn run(world: &World) -> Outcome {
    let told = ["192.0.2.1", "192.0.2.2"];
    for (place, answer) in world.contexts.iter().zip(told) {
        place.start(&[
            "dnsmasq",
            "--no-daemon",
            "--port=53",
            "--no-resolv",
            "--no-hosts",
            "--log-queries",
            &format!("--address=/who.test/{answer}"),
        ])?;
    }
    for (place, answer) in world.contexts.iter().zip(told) {
        place.until_listening(53)?;
        let Place { ipv4, ipv6, .. } = place;
        for by in ["+notcp", "+tcp"] {
            for address in [ipv4, ipv6] {
                same("from the host", dig(&world.host, address, by), answer)?;
            }
            for address in [LO, LO6, ipv4] {
                same("from inside", dig(place, address, by), answer)?;
            }
        }
        // Who asked, as dnsmasq saw it.
        let log = place.read(LOG)?;
        let mut askers: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(" query[A] who.test from "))
            .filter_map(|line| line.split(' ').next_back())
            .collect();
        askers.sort_unstable();
        let mut expected = [LO, LO6, ipv4, ipv4, ipv6].repeat(2);
        expected.sort_unstable();
        equal("who asked", askers, expected)?;
    }
    let [one, two] = &world.contexts;
    same("from one to two", dig(one, two.ipv4, "+notcp"), told[1])?;
    same("from two to one", dig(two, one.ipv6, "+notcp"), told[0])?;
    let got = dig(&world.host, LO, "+notcp");
    refused("the host's", got, "connection refused")
}
